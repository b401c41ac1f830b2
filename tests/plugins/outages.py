"""Journals that fail for a while: a SQLite file on a full disk, a PostgreSQL server behind a cut or frozen link.

async with await outage.journal() as journal: ...    # each time another one on the same record
await outage.begin()                                 # for the first one
await outage.end()
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Self

import asyncpg
import pytest

from gaia_core.errors import ClosedError
from gaia_core.journal.postgres import PostgresJournal
from gaia_core.journal.sqlite import SQLiteJournal

_MOST_PAGES = 1 << 30


class Relay:
    """A way to a PostgreSQL server.

    It can lose answers: once *lose* says yes to what is sent, the link is cut after it. `cut` ends its connections and
    refuses others until `mend`; `freeze` leaves them open, and nothing passes.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.lose: Callable[[bytes], bool] | None = None
        self.lost = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self._passes = asyncio.Event()
        self._passes.set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.close()
        await self._end_links()
        await self.server.wait_closed()

    @property
    def own_port(self) -> int:
        return self.server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Refuse further connections; those that are open stay so."""
        self._is_cut = True

    async def cut(self) -> None:
        self.refuse()
        await self._end_links()

    async def freeze(self) -> None:
        self._passes.clear()

    async def mend(self) -> None:
        self._is_cut = False
        self._passes.set()

    async def _end_links(self) -> None:
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.port)
        losing = False

        async def up() -> None:
            nonlocal losing
            while data := await reader.read(65536):
                await self._passes.wait()
                if self.lose is not None and self.lose(data):
                    losing = True
                    self.lose = None
                up_writer.write(data)

        async def down() -> None:
            while data := await up_reader.read(65536):
                await self._passes.wait()
                if losing:
                    self.lost += 1
                    return
                writer.write(data)

        pair = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            with suppress(asyncio.CancelledError):  # by `_end_links`, and there is nothing else to do here
                await asyncio.wait(pair, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in pair:
                each.cancel()
            await asyncio.gather(*pair, return_exceptions=True)
            writer.transport.abort()
            up_writer.close()


@pytest.fixture
def relay() -> type[Relay]:
    return Relay


class FullDisk:
    """SQLite journals on one file. In an outage the disk is full for the first of them: it gets no further page."""

    def __init__(self, path) -> None:
        self._path = path
        self._first: SQLiteJournal | None = None

    async def journal(self) -> SQLiteJournal:
        journal = SQLiteJournal(self._path, "NORMAL")
        self._first = self._first or journal
        return journal

    async def begin(self) -> None:
        await self._limit(1)  # no less than it has now

    async def end(self) -> None:
        await self._limit(_MOST_PAGES)

    async def _limit(self, pages: int) -> None:
        assert self._first is not None
        # A journal that was closed meanwhile has no limit any more.
        with suppress(ClosedError):
            await self._first._writer.do(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())


class LostDatabase:
    """PostgreSQL journals on one schema. In an outage the first of them can't reach the server: its connections end, or
    they stay open and nothing passes."""

    def __init__(self, port: int, schema: str, stack: AsyncExitStack, *, frozen: bool) -> None:
        self._frozen = frozen
        self._port = port
        self._schema = schema
        self._stack = stack
        self._first: Relay | None = None

    async def journal(self) -> PostgresJournal:
        relay = await self._stack.enter_async_context(Relay(self._port))
        self._first = self._first or relay
        address = f"postgresql://gaia:pass-word@127.0.0.1:{relay.own_port}/postgres?search_path={self._schema}"
        return PostgresJournal(address, patience=0.2)

    async def begin(self) -> None:
        assert self._first is not None
        await (self._first.freeze() if self._frozen else self._first.cut())

    async def end(self) -> None:
        assert self._first is not None
        await self._first.mend()


@pytest.fixture(params=["sqlite", "postgres", "frozen"])
async def outage(request, tmp_path, numbers):
    """See the module's text. A record needs a further page where it has some 20,000 characters."""
    if request.param == "sqlite":
        yield FullDisk(tmp_path / "outage.db")
        return
    server = request.getfixturevalue("postgres")
    schema = f"outage_{next(numbers)}"
    async with AsyncExitStack() as stack:
        db = await asyncpg.connect(server.dsn)
        stack.push_async_callback(db.close)
        await db.execute(f"CREATE SCHEMA {schema}")
        stack.push_async_callback(db.execute, f"DROP SCHEMA {schema} CASCADE")
        yield LostDatabase(server.port, schema, stack, frozen=request.param == "frozen")
