"""Editing: replace an exact text in a file, and leave every other byte as it is.

A file is decoded so that encoding it again gives the same bytes, whatever it holds. A text is looked for as reading
shows it, with plain line ends; each line end that stays is kept, CRLF or not.
"""

import codecs
import re

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
_LINE_END = re.compile("\r?\n")


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
    def plain(self) -> str:
        """The text as reading shows it: with plain line ends."""
        return self.text.replace("\r\n", "\n")

    def replaced(self, old: str, new: str) -> str:
        """The whole text with each *old* (which has plain line ends, and so has *new*) replaced by *new*.

        Line ends are kept: the first of *new* is like the first that it replaces, and so on; where it has more, they
        are like the last, or like the one that ends the line before or the line itself.
        """
        if "\r\n" not in self.text:
            return self.text.replace(old, new)
        ends = _LINE_END.findall(self.text)
        before, ended, plain = 0, 0, self.plain
        done: list[str] = []
        while (at := plain.find(old, before)) >= 0:
            kept = plain[before:at].count("\n")
            done.append(_with_ends(plain[before:at], ends[ended : ended + kept]))
            ended += kept
            number = old.count("\n")
            here = ends[ended : ended + number]
            around = here[-1:] or ends[max(0, ended - 1) : ended] or ends[ended : ended + 1]
            wanted = new.count("\n")
            done.append(_with_ends(new, [*here[:wanted], *around * (wanted - len(here))]))
            ended += number
            before = at + len(old)
        return "".join(done) + _with_ends(plain[before:], ends[ended:])

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
        if "\r\n" in content.text or "\r\n" in old:
            old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
        number, lines = _occurrences(content, old, parts, replace_all=replace_all)
        _require_one_encoding(content, new, parts)
        growth = len(content.encode(new)) - len(content.encode(old))
        require_size(len(data) + number * growth, parts, limits)
        changed = content.encode(content.replaced(old, new))
        require_size(len(changed), parts, limits)
        replace(parent, parts, changed, status)
    replaced = f"Replaced {counted(number, 'occurrence')} in {joined(parts)}"
    return f"{replaced} ({_named(lines, number)}).{other_links(status)}"


def _with_ends(text: str, ends: list[str]) -> str:
    """*text* with *ends* in place of its line ends, one each."""
    if all(end == "\n" for end in ends):
        return text
    lines = text.split("\n")
    return "".join(part for pair in zip(lines, [*ends, ""], strict=True) for part in pair)


def _occurrences(content: _Text, old: str, parts: Parts, *, replace_all: bool) -> tuple[int, list[int]]:
    """How often *old* occurs, and the lines of the first occurrences. Raises Refused unless that is as wanted."""
    text = content.plain
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
