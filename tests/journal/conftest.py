"""Where journals live in these tests: in memory, in a file, in the tests' PostgreSQL server."""

import asyncpg
import pytest

from gaia_core.journal import MemoryJournal
from gaia_core.journal.postgres import PostgresJournal
from gaia_core.journal.sqlite import SQLiteJournal

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
