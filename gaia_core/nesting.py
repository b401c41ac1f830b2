"""Nesting: how many arrays and objects of a JSON document may be inside each other. One number, for every document.

Decoders, and functions that walk a value by recursion, end at a limit of the interpreter, which differs from version
to version and depends on how deep the caller's own stack is. So a document that comes from outside (a client, a
model's endpoint, an MCP server, a file) is checked before it is decoded, and nothing behind that check has to expect
a RecursionError. What this program wrote itself, such as the journal, is not checked again.

The check reads a document once, without recursion, and builds no values. Most documents open fewer brackets than the
limit, which one pass over their bytes shows; for the others, brackets outside strings are counted.
"""

import re
from array import array
from collections.abc import Callable
from itertools import accumulate
from typing import Any, TypeVar, overload

import msgspec

from gaia_core.errors import NestingError

T = TypeVar("T")

MAX_NESTING = 128
"""Levels of arrays and objects inside each other, at most; a document that is neither has none.

It is far above what real documents have: a JSON schema takes two levels, and an array one more, for each level of its
values. It is far below where anything in use ends: functions here that walk a value take three of Python's 1,000 frames
a level, msgspec decodes 995 levels with Python 3.11, 1,498 with 3.12, 9,999 with 3.13 and 27,000 with 3.14, pydantic's
parser 200, jsonschema-rs 255. And it is what many model servers take: it is the limit of Rust's serde.
"""

FRAME = 8
"""Levels that a file of this program may add around a document that was checked."""

_CHUNK = 131_072
_PASSES = 8
_STEPS_SHOWN = 4
_NAME_CHARS = 40
_MOST_TOKENS = 20_000

_SQUARE = bytes.maketrans(b"{}", b"[]")
_STEP = bytes.maketrans(b"[]", b"\x01\xff")
_NOT_OPENING = bytes(byte for byte in range(256) if byte not in b"[{")
_NOT_SHAPE = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)


def check_nesting(document: bytes | str, most: int = MAX_NESTING) -> None:
    """Raise NestingError, which names the place, when *document* is nested deeper than *most* levels.

    A document that is not valid JSON passes unless it is nested too deep before its first error.
    """
    data = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document
    if len(data) <= most or len(data.translate(None, _NOT_OPENING)) <= most:
        return
    if not Nesting(most).feed(data):
        raise NestingError(most, _place(data, most))


@overload
def decode_json(document: bytes | str, *, strict: bool = True) -> Any: ...
@overload
def decode_json(document: bytes | str, type: type[T], *, strict: bool = True) -> T: ...
@overload
def decode_json(document: bytes | str, type: Any, *, strict: bool = True) -> Any: ...
def decode_json(document: bytes | str, type: Any = Any, *, strict: bool = True) -> Any:
    """*document* as *type*, as `msgspec.json.decode` gives it.

    Raises msgspec.DecodeError (NestingError is one, msgspec.ValidationError another) and UnicodeError.
    """
    check_nesting(document)
    return msgspec.json.decode(document, type=type, strict=strict)


def encode_json(value: Any, *, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """*value* as JSON, for values that code outside this program made. Raises NestingError."""
    try:
        encoded = msgspec.json.encode(value, enc_hook=enc_hook)
    except RecursionError:  # the encoder's limit is far above ours; or it holds itself
        raise NestingError(MAX_NESTING) from None
    check_nesting(encoded)
    return encoded


def nesting_of(value: Any) -> int:
    """How deep dicts and lists are nested in *value*, without recursion: for values that were not JSON."""
    levels, level = 0, [value]
    while level := [
        item
        for outer in level
        if isinstance(outer, dict | list)
        for item in ((*outer.values(), None) if isinstance(outer, dict) else (*outer, None))
    ]:
        levels += 1
    return levels


class Nesting:
    """Follows one document as its bytes arrive. For documents that are read in pieces; else use `check_nesting`."""

    __slots__ = ("_backslash", "_depth", "_most", "_quoted")

    def __init__(self, most: int = MAX_NESTING) -> None:
        self._most = most
        self._depth = 0
        self._quoted = 0
        """1 inside a string, which is the index of the first part outside strings once a piece is split at quotes."""
        self._backslash = b""
        """A backslash at the end of what was read, which escapes what comes next."""

    def feed(self, data: bytes) -> bool:
        """Read on; False when the document is nested too deep, after which there is nothing left to ask."""
        # In chunks, so that a document full of quotes makes no list of millions.
        return all(self._read(data[start : start + _CHUNK]) for start in range(0, len(data), _CHUNK))

    def _read(self, chunk: bytes) -> bool:
        text = self._backslash + chunk
        if b"\\" in text:  # of the same length: that is done in place
            text = text.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        self._backslash = b"\\" if text.endswith(b"\\") else b""
        parts = text.translate(_SQUARE, _NOT_SHAPE).split(b'"')
        outside = b"".join(parts[self._quoted :: 2])
        self._quoted ^= (len(parts) - 1) & 1
        return self._follow(outside)

    def _follow(self, brackets: bytes) -> bool:
        """Count *brackets*, all of which are outside strings, and square."""
        before, opened = self._depth, brackets.count(b"[")
        self._depth += 2 * opened - len(brackets)
        if before + opened <= self._most:
            return True
        # Each pass takes the innermost pairs away, and with them one level: most documents have few. The last resort
        # costs some 30 ns a bracket.
        rest = brackets
        for taken in range(1, _PASSES + 1):
            rest = rest.replace(b"[]", b"")
            if before + taken + rest.count(b"[") <= self._most:
                return True
        return max(accumulate(array("b", brackets.translate(_STEP)), initial=before)) <= self._most


def _place(data: bytes, most: int) -> str:
    """The beginning of the path to the value that is nested too deep: `tools[3].function.parameters`; "" where finding
    it would take long."""
    path: list[int | str | None] = []  # of each open value its index or name; None: a name is next
    for count, found in enumerate(_TOKEN.finditer(data)):
        if count == _MOST_TOKENS:
            return ""
        token = found[0]
        if token in (b"[", b"{"):
            path.append(0 if token == b"[" else None)
            if len(path) > most:
                break
        elif not path:
            continue
        elif token in (b"]", b"}"):
            path.pop()
        elif token == b",":
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else None
        elif path[-1] is None:
            path[-1] = token.strip(b'"').decode("utf-8", "replace")[:_NAME_CHARS]
    steps = path[:_STEPS_SHOWN]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
