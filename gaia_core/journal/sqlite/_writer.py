"""The SQLite journal's one writer: a thread that owns the connection and commits in groups.

What arrived while a commit was under way goes into the next one. The appends of a group are one UPDATE (the fence)
and one INSERT for all of them: each statement releases the interpreter's lock once, however many appends there are.

    event loop                        writer thread
    do, claim, append ── _queue ────> _next_group      waits for the first request, takes at most _GROUP
    (returns a future)                _commit          BEGIN IMMEDIATE, _run, COMMIT
                                        _run           each request; its GaiaError is its own outcome
                                        _append        the group's appends, in one UPDATE and one INSERT
    _settle <─ call_soon_threadsafe ─ _deliver         one call per event loop

A group whose transaction fails is rolled back and tried again request by request, so only the request at fault fails.
A caller that is cancelled doesn't take its request back: it is carried out, and `_settle` finds its future done.
"""

import asyncio
import hashlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from gaia_core.errors import ClosedError, GaiaError, NotFoundError
from gaia_core.journal._append_meter import AppendMeter
from gaia_core.journal._record_positions import PositionedRecord, advanced, fenced, position_records
from gaia_core.journal._records import PAYLOAD_BYTES, Appended, Lease, NewRecord, Signal, size_of
from gaia_core.journal._search_words import words
from gaia_core.journal.sqlite._erasure import Erasure
from gaia_core.journal.sqlite._file import JournalFile, explained, write_mark
from gaia_core.journal.sqlite._schema import SEQ_BITS, indexed
from gaia_core.journal.sqlite._sessions import count_at, unclaim

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_GROUP = 256

_MARK_SECONDS = 1.0
CHECKPOINT_SECONDS = 5.0
"""How long what was committed stays in the write-ahead log alone, where a plain copy of the file misses it."""

_TELLING = (
    "updated_at = ?, turn = CASE WHEN w.column8 THEN NULL ELSE turn END, "
    "replica = CASE WHEN w.column8 THEN NULL ELSE replica END, "
    "takeovers = CASE WHEN w.column8 THEN 0 ELSE takeovers END, "
)
"""What else a visible record or a turn's end changes. By itself, because SQLite writes the index of every column that
an update names."""


class _WriteConflict(Exception):  # noqa: N818
    """An append of the group met the fence; which one shows when each has a transaction of its own."""


class _WriteRequest:
    """What a caller waits for: a function of the connection, or an append.

    Filled on the caller's event loop, then handed to the writer thread by the queue; nobody writes to it after that.
    *future* belongs to that loop and is touched on it alone (`_settle`). *began* is `time.perf_counter`.
    """

    __slots__ = ("began", "done", "erases", "future", "lease", "records", "run")

    def __init__(self, future: "asyncio.Future[Any]", run: Callable[[sqlite3.Connection], Any] | None) -> None:
        self.future = future
        self.run = run
        self.erases = False
        self.lease: Lease | None = None
        self.records: tuple[NewRecord, ...] = ()
        self.done = False
        self.began = 0.0


_Outcome = tuple[_WriteRequest, Any]


