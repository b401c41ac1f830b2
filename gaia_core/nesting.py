"""Nesting: the limit on how deep arrays and objects of a JSON document may be nested, the same for every document.

Decoders and recursive functions have limits of their own, which depend on the Python version and on how much of the
stack the caller uses. So every document that comes from outside (a client, a model endpoint, an MCP server, a file) is
checked before it is decoded, and the code behind that check never meets a RecursionError. Documents that this program
wrote itself, such as journal records, are not checked again.

The check is one linear pass without recursion, and it builds no values. Most documents have fewer opening brackets
than the limit, and counting those is enough; otherwise the brackets outside strings are counted.
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
"""The deepest nesting that is accepted, in levels. `[]` has one level, `7` has none.

Real documents are far below: a JSON schema needs two levels (an array three) for each level of the values it describes.
Everything that reads accepted documents can do more: recursive functions here use three of Python's 1,000 frames per
level; msgspec decodes 995 levels on Python 3.11, 1,498 on 3.12, 9,999 on 3.13 and 27,000 on 3.14; pydantic's parser
stops at 200, jsonschema-rs at 255. Model servers in Rust stop at 128 themselves (serde_json's default).
"""

ENVELOPE_LEVELS = 8
"""Further levels that a file of this program may have around a document that was checked, such as a tool's schema."""

_CHUNK_BYTES = 131_072
_PASSES = 8
_PLACE_STEPS = 4
_NAME_CHARS = 40
_MAX_TOKENS = 20_000

_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_TO_STEPS = bytes.maketrans(b"[]", b"\x01\xff")  # 1 and -1 as signed bytes
_NOT_OPENING = bytes(byte for byte in range(256) if byte not in b"[{")
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)


def check_nesting(document: bytes | str, limit: int = MAX_NESTING) -> None:
    """Raise NestingError, which names the place, if *document* is nested deeper than *limit* levels.

    A malformed document passes, unless it is nested too deep before its first syntax error.
    """
    data = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document
    if len(data) <= limit or len(data.translate(None, _NOT_OPENING)) <= limit:
        return
    scan = _Scan(limit)
    # In chunks, because a document of quotes alone would otherwise be split into millions of parts.
    if not all(scan.read(data[start : start + _CHUNK_BYTES]) for start in range(0, len(data), _CHUNK_BYTES)):
        raise NestingError(limit, _place(data, limit))


@overload
def decode_json(document: bytes | str) -> Any: ...
@overload
def decode_json(document: bytes | str, type: type[T]) -> T: ...
@overload
def decode_json(document: bytes | str, type: Any) -> Any: ...
def decode_json(document: bytes | str, type: Any = Any) -> Any:
    """Check *document*, then decode it as *type*, as `msgspec.json.decode` does.

    Raises msgspec.DecodeError (NestingError and msgspec.ValidationError are subclasses) and UnicodeError.
    """
    check_nesting(document)
    return msgspec.json.decode(document, type=type)


def encode_json(value: Any, *, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """Encode a *value* that comes from outside. Raises NestingError, also if the value contains itself."""
    try:
        encoded = msgspec.json.encode(value, enc_hook=enc_hook)
    except RecursionError:  # the encoder's own limit is far above ours
        raise NestingError(MAX_NESTING) from None
    check_nesting(encoded)
    return encoded


def nesting_depth(value: Any) -> int:
    """The depth to which dicts and lists are nested in *value*, found without recursion."""
    depth, level = 0, [value]
    while level := [
        item
        for outer in level
        if isinstance(outer, dict | list)
        for item in ((*outer.values(), None) if isinstance(outer, dict) else (*outer, None))
    ]:
        depth += 1
    return depth


class _Scan:
    """Counts the brackets of one document, which is read in chunks of any size."""

    __slots__ = ("_backslash", "_depth", "_in_string", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._depth = 0
        self._in_string = 0  # 1 inside a string, and so the index of the first part outside strings
        self._backslash = b""  # one at the end of the last chunk that escapes the next byte

    def read(self, chunk: bytes) -> bool:
        """Read on; False if the document is nested too deep, after which the scan is over."""
        text = self._backslash + chunk
        if b"\\" in text:  # replaced by texts of equal length, which bytes.replace does in place
            text = text.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        self._backslash = b"\\" if text.endswith(b"\\") else b""
        # Most strings have no brackets and are two adjacent quotes now. Without those two, every other byte still has
        # the same number of quotes before it, modulo 2.
        parts = text.translate(_TO_SQUARE, _NOT_STRUCTURE).replace(b'""', b"").split(b'"')
        brackets = b"".join(parts[self._in_string :: 2])
        self._in_string ^= (len(parts) - 1) & 1
        return self._count(brackets)

    def _count(self, brackets: bytes) -> bool:
        """Count *brackets*, which are square and outside strings."""
        before, opening = self._depth, brackets.count(b"[")
        self._depth += 2 * opening - len(brackets)
        if before + opening <= self._limit:
            return True
        # Each pass removes the innermost pairs, and with them one level. Few passes are enough for most documents;
        # following each bracket costs 30 ns.
        rest = brackets
        for removed in range(1, _PASSES + 1):
            rest = rest.replace(b"[]", b"")
            if before + removed + rest.count(b"[") <= self._limit:
                return True
        return max(accumulate(array("b", brackets.translate(_TO_STEPS)), initial=before)) <= self._limit


def _place(data: bytes, limit: int) -> str:
    """The first steps of the path to the value that is nested too deep, such as `tools[3].function.parameters`; "" if
    finding it would take long."""
    path: list[int | str | None] = []  # for each open container the index or name; None: the next string is a name
    for count, found in enumerate(_TOKEN.finditer(data)):
        if count == _MAX_TOKENS:
            return ""
        token = found[0]
        if token in (b"[", b"{"):
            path.append(0 if token == b"[" else None)
            if len(path) > limit:
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
    steps = path[:_PLACE_STEPS]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
