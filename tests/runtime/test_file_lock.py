"""File locks: one holder, released with the descriptor and with the process."""

import errno
import os
import subprocess
import sys
import time

import pytest

from gaia_core.file_lock import lock_until, try_lock, unlock

HOLDER = """
import os, sys
from gaia_core.file_lock import try_lock
print(try_lock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def opened(tmp_path):
    """A function that opens the lock file once more."""
    descriptors = []

    def one():
        descriptors.append(os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o600))
        return descriptors[-1]

    yield one
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_lock_has_one_holder_until_it_is_released(opened):
    first, second = opened(), opened()
    assert try_lock(first)
    assert not try_lock(second)
    assert not lock_until(second, time.monotonic() + 0.01)
    unlock(first)
    assert lock_until(second, time.monotonic())


def test_a_lock_ends_with_the_process_that_is_killed(opened, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"True\n"
        mine = opened()
        assert not try_lock(mine)
        holder.kill()
        holder.wait()
        assert lock_until(mine, time.monotonic() + 10)


def test_a_file_system_without_locks_gives_the_lock_to_everybody(opened, monkeypatch):
    import fcntl

    def unable(*_given):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unable)
    first, second = opened(), opened()
    assert try_lock(first)
    assert try_lock(second)
    unlock(first)


def test_another_error_is_raised(opened, monkeypatch):
    import fcntl

    def broken(*_given):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output"):
        try_lock(opened())
