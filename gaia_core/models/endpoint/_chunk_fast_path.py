"""The refrain: what all text chunks of a stream have in common, so that only their text is decoded.

An endpoint's chunks mostly differ in one string. Once the bytes before and after it are known, what arrives between
them needs to be a JSON string and no more: then it stands where the decoder would find it. Everything else, an answer's
end or a chunk of another form, is left to the decoder, so this changes what is read by nothing but its cost.
"""

import re
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from gaia_core.events import ReasoningDelta, TextDelta

Piece: TypeAlias = TextDelta | ReasoningDelta

_DATA = b"data: "
_END = b"\n\n"
_TEXTS = re.compile(rb'"(?:content|reasoning_content|reasoning)"\s*:\s*("(?:[^"\\]|\\.)*")')
_PROBE = "\x00a probe: no model says this"
_PROBE_JSON = msgspec.json.encode(_PROBE)
_STRING = msgspec.json.Decoder(str)
_STRINGS = msgspec.json.Decoder(list[str])


class ChunkFastPath:
    """Belongs to one stream. *piece_in* decodes a whole chunk: its piece of text, if that is all that it says."""

    __slots__ = ("_after", "_before", "_between", "_kind", "_missed", "_piece_in")

    def __init__(self, piece_in: Callable[[bytes], Piece | None]) -> None:
        self._piece_in = piece_in
        self._before = self._after = self._between = b""
        self._kind: type[Piece] = TextDelta
        self._missed = 0

    def read(self, data: bytes) -> tuple[Piece, bytes] | None:
        """The text of the events that *data* begins with, in one piece, and the rest; None: the decoder's to read.

        *data* begins where an event does.
        """
        before, after = self._before, self._after
        if not before or not data.startswith(before):
            return None
        begin, end = len(before), data.rfind(after)
        if end < begin:
            return None
        text = _text(data[begin:end], self._between)
        if text is None:
            return None
        self._missed = 0
        return self._kind(text), data[end + len(after) :]

    def missed(self, event: bytes, count: int = 1) -> None:
        """So many events of nothing but a piece of text had to be decoded, at last *event*: learn from it, the rarer
        the less that helps."""
        before = self._missed
        self._missed += count
        if self._missed < 2 or self._missed.bit_length() == before.bit_length():
            return  # a first one often has a role as well, and short answers would learn in vain
        if b"\n" in event:
            return  # of several lines, which stand otherwise in the stream
        for found in _TEXTS.finditer(event):
            begin, end = found.span(1)
            piece = self._piece_in(event[:begin] + _PROBE_JSON + event[end:])
            if piece is not None and piece.text == _PROBE:
                self._kind = type(piece)
                self._before = _DATA + event[:begin]
                self._after = event[end:] + _END
                self._between = self._after + self._before
                return


def _text(strings: bytes, between: bytes) -> str | None:
    """The text of JSON *strings* with *between* them; None when they are something else.

    *between* has a line's end, which nothing else may have. As many values as there are places for them means one in
    each: JSON has no empty places.
    """
    count = strings.count(between)
    joined = b"[%b]" % strings.replace(between, b",") if count else strings
    if b"\n" in joined or b"\r" in joined:
        return None
    try:
        if not count:
            return _STRING.decode(joined)
        found = _STRINGS.decode(joined)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return "".join(found) if len(found) == count + 1 else None
