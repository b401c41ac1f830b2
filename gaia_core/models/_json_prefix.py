"""How much of a JSON text that comes in pieces is certain, so that it can be streamed on before its end is known.

Certain is what begins a JSON value, whatever follows: a number or a word only when it has ended, an escape only when it
is whole (with the other half of a surrogate pair), a comma only when a member or an item follows it. From the first
fault on nothing is certain any more: what the text means is decided when all of it is there, and `continued` writes
that behind what was streamed.
"""

import re

import msgspec

from gaia_core.nesting import MAX_NESTING

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = r'[^"\\\x00-\x1f]*'
_HIGH = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_ESCAPE = rf"""\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{{4}}|{_HIGH}\\u[dD][c-fC-F][0-9a-fA-F]{{2}}"""
_STRING = re.compile(rf"{_PLAIN}(?:(?:{_ESCAPE}){_PLAIN})*")
_HALF_ESCAPE = re.compile(rf"(?:{_HIGH})?(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?")
_SCALAR = re.compile(r"[-+.0-9A-Za-z]*")
_WHOLE_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
_STRING_OR_SPACE = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|\s+', re.DOTALL)
_MOST_HELD = 1_000
"""Characters that are held back at most; a text that is uncertain for longer is not streamed."""


class JsonPrefix:
    """Reads one JSON value, each character once; with *object_only*, nothing but an object is certain. *closed*: the
    value has ended; *wrong*: the text is no JSON, or is nested deeper than `MAX_NESTING`."""

    __slots__ = ("_expected", "_held", "_in_key", "_object_only", "_open", "_quoted", "_scanned", "closed", "wrong")

    def __init__(self, *, object_only: bool = False) -> None:
        self._object_only = object_only
        self._open: list[str] = []
        """The closing bracket of each value that is open."""
        self._expected = "value"
        """What comes next outside of a string: value, first item, first key, key, colon, next."""
        self._quoted = self._in_key = False
        self._held = ""
        """What has come and is not certain yet."""
        self._scanned = 0
        """How much of it was read."""
        self.closed = self.wrong = False

    def feed(self, text: str) -> str:
        """Read on; what is certain now and was not before."""
        if self._over:
            return ""
        text = self._held + text
        position, certain = self._scanned, 0
        while not self.closed and position < len(text):
            found = self._in_string(text, position) if self._quoted else self._outside(text, position)
            if found is None:  # the rest is not whole yet, or never will be
                break
            position, sure = found
            if sure:
                certain = position
        self._held, self._scanned = text[certain:], position - certain
        self.wrong = self.wrong or len(self._held) > _MOST_HELD
        return text[:certain]

    @property
    def _over(self) -> bool:
        return self.closed or self.wrong

    def _in_string(self, text: str, position: int) -> tuple[int, bool] | None:
        found = _STRING.match(text, position)
        assert found is not None
        end = found.end()
        if end == len(text):
            return end, True
        if text[end] == '"':
            self._quoted = False
            self._value_ended(colon=self._in_key)
            return end + 1, True
        if end > position:
            return end, True
        half = _HALF_ESCAPE.fullmatch(text, end)
        self.wrong = half is None
        return None

    def _outside(self, text: str, position: int) -> tuple[int, bool] | None:
        found = _SPACE.match(text, position)
        assert found is not None
        position = found.end()
        if position == len(text):
            return position, False
        character, expected = text[position], self._expected
        if expected in ("value", "first item"):
            if self._object_only and not self._open and character != "{":
                return self._stop()
            if character not in '"{[]':
                return self._scalar(text, position)
            if character != "]":
                return self._begin(character, position)
        elif character == '"' and expected in ("key", "first key"):
            self._quoted = self._in_key = True
            return position + 1, True
        elif character == ":" and expected == "colon":
            self._expected = "value"
            return position + 1, True
        elif character == "," and expected == "next":
            self._expected = "key" if self._open[-1] == "}" else "value"
            return position + 1, False
        if expected in ("first item", "first key", "next") and self._open and character == self._open[-1]:
            self._open.pop()
            self._value_ended()
            return position + 1, True
        return self._stop()

    def _begin(self, character: str, position: int) -> tuple[int, bool] | None:
        if character == '"':
            self._quoted, self._in_key = True, False
        elif len(self._open) == MAX_NESTING:
            return self._stop()
        else:
            self._open.append("}" if character == "{" else "]")
            self._expected = "first key" if character == "{" else "first item"
        return position + 1, True

    def _scalar(self, text: str, position: int) -> tuple[int, bool] | None:
        found = _SCALAR.match(text, position)
        assert found is not None
        if found.end() == len(text):
            return None
        if _WHOLE_SCALAR.fullmatch(found[0]) is None:
            return self._stop()
        self._value_ended()
        return found.end(), True

    def _value_ended(self, *, colon: bool = False) -> None:
        self._expected = "colon" if colon else "next"
        self._in_key = False
        self.closed = not self._open

    def _stop(self) -> tuple[int, bool] | None:
        self.wrong = True
        return None


def continued(streamed: str, meant: str) -> str | None:
    """*meant*, JSON text, written so that it begins with *streamed*, the certain beginning of another form of it; None
    where it doesn't say what *streamed* does."""
    if meant.startswith(streamed):
        return meant
    begun = _STRING_OR_SPACE.sub(lambda found: "" if found[0].isspace() else found[0], streamed)
    try:
        compact = msgspec.json.format(meant, indent=-1)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return streamed + compact[len(begun) :] if compact.startswith(begun) else None
