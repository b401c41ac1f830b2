"""Where a JSON document has half of a surrogate pair: the decoder refuses it and says that the document is truncated.

A character beyond U+FFFF is escaped as two halves, D800 to DBFF and DC00 to DFFF (source: RFC 8259, section 7).
Programs that cut a text in its middle send one of them alone.
"""

import re

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_LONE = re.compile(
    rb"(?<!\\)(?:\\\\)*+(?:"
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a first half without its second
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a second half without its first
)


def lone_surrogate(document: bytes) -> str | None:
    """The path of the first text in *document* that has one, such as `messages[0].content`; "" for the whole document,
    None: there is none. A member's name stands at the path of its value."""
    if _LONE.search(document) is None:
        return None
    path: list[int | str | None] = []  # for each open container the index or name; None: the next string is a name
    for found in _TOKEN.finditer(document):
        token = found[0]
        if token in (b"[", b"{"):
            path.append(0 if token == b"[" else None)
        elif token in (b"]", b"}"):
            if path:
                path.pop()
        elif token == b",":
            if path:
                last = path[-1]
                path[-1] = last + 1 if isinstance(last, int) else None
        else:
            lone = _LONE.search(token) is not None
            if path and path[-1] is None:
                path[-1] = token.strip(b'"').decode("utf-8", "replace")
            if lone:
                return _shown(path)
    return None


def _shown(path: list[int | str | None]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")
