"""Editing: replace an exact text in a file, and leave every other byte as it is.

A file is decoded so that encoding it again gives the same bytes, whatever it holds; line ends that are CRLF
throughout are matched by, and kept for, a text that has plain ones.
"""

import codecs

import attrs

from gaia_files._call_limits import CallLimits, counted
from gaia_files._folder_lock import locked
from gaia_files._path_resolution import Parts, PathRefused, folder, joined, missing, quoted, require_name
from gaia_files._read import is_binary, read_whole
from gaia_files._write import encoded, other_links, replace, replaceable, require_size

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NAMED_LINES = 10


@attrs.frozen
class _Text:
    """A file's content as text that encodes to the very same bytes."""

    text: str
    codec: str
    errors: str

    @classmethod
    def of(cls, data: bytes, parts: Parts) -> "_Text":
        for mark, codec in _MARKS:
            if data.startswith(mark):
                try:
                    return cls(data.decode(codec, "surrogatepass"), codec, "surrogatepass")
                except UnicodeDecodeError:
                    raise PathRefused(
                        "encoding", f"{quoted(joined(parts))} is not valid {codec}.", "It can't be edited."
                    ) from None
        if is_binary(data):
            raise PathRefused("binary", f"{quoted(joined(parts))} is not a text file.", "Only text can be edited.")
        return cls(data.decode("utf-8", "surrogateescape"), "utf-8", "surrogateescape")

    @property
    def windows(self) -> bool:
        """Whether all line ends are CRLF, and there are some."""
        ends = self.text.count("\n")
        return ends > 0 and self.text.count("\r\n") == ends

    def fitted(self, text: str) -> str:
        """*text* with this file's line ends."""
        return text.replace("\r\n", "\n").replace("\n", "\r\n") if self.windows else text

    def encode(self, text: str) -> bytes:
        return text.encode(self.codec, self.errors)


def edit_text(root: int, parts: Parts, old: str, new: str, limits: CallLimits, *, replace_all: bool = False) -> str:
    """Replace *old*, which must occur exactly once unless *replace_all*, by *new*."""
    require_name(parts)
    if not old:
        raise PathRefused("empty", "The old text is empty.", "Give the exact text to replace.")
    if old == new:
        raise PathRefused("no-change", "The old and the new text are the same.", "Give a different new text.")
    for text in (old, new):
        encoded(text, "utf-8")
    with folder(root, parts[:-1]) as parent, locked((parent,), parts, limits):
        status = replaceable(parent, parts)
        if status is None:
            raise missing(parent, parts)
        data, status = read_whole(parent, parts, limits.write_bytes)
        content = _Text.of(data, parts)
        old, new = content.fitted(old), content.fitted(new)
        number, lines = _occurrences(content, old, parts, replace_all=replace_all)
        _require_one_encoding(content, new, parts)
        growth = len(content.encode(new)) - len(content.encode(old))
        require_size(len(data) + number * growth, parts, limits)
        replace(parent, parts, content.encode(content.text.replace(old, new)), status)
    replaced = f"Replaced {counted(number, 'occurrence')} in {joined(parts)}"
    return f"{replaced} ({_named(lines, number)}).{other_links(status)}"


def _occurrences(content: _Text, old: str, parts: Parts, *, replace_all: bool) -> tuple[int, list[int]]:
    """How often *old* occurs, and the lines of the first occurrences. Raises Refused unless that is as wanted."""
    text = content.text
    number, first = text.count(old), text.find(old)
    if not number:
        raise _not_found(text, old, parts)
    overlaps = number == 1 and text.find(old, first + 1) >= 0
    lines = _lines(text, old)
    if not replace_all and (number > 1 or overlaps):
        often = "more than once, overlapping itself," if overlaps else f"{number:,} times"
        raise PathRefused(
            "not-unique",
            f"The old text occurs {often} in {quoted(joined(parts))} ({_named(lines, number)}).",
            "Add the lines around it so that it occurs once, or set replace_all to true.",
        )
    return number, lines


def _lines(text: str, old: str) -> list[int]:
    found: list[int] = []
    line, counted_to, at = 1, 0, text.find(old)
    while at >= 0 and len(found) < _NAMED_LINES:
        line += text.count("\n", counted_to, at)
        found.append(line)
        counted_to, at = at, text.find(old, at + len(old))
    return found


def _named(lines: list[int], number: int) -> str:
    more = ", …" if number > len(lines) else ""
    return ("line " if number == 1 else "lines ") + ", ".join(map(str, lines)) + more


def _not_found(text: str, old: str, parts: Parts) -> PathRefused:
    what = f"The old text does not occur in {quoted(joined(parts))}."
    first = next((line.strip() for line in old.split("\n") if line.strip()), "")
    if first:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip() == first:
                there = f"Line {number} has its first line, but spaces or what follows differ: "
                return PathRefused(
                    "not-found", what, f"{there}read from start_line={number} and copy the text exactly."
                )
        if any(line.strip().casefold() == first.casefold() for line in text.split("\n")):
            return PathRefused("not-found", what, "Its letter case differs: read the file and copy the text exactly.")
    return PathRefused("not-found", what, "Read the file and copy the text exactly, with its spaces and line breaks.")


def _require_one_encoding(content: _Text, new: str, parts: Parts) -> None:
    """A file in an old 8-bit encoding takes ASCII only, or it would hold two encodings."""
    if content.codec == "utf-8" and not new.isascii() and any("\udc80" <= char <= "\udcff" for char in content.text):
        raise PathRefused(
            "encoding", f"{quoted(joined(parts))} is not UTF-8.", "Use a new text of plain ASCII characters only."
        )
