"""`.gitignore`: what a search leaves out, matched in bounded time like every glob (a stranger wrote the file).

The rules are Git's (source: git-scm.com/docs/gitignore): the last rule that fits decides, a deeper file goes before a
higher one, `!` takes back, a slash at the beginning or in the middle ties a rule to its folder, one at the end means
folders only. What is in a left-out folder can't be taken back, because the folder isn't entered.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterable

import attrs

from gaia_files._glob import segments_fit
from gaia_files._path_resolution import Parts, PathRefused, regular_file

_NAME = ".gitignore"
_MOST_BYTES = 64 * 1024
_MOST_RULES = 1_000
_ANY_DEPTH = "**"
_ESCAPED = re.compile(r"\\(.)")
_SIGNS = frozenset("*?[\\")


@attrs.frozen
class _Rule:
    segments: tuple[Callable[[str], object] | None, ...]
    """As `segments_fit` takes them, from the folder of the file on."""
    negated: bool
    folders_only: bool


@attrs.frozen
class IgnoreFile:
    """The rules of the file in the folder that is *depth* levels below the root.

    Most entries fit no rule: the *names* and *pattern* of the rules for any depth, and the few *tied* ones, say so
    quickly.
    """

    depth: int
    rules: tuple[_Rule, ...]
    names: frozenset[str]
    pattern: Callable[[str], object] | None
    tied: tuple[_Rule, ...]

    @classmethod
    def of(cls, text: str, depth: int) -> "IgnoreFile":
        """The rules of a file's *text*; a line that is no rule is left out, as Git does."""
        rules: list[_Rule] = []
        names: set[str] = set()
        patterns: list[str] = []
        tied: list[_Rule] = []
        for line in text.splitlines():
            segments, negated, folders_only = _parsed(line)
            if not segments or len(rules) == _MOST_RULES:
                continue
            try:
                rule = _Rule(tuple(map(_compiled, segments)), negated, folders_only)
            except re.error:
                continue
            rules.append(rule)
            if segments[:-1] != [_ANY_DEPTH] or segments[-1] == _ANY_DEPTH:
                tied.append(rule)
            elif _SIGNS & set(segments[-1]):
                patterns.append(_translated(segments[-1]))
            else:
                names.add(segments[-1])
        quick = re.compile("|".join(patterns)).match if patterns else None
        return cls(depth, tuple(rules), frozenset(names), quick, tuple(tied))

    def says(self, parts: Parts, *, folder: bool) -> bool | None:
        """Whether the entry is left out; None when no rule fits it. *parts* are from the root."""
        below, name = parts[self.depth :], parts[-1]
        by_name = name in self.names or (self.pattern is not None and self.pattern(name))
        if not by_name and not any(segments_fit(rule.segments, below) for rule in self.tied):
            return None
        for rule in reversed(self.rules):
            if (folder or not rule.folders_only) and segments_fit(rule.segments, below):
                return not rule.negated
        return None


def is_ignored(files: Iterable[IgnoreFile], parts: Parts, *, folder: bool) -> bool:
    """Whether an entry is left out by *files*, the deepest first."""
    return next((said for file in files if (said := file.says(parts, folder=folder)) is not None), False)


def ignore_file_in(descriptor: int, parts: Parts) -> IgnoreFile | None:
    """The rules of the `.gitignore` in the open folder *parts*; None without one, or when it can't be read."""
    try:
        with regular_file(descriptor, (*parts, _NAME)) as (file, status):
            if status.st_size > _MOST_BYTES:
                return None
            data = os.read(file, _MOST_BYTES)
    except (PathRefused, OSError):
        return None
    return IgnoreFile.of(data.decode("utf-8-sig", "replace"), len(parts))


def _parsed(line: str) -> tuple[list[str], bool, bool]:
    """The segments of a rule (none for a blank line or a comment), whether it is negated, and whether it ends with a
    slash."""
    text = line.rstrip("\r")
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    if text.startswith("#"):
        return [], False, False
    negated = text.startswith("!")
    text = text[1:] if negated else text
    folders_only = text.endswith("/")
    body = text.rstrip("/")
    segments = [segment for segment in body.split("/") if segment]
    if segments and "/" not in body:
        segments = [_ANY_DEPTH, *segments]
    if segments and segments[-1] == _ANY_DEPTH:
        segments.append("*")  # what is in a folder, not the folder itself
    return segments, negated, folders_only


def _compiled(segment: str) -> Callable[[str], object] | None:
    return None if segment == _ANY_DEPTH else re.compile(_translated(segment)).match


def _translated(segment: str) -> str:
    """The regular expression of a segment. (`fnmatch` emits patterns that don't backtrack from star to star.)"""
    literal = _ESCAPED.sub(lambda found: f"[{found[1]}]" if found[1] in "*?[" else found[1], segment)
    return fnmatch.translate(re.sub(r"\*+", "*", literal))