class Writer:
    """The thread, from `start` to `close`.

    The thread is a daemon: a process that ends without `close` loses what was not committed, and nothing else.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float], meter: AppendMeter, checkpoint_seconds: float = CHECKPOINT_SECONDS
    ) -> None:
        self._path = path
        self._clock = clock
        self._checkpoint_seconds = checkpoint_seconds
        # Written by the writer thread only; `stats` reads it from the event loop, each figure by itself.
        self._meter = meter
        # The one way into the thread. None ends it, and is the last to be put.
        self._queue: queue.SimpleQueue[_WriteRequest | None] = queue.SimpleQueue()
        # Set by `start`, cleared by `close`.
        self._thread: threading.Thread | None = None
        # Set by `start` and cleared by `refuse`, both on the event loop that makes the requests: so no request is put
        # after the None that ends the thread, where it would never be answered.
        self._accepting = False
        # Of the writer thread alone: the committed deletions, whose callers wait until the traces are gone; when the
        # oldest commit that no checkpoint has followed is to be in the file itself (None: there is none), and when a
        # commit next writes the file's mark (`time.monotonic`).
        self._erasure = Erasure(path)
        self._checkpoint_at: float | None = None
        self._mark_at = 0.0

    def start(self, file: JournalFile) -> None:
        """Start the thread, which closes *file* at its end."""
        thread = threading.Thread(target=self._serve, args=(file,), name="gaia journal", daemon=True)
        try:
            thread.start()
        except BaseException:
            file.close()
            raise
        self._thread = thread
        self._accepting = True

    def refuse(self) -> None:
        """Take no more requests. Called on the event loop, before `close`."""
        self._accepting = False

    def close(self) -> None:
        """Do what was asked for, then end the thread; blocks."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def do(self, run: Callable[[sqlite3.Connection], _T], *, erases: bool = False) -> "asyncio.Future[_T]":
        """The result of *run* in a committed transaction; with *erases*, once nothing of what it deleted is left."""
        work = self._work(run)
        work.erases = erases
        self._queue.put(work)
        return work.future

    def claim(
        self, run: Callable[[sqlite3.Connection], Lease | None], records: tuple[NewRecord, ...]
    ) -> "asyncio.Future[Lease | None]":
        """The lease that *run* claims, after *records* were appended under it in the same transaction."""
        work = self._work(run)
        work.records, work.began = records, time.perf_counter()
        self._queue.put(work)
        return work.future

    def append(self, lease: Lease, records: tuple[NewRecord, ...], done: bool) -> "asyncio.Future[Appended]":
        """See Journal.append."""
        work = self._work(None)
        work.lease, work.records, work.done, work.began = lease, records, done, time.perf_counter()
        self._queue.put(work)
        return work.future

    def _work(self, run: Callable[[sqlite3.Connection], Any] | None) -> _WriteRequest:
        if not self._accepting:
            raise ClosedError(f"the journal {str(self._path)!r} is not open")
        return _WriteRequest(asyncio.get_running_loop().create_future(), run)

    # The thread.

    def _serve(self, file: JournalFile) -> None:
        """Commit groups until None comes, and in between erase and move the log into the file; what is to be erased is
        erased before it ends.

        Nothing is raised from here: what fails is the outcome of the requests that it concerns.
        """
        ending = False
        with closing(file):
            while not ending or self._erasure:
                group, ended = self._next_group()
                ending = ending or ended
                if group:
                    self._commit(file.db, group)
                if self._erasure:
                    for erased, error in self._erasure.step(file.db):
                        _deliver([(work, outcome if error is None else error) for work, outcome in erased])
                if self._checkpoint_at is not None and time.monotonic() >= self._checkpoint_at:
                    self._checkpoint(file)

    def _next_group(self) -> tuple[list[_WriteRequest], bool]:
        """What waits, at most _GROUP of it; waits for the first until there is something else to do."""
        group: list[_WriteRequest] = []
        pause = self._erasure.pause if self._erasure else self._until_checkpoint()
        while len(group) < _GROUP:
            try:
                work = self._queue.get(timeout=0.0 if group else pause)
            except queue.Empty:
                break
            if work is None:
                return group, True
            group.append(work)
        return group, False

    def _until_checkpoint(self) -> float | None:
        return None if self._checkpoint_at is None else max(0.0, self._checkpoint_at - time.monotonic())

    def _checkpoint(self, file: JournalFile) -> None:
        """Move the log into the file; while others read it, or the disk fails (the appends say so), try again later."""
        moved = False
        try:
            moved = file.checkpoint()
        except sqlite3.Error as error:
            _log.debug("the log of the journal %s could not be moved into the file: %s", self._path, error)
        self._checkpoint_at = None if moved else time.monotonic() + self._checkpoint_seconds

    def _commit(self, db: sqlite3.Connection, group: list[_WriteRequest]) -> None:
        """Carry out *group* in one transaction and deliver the outcomes."""
        try:
            # Takes the file's write lock, which other processes hold during their commits: the fence's reads and
            # writes see no other process's commit between them. Waits for it up to the connection's busy timeout.
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            _deliver([(work, self._explained(work, error)) for work in group])
            return
        try:
            try:
                outcomes = self._run(db, group)
                self._mark(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except Exception as error:  # noqa: BLE001, set on the future of each waiting caller
            if len(group) > 1:
                # Rolled back as a whole, so nothing of it is there: each gets a transaction, and its own outcome.
                for work in group:
                    self._commit(db, [work])
                return
            outcomes = [(group[0], self._explained(group[0], error))]
        self._count(outcomes)
        if self._checkpoint_at is None:
            self._checkpoint_at = time.monotonic() + self._checkpoint_seconds
        waits: list[_Outcome] = []
        done: list[_Outcome] = []
        for each in outcomes:
            (waits if each[0].erases and not isinstance(each[1], Exception) else done).append(each)
        if waits:
            self._erasure.add(waits)
        _deliver(done)

    def _mark(self, db: sqlite3.Connection) -> None:
        """Write the file's mark now and then, so that the log has it, too: it begins anew after each checkpoint."""
        if (now := time.monotonic()) >= self._mark_at:
            write_mark(db)
            self._mark_at = now + _MARK_SECONDS

    def _run(self, db: sqlite3.Connection, group: list[_WriteRequest]) -> list[_Outcome]:
        """The outcomes of *group*, in the open transaction.

        A request that raises a GaiaError or ValueError has written nothing (a rule for every function here), so the
        others go on. Anything else, _WriteConflict included, fails the transaction.
        """
        outcomes: list[_Outcome] = []
        appends: list[tuple[_WriteRequest, Lease, tuple[PositionedRecord, ...]]] = []
        for work in group:
            try:
                if work.lease is not None:
                    appends.append((work, work.lease, self._placed(db, work.lease, work.records)))
                    continue
                assert work.run is not None
                outcome = work.run(db)
                if isinstance(outcome, Lease) and work.records:
                    try:
                        appends.append((work, outcome, self._placed(db, outcome, work.records)))
                    except NotFoundError:
                        unclaim(db, outcome)
                        raise
                else:
                    outcomes.append((work, outcome))
            except (GaiaError, ValueError) as error:
                outcomes.append((work, error.with_traceback(None)))  # its frames would keep it and all the group
        if not appends:
            return outcomes
        # Of a claim with its first records, the lease is asked for.
        appended = self._append(db, appends)
        return outcomes + [(work, done if work.lease is not None else done.lease) for work, done in appended]

    def _placed(
        self, db: sqlite3.Connection, lease: Lease, records: tuple[NewRecord, ...]
    ) -> tuple[PositionedRecord, ...]:
        return position_records(lease, records, lambda seq: count_at(db, lease.number, seq))

    def _append(
        self, db: sqlite3.Connection, appends: list[tuple[_WriteRequest, Lease, tuple[PositionedRecord, ...]]]
    ) -> list[tuple[_WriteRequest, Appended]]:
        """Append for all of *appends*. Raises _WriteConflict when a lease doesn't hold, which rolls the group back."""
        now = self._clock()
        plain: list[Any] = []
        telling: list[Any] = [now]
        rows: list[Any] = []
        for work, lease, placed in appends:
            after = advanced(lease, placed)
            size = size_of(work.records)
            fence = (lease.number, lease.epoch, lease.seq, after.seq, after.head, after.message_count, size)
            if work.done or any(new.visible for new in work.records):
                telling += (*fence, work.done)
            else:
                plain += fence
            line = lease.number << SEQ_BITS
            for new, spot in zip(work.records, placed, strict=True):
                body, payload = _stored(db, new.body)
                rows += (line | spot.seq, spot.parent, new.kind, lease.turn, now, body, payload, spot.message_count)
        moved = 0
        if plain:
            moved += db.execute(_fence(len(plain) // 7, 7, ""), plain).rowcount
        if len(telling) > 1:
            moved += db.execute(_fence(len(telling) // 8, 8, _TELLING), telling).rowcount
        if moved != len(appends):
            raise _WriteConflict
        if rows:
            db.execute(_insert(len(rows) // 8), rows)
        for work, lease, placed in appends:
            for new, spot in zip(work.records, placed, strict=True):
                if new.text and (found := indexed(words(new.text))):
                    key = lease.number << SEQ_BITS | spot.seq
                    db.execute("INSERT INTO word (rowid, words) VALUES (?, ?)", (key, found))
        signals = hand_out(db, [lease.number for _, lease, _ in appends])
        return [
            (work, Appended(advanced(lease, placed), signals.get(lease.number, ()))) for work, lease, placed in appends
        ]

    def _explained(self, work: _WriteRequest, error: Exception) -> Exception:
        if isinstance(error, _WriteConflict):
            assert work.lease is not None
            return fenced(work.lease)
        return explained(self._path, error, "written") if isinstance(error, sqlite3.Error) else error

    def _count(self, outcomes: list[_Outcome]) -> None:
        now = time.perf_counter()
        appends = 0
        for work, outcome in outcomes:
            if isinstance(outcome, Appended):
                appends += 1
                self._meter.append(work.records, now - work.began)
            elif work.lease is not None:
                self._meter.fenced()
        if appends:
            self._meter.group()


def hand_out(db: sqlite3.Connection, sessions: list[int]) -> dict[int, tuple[Signal, ...]]:
    """Forget the signals that were handed out before, and hand out those that came since, by session."""
    marks = ", ".join("?" * len(sessions))
    rows = db.execute(
        f"SELECT session, kind, data, n, handed_out FROM signal WHERE session IN ({marks}) ORDER BY n",  # noqa: S608
        sessions,
    ).fetchall()
    if not rows:
        return {}
    found: dict[int, tuple[Signal, ...]] = {}
    for session, kind, data, n, handed_out in rows:
        if handed_out:
            db.execute("DELETE FROM signal WHERE n = ?", (n,))
        else:
            db.execute("UPDATE signal SET handed_out = 1 WHERE n = ?", (n,))
            found[session] = (*found.get(session, ()), Signal(kind, data, n))
    return found


def _fence(appends: int, columns: int, telling: str) -> str:
    rows = ", ".join((f"({', '.join('?' * columns)})",) * appends)
    return (
        f"UPDATE session SET {telling}seq = w.column4, head = w.column5, message_count = w.column6, "  # noqa: S608
        "size = session.size + w.column7 "
        f"FROM (VALUES {rows}) AS w WHERE session.number = w.column1 AND session.epoch = w.column2 "
        "AND session.seq = w.column3 AND session.turn IS NOT NULL"
    )


def _insert(records: int) -> str:
    rows = ", ".join(("(?, ?, ?, ?, ?, ?, ?, ?)",) * records)
    return f"INSERT INTO record (key, parent, kind, turn, at, body, payload, message_count) VALUES {rows}"  # noqa: S608


def _stored(db: sqlite3.Connection, body: bytes) -> tuple[bytes | None, bytes | None]:
    """The body, or the hash that a large one is kept under."""
    if len(body) <= PAYLOAD_BYTES:
        return body, None
    name = hashlib.sha256(body).digest()
    (uses,) = db.execute(
        "INSERT INTO payload_use (hash, uses) VALUES (?, 1) ON CONFLICT DO UPDATE SET uses = uses + 1 RETURNING uses",
        (name,),
    ).fetchone()
    if uses == 1:
        db.execute("INSERT INTO payload (hash, body) VALUES (?, ?)", (name, body))
    return None, name


def _deliver(outcomes: list[_Outcome]) -> None:
    """Hand the outcomes to the event loops that wait, each by one call. Called by the writer thread."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for work, outcome in outcomes:
        by_loop.setdefault(work.future.get_loop(), []).append((work, outcome))
    for loop, theirs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, theirs)
        except RuntimeError:
            _log.debug("a loop closed before its %d journal operations ended", len(theirs))


def _settle(outcomes: list[_Outcome]) -> None:
    """Complete the futures, on their event loop; those of cancelled callers are done already."""
    for work, outcome in outcomes:
        if work.future.done():
            continue
        if isinstance(outcome, Exception):
            work.future.set_exception(outcome)
        else:
            work.future.set_result(outcome)
