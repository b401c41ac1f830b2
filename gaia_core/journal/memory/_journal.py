"""A journal in this object's memory: it ends with the process, and leaves nothing on disk (private sessions).

It keeps the whole contract, so that what is tested against it holds for the others. All its work is between two
awaits, so that the event loop is its lock.
"""

import time
from collections.abc import Callable
from typing import Self

import msgspec

from gaia_core.errors import BusyError, NotFoundError
from gaia_core.journal._append_meter import AppendMeter
from gaia_core.journal._contract import missing, new_name, storable, with_first
from gaia_core.journal._max_min_shares import grants
from gaia_core.journal._record_positions import advanced, fenced, position_records
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
    size_of,
)
from gaia_core.journal._search_words import words
from gaia_core.journal._session_row import changed_columns
from gaia_core.journal.memory._state import (
    Heartbeat,
    RecordLine,
    ScheduledJob,
    StoredAnswer,
    StoredSession,
    hand_out,
    trim,
)


class MemoryJournal:
    """See the module's text. *ttl*: seconds that a heartbeat counts; *clock*: unix seconds."""

    def __init__(self, *, ttl: float = TTL_SECONDS, clock: Callable[[], float] = time.time) -> None:
        self._ttl = ttl
        self._clock = clock
        # Everything is read and written on one event loop, and no method awaits while it changes anything (claim with
        # records appends after it has claimed, as the contract allows), so there are no locks.
        self._sessions: dict[tuple[str, str], StoredSession] = {}
        self._replicas: dict[str, Heartbeat] = {}
        self._answers: dict[str, StoredAnswer] = {}  # by name, the oldest first
        self._jobs: dict[str, ScheduledJob] = {}
        self._count = 0  # the last number that was given to a session, a signal or an answer
        self._meter = AppendMeter()

    @property
    def durable(self) -> bool:
        """See Journal."""
        return False

    async def open(self) -> None:
        """See Journal."""

    async def aclose(self) -> None:
        """See Journal."""

    async def fault(self) -> str:
        """See Journal."""
        return ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    # Sessions.

    async def create(self, new: NewSession) -> SessionInfo:
        """See Journal."""
        new_name(new.owner, new.id)
        now = self._clock()
        info = SessionInfo(
            id=new.id,
            owner=new.owner,
            agent=new.agent,
            fingerprint=new.fingerprint,
            title=storable(new.title),
            title_is_custom=False,
            metadata=new.metadata,
            surface=new.surface,
            created_at=now,
            updated_at=now,
            head=0,
            seq=0,
            message_count=0,
        )
        return self._add(info, RecordLine())

    async def get(self, owner: str, id: str) -> SessionInfo:
        """See Journal."""
        return self._of(owner, id).info

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
        wanted = words(query)
        found = [
            session
            for session in self._sessions.values()
            if session.info.owner == owner
            and (agent is None or session.info.agent == agent)
            and (surface is None or session.info.surface == surface)
            and all(session.titled(part) or session.line.says(part) for part in wanted)
        ]
        found.sort(key=lambda session: (session.info.updated_at, session.number), reverse=True)
        return tuple(session.info for session in found[offset : offset + limit]), len(found)

    async def update(self, owner: str, id: str, change: SessionUpdate) -> SessionInfo:
        """See Journal."""
        session = self._of(owner, id)
        changed = msgspec.structs.replace(session.info, updated_at=self._clock(), **dict(changed_columns(change)))
        head = change.head
        if head is not None:
            if changed.turn is not None:
                raise BusyError(f"session {id!r} runs a turn; its head moves after it")
            count = self._count_at(session, head)
            changed = msgspec.structs.replace(changed, head=head, message_count=count)
        session.info = changed
        session.title_words = frozenset(words(changed.title))
        return changed

    async def fork(self, owner: str, id: str, new_id: str, at: int | None = None) -> SessionInfo:
        """See Journal."""
        new_name(owner, new_id)
        session = self._of(owner, id)
        info = session.info
        last = info.seq if at is None else at
        head = info.head if at is None else at
        count = self._count_at(session, head)
        if (existing := self._sessions.get((owner, new_id))) is not None:
            return existing.info
        base: RecordLine | None = session.line
        while base is not None and last <= base.at:
            base = base.base
        line = RecordLine(base, last)
        if base is not None:
            base.forks.append(line)
        now = self._clock()
        forked = msgspec.structs.replace(
            info,
            id=new_id,
            created_at=now,
            updated_at=now,
            head=head,
            seq=last,
            message_count=count,
            base=(id, last),
            turn=None,
            replica=None,
            takeovers=0,
        )
        return self._add(forked, line)

    async def shares_past(self, owner: str, id: str) -> bool:
        """See Journal."""
        line = self._of(owner, id).line
        return line.base is not None or bool(line.forks)

    async def delete(self, owner: str, id: str) -> None:
        """See Journal."""
        session = self._of(owner, id)
        if session.info.turn is not None and self._alive(session.info.replica):
            raise BusyError(f"session {id!r} runs a turn; cancel it before deleting the session")
        del self._sessions[owner, id]
        session.line.alive = False
        trim(session.line)

    async def expire(
        self, surfaces: tuple[str, ...], *, max_age: float, max_bytes: int, limit: int = 100
    ) -> tuple[tuple[str, str], ...]:
        """See Journal."""
        oldest = self._clock() - max_age
        totals: dict[str, int] = {}
        chosen: list[SessionInfo] = []
        kept = [each for each in self._sessions.values() if each.info.surface in surfaces]
        kept.sort(key=lambda each: (each.info.updated_at, each.number), reverse=True)
        for session in kept:
            info = session.info
            totals[info.owner] = total = totals.get(info.owner, 0) + session.size
            if info.turn is None and (info.updated_at <= oldest or total > max_bytes):
                chosen.append(info)
        expired = chosen[::-1][:limit]
        for info in expired:
            await self.delete(info.owner, info.id)
        return tuple([(info.owner, info.id) for info in expired])

    def _add(self, info: SessionInfo, line: RecordLine) -> SessionInfo:
        existing = self._sessions.get((info.owner, info.id))
        if existing is not None:
            return existing.info
        self._count += 1
        session = StoredSession(self._count, info, line, frozenset(words(info.title)))
        self._sessions[info.owner, info.id] = session
        return info

    def _of(self, owner: str, id: str) -> StoredSession:
        try:
            return self._sessions[owner, id]
        except KeyError:
            raise missing(id) from None

    @staticmethod
    def _count_at(session: StoredSession, seq: int) -> int:
        if not 0 <= seq <= session.info.seq:
            raise NotFoundError(f"session {session.info.id!r} has no record {seq}; its last is {session.info.seq}")
        return session.line.record(seq).message_count if seq else 0

    # The record.

    async def claim(
        self, owner: str, id: str, replica: str, turn: str | None, records: tuple[NewRecord, ...] = ()
    ) -> Lease | None:
        """See Journal."""
        session = self._of(owner, id)
        info = session.info
        if turn is not None:
            if info.turn is not None:
                return None
            session.waiting.clear()
            session.handed_out.clear()
            info = msgspec.structs.replace(info, turn=turn, replica=replica, takeovers=0)
        else:
            if info.turn is None or self._alive(info.replica):
                return None
            session.waiting[:0] = session.handed_out
            session.handed_out.clear()
            takeovers = info.takeovers + (not session.handed_over)
            info = msgspec.structs.replace(info, replica=replica, takeovers=takeovers)
        session.handed_over = False
        now = self._clock()
        beat = self._replicas.setdefault(replica, Heartbeat("", (), now, now))
        if not self._alive(replica):
            beat.since = beat.beat_at = now
        session.epoch += 1
        session.info = info
        assert info.turn is not None
        lease = Lease(
            owner,
            id,
            session.number,
            session.epoch,
            info.seq,
            info.head,
            info.message_count,
            info.turn,
            info.takeovers,
            replica,
            info.head,
        )
        return await with_first(self, lease, records) if records else lease

    async def append(self, lease: Lease, records: tuple[NewRecord, ...], *, done: bool = False) -> Appended:
        """See Journal."""
        began = time.perf_counter()
        session = self._held(lease)
        info = session.info
        if info.seq != lease.seq:
            self._meter.fenced()
            raise fenced(lease)
        placed = position_records(lease, records, lambda seq: session.line.record(seq).message_count)
        now = self._clock()
        for new, spot in zip(records, placed, strict=True):
            session.line.records.append(
                Record(spot.seq, spot.parent, new.kind, lease.turn, now, new.body, spot.message_count)
            )
            for word in words(new.text):
                session.line.first_seen.setdefault(word, spot.seq)
        after = advanced(lease, placed)
        session.size += size_of(records)
        session.info = msgspec.structs.replace(
            info,
            seq=after.seq,
            head=after.head,
            message_count=after.message_count,
            updated_at=now if done or any(new.visible for new in records) else info.updated_at,
            turn=None if done else info.turn,
            replica=None if done else info.replica,
            takeovers=0 if done else info.takeovers,
        )
        self._meter.group()
        self._meter.append(records, time.perf_counter() - began)
        return Appended(after, hand_out(session))

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
        line: RecordLine | None = self._of(owner, id).line
        last = self._of(owner, id).info.seq if upto is None else upto
        parts: list[list[Record]] = []
        while line is not None and last > after_seq:
            parts.append(line.records[max(0, after_seq - line.at) : max(0, last - line.at)])
            last = min(last, line.at)
            line = line.base
        records = [record for part in reversed(parts) for record in part if turn is None or record.turn == turn]
        return tuple(records)

    def _held(self, lease: Lease) -> StoredSession:
        session = self._sessions.get((lease.owner, lease.id))
        if (
            session is None
            or session.number != lease.number
            or session.epoch != lease.epoch
            or session.info.turn is None
        ):
            self._meter.fenced()
            raise fenced(lease)
        return session

    # Signals.

    async def signal(self, owner: str, id: str, kind: str, data: bytes = b"{}") -> int | None:
        """See Journal."""
        session = self._of(owner, id)
        if session.info.turn is None:
            return None
        self._count += 1
        session.waiting.append(Signal(kind, data, self._count))
        return self._count

    async def take_signals(self, lease: Lease) -> tuple[Signal, ...]:
        """See Journal."""
        return hand_out(self._held(lease))

    # Replicas.

    async def beat(
        self, replica: str, address: str, agents: tuple[str, ...] = (), wanted: tuple[SlotDemand, ...] = ()
    ) -> tuple[SlotGrant, ...]:
        """See Journal."""
        now = self._clock()
        others = tuple(
            (name, beat.wanted, beat.grants)
            for name, beat in self._replicas.items()
            if name != replica and self._alive(name)
        )
        given = grants(replica, wanted, others)
        since = self._replicas[replica].since if self._alive(replica) else now
        self._replicas[replica] = Heartbeat(address, agents, since, now, wanted, given)
        return given

    async def replicas(self) -> tuple[Replica, ...]:
        """See Journal."""
        return tuple(
            Replica(name, beat.address, beat.agents, beat.since, beat.beat_at, self._alive(name))
            for name, beat in sorted(self._replicas.items())
        )

    async def orphans(self, replica: str, limit: int = 100) -> tuple[SessionInfo, ...]:
        """See Journal."""
        steady = self._alive(replica) and self._clock() - self._replicas[replica].since >= self._ttl

        def dead(holder: str) -> bool:
            return holder not in self._replicas or (steady and not self._alive(holder))

        return self._held_by(dead)[:limit]

    async def adopt(self, dead: tuple[str, ...]) -> tuple[SessionInfo, ...]:
        """See Journal."""
        for name in dead:
            self._replicas.pop(name, None)
        return self._held_by(lambda holder: holder in dead)

    async def release(self, replica: str) -> None:
        """See Journal."""
        self._replicas.pop(replica, None)
        for session in self._sessions.values():
            session.handed_over = session.handed_over or session.info.replica == replica

    def _held_by(self, chosen: Callable[[str], bool]) -> tuple[SessionInfo, ...]:
        held = [s.info for s in self._sessions.values() if s.info.replica is not None and chosen(s.info.replica)]
        return tuple(sorted(held, key=lambda info: info.updated_at))

    def _alive(self, replica: str | None) -> bool:
        beat = self._replicas.get(replica) if replica is not None else None
        return beat is not None and self._clock() - beat.beat_at < self._ttl

    # Answers of idempotent requests.

    async def answer_begin(
        self, name: str, fingerprint: str, replica: str, *, max_age: float, owner: str = ""
    ) -> IdempotentAnswer:
        """See Journal."""
        now = self._clock()
        found = self._answers.get(name)
        if found is not None:
            alive = self._alive(found.replica)
            old = now - found.created_at >= max_age and (found.body is not None or not alive)
            if not old:
                return IdempotentAnswer(found.number, found.fingerprint, False, alive, found.body)
            del self._answers[name]
        self._count += 1
        self._answers[name] = StoredAnswer(self._count, name, fingerprint, replica, now, owner)
        return IdempotentAnswer(self._count, fingerprint, True, self._alive(replica), None)

    async def answer_put(self, number: int, body: bytes) -> bool:
        """See Journal."""
        found = self._answer(number)
        if found is None or found.body not in (None, body):
            return False
        found.body = body
        self._meter.answer(len(body))
        return True

    async def answer_drop(self, number: int) -> None:
        """See Journal."""
        if (found := self._answer(number)) is not None:
            del self._answers[found.name]

    async def answer_sweep(self, *, max_age: float, keep: int, max_bytes: int, limit: int = 200) -> int:
        """See Journal."""
        oldest, totals = self._clock() - max_age, dict[str, int]()
        chosen: list[str] = []
        for place, each in enumerate(reversed(self._answers.values())):
            totals[each.owner] = total = totals.get(each.owner, 0) + len(each.body or b"")
            if (place >= keep or total > max_bytes or each.created_at <= oldest) and (
                each.body is not None or not self._alive(each.replica)
            ):
                chosen.append(each.name)
        forgotten = chosen[::-1][:limit]
        for name in forgotten:
            del self._answers[name]
        return len(forgotten)

    def _answer(self, number: int) -> StoredAnswer | None:
        return next((each for each in self._answers.values() if each.number == number), None)

    # Background work.

    async def enqueue(self, body: bytes, run_at: float, key: str) -> bool:
        """See Journal."""
        if key in self._jobs:
            return False
        self._jobs[key] = ScheduledJob(Job(key, body, run_at, 0))
        return True

    async def due(self, limit: int = 10, *, hold: float = 60.0) -> tuple[Job, ...]:
        """See Journal."""
        now = self._clock()
        free = [task for task in self._jobs.values() if task.job.run_at <= now and task.held_until <= now]
        free.sort(key=lambda task: (task.job.run_at, task.job.key))
        for task in free[:limit]:
            task.held_until = now + hold
            task.job = msgspec.structs.replace(task.job, attempts=task.job.attempts + 1)
        return tuple(task.job for task in free[:limit])

    async def done(self, job: Job) -> None:
        """See Journal."""
        task = self._jobs.get(job.key)
        if task is not None and task.job.attempts == job.attempts:
            del self._jobs[job.key]

    # Figures.

    async def totals(self, owner: str | None = None) -> Totals:
        """See Journal."""
        infos = [each.info for each in self._sessions.values() if owner is None or each.info.owner == owner]
        return Totals(len(infos), sum(info.message_count for info in infos))

    async def stored_bytes(self, owner: str) -> int:
        """See Journal."""
        size = 0
        lines: dict[int, RecordLine] = {}
        for each in self._sessions.values():
            if each.info.owner == owner:
                size += len(each.info.title.encode()) + len(each.info.metadata)
                line: RecordLine | None = each.line
                while line is not None and id(line) not in lines:
                    lines[id(line)] = line
                    line = line.base
        return size + sum(len(record.body) for line in lines.values() for record in line.records)

    def stats(self) -> JournalStats:
        """See Journal."""
        return self._meter.stats()


__all__ = ["MemoryJournal"]
