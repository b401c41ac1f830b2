"""Server-sent events, read incrementally (source: the WHATWG HTML standard, section 9.2.6).

Only `data` is of interest here: chat completions use nothing else, but for an error. What arrives may be split
anywhere.
"""

import msgspec

from gaia_core.nesting import decode_json

MAX_EVENT_BYTES = 8 * 1024 * 1024


class EventTooLargeError(ValueError):
    """One event is larger than MAX_EVENT_BYTES."""


class SSEDecoder:
    """Bytes in, the data of complete events out. An event costs its bytes, in however many pieces it arrives."""

    __slots__ = ("_carriage", "_pieces", "_size", "_started")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        """The incomplete event, or the beginning of a byte order mark. Joined when the event is complete."""
        self._size = 0
        """Bytes of `_pieces`."""
        self._carriage = False
        self._started = False

    def begun(self, data: bytes) -> bytes | None:
        """Take back the part of an incomplete event that ends in *data*, for a caller that parses events itself; None
        when *data* has to be fed: it ends no event, or can't be parsed without the decoder's state."""
        if self._carriage or not self._started or not self._ends(data):
            return None
        return self._taken()

    def _ends(self, data: bytes) -> bool:
        """Whether *data* ends the event that has begun, or there is none."""
        if not self._pieces:
            return True
        return b"\n\n" in data or (data[:1] == b"\n" and self._pieces[-1].endswith(b"\n"))

    def _taken(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return taken

    def _keep(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self._size += len(data)

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that *data* completes. Raises EventTooLargeError."""
        if not self._started:
            data = self._without_bom(data)
        if self._carriage or b"\r" in data:
            data = self._with_newlines(data)
        events: list[bytes] = []
        if self._ends(data):
            *events, data = (self._taken() + data).split(b"\n\n")
        self._keep(data)
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return [
            found
            for event in events
            if (found := event[6:] if event[:6] == b"data: " and b"\n" not in event else _data(event)) is not None
        ]

    def end(self) -> list[bytes]:
        """The data of a last event without its blank line: some endpoints forget it."""
        found = _data(self._taken().strip(b"\n"))
        return [found] if found is not None else []

    def _without_bom(self, data: bytes) -> bytes:
        data = self._taken() + data
        if b"\xef\xbb\xbf".startswith(data[:3]) and len(data) < 3:
            self._keep(data)
            return b""
        self._started = True
        return data.removeprefix(b"\xef\xbb\xbf")

    def _with_newlines(self, data: bytes) -> bytes:
        if self._carriage:
            data = b"\r" + data
        self._carriage = data.endswith(b"\r")  # its line feed may follow
        if self._carriage:
            data = data[:-1]
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(event: bytes) -> bytes | None:
    lines = [line for line in event.split(b"\n") if line.startswith(b"data") and line[4:5] in (b":", b"")]
    if not lines:
        return _error(event)
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)


def _error(event: bytes) -> bytes | None:
    """An error that older llama.cpp servers send in a field of its own, `error: {…}`, as the object of a chunk."""
    told = next((line[6:].strip() for line in event.split(b"\n") if line.startswith(b"error:")), None)
    if told is None:
        return None
    try:
        value = decode_json(told)
    except (ValueError, UnicodeError):
        value = told.decode("utf-8", "replace")
    return msgspec.json.encode(value if isinstance(value, dict) and "error" in value else {"error": value})
