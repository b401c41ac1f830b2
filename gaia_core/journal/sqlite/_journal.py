"""The default journal: one SQLite file that several processes of a machine may share.

One thread writes, in groups (see `_writer`); readers have connections of their own, on threads. Nothing here runs SQL
on the event loop.
"""

import asyncio
import queue
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, Self, TypeVar

from gaia_core.errors import ClosedError
from gaia_core.journal._append_meter import AppendMeter
from gaia_core.journal._contract import known_name, new_name
from gaia_core.journal._records import (
    TTL_SECONDS,
    Appended,
    IdempotentAnswer,
    Job,
    JournalStats,
    Lease,
    NewRecord,
    NewSession,
    Record,
    Replica,
    SessionInfo,
    SessionUpdate,
    Signal,
    SlotDemand,
    SlotGrant,
    Totals,
)
from gaia_core.journal.sqlite import _answers as answers
from gaia_core.journal.sqlite import _replicas as replicas
from gaia_core.journal.sqlite import _sessions as store
from gaia_core.journal.sqlite._file import JournalFile, explained, open_file
from gaia_core.journal.sqlite._writer import CHECKPOINT_SECONDS, Writer
from gaia_core.open_in_thread import opened_in_thread

_T = TypeVar("_T")

_READERS = 4


class SQLiteJournal:
    """See the module's text.

    *synchronous*: FULL keeps what was acknowledged when the power fails; NORMAL keeps the file whole, and may lose the
    last moments then. *ttl*: seconds that a heartbeat counts; *clock*: unix seconds. *checkpoint_seconds*: how long
    what was committed may stay in the write-ahead log alone, where a copy of the file misses it.
    """

    def __init__(
        self,
        path: str | Path,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        *,
        ttl: float = TTL_SECONDS,
        clock: Callable[[], float] = time.time,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        if synchronous not in ("FULL", "NORMAL"):
            raise ValueError(f"synchronous is FULL or NORMAL, not {synchronous!r}")
        self._path = Path(path)
        self._ttl = ttl
        self._clock = clock
        self._meter = AppendMeter()  # written by the writer's thread
        self._synchronous = synchronous
        self._writer = Writer(self._path, clock, self._meter, checkpoint_seconds)
        # Written by open; its writer thread closes it.
        self._file: JournalFile | None = None
        # Held by open and aclose, which await between their look at _threads and their change of it.
        self._opening = asyncio.Lock()
        # Written by open and aclose on the event loop; None: not open, and no read begins.
        self._threads: ThreadPoolExecutor | None = None
        # The idle readers. A pool thread takes one out for one read, so a connection is used by one thread at a time;
        # there are never more connections than pool threads. Closed by _close, after the threads have ended.
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()

    def __repr__(self) -> str:
        return f"SQLiteJournal({str(self._path)!r})"

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def durable(self) -> bool:
        """See Journal."""
        return True

    async def open(self) -> None:
        """See Journal."""
        async with self._opening:
            if self._threads is not None:
                return
            self._file = await opened_in_thread(lambda: open_file(self._path, self._synchronous), JournalFile.close)
            self._writer.start(self._file)
            self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="gaia journal reader")

    async def aclose(self) -> None:
        """See Journal."""
        if self._threads is not None:
            self._writer.refuse()  # at once: what is asked from now on would come after the end
        async with self._opening:
            threads, self._threads = self._threads, None
            if threads is not None:
                self._writer.refuse()
                await asyncio.to_thread(self._close, threads)

    def _close(self, threads: ThreadPoolExecutor) -> None:
        """Wait for the reads, close their connections, then for the writes; blocks."""
        threads.shutdown()
        with suppress(queue.Empty):
            while True:
                self._readers.get_nowait().close()
        self._writer.close()

    async def fault(self) -> str:
        """See Journal."""
        file = self._file
        return await asyncio.to_thread(file.fault) if file is not None and self._threads is not None else ""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def _read(self, run: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._threads is None:
            raise ClosedError(f"{self!r} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._on_reader, run)

    def _on_reader(self, run: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run in one snapshot, on a connection that nobody else uses meanwhile."""
        db: sqlite3.Connection | None = None
        try:
            db = self._reader()
            db.execute("BEGIN")
            try:
                return run(db)
            finally:
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise explained(self._path, error, "read") from error
        finally:
            if db is not None:
                self._readers.put(db)

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._readers.get_nowait()
        except queue.Empty:
            assert self._file is not None  # while a read runs, it is open
            return self._file.connect_reader()

    # Sessions.

    async def create(self, new: NewSession) -> SessionInfo:
        """See Journal."""
        new_name(new.owner, new.id)
        return await self._writer.do(lambda db: store.create(db, new, self._clock()))

    async def get(self, owner: str, id: str) -> SessionInfo:
        """See Journal."""
        known_name(owner, id)
        return await self._read(lambda db: store.get(db, owner, id))

    async def list(
        self,
        owner: str,
        *,
        query: str = "",
        limit: int = 50,
        offset: int = 0,
        agent: str | None = None,
        surface: str | None = None,
    ) -> tuple[tuple[SessionInfo, ...], int]:
        """See Journal."""
        return await self._read(lambda db: store.find(db, owner, query, limit, offset, agent, surface))

    async def update(self, owner: str, id: str, change: SessionUpdate) -> SessionInfo:
        """See Journal."""
        known_name(owner, id)
        return await self._writer.do(lambda db: store.update(db, owner, id, change, self._clock()))

    async def fork(self, owner: str, id: str, new_id: str, at: int | None = None) -> SessionInfo:
        """See Journal."""
        known_name(owner, id)
        new_name(owner, new_id)
        return await self._writer.do(lambda db: store.fork(db, owner, id, new_id, at, self._clock()))

    async def shares_past(self, owner: str, id: str) -> bool:
        """See Journal."""
        known_name(owner, id)
        return await self._read(lambda db: store.shares_past(db, owner, id))

    async def delete(self, owner: str, id: str) -> None:
        """See Journal."""
        known_name(owner, id)
        await self._writer.do(lambda db: store.delete(db, owner, id, self._clock() - self._ttl), erases=True)

    async def expire(
        self, surfaces: tuple[str, ...], *, max_age: float, max_bytes: int, limit: int = 100
    ) -> tuple[tuple[str, str], ...]:
        """See Journal."""
        old = await self._read(lambda db: store.expired(db, surfaces, self._clock() - max_age, max_bytes, limit))
        return await self._writer.do(lambda db: store.delete_expired(db, old), erases=True) if old else ()

    # The record.

    async def claim(
        self, owner: str, id: str, replica: str, turn: str | None, records: tuple[NewRecord, ...] = ()
    ) -> Lease | None:
        """See Journal."""
        known_name(owner, id)
        claim = partial(store.claim, owner=owner, id=id, replica=replica, turn=turn, ttl=self._ttl)
        return await self._writer.claim(lambda db: claim(db, now=self._clock()), records)

    async def append(self, lease: Lease, records: tuple[NewRecord, ...], *, done: bool = False) -> Appended:
        """See Journal."""
        return await self._writer.append(lease, records, done)

    async def read(
        self,
        owner: str,
        id: str,
        after_seq: int = 0,
        *,
        upto: int | None = None,
        turn: str | None = None,
    ) -> tuple[Record, ...]:
        """See Journal."""
        known_name(owner, id)
        return await self._read(lambda db: store.read(db, owner, id, after_seq, upto, turn))

    # Signals.

    async def signal(self, owner: str, id: str, kind: str, data: bytes = b"{}") -> int | None:
        """See Journal."""
        known_name(owner, id)
        return await self._writer.do(lambda db: replicas.signal(db, owner, id, kind, data))

    async def take_signals(self, lease: Lease) -> tuple[Signal, ...]:
        """See Journal."""
        return await self._writer.do(lambda db: replicas.take_signals(db, lease))

    # Replicas.

    async def beat(
        self, replica: str, address: str, agents: tuple[str, ...] = (), wanted: tuple[SlotDemand, ...] = ()
    ) -> tuple[SlotGrant, ...]:
        """See Journal."""
        return await self._writer.do(
            lambda db: replicas.beat(db, replica, address, agents, wanted, self._clock(), self._ttl)
        )

    async def replicas(self) -> tuple[Replica, ...]:
        """See Journal."""
        return await self._read(lambda db: replicas.replicas(db, self._clock() - self._ttl))

    async def orphans(self, replica: str, limit: int = 100) -> tuple[SessionInfo, ...]:
        """See Journal."""
        return await self._read(lambda db: replicas.orphans(db, replica, limit, self._clock(), self._ttl))

    async def adopt(self, dead: tuple[str, ...]) -> tuple[SessionInfo, ...]:
        """See Journal."""
        return await self._writer.do(lambda db: replicas.adopt(db, dead))

    async def release(self, replica: str) -> None:
        """See Journal."""
        await self._writer.do(lambda db: replicas.release(db, replica))

    # Answers of idempotent requests.

    async def answer_begin(
        self, name: str, fingerprint: str, replica: str, *, max_age: float, owner: str = ""
    ) -> IdempotentAnswer:
        """See Journal."""
        return await self._writer.do(
            lambda db: answers.begin(db, name, fingerprint, replica, owner, max_age, self._clock(), self._ttl)
        )

    async def answer_put(self, number: int, body: bytes) -> bool:
        """See Journal."""

        def put(db: sqlite3.Connection) -> bool:
            self._meter.answer(len(body))
            return answers.put(db, number, body)

        return await self._writer.do(put)

    async def answer_drop(self, number: int) -> None:
        """See Journal."""
        await self._writer.do(lambda db: answers.forget(db, (number,)))

    async def answer_sweep(self, *, max_age: float, keep: int, max_bytes: int, limit: int = 200) -> int:
        """See Journal."""
        now = self._clock()
        old = await self._read(lambda db: answers.expired(db, now - max_age, keep, max_bytes, limit, now - self._ttl))
        if old:
            await self._writer.do(lambda db: answers.forget(db, old), erases=True)
        return len(old)

    # Background work.

    async def enqueue(self, body: bytes, run_at: float, key: str) -> bool:
        """See Journal."""
        return await self._writer.do(lambda db: replicas.enqueue(db, body, run_at, key))

    async def due(self, limit: int = 10, *, hold: float = 60.0) -> tuple[Job, ...]:
        """See Journal."""
        return await self._writer.do(lambda db: replicas.due(db, limit, hold, self._clock()))

    async def done(self, job: Job) -> None:
        """See Journal."""
        await self._writer.do(lambda db: replicas.done(db, job))

    # Figures.

    async def totals(self, owner: str | None = None) -> Totals:
        """See Journal."""
        return await self._read(lambda db: replicas.totals(db, owner))

    async def stored_bytes(self, owner: str) -> int:
        """See Journal."""
        return await self._read(lambda db: replicas.stored_bytes(db, owner))

    def stats(self) -> JournalStats:
        """See Journal."""
        return self._meter.stats()


__all__ = ["SQLiteJournal"]
