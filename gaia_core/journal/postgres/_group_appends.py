"""The PostgreSQL journal's appends: what arrived while a group was under way goes into the next, in one statement.

One statement is one round trip and one transaction. It has no NOTIFY, which takes a lock of the whole server. When the
answer is lost with the connection, `mark` in the sessions' rows says which appends were committed: it is made of what
is appended, so that a caller whose append failed may make it again, and it is written once.

`append` (any task) puts into _waiting and awaits its future; one task, `_flush`, takes groups out and writes them, one
statement at a time. It runs while there is something to write: `append` starts it, nobody cancels it, and `finish`
waits for it. A group that fails gives its error to each of its appends, and the next group is written. All of this is
on one event loop, so no lock is needed: no field is read and written around an await.
"""

import asyncio
import hashlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from gaia_core.journal._append_meter import AppendMeter
from gaia_core.journal._record_positions import PositionedRecord, advanced, fenced
from gaia_core.journal._records import PAYLOAD_BYTES, Appended, Lease, NewRecord, Signal, size_of
from gaia_core.journal._search_words import grams, words
from gaia_core.journal.postgres._schema import Connection

_GROUP = 256

_APPEND = """
WITH moved AS (
    UPDATE gaia_session AS s SET
        mark = w.mark, seq = w.last, head = w.head, message_count = w.messages, size = s.size + w.size,
        updated_at = CASE WHEN w.shown THEN gaia_now() ELSE s.updated_at END,
        turn = CASE WHEN w.done THEN NULL ELSE s.turn END,
        replica = CASE WHEN w.done THEN NULL ELSE s.replica END,
        takeovers = CASE WHEN w.done THEN 0 ELSE s.takeovers END
    FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bool[], $9::bool[], $22::bigint[], $23::bigint[])
        AS w (i, number, epoch, seq, last, head, messages, shown, done, mark, size)
    WHERE s.number = w.number AND s.epoch = w.epoch AND s.seq = w.seq AND s.turn IS NOT NULL
    RETURNING w.i, s.number, w.mark),
rows AS (
    SELECT moved.number, r.* FROM unnest($10::int[], $11::bigint[], $12::bigint[], $13::text[], $14::text[],
        $15::bytea[], $16::bytea[], $17::bigint[], $18::text[], $19::text[])
        AS r (i, seq, parent, kind, turn, body, payload, messages, words, grams) JOIN moved USING (i)),
recorded AS (
    INSERT INTO gaia_record (line, seq, parent, kind, turn, at, body, payload, message_count, words, grams)
    SELECT number, seq, parent, kind, turn, gaia_now(), body, payload, messages, string_to_array(words, ' '),
        string_to_array(grams, ' ') FROM rows),
kept AS (
    INSERT INTO gaia_payload AS p (hash, uses, body)
    SELECT large.hash, used.uses, large.body FROM unnest($20::bytea[], $21::bytea[]) AS large (hash, body)
    JOIN (SELECT payload, count(*) AS uses FROM rows WHERE payload IS NOT NULL GROUP BY payload) AS used
        ON used.payload = large.hash
    ORDER BY large.hash
    ON CONFLICT (hash) DO UPDATE SET uses = p.uses + excluded.uses),
forgotten AS (
    DELETE FROM gaia_signal AS g USING moved WHERE g.session = moved.number AND g.handed_out <> 0),
given AS (
    UPDATE gaia_signal AS g SET handed_out = moved.mark FROM moved WHERE g.session = moved.number AND g.handed_out = 0
    RETURNING moved.i, g.kind, g.data, g.n)
SELECT moved.i, given.kind, given.data, given.n FROM moved LEFT JOIN given USING (i) ORDER BY given.n
"""
_LATE_SIGNALS = """
UPDATE gaia_signal AS g SET handed_out = w.mark FROM unnest($1::bigint[], $2::bigint[]) AS w (number, mark)
WHERE g.session = w.number AND g.handed_out IN (0, w.mark)
RETURNING g.session, g.kind, g.data, g.n
"""
_MARKED = """
SELECT s.number FROM gaia_session AS s JOIN unnest($1::bigint[], $2::bigint[]) AS w (number, mark) USING (number)
WHERE s.mark = w.mark
"""


def _mark(lease: Lease, records: tuple[NewRecord, ...], done: bool) -> int:
    """A number for this append alone: by it the append is known again when its answer was lost."""
    digest = hashlib.blake2b(f"{lease.turn}\0{lease.epoch}\0{lease.seq}\0{done}".encode(), digest_size=8)
    for record in records:
        digest.update(f"\0{record.kind}\0{len(record.body)}\0".encode())
        digest.update(record.body)
    return int.from_bytes(digest.digest(), "big") >> 1 or 1


def token() -> int:
    """A number that nothing else has, to know one's own work again after a lost connection."""
    return random.SystemRandom().randrange(1, 1 << 63)


class _Append:
    """An append that waits, filled by `Appends.append`.

    *future* is completed by `_flush`, or cancelled with its caller, whose records are written all the same.
    """

    __slots__ = ("began", "done", "future", "lease", "mark", "placed", "records")

    def __init__(
        self,
        lease: Lease,
        records: tuple[NewRecord, ...],
        placed: tuple[PositionedRecord, ...],
        done: bool,
        future: "asyncio.Future[Appended]",
    ) -> None:
        self.lease = lease
        self.records = records
        self.placed = placed
        self.done = done
        self.mark = _mark(lease, records, done)
        self.future = future
        self.began = time.perf_counter()


