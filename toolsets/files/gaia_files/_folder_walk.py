"""Walking: what is in a folder, sorted, below the root, never through a link; lists and finds names.

Each folder is opened anew from the root, so a walk holds one descriptor however deep the tree is, and a folder that
is swapped for a link meanwhile is left out like any link.
"""

import heapq
import os
from collections.abc import Iterator

import attrs

from gaia_files._call_limits import Effort, OutputPage, counted
from gaia_files._gitignore import IgnoreFile, ignore_file_in, is_ignored
from gaia_files._glob import Glob
from gaia_files._path_resolution import (
    DEPTH,
    Parts,
    PathRefused,
    addressable,
    composed,
    folder,
    joined,
    quoted,
    refusal_of,
)

SKIPPED = frozenset(
    {
        *(".git", ".hg", ".svn", ".venv", "venv", ".tox", "node_modules"),
        *("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
    }
)
"""Folders that a recursive walk names but doesn't enter, unless it starts there."""

_WIDE = 1_000
"""A folder with more entries waits until the others were looked at."""

_GLOB_CHARS = frozenset("*?[{")
_NAMED_FOLDERS = 10


@attrs.frozen
class FolderEntry:
    """One entry of a folder; *kind* is `file`, `folder`, `link` or `special`."""

    parts: Parts
    kind: str


@attrs.define
class Walk:
    """A walk below *start*; iterate it once, then ask what it left out.

    In order of path, each folder before what is in it. *effort* bounds it, and says when it ended early.
    """

    root: int
    start: Parts
    effort: Effort
    recursive: bool = True
    skipped: list[Parts] = attrs.field(factory=list)
    unreadable: int = 0
    too_deep: int = 0

    def __iter__(self) -> Iterator[FolderEntry]:
        waiting = list(reversed(self._read(self.start)))
        while waiting:
            entry = waiting.pop()
            yield entry
            if self.recursive and entry.kind == "folder" and self._enters(entry) and not self.effort.stopped:
                waiting += reversed(self._below(entry.parts))

    def notes(self) -> list[str]:
        """What was left out, a note each."""
        notes = []
        if self.skipped:
            notes.append(f"not entered: {self._skips()}; give one as the path to look into it")
        if self.too_deep:
            notes.append(f"{counted(self.too_deep, 'folder')} deeper than {DEPTH} levels not entered")
        if self.unreadable:
            notes.append(f"{counted(self.unreadable, 'folder')} could not be read")
        return notes

    def _skips(self) -> str:
        """The folders that were not entered: a path where there is one of a name, else the name and their number."""
        by_name: dict[str, list[Parts]] = {}
        for parts in self.skipped:
            by_name.setdefault(parts[-1], []).append(parts)
        return ", ".join(
            joined(paths[0]) if len(paths) == 1 else f"{len(paths):,} folders {name}"
            for name, paths in sorted(by_name.items())
        )

    def _enters(self, entry: FolderEntry) -> bool:
        if entry.parts[-1] in SKIPPED:
            self.skipped.append(entry.parts)
            return False
        if len(entry.parts) >= DEPTH:
            self.too_deep += 1
            return False
        return True

    def _below(self, parts: Parts) -> list[FolderEntry]:
        try:
            return self._read(parts)
        except PathRefused:
            self.unreadable += 1
            return []

    def _read(self, parts: Parts, most: int | None = None) -> list[FolderEntry]:
        """The entries of a folder; one more than *most* when there are more than that."""
        found: list[FolderEntry] = []
        try:
            with folder(self.root, parts) as descriptor, os.scandir(descriptor) as entries:
                for entry in entries:
                    if (most is not None and len(found) > most) or not self.effort.entry():
                        break
                    found.append(FolderEntry((*parts, entry.name), _kind(entry)))
        except OSError as error:
            raise refusal_of(error, parts) from None
        return sorted(found, key=lambda entry: entry.parts)


@attrs.define
class BreadthWalk(Walk):
    """A walk in which no large folder keeps the others waiting, and which leaves out what `.gitignore` does.

    A folder's turn comes by the number of entries in the folders above it, multiplied: the breadth of the tree down to
    it. One with very many entries itself is looked at after those that have fewer. With *ignoring*, `.gitignore` files
    count from the root on; where the walk starts in a folder that they leave out, from there on.
    """

    ignoring: bool = False
    ignored_files: int = 0
    ignored_folders: list[Parts] = attrs.field(factory=list)

    def __iter__(self) -> Iterator[FolderEntry]:
        waiting: list[tuple[float, Parts, bool, tuple[IgnoreFile, ...]]] = [
            (1.0, self.start, False, self._rules_above())
        ]
        first = True
        while waiting and not self.effort.stopped:
            breadth, parts, whole, rules = heapq.heappop(waiting)
            entries = self._look(parts, whole, first)
            first = False
            if not whole and len(entries) > _WIDE:
                heapq.heappush(waiting, (breadth * len(entries), parts, True, rules))
                continue
            here = self._rules_of(parts, entries, rules)
            for entry in entries:
                is_folder = entry.kind == "folder"
                if here and is_ignored(here, entry.parts, folder=is_folder):
                    self._leave_out(entry)
                    continue
                yield entry
                if is_folder and self._enters(entry):
                    heapq.heappush(waiting, (breadth * max(2, len(entries)), entry.parts, False, here))

    def notes(self) -> list[str]:
        """What was left out, a note each."""
        notes = super().notes()
        left_out = [joined(parts) for parts in sorted(self.ignored_folders)[:_NAMED_FOLDERS]]
        if len(self.ignored_folders) > len(left_out):
            left_out.append(f"{len(self.ignored_folders) - len(left_out):,} more folders")
        if self.ignored_files:
            left_out.append(counted(self.ignored_files, "file"))
        if left_out:
            notes.append(f"left out by .gitignore: {', '.join(left_out)}; give one as the path to look into it")
        return notes

    def _look(self, parts: Parts, whole: bool, first: bool) -> list[FolderEntry]:
        try:
            return self._read(parts, None if whole else _WIDE)
        except PathRefused:
            if first:
                raise
            self.unreadable += 1
            return []

    def _leave_out(self, entry: FolderEntry) -> None:
        if entry.kind == "folder":
            if entry.parts[-1] in SKIPPED:
                self.skipped.append(entry.parts)
            else:
                self.ignored_folders.append(entry.parts)
        elif entry.kind == "file":
            self.ignored_files += 1

    def _rules_of(
        self, parts: Parts, entries: list[FolderEntry], above: tuple[IgnoreFile, ...]
    ) -> tuple[IgnoreFile, ...]:
        """The rules for what is in the folder *parts*, the deepest first."""
        if not self.ignoring or not any(entry.parts[-1] == ".gitignore" for entry in entries):
            return above
        return self._with_file(parts, above)

    def _with_file(self, parts: Parts, above: tuple[IgnoreFile, ...]) -> tuple[IgnoreFile, ...]:
        try:
            with folder(self.root, parts) as descriptor:
                found = ignore_file_in(descriptor, parts)
        except (PathRefused, OSError):
            return above
        return above if found is None else (found, *above)

    def _rules_above(self) -> tuple[IgnoreFile, ...]:
        rules: tuple[IgnoreFile, ...] = ()
        if not self.ignoring:
            return rules
        for depth in range(len(self.start)):
            rules = self._with_file(self.start[:depth], rules)
            if is_ignored(rules, self.start[: depth + 1], folder=True):
                return ()  # asked for by name
        return rules


def list_folder(root: int, start: Parts, pattern: str, *, recursive: bool, effort: Effort) -> str:
    """The entries below *start* that fit *pattern* (all when it is empty), a line each, then notes in brackets."""
    glob = Glob.of(pattern) if pattern else None
    walk = Walk(root, start, effort, recursive or "/" in pattern or "**" in pattern)
    return _shown(walk, glob, f"Nothing matches {quoted(pattern)}" if pattern else "There is nothing")


def find_names(root: int, start: Parts, name: str, effort: Effort) -> str:
    """The entries anywhere below *start* whose name contains *name*, or fits it when it is a glob; any case."""
    if not name.strip():
        raise PathRefused("empty", "There is no name to find.", "Give a part of a name, or a glob such as *.py.")
    pattern = name if _GLOB_CHARS & set(name) else None
    walk = BreadthWalk(root, start, effort)
    if pattern is None and "/" not in name:
        return _shown(walk, composed(name).casefold(), f"No name contains {quoted(name)}")
    return _shown(walk, Glob.of(pattern or f"**/{name}", ignore_case=True), f"Nothing matches {quoted(name)}")


def _shown(walk: Walk, wanted: Glob | str | None, nothing: str) -> str:
    limits = walk.effort.limits
    page, unaddressable = OutputPage(limits.shown, limits.chars), 0
    for entry in walk:
        if not _wanted(entry.parts[len(walk.start) :], wanted):
            continue
        page.add(joined(entry.parts) + _mark(entry.kind))
        unaddressable += not addressable(entry.parts[-1])
    so_far = " so far" if walk.effort.stopped else ""
    notes = [] if page.lines else [f"{nothing} in {quoted(joined(walk.start))}{so_far}"]
    if page.left_out:
        notes.append(f"… {page.left_out:,} more not shown; narrow it with path or glob")
    if walk.effort.stopped:
        notes.append(f"{walk.effort.stopped}; there may be more, look in one folder at a time")
    if unaddressable:
        notes.append(f"{counted(unaddressable, 'name')} not valid UTF-8, shown with \\x, can't be opened")
    return "\n".join([*page.lines, *(f"[{note}]" for note in notes + walk.notes())])


def _mark(kind: str) -> str:
    match kind:
        case "file":
            return ""
        case "folder":
            return "/"
        case "link":
            return " (link, not followed)"
        case _:
            return " (special file)"


def _wanted(parts: Parts, wanted: Glob | str | None) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return wanted in composed(parts[-1]).casefold()
    return wanted.matches(parts)


def _kind(entry: "os.DirEntry[str]") -> str:
    try:
        if entry.is_symlink():
            return "link"
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "file" if entry.is_file(follow_symlinks=False) else "special"
    except OSError:
        return "special"
