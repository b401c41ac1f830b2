"""Text cut into deltas by its own words, and not by how it came: so a stream is the same whenever it is told."""

import re

_CHUNK = re.compile(r"\s{64}|\s{0,63}(?:\S{32}|\S{1,31}\s)")
"""A word with the white space before it and the first one after it; what is longer is cut."""


class Chunked:
    """Text that is sent in deltas. What might still become a longer word is held back until more comes."""

    __slots__ = ("_held", "_parts")

    def __init__(self) -> None:
        self._held = ""
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All that was fed."""
        return "".join((*self._parts, self._held))

    def feed(self, text: str) -> list[str]:
        """The deltas that *text* makes whole."""
        held = self._held + text
        chunks: list[str] = []
        position = 0
        while (found := _CHUNK.match(held, position)) is not None:
            chunks.append(found[0])
            position = found.end()
        self._held = held[position:]
        self._parts += chunks
        return chunks

    def rest(self) -> list[str]:
        """The last delta, if something was held back."""
        held, self._held = self._held, ""
        if not held:
            return []
        self._parts.append(held)
        return [held]