class Appends:
    """Groups appends. *run* gives a function a connection, and calls it again when that was lost."""

    def __init__(
        self, run: Callable[[Callable[[Connection], Awaitable[Any]]], Awaitable[Any]], meter: AppendMeter
    ) -> None:
        self._run = run
        self._meter = meter
        # Callers append at its end, _flush takes from its front.
        self._waiting: deque[_Append] = deque()
        # The task that writes; None while nothing waits. Set by `append`, cleared by the task itself at its end: no
        # await stands between its last look at _waiting and that, so no append is left behind.
        self._flushing: asyncio.Task[None] | None = None

    async def append(
        self, lease: Lease, records: tuple[NewRecord, ...], placed: tuple[PositionedRecord, ...], done: bool
    ) -> Appended:
        """See Journal.append; *placed* says where the records go."""
        append = _Append(lease, records, placed, done, asyncio.get_running_loop().create_future())
        self._waiting.append(append)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(), name="gaia journal appends")
        return await append.future

    async def finish(self) -> None:
        """Return when all that was appended is written. If the caller is cancelled, the writing continues."""
        if self._flushing is not None:
            await asyncio.wait((self._flushing,))

    async def _flush(self) -> None:
        """Write groups until nothing waits."""
        try:
            while self._waiting:
                await self._write(self._next_group())
        finally:
            self._flushing = None

    def _next_group(self) -> list[_Append]:
        """At most _GROUP of what waits, and one of each session: the fence lets no two of them through anyway."""
        group: dict[int, _Append] = {}
        later: list[_Append] = []
        while self._waiting and len(group) < _GROUP:
            append = self._waiting.popleft()
            if append.lease.number in group:
                later.append(append)
            else:
                group[append.lease.number] = append
        self._waiting.extendleft(reversed(later))
        return list(group.values())

    async def _write(self, group: list[_Append]) -> None:
        """Write *group* and complete its futures; they get whatever error there is."""
        arguments = (*_arguments(group), [size_of(append.records) for append in group])

        async def write(db: Connection) -> dict[int, tuple[Signal, ...]]:
            """The signals of the sessions that moved. `_run` calls it again after a lost connection."""
            rows = await db.fetch(_APPEND, *arguments)
            signals: dict[int, tuple[Signal, ...]] = {}
            for i, kind, data, n in rows:
                number = group[i].lease.number
                signals[number] = (*signals.get(number, ()), *(() if n is None else (Signal(kind, data, n),)))
            if len(signals) == len(group):
                return signals
            # Either the fence, or they were committed by an earlier try, whose answer was lost.
            others = [append for append in group if append.lease.number not in signals]
            numbers = [row["number"] for row in await db.fetch(_MARKED, *_marks(others))]
            if not numbers:
                return signals
            found = [append for append in others if append.lease.number in numbers]
            late_signals = _by_session(await db.fetch(_LATE_SIGNALS, *_marks(found)))
            return {**signals, **dict.fromkeys(numbers, ()), **late_signals}

        async def late(db: Connection) -> dict[int, tuple[Signal, ...]]:
            return _by_session(await db.fetch(_LATE_SIGNALS, *_marks(ended)))

        try:
            signals: dict[int, tuple[Signal, ...]] = await self._run(write)
            # A signal that came while a turn's last statement ran belongs to that turn, which nobody else will ask.
            ended = [append for append in group if append.done and append.lease.number in signals]
            if ended:
                signals = {**signals, **await self._run(late)}
        except Exception as error:  # noqa: BLE001  # else the callers would wait forever, and the next group, too
            for append in group:
                if not append.future.done():
                    append.future.set_exception(error)
            return
        self._meter.group()
        now = time.perf_counter()
        for append in group:
            found = signals.get(append.lease.number)
            if found is None:
                self._meter.fenced()
            else:
                self._meter.append(append.records, now - append.began)
            if append.future.done():
                continue
            if found is None:
                append.future.set_exception(fenced(append.lease))
            else:
                append.future.set_result(Appended(advanced(append.lease, append.placed), found))


def _marks(appends: list[_Append]) -> tuple[list[int], list[int]]:
    return [append.lease.number for append in appends], [append.mark for append in appends]


def _by_session(rows: list[Any]) -> dict[int, tuple[Signal, ...]]:
    found: dict[int, tuple[Signal, ...]] = {}
    for session, kind, data, n in sorted(rows, key=lambda row: row["n"]):
        found[session] = (*found.get(session, ()), Signal(kind, data, n))
    return found


def _arguments(group: list[_Append]) -> tuple[list[Any], ...]:
    """The columns of a group: its sessions', its records', its large bodies', and its marks."""
    sessions: list[tuple[Any, ...]] = []
    records: list[tuple[Any, ...]] = []
    large: dict[bytes, bytes] = {}
    for i, append in enumerate(group):
        lease, after = append.lease, advanced(append.lease, append.placed)
        shown = append.done or any(new.visible for new in append.records)
        sessions.append(
            (i, lease.number, lease.epoch, lease.seq, after.seq, after.head, after.message_count, shown, append.done)
        )
        for new, spot in zip(append.records, append.placed, strict=True):
            name = hashlib.sha256(new.body).digest() if len(new.body) > PAYLOAD_BYTES else None
            if name is not None:
                large[name] = new.body
            found = words(new.text)
            said, parts = " ".join(found) or None, " ".join(grams(found)) or None
            body = None if name is not None else new.body
            records.append(
                (i, spot.seq, spot.parent, new.kind, lease.turn, body, name, spot.message_count, said, parts)
            )
    columns = [list(column) for column in zip(*sessions, strict=True)]
    rows = [list(column) for column in zip(*records, strict=True)] if records else [[] for _ in range(10)]
    return (*columns, *rows, list(large), list(large.values()), [append.mark for append in group])
