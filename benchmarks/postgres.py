"""A PostgreSQL server of one's own, from the system's packages: in a new folder, on loopback, without fsync.

with reserved_port() as port, running_postgres(port) as server:
    PostgresJournal(server.dsn)
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

_CALL_SECONDS = 120


class NotInstalledError(Exception):
    """There is no PostgreSQL on this machine."""

    def __init__(self) -> None:
        super().__init__("PostgreSQL is not installed: apt-get install -y --no-install-recommends postgresql")


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port of this machine for one server after the other.

    It is bound here and never listened on: nothing else is given it, and a server that sets SO_REUSEADDR can have it.
    """
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@attrs.frozen
class PostgresServer:
    """A server in a folder of its own; `dsn` reaches it."""

    folder: Path
    bin: Path
    port: int
    user: str | None

    @property
    def dsn(self) -> str:
        return f"postgresql://gaia:pass-word@127.0.0.1:{self.port}/postgres"

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.bin / program, *arguments], user=self.user, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=_CALL_SECONDS, check=False,
            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}")

    def init(self) -> None:
        self._call("initdb", "-D", "data", "-U", "gaia", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories= -c fsync=off"
        self._call("pg_ctl", "start", "-D", "data", "-w", "-t", "60", "-l", "log", "-o", options)

    def stop(self) -> None:
        self._call("pg_ctl", "stop", "-D", "data", "-m", "immediate", "-w")


@contextmanager
def running_postgres(port: int) -> Iterator[PostgresServer]:
    """A server that runs on *port*. Raises NotInstalledError."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        raise NotInstalledError
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="gaia-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        server = PostgresServer(folder, found[-1].parent if found else Path(str(on_path)).resolve().parent, port, user)
        server.init()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str | None:
    """The user to run the server as: it refuses to run as root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)
