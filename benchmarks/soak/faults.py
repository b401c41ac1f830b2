"""What goes wrong with the journal in the middle of the soak: its disk is full, or its database is stopped.

A disk is a tmpfs in a user namespace of the server's own, and is full when a file takes all that is left. Where user
namespaces are not allowed, no file may grow instead (RLIMIT_FSIZE): SQLite gets an error of the disk from that, too.
"""

import asyncio
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import attrs

from benchmarks.postgres import PostgresServer, reserved_port, running_postgres

_DISK_MB = 128
_MOUNT = 'mount -t tmpfs -o size="$1",mode=700 soak "$2" && shift 2 && exec "$@"'
_LONGEST_FILE = 32 * 1024
"""Bytes. The write-ahead log is longer soon, and the server's log must not be."""


class Fault(Protocol):
    """A journal that can be made to fail: `begin` and `end` return when it does and no longer does."""

    name: str
    journal: str
    """As for `gaia serve --journal`."""
    wrapper: tuple[str, ...]
    """What the server is started under."""
    needs_writes: bool
    """Whether it is noticed only when the journal grows."""

    async def begin(self, pid: int) -> None: ...

    async def end(self, pid: int) -> None: ...


@attrs.define
class FaultWindow:
    """When the journal fails. Written by the run, read by its clients."""

    count: int = 0
    active: bool = False

    def mark(self) -> int:
        """To be kept when a request begins, for `overlaps`."""
        return self.count - self.active

    def overlaps(self, mark: int) -> bool:
        """Whether the journal has failed at some time since *mark*."""
        return self.count > mark


class FullTmpfs:
    """See the module's text."""

    name = f"the disk is full (a tmpfs of {_DISK_MB} MB)"
    needs_writes = True

    def __init__(self, folder: str) -> None:
        self.journal = f"{folder}/journal.sqlite"
        self.wrapper = ("unshare", "-rm", "sh", "-c", _MOUNT, "sh", f"{_DISK_MB}m", folder)
        self._filler = Path(folder, "filler")

    def _seen_from_here(self, pid: int) -> Path:
        return Path(f"/proc/{pid}/root", self._filler.relative_to("/"))

    async def begin(self, pid: int) -> None:
        await asyncio.to_thread(fill, self._seen_from_here(pid))

    async def end(self, pid: int) -> None:
        self._seen_from_here(pid).unlink()


class FileSizeLimit:
    """See the module's text."""

    name = "no file may grow (RLIMIT_FSIZE; user namespaces are not allowed here)"
    wrapper = ()
    needs_writes = True

    def __init__(self, folder: str) -> None:
        self.journal = f"{folder}/journal.sqlite"

    async def begin(self, pid: int) -> None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (_LONGEST_FILE, hard))

    async def end(self, pid: int) -> None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


class StoppedDatabase:
    """A PostgreSQL server that is stopped at once, and started again."""

    name = "the database is stopped"
    wrapper = ()
    needs_writes = False

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.journal = server.dsn

    async def begin(self, pid: int) -> None:
        await asyncio.to_thread(self._server.stop)

    async def end(self, pid: int) -> None:
        await asyncio.to_thread(self._server.start)


def fill(filler: Path) -> None:
    """Let the file *filler* take all space of its disk."""
    size, step = 0, 1 << 20
    with filler.open("wb") as file:
        while step >= 512:
            try:
                os.posix_fallocate(file.fileno(), size, step)
            except OSError:
                step //= 2
            else:
                size += step


def has_user_namespaces() -> bool:
    """Whether this user may mount a tmpfs in a user namespace."""
    words = ("unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "soak", "/mnt")
    try:
        return subprocess.run(words, check=False, capture_output=True, timeout=20).returncode == 0
    except OSError:  # there is no `unshare`
        return False


@contextmanager
def fault_of(journal: str, folder: str) -> Iterator[Fault]:
    """The fault of a *journal*: `sqlite`, which is in *folder*, or `postgres`. Raises NotInstalledError."""
    if journal == "sqlite":
        yield FullTmpfs(folder) if has_user_namespaces() else FileSizeLimit(folder)
        return
    with ExitStack() as stack:
        yield StoppedDatabase(stack.enter_context(running_postgres(stack.enter_context(reserved_port()))))


@attrs.define
class Timing:
    """Seconds of each fault: until the server refused turns, and until it was ready again afterwards."""

    noticed: list[float] = attrs.field(factory=list)
    recovered: list[float] = attrs.field(factory=list)

    @contextmanager
    def of(self, found: list[float]) -> Iterator[None]:
        began = time.monotonic()
        yield
        found.append(time.monotonic() - began)
