"""Limits: how much one call may read, look at, write and show, and how long it may take.

Limits()                              the defaults
Limits(seconds=2, entries=1_000)      tighter, for a slow disk
Effort(limits, cancelled)             what one call has spent so far
Page(limits.shown, limits.chars)      the lines that a call shows, and the count of those that it doesn't
"""

import time
from collections.abc import Callable

import attrs

from gaia_core.frozen_types import made_once, typed

_KIB = 1024
_MIB = 1024 * _KIB


def never() -> bool:
    """The `cancelled` of a call that nobody can cancel."""
    return False


@attrs.frozen(field_transformer=typed)
class CallLimits:
    """The bounds of one call. Sizes are in bytes of the file, *chars* and *line_chars* in characters of the output."""

    __attrs_pre_init__ = made_once

    seconds: float = 10.0
    """Time that one call may spend; what was found until then is shown, with a note."""
    entries: int = 50_000
    """Files and folders that one listing or search looks at."""
    shown: int = 1_000
    """Entries that one listing shows."""
    matches: int = 100
    """Matches that one search shows."""
    chars: int = 40_000
    """Characters of one output."""
    line_chars: int = 2_000
    """Characters of one line that are shown when a file is read."""
    match_chars: int = 200
    """Characters of one line that are shown around a match."""
    read_bytes: int = 64 * _MIB
    """Bytes of one file that are looked at to show a range of its lines."""
    search_file_bytes: int = 8 * _MIB
    """Larger files are left out of a content search."""
    search_bytes: int = 256 * _MIB
    """Bytes that one content search reads."""
    write_bytes: int = 4 * _MIB
    """Size of a file that is written, or edited."""
    lock_seconds: float = 5.0
    """Time to wait while another call changes the same folder."""


@attrs.define
class Effort:
    """What one call has spent. *stopped* is empty, or says in words which limit ended the call early."""

    limits: CallLimits
    cancelled: Callable[[], bool] = never
    stopped: str = ""
    entries: int = 0
    bytes: int = 0
    _deadline: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._deadline = time.monotonic() + self.limits.seconds

    def entry(self) -> bool:
        """Count one entry looked at; False when there is no more to spend."""
        if self.entries >= self.limits.entries:
            self.stopped = f"stopped after {self.entries:,} entries"
            return False
        self.entries += 1
        return self.entries % 64 != 0 or self.in_time()

    def read(self, size: int) -> bool:
        """Count *size* bytes read by a search; False when there is no more to spend."""
        self.bytes += size
        if self.bytes > self.limits.search_bytes:
            self.stopped = f"stopped after reading {plain_size(self.limits.search_bytes)}"
            return False
        return self.in_time()

    def in_time(self) -> bool:
        """Whether the call may go on: neither cancelled nor out of time."""
        if self.cancelled():
            self.stopped = "stopped because the call was cancelled"
        elif time.monotonic() >= self._deadline:
            self.stopped = f"stopped after {self.limits.seconds:g} seconds"
        return not self.stopped


@attrs.define
class OutputPage:
    """Lines up to a number and a length; *left_out* counts the lines after them."""

    most: int
    chars: int
    lines: list[str] = attrs.field(factory=list)
    left_out: int = 0

    def add(self, line: str) -> None:
        """Show *line*, or count it once one line didn't fit (so that what is shown has no gaps)."""
        if self.left_out or len(self.lines) >= self.most or len(line) + 1 > self.chars:
            self.left_out += 1
            return
        self.lines.append(line)
        self.chars -= len(line) + 1


def plain_size(size: int) -> str:
    """*size* bytes in words: `812 bytes`, `1.5 KiB`, `64 MiB`."""
    if size < _KIB:
        return counted(size, "byte")
    value, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 line`, `2,000 lines`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
