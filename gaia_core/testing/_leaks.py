"""What was opened and not closed: files and sockets, threads, child processes, and what Python warns of."""

import gc
import logging
import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

_GRACE_SECONDS = 3.0
_FDS = Path("/dev/fd")
_PROC = Path("/proc")


@attrs.frozen
class Open:
    """What this process has open."""

    files: frozenset[str]
    threads: frozenset[str]
    children: frozenset[int]


def open_now() -> Open:
    """What is open at this moment; what can't be seen on this system counts as nothing."""
    gc.collect()
    return Open(frozenset(_files()), frozenset(_threads()), frozenset(_children()))


def _files() -> Iterator[str]:
    """Each descriptor with what it is, so that one that was closed and opened anew counts as another."""
    for entry in sorted(_FDS.iterdir()) if _FDS.is_dir() else ():
        try:
            yield f"{entry.name}: {entry.readlink()}"
        except OSError:  # the listing's own
            continue


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        if thread.name != "gaia-tool":
            yield f"{thread.name} ({thread.ident})"


def _children() -> Iterator[int]:
    """The ids of this process's children that run (Linux)."""
    for stat in _PROC.glob("[0-9]*/stat") if _PROC.is_dir() else ():
        try:
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if int(parent) == os.getpid() and state != "Z":
            yield int(stat.parent.name)


def left(before: Open) -> tuple[str, ...]:
    """What is open that wasn't *before*; threads and children get a moment to end."""
    until = time.monotonic() + _GRACE_SECONDS
    while True:
        now = open_now()
        found = (
            *(f"the file or socket {each.partition(': ')[2]}" for each in sorted(now.files - before.files)),
            *(f"the thread {each}" for each in sorted(now.threads - before.threads)),
            *(f"the process {each}" for each in sorted(now.children - before.children)),
        )
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.05)


class Warned(logging.Handler):
    """Collects what Python warns of as unclosed, and resources whose closing failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what `_resources` logs of a closing that failed."""
        error = record.exc_info[1] if record.exc_info else None
        self.words.append(f"{record.getMessage()}: {type(error).__name__}: {error}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """What is said, meanwhile, of things that were not closed; filled when the block ends."""
    said: list[str] = []
    logger, handler = logging.getLogger("gaia_core.turn.calls._open_resources"), Warned()
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            yield said
            gc.collect()
        said += [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)]
        said += handler.words
    finally:
        logger.removeHandler(handler)
