"""Locks: one change at a time in a folder, across calls, sessions and processes.

An advisory flock on the folder's own descriptor: it needs no lock file, and ends with the descriptor.
"""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gaia_files._call_limits import CallLimits
from gaia_files._path_resolution import Parts, PathRefused, joined, quoted, refusal_of

if sys.platform != "win32":
    import fcntl

_FIRST_WAIT, _LONGEST_WAIT = 0.001, 0.05
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_UNABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EBADF)


@contextmanager
def locked(folders: tuple[int, ...], parts: Parts, limits: CallLimits) -> Iterator[None]:
    """Hold the locks of *folders* (open descriptors of their own), in one order everywhere, so nobody deadlocks.

    Raises Refused after `limits.lock_seconds`. A file system without locks is used without them.
    """
    deadline = time.monotonic() + limits.lock_seconds
    by_identity = {_identity(descriptor): descriptor for descriptor in folders}
    held = []
    try:
        for _, descriptor in sorted(by_identity.items()):
            if _taken(descriptor, parts, deadline):
                held.append(descriptor)
        yield
    finally:
        for descriptor in reversed(held):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _taken(descriptor: int, parts: Parts, deadline: float) -> bool:
    """Take one lock; False where there are none."""
    wait = _FIRST_WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNABLE:
                return False
            if error.errno not in _TAKEN:
                raise refusal_of(error, parts) from None
        else:
            return True
        if time.monotonic() >= deadline:
            folder = quoted(joined(parts[:-1]))
            raise PathRefused("busy", f"Another call is changing the folder {folder}.", "Try again in a moment.")
        time.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT)
