"""Globs: `*`, `?`, `[a-z]`, `**` and `{py,md}`, matched in bounded time.

A glob without a slash is matched against the name alone, at any depth; one with a slash against the whole path below
the folder that is listed. `**` stands for any number of folders, none included.
"""

import fnmatch
import re
from collections.abc import Callable

import attrs

from gaia_files._path_resolution import Parts, PathRefused, composed, quoted

_MOST_CHARS = 500
_MOST_ALTERNATIVES = 64
_ANY_DEPTH = "**"
_BRACES = re.compile(r"\{([^{}]*)\}")


@attrs.frozen
class Glob:
    """A compiled glob; `Glob.of("*.{py,md}").matches(("src", "a.py"))`."""

    alternatives: tuple[tuple[Callable[[str], object] | None, ...], ...]
    by_name: bool

    @classmethod
    def of(cls, pattern: str, *, ignore_case: bool = False) -> "Glob":
        """Compile *pattern*. Raises Refused when it is too long or has too many alternatives."""
        if len(pattern) > _MOST_CHARS:
            raise PathRefused("glob", f"The glob {quoted(pattern)} is too long.", f"At most {_MOST_CHARS} characters.")
        if "\\" in pattern and "/" not in pattern:
            pattern = pattern.replace("\\", "/")  # as Windows writes paths; no glob here has escapes
        spelled = [_segments(one) for one in _expanded(composed(pattern))]
        flags = re.IGNORECASE if ignore_case else 0
        return cls(
            tuple(tuple(_compiled(segment, flags) for segment in segments) for segments in spelled),
            by_name=all(len(segments) == 1 for segments in spelled) and "/" not in pattern.removeprefix("./"),
        )

    def matches(self, parts: Parts) -> bool:
        """Whether the path *parts*, relative to the listed folder, fits."""
        wanted = tuple(map(composed, parts[-1:] if self.by_name else parts))
        return any(segments_fit(segments, wanted) for segments in self.alternatives)


def _segments(pattern: str) -> list[str]:
    return [segment for segment in pattern.split("/") if segment not in ("", ".")]


def _expanded(pattern: str) -> list[str]:
    """*pattern* with each `{a,b}` written out; only innermost braces are looked at, each once."""
    done, waiting = [], [pattern]
    while waiting:
        one = waiting.pop()
        found = _BRACES.search(one)
        if found is None:
            done.append(one)
            continue
        waiting += [one[: found.start()] + choice + one[found.end() :] for choice in found[1].split(",")]
        if len(waiting) + len(done) > _MOST_ALTERNATIVES:
            raise PathRefused("glob", f"The glob {quoted(pattern)} has too many alternatives.", "Use a simpler one.")
    return done


def _compiled(segment: str, flags: int) -> Callable[[str], object] | None:
    """A segment's matcher; None for `**`. (`fnmatch` emits patterns that don't backtrack from star to star.)"""
    if segment == _ANY_DEPTH:
        return None
    try:
        return re.compile(fnmatch.translate(re.sub(r"\*+", "*", segment)), flags).match
    except re.error:
        raise PathRefused("glob", f"{quoted(segment)} is not a valid glob.", "Use * ? [abc] {a,b} **.") from None


def segments_fit(segments: tuple[Callable[[str], object] | None, ...], parts: Parts) -> bool:
    """Whether *segments* fit *parts*: the set of reachable positions, moved along the path; never exponential."""
    reached = _through(segments, {0})
    for name in parts:
        after = set()
        for position in reached:
            if position == len(segments):
                continue
            matcher = segments[position]
            if matcher is None:
                after.add(position)
            elif matcher(name):
                after.add(position + 1)
        reached = _through(segments, after)
        if not reached:
            return False
    return len(segments) in reached


def _through(segments: tuple[Callable[[str], object] | None, ...], positions: set[int]) -> set[int]:
    """*positions* and those behind a `**` that stands for nothing."""
    reached = set(positions)
    for position in positions:
        at = position
        while at < len(segments) and segments[at] is None:
            at += 1
            reached.add(at)
    return reached
