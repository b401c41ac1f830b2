"""Presence: which servers of this user run on this machine, so that a command finds the one that it means.

A file for each in the data folder, locked for as long as its server lives: a file without a lock is a dead one's. It
says the process, the URL, and how the last reload ended. Only the user can read the folder, and only who may signal the
process can do anything with it, so this needs no key.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from gaia_core.file_lock import try_lock
from gaia_core.nesting import decode_json
from gaia_core.private_files import private_folder
from gaia_core.runtime import replica_name

FOLDER = "servers"


class RunningServer(msgspec.Struct, frozen=True, gc=False):
    """A running server. *reloads* counts the reloads that have ended; *ok*, *said*: how the last one did. *process* is
    its identity (`replica_name`): a server in a container has a *pid* that means another process outside."""

    pid: int
    process: str
    port: int
    url: str
    started: float
    reloads: int = 0
    ok: bool = True
    said: str = ""


class PidFile:
    """This server's own file. Made by `present`."""

    def __init__(self, descriptor: int, presence: RunningServer) -> None:
        self._descriptor = descriptor
        self._presence = presence
        self._write()

    def reloaded(self, *, ok: bool, said: str) -> None:
        """A reload has ended."""
        self._presence = msgspec.structs.replace(self._presence, reloads=self._presence.reloads + 1, ok=ok, said=said)
        self._write()

    def _write(self) -> None:
        # In place, because the lock is the file's: who reads meanwhile sees no whole value, and reads again.
        data = msgspec.json.encode(self._presence)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, data, 0)


@contextmanager
def present(data: Path, port: int, url: str) -> Iterator[PidFile]:
    """Be found while the block lasts. Raises OSError where the folder can't be written."""
    folder = data / FOLDER
    private_folder(folder)
    path = folder / f"{port}.json"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
        yield PidFile(descriptor, RunningServer(os.getpid(), replica_name(), port, url, time.time()))
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def running(data: Path) -> tuple[RunningServer, ...]:
    """The servers that run, by port."""
    found = (_read(path) for path in (data / FOLDER).glob("*.json"))
    return tuple(sorted((each for each in found if each is not None), key=lambda each: each.port))


def _read(path: Path) -> RunningServer | None:
    with suppress(OSError, msgspec.DecodeError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return None if _lock(descriptor) else decode_json(os.pread(descriptor, 65_536, 0), RunningServer)
        finally:
            os.close(descriptor)
    return None


def _lock(descriptor: int) -> bool:
    """Take the lock, if nobody has it. On Windows always: a lock there keeps others from reading the file, and there
    are no signals to reload by either."""
    return sys.platform == "win32" or try_lock(descriptor)
