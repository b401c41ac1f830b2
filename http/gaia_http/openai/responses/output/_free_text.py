"""The free text in the arguments of a custom tool's call: models write it as the member `input` of an object."""

import re

import msgspec

from gaia_core.nesting import decode_json

_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_MOST_HEAD_CHARS = 1_000
_INNER = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)


class FreeText:
    """The text as its arguments come, in pieces that hold no half of an escape (`ClientCallDelta`)."""

    __slots__ = ("_held", "_inside", "_over")

    def __init__(self) -> None:
        self._held = ""
        self._inside = self._over = False

    def feed(self, arguments: str) -> str:
        """More of the text. Where `input` is not the first member, there is none before the end."""
        if self._over:
            return ""
        self._held += arguments
        if not self._inside:
            head = _HEAD.match(self._held)
            self._over = head is None and len(self._held) > _MOST_HEAD_CHARS
            if head is None:
                return ""
            self._inside, self._held = True, self._held[head.end() :]
        found = _INNER.match(self._held)
        assert found is not None
        text, rest = found[0], self._held[found.end() :]
        self._held, self._over = "", bool(rest)
        return str(decode_json(f'"{text}"', str))


def free_text(arguments: str) -> str:
    """The text in whole *arguments*; all of them where they aren't as they should be."""
    try:
        found = decode_json(arguments)
    except (msgspec.DecodeError, UnicodeError):
        return arguments
    text = found.get("input") if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments
