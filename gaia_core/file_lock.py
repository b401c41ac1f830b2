"""File locks: advisory; released with their descriptor, so no lock outlives the process that holds it.

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if not lock_until(descriptor, time.monotonic() + 10):
        ...                                  # another process has it, or another descriptor of this one
    os.close(descriptor)                     # releases it

`share_until` takes a lock that others may share, but not on Windows. A lock file stays where it is: to delete it would
let two processes lock two files of one name. Where a file system has no locks, everyone gets the lock.
"""

import errno
import os
import sys
import time
from collections.abc import Callable

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.001, 0.05
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EBADF)


def lock_until(descriptor: int, deadline: float) -> bool:
    """Lock the file, waiting until *deadline* (`time.monotonic`); False if it is still held then. Blocks the thread.

    Raises OSError.
    """
    return _tried_until(try_lock, descriptor, deadline)


def share_until(descriptor: int, deadline: float) -> bool:
    """The same for a lock that others share; one that this descriptor holds is turned into it."""
    return _tried_until(try_share, descriptor, deadline)


def _tried_until(attempt: Callable[[int], bool], descriptor: int, deadline: float) -> bool:
    wait = _FIRST_WAIT_SECONDS
    while not attempt(descriptor):
        if time.monotonic() >= deadline:
            return False
        time.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
    return True


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock the file; False if it is held. Its first byte can't be read by others meanwhile."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def try_share(descriptor: int) -> bool:  # noqa: ARG001
        """There are no such locks: True."""
        return True

    def unlock(descriptor: int) -> None:
        """Release the lock before the descriptor is closed."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock the file or folder; False if it is held. Raises OSError."""
        return _try(descriptor, fcntl.LOCK_EX)

    def try_share(descriptor: int) -> bool:
        """Share a lock of the file or folder; False if somebody has it alone. Raises OSError."""
        return _try(descriptor, fcntl.LOCK_SH)

    def _try(descriptor: int, kind: int) -> bool:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return True
            if error.errno in _HELD:
                return False
            raise
        return True

    def unlock(descriptor: int) -> None:
        """Release the lock before the descriptor is closed. Raises OSError."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
