"""The journal for more than one machine: a PostgreSQL database. Appends are written in groups (see `_group_appends`).

When a connection is lost, `_run` repeats the operation on a new one. So every operation can tell that it was carried
out before: by a natural key, or by a random token that it leaves in the row. The address is kept to connect with, and
never shown.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar
from urllib.parse import urlsplit

import asyncpg

from gaia_core.errors import ClosedError, GaiaError, JournalError, NotFoundError
from gaia_core.journal._append_meter import AppendMeter
from gaia_core.journal._contract import known_name, new_name, with_first
from gaia_core.journal._record_positions import earlier_parents, position_records
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
from gaia_core.journal.postgres import _answers as answers
from gaia_core.journal.postgres import _replicas as replicas
from gaia_core.journal.postgres import _sessions as store
from gaia_core.journal.postgres._group_appends import Appends, token
from gaia_core.journal.postgres._schema import Connection, migrate

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_CONNECTIONS = 8
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_COMMAND_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TransactionRollbackError,
)
"""Worth another try: the connection went away, the server restarts, or two transactions met."""


class PostgresJournal:
    """See the module's text.

    *dsn*: `postgresql://user:password@host:port/database`. *ttl*: seconds that a heartbeat counts, by the database's
    clock. *patience*: seconds to go on trying while the database is out of reach.
    """

    def __init__(self, dsn: str, *, ttl: float = TTL_SECONDS, patience: float = 30.0) -> None:
        self._dsn = dsn
        self._where = _shown(dsn)
        self._ttl = ttl
        self._patience = patience
        self._meter = AppendMeter()  # written on the event loop
        self._appends = Appends(self._run, self._meter)
        # Held by open and aclose, which await between their look at _pool and their change of it.
        self._opening = asyncio.Lock()
        # Written by open and aclose; None: not open, and _run refuses. A connection belongs to one _run at a time.
        self._pool: asyncpg.Pool | None = None

    def __repr__(self) -> str:
        return f"PostgresJournal({self._where!r})"

    @property
    def durable(self) -> bool:
        """See Journal."""
        return True

    async def open(self) -> None:
        """See Journal."""
        async with self._opening:
            if self._pool is not None:
                return
            try:
                self._pool = asyncpg.create_pool(
                    self._dsn,
                    min_size=0,
                    max_size=_CONNECTIONS,
                    timeout=_CONNECT_SECONDS,
                    command_timeout=_COMMAND_SECONDS,
                )
                await self._pool
            except (asyncpg.InterfaceError, ValueError):
                self._pool = None
                raise JournalError(f"the journal's address ({self._where}) is no PostgreSQL address") from None
            try:
                await self._run(lambda db: migrate(db, self._where), opening=True)
            except BaseException:
                await self._close()
                raise

    async def aclose(self) -> None:
        """See Journal."""
        async with self._opening:
            await self._close()

    async def _close(self) -> None:
        try:
            # The appends first: they are written through the pool.
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._appends.finish()
        except TimeoutError:
            pass  # the server doesn't answer
        finally:
            pool, self._pool = self._pool, None
            if pool is not None:
                await _closed(pool)

    async def fault(self) -> str:
        """See Journal. A database that is away fails the writes themselves."""
        return ""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def _run(self, work: Callable[[Connection], Awaitable[_T]], *, opening: bool = False) -> _T:
        """What *work* returns on a connection; it is called again when the connection is lost.

        Raises JournalError when the database is out of reach for *patience* seconds, or refuses. If the caller is
        cancelled, the connection is closed at once. *opening*: somebody waits at a terminal, so the log says why.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        pause = _FIRST_PAUSE_SECONDS
        while True:
            if self._pool is None:
                raise ClosedError(f"{self!r} is not open")
            try:
                result = await self._once(self._pool, work)
            except GaiaError:
                raise
            except _LOST as error:
                if loop.time() >= until:
                    raise JournalError(
                        f"the journal at {self._where} was unreachable for {self._patience:g} s "
                        f"({type(error).__name__})"
                    ) from None
                if opening:
                    opening = False
                    _log.warning(
                        "the journal at %s can't be reached (%s); this is tried for %g s",
                        self._where, type(error).__name__, self._patience,
                    )  # fmt: skip
            except asyncpg.PostgresError as error:
                raise JournalError(f"the journal at {self._where} failed: {error} ({error.sqlstate})") from None
            else:
                return result
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    @staticmethod
    async def _once(pool: asyncpg.Pool, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        db = await pool.acquire()
        try:
            return await work(db)
        except (asyncio.CancelledError, TimeoutError):
            # Not reset for the next one: where the server doesn't answer, that would take as long as the work.
            db.terminate()
            raise
        finally:
            await pool.release(db)

    # Sessions.

    async def create(self, new: NewSession) -> SessionInfo:
        """See Journal."""
        new_name(new.owner, new.id)
        return await self._run(lambda db: store.create(db, new))

    async def get(self, owner: str, id: str) -> SessionInfo:
        """See Journal."""
        known_name(owner, id)
        return await self._run(lambda db: store.get(db, owner, id))

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
        return await self._run(lambda db: store.find(db, owner, query, limit, offset, agent, surface))

    async def update(self, owner: str, id: str, change: SessionUpdate) -> SessionInfo:
        """See Journal."""
        known_name(owner, id)
        return await self._run(lambda db: store.update(db, owner, id, change))

    async def fork(self, owner: str, id: str, new_id: str, at: int | None = None) -> SessionInfo:
        """See Journal."""
        known_name(owner, id)
        new_name(owner, new_id)
        return await self._run(lambda db: store.fork(db, owner, id, new_id, at))

    async def shares_past(self, owner: str, id: str) -> bool:
        """See Journal."""
        known_name(owner, id)
        return await self._run(lambda db: store.shares_past(db, owner, id))

    async def delete(self, owner: str, id: str) -> None:
        """See Journal."""
        known_name(owner, id)
        tried = False

        async def delete(db: Connection) -> None:
            nonlocal tried
            again, tried = tried, True
            try:
                await store.delete(db, owner, id, self._ttl)
            except NotFoundError:
                if not again:  # else the answer that was lost was a success
                    raise

        await self._run(delete)

    async def expire(
        self, surfaces: tuple[str, ...], *, max_age: float, max_bytes: int, limit: int = 100
    ) -> tuple[tuple[str, str], ...]:
        """See Journal. What was deleted in a try whose answer was lost is not named."""
        return await self._run(lambda db: store.expire(db, surfaces, max_age, max_bytes, limit))

    # The record.

    async def claim(
        self, owner: str, id: str, replica: str, turn: str | None, records: tuple[NewRecord, ...] = ()
    ) -> Lease | None:
        """See Journal."""
        known_name(owner, id)
        mark = token()
        lease = await self._run(lambda db: store.claim(db, owner, id, replica, turn, self._ttl, mark))
        return await with_first(self, lease, records) if lease is not None and records else lease

    async def append(self, lease: Lease, records: tuple[NewRecord, ...], *, done: bool = False) -> Appended:
        """See Journal."""
        counts: dict[int, int] = {}
        for seq in earlier_parents(lease, records):
            counts[seq] = await self._count_at(lease, seq)
        return await self._appends.append(lease, records, position_records(lease, records, counts.__getitem__), done)

    async def _count_at(self, lease: Lease, seq: int) -> int:
        return await self._run(lambda db: store.count_at(db, lease.number, seq))

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
        return await self._run(lambda db: store.read(db, owner, id, after_seq, upto, turn))

    # Signals.

    async def signal(self, owner: str, id: str, kind: str, data: bytes = b"{}") -> int | None:
        """See Journal."""
        known_name(owner, id)
        mark = token()
        return await self._run(lambda db: replicas.signal(db, owner, id, kind, data, mark))

    async def take_signals(self, lease: Lease) -> tuple[Signal, ...]:
        """See Journal."""
        mark = token()
        return await self._run(lambda db: replicas.take_signals(db, lease, mark))

    # Replicas.

    async def beat(
        self, replica: str, address: str, agents: tuple[str, ...] = (), wanted: tuple[SlotDemand, ...] = ()
    ) -> tuple[SlotGrant, ...]:
        """See Journal."""
        return await self._run(lambda db: replicas.beat(db, replica, address, agents, wanted, self._ttl))

    async def replicas(self) -> tuple[Replica, ...]:
        """See Journal."""
        return await self._run(lambda db: replicas.replicas(db, self._ttl))

    async def orphans(self, replica: str, limit: int = 100) -> tuple[SessionInfo, ...]:
        """See Journal."""
        return await self._run(lambda db: replicas.orphans(db, replica, limit, self._ttl))

    async def adopt(self, dead: tuple[str, ...]) -> tuple[SessionInfo, ...]:
        """See Journal."""
        return await self._run(lambda db: replicas.adopt(db, dead))

    async def release(self, replica: str) -> None:
        """See Journal."""
        await self._run(lambda db: replicas.release(db, replica))

    # Answers of idempotent requests.

    async def answer_begin(
        self, name: str, fingerprint: str, replica: str, *, max_age: float, owner: str = ""
    ) -> IdempotentAnswer:
        """See Journal."""
        mark = token()
        return await self._run(
            lambda db: answers.begin(db, name, fingerprint, replica, owner, max_age, self._ttl, mark)
        )

    async def answer_put(self, number: int, body: bytes) -> bool:
        """See Journal."""
        self._meter.answer(len(body))
        return await self._run(lambda db: answers.put(db, number, body))

    async def answer_drop(self, number: int) -> None:
        """See Journal."""
        await self._run(lambda db: answers.drop(db, number))

    async def answer_sweep(self, *, max_age: float, keep: int, max_bytes: int, limit: int = 200) -> int:
        """See Journal."""
        return await self._run(lambda db: answers.sweep(db, max_age, keep, max_bytes, limit, self._ttl))

    # Background work.

    async def enqueue(self, body: bytes, run_at: float, key: str) -> bool:
        """See Journal."""
        mark = token()
        return await self._run(lambda db: replicas.enqueue(db, body, run_at, key, mark))

    async def due(self, limit: int = 10, *, hold: float = 60.0) -> tuple[Job, ...]:
        """See Journal."""
        return await self._run(lambda db: replicas.due(db, limit, hold))

    async def done(self, job: Job) -> None:
        """See Journal."""
        await self._run(lambda db: replicas.done(db, job))

    # Figures.

    async def totals(self, owner: str | None = None) -> Totals:
        """See Journal."""
        return await self._run(lambda db: replicas.totals(db, owner))

    async def stored_bytes(self, owner: str) -> int:
        """See Journal."""
        return await self._run(lambda db: replicas.stored_bytes(db, owner))

    def stats(self) -> JournalStats:
        """See Journal."""
        return self._meter.stats()


def _shown(dsn: str) -> str:
    """Host, port and database of an address, without user and password."""
    try:
        parts = urlsplit(dsn)
        port = parts.port or 5432
    except ValueError:
        return "unreadable"
    return f"{parts.hostname or 'localhost'}:{port}{parts.path}"


__all__ = ["PostgresJournal"]


async def _closed(pool: asyncpg.Pool) -> None:
    """Close *pool*; its connections at once where the server doesn't answer."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()
