"""Arguments of tool calls as models write them: what is one whole JSON object, what only needs its form mended, and
what is refused, with the words for the model.

Only form is mended, never content: a text that is cut off, that has more than one value, or that says a name twice is
not accepted as the arguments of a call. An action is never guessed.
"""

import json
import re
from typing import Any

import msgspec

from gaia_core.errors import NestingError
from gaia_core.messages import is_json_object
from gaia_core.nesting import MAX_NESTING, check_nesting, decode_json

_EMPTY = frozenset({"", "null", '""', '"null"'})
_STRUCTURE = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')
_LANGUAGE = re.compile(r"[A-Za-z_]*")
_FENCE = "```"
_BETWEEN = " \t\r\n,;}]"
_BRACKET = re.compile(r"[\[\]{}]")
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_FORM = re.compile(r"[\s{}\[\],:\"'`]+")
# json-repair takes 5 µs a character, and seconds for what opens thousands of brackets; meanwhile nothing else runs.
_MAX_MENDED_CHARS = 50_000


class JsonScanner:
    """Follows the brackets and strings of a text that comes in pieces, each character once.

    *closed*: the first value has ended; *more*: something other than white space follows it.
    """

    __slots__ = ("_depth", "_escaped", "_quoted", "closed", "more")

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = self._escaped = False
        self.closed = self.more = False

    @property
    def open(self) -> bool:
        """Whether a bracket or a string is open."""
        return bool(self._depth) or self._quoted

    def feed(self, text: str) -> int | None:
        """Read on; the index behind the end of the first value, if that is in *text*."""
        if self.closed:
            self.more = self.more or bool(text.strip())
            return None
        position = 0
        if self._escaped and text:
            self._escaped, position = False, 1
        while position < len(text):
            found = (_IN_STRING if self._quoted else _STRUCTURE).search(text, position)
            if found is None:
                return None
            position = found.end()
            character = found[0]
            if self._quoted:
                if character == "\\":
                    self._escaped = position == len(text)
                    position += 1
                    continue
                self._quoted = False
            elif character == '"':
                self._quoted = True
                continue
            else:
                self._depth = self._depth + 1 if character in "{[" else max(0, self._depth - 1)
            if not self._depth:
                self.closed = True
                self.more = bool(text[position:].strip())
                return position
        return None


def values_of(text: str) -> tuple[list[str], str]:
    """The bracketed values of *text*, one behind the other, and what is left of one that is cut off.

    Commas, semicolons, white space and closing brackets too many may stand between them. Where anything else does,
    there are none: ([], "").
    """
    values: list[str] = []
    rest = text.lstrip()
    while rest := rest.lstrip(_BETWEEN if values else None):
        if rest[0] not in "{[":
            return [], ""
        end = JsonScanner().feed(rest)
        if end is None:
            return values, rest
        values.append(rest[:end])
        rest = rest[end:]
    return values, ""


def arguments_of(text: str) -> str:
    """*text* as the JSON object that it means; as it is when it means none, or not only one."""
    if is_json_object(text):
        return text
    if (stripped := text.strip()) in _EMPTY:
        return "{}"
    if (inner := _unpacked(stripped)) is not None:
        meant = arguments_of(inner)  # shorter than *text*, so this ends
        return meant if is_json_object(meant) else text
    values, rest = values_of(stripped)
    if len(values) == 1 and not rest and is_json_object(values[0]):
        return values[0]  # closing brackets too many
    value = mended(stripped)
    encoded = encoded_json(value) if isinstance(value, dict) else None
    return encoded if encoded is not None else text


def _unpacked(text: str) -> str | None:
    """What stands in the fence of *text*, or in the JSON string that it is."""
    if text.startswith(_FENCE):
        return without_fence(text)
    if text.startswith('"') and text.endswith('"'):
        try:
            value = decode_json(text)
        except (msgspec.DecodeError, UnicodeError):
            return None
        # An object, an array or another string in there; never a bare text.
        return value if isinstance(value, str) and value.lstrip()[:1] in ("{", '"', "`") else None
    return None


def without_fence(text: str) -> str:
    """*text*, which begins with three backquotes, without these, those at its end, and the language's name."""
    inner = text[len(_FENCE) :].rstrip().removesuffix(_FENCE)
    found = _LANGUAGE.match(inner)
    return (inner[found.end() :] if found is not None else inner).strip()


def mended(text: str) -> Any:
    """The value of *text*, which is no JSON, if its form alone is wrong (quotes, commas); else None."""
    scanner = JsonScanner()
    scanner.feed(text)
    if not scanner.closed or scanner.more or len(text) > _MAX_MENDED_CHARS or _depth(text) > MAX_NESTING:
        return None
    import json_repair  # noqa: PLC0415  # only for what is broken

    try:
        value = json_repair.loads(text, skip_json_loads=True)
        written = json.dumps(value, ensure_ascii=False)
    except Exception:  # noqa: BLE001  # on some texts the library itself fails, by AssertionError for one
        return None
    # What json-repair drops, such as a name that is given twice, is missed here.
    return value if content_of(written) == content_of(text) else None


def content_of(text: str) -> str:
    """What *text* says, whatever the form: without escapes, quotes, brackets, commas, colons and white space."""
    return _FORM.sub("", _ESCAPE.sub("", text)).casefold()


def problem_of(text: str) -> str:
    """Why *text* is no arguments of a call, in words for a model; "" when it is one whole object.

    What is no JSON for another reason is left to the validation, which says where.
    """
    stripped = text.strip()
    if is_json_object(text):
        name = _said_twice(stripped)
        return f"{json.dumps(name, ensure_ascii=False)} is given twice; which one is meant?" if name is not None else ""
    scanner = JsonScanner()
    scanner.feed(stripped)
    if scanner.open or stripped == '"':
        return "they were cut off before their end"
    if scanner.more and stripped[:1] in ("{", "["):
        return "they are more than one JSON value"
    return ""


def says_twice(text: str) -> bool:
    """Whether an object of *text*, which is JSON, has a name twice."""
    return _said_twice(text) is not None


class _TwiceError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _said_twice(text: str) -> str | None:
    """A name that an object of *text*, which is JSON, has twice; None when none has."""
    try:
        check_nesting(text)
        json.loads(text, object_pairs_hook=_once)
    except _TwiceError as found:
        return found.name
    except (ValueError, NestingError):
        return None
    return None


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise _TwiceError(name)
        seen.add(name)


def encoded_json(value: Any) -> str | None:
    """*value* as JSON; None for what has no JSON: half a surrogate pair, a name that is no text."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, UnicodeError):
        return None


def _depth(text: str) -> int:
    """How deep the brackets of *text* are nested at most; those in strings count as well."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest
