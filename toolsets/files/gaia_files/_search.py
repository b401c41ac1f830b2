"""Searching: lines of text files that contain a text, below the root.

The text is literal. A regular expression from a model could take exponential time in a thread that nobody can stop,
so there are none; letter case is ignored unless asked otherwise.
"""

from collections.abc import Iterator

import attrs

from gaia_files._call_limits import Effort, OutputPage, counted, plain_size
from gaia_files._folder_walk import BreadthWalk
from gaia_files._glob import Glob
from gaia_files._path_resolution import (
    Parts,
    PathRefused,
    folder,
    joined,
    kind_of,
    missing,
    quoted,
    refusal_of,
    shown,
    status_of,
)
from gaia_files._read import is_binary, marked_encoding, read_whole

_MOST_QUERY_CHARS = 1_000
_UNSHOWN_BETWEEN_CHECKS = 1_024
_FOLDED_AT_ONCE = 64 * 1024
_PATTERN_SIGNS = (".*", "\\", "[", "|", "^", "$", ".+", "(?")


@attrs.define
class _Search:
    """One search: what it looks for, what it shows, and what it left out."""

    root: int
    text: str
    case_sensitive: bool
    effort: Effort
    page: OutputPage
    large: int = 0
    unreadable: int = 0

    def look_around(self, parts: Parts) -> None:
        """`look_into` for a file that a walk came across: what can't be searched is counted."""
        try:
            self.look_into(parts)
        except PathRefused as refusal:
            self.large += refusal.rule == "too-large"
            self.unreadable += refusal.rule not in ("too-large", "not-found")

    def look_into(self, parts: Parts) -> None:
        """Add the matching lines of one file; binary files have none."""
        limits = self.effort.limits
        with folder(self.root, parts[:-1]) as parent:
            data, _ = read_whole(parent, parts, limits.search_file_bytes)
        if not self.effort.read(len(data)):
            return
        text = _decoded(data)
        if text is None:
            return
        for number, line, column in self._matches(text):
            self.page.add(f"{joined(parts)}:{number}: {_window(line, column, limits.match_chars)}")
            if self.page.left_out % _UNSHOWN_BETWEEN_CHECKS == 1 and not self.effort.in_time():
                return

    def _matches(self, text: str) -> Iterator[tuple[int, str, int]]:
        """The number, text and matching column of each line on which a match starts."""
        folded = text if self.case_sensitive else _folded(text)
        if (at := folded.find(self.text)) < 0:
            return
        # Folding makes some characters longer and none shorter: of equal length, both have the same positions.
        lines = text.split("\n") if len(folded) != len(text) else None
        number, counted_to = 1, 0
        while at >= 0:
            number += folded.count("\n", counted_to, at)
            start, end = folded.rfind("\n", 0, at) + 1, folded.find("\n", at)
            end = len(folded) if end < 0 else end
            yield number, text[start:end] if lines is None else lines[number - 1], at - start
            number, counted_to = number + 1, end + 1
            at = folded.find(self.text, end + 1)


def search(root: int, start: Parts, text: str, pattern: str, *, case_sensitive: bool, effort: Effort) -> str:
    """Lines with *text* in the files below *start* (or in the file *start*), as `path:line: text`, then notes."""
    if not text.strip():
        raise PathRefused("empty", "There is no text to search for.", "Give a word or a phrase.")
    if len(text) > _MOST_QUERY_CHARS:
        raise PathRefused(
            "too-large", "The text to search for is too long.", f"At most {_MOST_QUERY_CHARS} characters."
        )
    literal = text.replace("\r\n", "\n")
    looking = _Search(
        root,
        literal if case_sensitive else literal.casefold(),
        case_sensitive,
        effort,
        OutputPage(effort.limits.matches, effort.limits.chars),
    )
    glob = Glob.of(pattern) if pattern else None
    if _is_file(root, start):
        looking.look_into(start)
        return _report(looking, text, start, [])
    walk = BreadthWalk(root, start, effort, ignoring=True)
    for entry in walk:
        if effort.stopped:
            break
        if entry.kind == "file" and (glob is None or glob.matches(entry.parts[len(start) :])):
            looking.look_around(entry.parts)
    return _report(looking, text, start, walk.notes())


def _report(looking: _Search, text: str, start: Parts, walked: list[str]) -> str:
    effort, page, notes = looking.effort, looking.page, []
    if not page.lines:
        so_far = " so far" if effort.stopped else ""
        notes.append(f"Nothing contains {quoted(text)} in {quoted(joined(start))}{so_far}")
        if any(sign in text for sign in _PATTERN_SIGNS):
            notes.append("the text is searched as it is, not as a regular expression; try a plain word")
    if page.left_out:
        notes.append(f"… {counted(page.left_out, 'more match', 'more matches')} not shown; narrow it with path or glob")
    if effort.stopped:
        notes.append(f"{effort.stopped}; there may be more matches, narrow it with path or glob")
    if looking.large:
        size = plain_size(effort.limits.search_file_bytes)
        notes.append(f"{counted(looking.large, 'file')} larger than {size} not searched")
    if looking.unreadable:
        notes.append(f"{counted(looking.unreadable, 'file')} could not be read")
    return "\n".join([*page.lines, *(f"[{note}]" for note in notes + walked)])


def _is_file(root: int, parts: Parts) -> bool:
    if not parts:
        return False
    with folder(root, parts[:-1]) as parent:
        try:
            status = status_of(parent, parts[-1])
        except OSError as error:
            raise refusal_of(error, parts) from None
        if status is None:
            raise missing(parent, parts)
    return kind_of(status.st_mode) != "folder"


def _decoded(data: bytes) -> str | None:
    """The text of a file with plain line breaks; None for a binary one."""
    marked = marked_encoding(data)
    if marked is None and is_binary(data):
        return None
    return data.decode(marked or "utf-8", "replace").replace("\r\n", "\n")


def _folded(text: str) -> str:
    """*text* without letter case. In slices, because one call on a large text would keep all other threads waiting."""
    if text.isascii() or len(text) <= _FOLDED_AT_ONCE:
        return text.casefold()
    return "".join(text[at : at + _FOLDED_AT_ONCE].casefold() for at in range(0, len(text), _FOLDED_AT_ONCE))


def _window(line: str, column: int, most: int) -> str:
    """*line*, or the part of a long one around *column*."""
    if len(line) > most:
        start = max(0, min(column - most // 4, len(line) - most))
        end = start + most
        line = ("…" if start else "") + line[start:end] + ("…" if end < len(line) else "")
    return shown(line.strip())
