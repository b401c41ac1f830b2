"""Where journals live in these tests: in memory, in a file, in a PostgreSQL server that the tests start on loopback."""

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import asyncpg
import pytest

from gaia_core.journal import MemoryJournal
from gaia_core.journal.postgres import PostgresJournal
from gaia_core.journal.sqlite import SQLiteJournal

INSTALL = "PostgreSQL is not installed, and these tests need it: apt-get install -y --no-install-recommends postgresql"
TTL = 15.0
START = 1_000_000.0


class MemoryHome:
    """Journals in memory; there is only one, whoever opens it."""

    kind = "memory"

    def __init__(self):
        self.now = START
        self.journal = MemoryJournal(ttl=TTL, clock=lambda: self.now)

    async def open(self):
        await self.journal.open()
        return self.journal

    async def advance(self, seconds):
        self.now += seconds

    async def close(self):
        await self.journal.aclose()


class SQLiteHome:
    """Journals on one file, as those of several processes are."""

    kind = "sqlite"

    def __init__(self, path):
        self.path = path
        self.now = START
        self.opened = []

    async def open(self):
        journal = SQLiteJournal(self.path, "NORMAL", ttl=TTL, clock=lambda: self.now)
        await journal.open()
        self.opened.append(journal)
        return journal

    async def advance(self, seconds):
        self.now += seconds

    async def close(self):
        for journal in self.opened:
            await journal.aclose()


class PostgresHome:
    """Journals in one schema of the tests' server, whose clock the test moves."""

    kind = "postgres"

    def __init__(self, server, schema):
        self.dsn = f"{server}?search_path={schema}"
        self.server = server
        self.schema = schema
        self.opened = []

    async def open(self):
        if not self.opened:
            await self.sql(self.server, f"CREATE SCHEMA {self.schema}")
        journal = PostgresJournal(self.dsn, ttl=TTL, patience=5)
        await journal.open()
        if not self.opened:
            await self.sql(
                self.dsn,
                f"CREATE TABLE test_clock AS SELECT {START}::float8 AS now;"
                "CREATE OR REPLACE FUNCTION gaia_now() RETURNS double precision LANGUAGE sql VOLATILE "
                "AS 'SELECT now FROM test_clock'",
            )
        self.opened.append(journal)
        return journal

    @staticmethod
    async def sql(dsn, script):
        db = await asyncpg.connect(dsn)
        try:
            return await db.execute(script)
        finally:
            await db.close()

    async def advance(self, seconds):
        await self.sql(self.dsn, f"UPDATE test_clock SET now = now + {seconds}")

    async def close(self):
        for journal in self.opened:
            await journal.aclose()
        await self.sql(self.server, f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def unprivileged():
    """The user to run the server as: it refuses to run as root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


class Server:
    """A PostgreSQL server in a folder of its own; `dsn` reaches it."""

    def __init__(self, folder, bin, port, user):
        self.folder, self.bin, self.port, self.user = folder, bin, port, user
        self.dsn = f"postgresql://gaia:pass-word@127.0.0.1:{port}/postgres"

    def call(self, program, *arguments):
        done = subprocess.run(
            [self.bin / program, *arguments], user=self.user, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120, check=False,
            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr.decode()}"

    def init(self):
        self.call("initdb", "-D", "data", "-U", "gaia", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self):
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories= -c fsync=off"
        self.call("pg_ctl", "start", "-D", "data", "-w", "-t", "60", "-l", "log", "-o", options)

    def stop(self):
        self.call("pg_ctl", "stop", "-D", "data", "-m", "immediate", "-w")


def make_server():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        pytest.fail(INSTALL)
    user = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="gaia-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    server = Server(folder, found[-1].parent if found else Path(on_path).resolve().parent, free_port(), user)
    server.init()
    return server


@pytest.fixture(scope="session")
def postgres():
    """A server for all tests that only need its database."""
    server = make_server()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)


@pytest.fixture
def own_postgres():
    """A server that the test may stop and start."""
    server = make_server()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)


@pytest.fixture(scope="session")
def numbers():
    return itertools.count()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_home(request, tmp_path, numbers):
    """A function that makes new, empty homes of one kind."""
    if request.param == "memory":
        return MemoryHome
    if request.param == "sqlite":
        return lambda: SQLiteHome(tmp_path / f"{next(numbers)}.db")
    server = request.getfixturevalue("postgres")
    return lambda: PostgresHome(server.dsn, f"test_{next(numbers)}")


@pytest.fixture
async def home(make_home):
    made = make_home()
    yield made
    await made.close()


@pytest.fixture
async def journal(home):
    return await home.open()
