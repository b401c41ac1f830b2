"""Locks: one change at a time in a folder, across calls, sessions and processes.

The lock is on the folder's own descriptor (`gaia_core.file_lock`): it needs no lock file, and ends with the descriptor.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gaia_core.file_lock import lock_until, unlock
from gaia_files._call_limits import CallLimits
from gaia_files._path_resolution import Parts, PathRefused, joined, quoted, refusal_of


@contextmanager
def locked(folders: tuple[int, ...], parts: Parts, limits: CallLimits) -> Iterator[None]:
    """Hold the locks of *folders* (open descriptors of their own), in one order everywhere, so nobody deadlocks.

    Raises PathRefused after `limits.lock_seconds`. A file system without locks is used without them.
    """
    deadline = time.monotonic() + limits.lock_seconds
    by_identity = {_identity(descriptor): descriptor for descriptor in folders}
    held = []
    try:
        for _, descriptor in sorted(by_identity.items()):
            _lock(descriptor, parts, deadline)
            held.append(descriptor)
        yield
    finally:
        for descriptor in reversed(held):
            unlock(descriptor)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _lock(descriptor: int, parts: Parts, deadline: float) -> None:
    """Take one lock. Raises PathRefused when it is still held at the *deadline*."""
    try:
        taken = lock_until(descriptor, deadline)
    except OSError as error:
        raise refusal_of(error, parts) from None
    if not taken:
        folder = quoted(joined(parts[:-1]))
        raise PathRefused("busy", f"Another call is changing the folder {folder}.", "Try again in a moment.")
