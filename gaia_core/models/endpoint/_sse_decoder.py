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
    """Bytes in, the data of complete events out."""

    __slots__ = ("_buffer", "_carriage", "_started")

    def __init__(self) -> None:
        self._buffer = b""
        self._carriage = False
        self._started = False

    def begun(self) -> bytes | None:
        """Take back the part of an incomplete event, for a caller that parses events itself; None when the bytes that
        follow can't be parsed without the decoder's state."""
        if self._carriage or not self._started:
            return None
        begun, self._buffer = self._buffer, b""
        return begun

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that *data* completes. Raises EventTooLargeError."""
        if not self._started:
            data = self._without_bom(data)
        if self._carriage or b"\r" in data:
            data = self._with_newlines(data)
        if self._buffer:
            data = self._buffer + data
        *events, self._buffer = data.split(b"\n\n")
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return [
            found
            for event in events
            if (found := event[6:] if event[:6] == b"data: " and b"\n" not in event else _data(event)) is not None
        ]

    def end(self) -> list[bytes]:
        """The data of a last event without its blank line: some endpoints forget it."""
        rest, self._buffer = self._buffer.strip(b"\n"), b""
        found = _data(rest)
        return [found] if found is not None else []

    def _without_bom(self, data: bytes) -> bytes:
        data = self._buffer + data
        self._buffer = b""
        if b"\xef\xbb\xbf".startswith(data[:3]) and len(data) < 3:
            self._buffer = data
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
