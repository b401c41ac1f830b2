"""Recorders: they record a turn's facts before the events are sent (law 9).

`JournalRecorder` appends them under the turn's lease, one append at a time: facts that come while one is on its way
wait for it, and one that fails is made again until it is recorded. `MemoryRecorder` keeps them in this object, for
turns that leave no session.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias

from gaia_core.errors import JournalError
from gaia_core.events import Event, Nested, RecordDelayed
from gaia_core.facts import Began, Fact, encode_fact, events_of, is_message, kind_of, text_of_fact
from gaia_core.journal import Appended, Journal, JournalHealth, Lease, NewRecord, Signal, readable_fact
from gaia_core.turn._turn import Recorded, Replay, Turn
from gaia_core.turn.context._transcript import Transcript
from gaia_core.uninterrupted import uninterrupted

Signalled: TypeAlias = Callable[[tuple[Signal, ...]], None]

_GRACE_SECONDS = 10.0
"""How long those who wait for the end of a turn are kept when it is over and its record can't be written."""

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 1.0
_STOP_SECONDS = 3.0


class Recorder(Protocol):
    """Takes facts: records them, folds them into the transcript, tells them."""

    @property
    def seq(self) -> int:
        """The last record."""
        ...

    @property
    def epoch(self) -> int:
        """The lease's epoch."""
        ...

    async def add(self, *facts: Fact, done: bool = False) -> None:
        """Record *facts* in one commit, then send their events; *done*: they end the turn, and `tell` sends them.

        When it returns or is cancelled, they are recorded; a cancellation whose cause is an error says that they are
        not. Raises FencedError, JournalError.
        """
        ...

    def tell(self) -> None:
        """Tell the facts that ended the turn."""
        ...


class _Teller:
    """Folds recorded facts into the transcript, and tells them at once or, at a turn's end, when it is time.

    Nothing here awaits: the transcript and the ring change in one step.
    """

    __slots__ = (
        "_last",
        "_transcript",
        "_turn",
    )

    def __init__(self, turn: Turn, transcript: Transcript) -> None:
        self._turn = turn
        self._transcript = transcript
        self._last: list[Recorded] = []
        """The facts that end the turn. Written once, by `take` with *done*, from `finish`."""

    def take(self, facts: Sequence[Fact], seq: int, epoch: int, *, done: bool) -> None:
        """*facts* are recorded, the first one as *seq*."""
        turn = self._turn
        apply = self._transcript.apply
        for fact in facts:
            if (added := apply(seq, fact)) and type(fact) is not Began:
                turn.messages += added
            if done:
                self._last.append((seq, fact))
            else:
                turn.tell(seq, epoch, fact)
            seq += 1
        if not done:
            turn.wake()

    def tell(self, epoch: int) -> None:
        """Tell what ended the turn."""
        for seq, fact in self._last:
            self._turn.tell(seq, epoch, fact)


class MemoryRecorder:
    """Facts in memory; their seq counts from 1. `add` never suspends, so it needs no lock."""

    __slots__ = (
        "_facts",
        "_teller",
        "epoch",
    )

    def __init__(self, turn: Turn, transcript: Transcript) -> None:
        self._teller = _Teller(turn, transcript)
        self._facts: list[Recorded] = []
        """Appended by `add`, from the turn's task and the tasks of its calls. `Turn.replay` reads the same list."""
        self.epoch = 0
        """See Recorder."""
        turn.replay = partial(_after, self._facts)

    @property
    def seq(self) -> int:
        """See Recorder."""
        return len(self._facts)

    async def add(self, *facts: Fact, done: bool = False) -> None:
        """See Recorder."""
        first = len(self._facts) + 1
        self._facts += enumerate(facts, first)
        self._teller.take(facts, first, 0, done=done)

    def tell(self) -> None:
        """See Recorder."""
        self._teller.tell(0)


async def _after(facts: list[Recorded], after: int) -> Sequence[Recorded]:
    return facts[after:]


class NestedRecorder:
    """A sub-agent's facts: told as part of the caller's turn, kept by nobody but the sub-agent's transcript.

    `add` never suspends, so it needs no lock.
    """

    def __init__(self, transcript: Transcript, emit: Callable[..., None], turn: Turn, parent_call_id: str) -> None:
        self._transcript = transcript
        self._emit = emit
        self._turn = turn
        self._parent = parent_call_id
        self.seq = self.epoch = 0
        """See Recorder. `seq` is written by `add`, from the sub-agent's task and the tasks of its calls."""

    async def add(self, *facts: Fact, done: bool = False) -> None:  # noqa: ARG002
        """See Recorder."""
        told: list[Event] = []
        for fact in facts:
            self.seq += 1
            self._transcript.apply(self.seq, fact)
            told += events_of(fact, self._turn.id, self._turn.session_id)
        self.emit(*told)

    def tell(self) -> None:
        """See Recorder: a sub-agent's end is its call's."""

    def emit(self, *events: Event) -> None:
        """Tell *events* as the sub-agent's."""
        self._emit(*(Nested(self._parent, event) for event in events))


class JournalRecorder:
    """Facts under a lease. *claimed* are those that were recorded with its claim.

    An append that fails is made again until it is recorded (the journal writes it once): the turn waits, and its
    readers learn it by `RecordDelayed`. *seconds* is the turn's time limit. When the turn is over or cancelled and
    `_GRACE_SECONDS` later its record still can't be written, those who wait for its end are released
    (`Turn.stall`), and again as often, until it is recorded.
    """

    def __init__(
        self,
        journal: Journal,
        lease: Lease,
        turn: Turn,
        transcript: Transcript,
        *,
        signalled: Signalled,
        claimed: tuple[Fact, ...] = (),
        health: JournalHealth,
        seconds: float | None,
    ) -> None:
        self._journal = journal
        self._lease = lease
        """The lease after the last append. Written by `_append` under the lock."""
        self._turn = turn
        self._teller = _Teller(turn, transcript)
        self._signalled = signalled
        self._health = health
        self._began = asyncio.get_running_loop().time()
        self._seconds = seconds
        turn.journal = journal
        turn.lease = lease
        self._lock = asyncio.Lock()
        """Held from encoding a batch of facts until they are told: one append at a time, each under the lease that
        the one before it returned, and told in the order of their seq. Waiters are served in order."""
        self._teller.take(claimed, lease.seq - len(claimed) + 1, lease.epoch, done=False)

    @property
    def seq(self) -> int:
        """See Recorder."""
        return self._lease.seq

    @property
    def epoch(self) -> int:
        """See Recorder."""
        return self._lease.epoch

    async def add(self, *facts: Fact, done: bool = False) -> None:
        """See Recorder. JournalError is raised only when the turn is suspended meanwhile."""
        # Cancelling the caller doesn't cancel an append halfway. If the append fails then, its error is the cause of
        # the cancellation.
        await uninterrupted(self._append(facts, done=done))

    def tell(self) -> None:
        """See Recorder."""
        self._teller.tell(self._lease.epoch)

    async def _append(self, facts: tuple[Fact, ...], *, done: bool) -> None:
        async with self._lock:
            records = tuple([record_of(fact) for fact in facts])
            first = self._lease.seq + 1
            # Raises FencedError when another process has the session by now; then nothing is told, and `_lease` stays.
            appended = await self._recorded(records, done=done)
            self._lease = self._turn.lease = appended.lease
            self._teller.take(facts, first, self._lease.epoch, done=done)
        # Outside the lock: a signal's task may cancel this turn or answer a call, which appends.
        if appended.signals:
            self._signalled(appended.signals)

    async def _recorded(self, records: tuple[NewRecord, ...], *, done: bool) -> Appended:
        """Append, and again while the journal fails. Raises FencedError; JournalError once the turn is suspended."""
        waiting = _Waiting(self._turn, partial(self._is_over, done))
        pause = _FIRST_PAUSE_SECONDS
        with self._health.writing(waiting.begin, proves=True) as writing, waiting:
            while True:
                try:
                    return await self._journal.append(self._lease, records, done=done)
                except asyncio.CancelledError:
                    if self._turn.suspended:  # by `_Waiting`
                        raise JournalError("the journal did not answer until the process stopped") from None
                    raise
                except JournalError as error:
                    if self._turn.suspended:
                        raise
                    writing.failed(str(error))
                await self._turn.pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _is_over(self, done: bool) -> bool:
        """Whether nothing but the record is awaited: the turn was cancelled, or it has ended (*done*) and its time is
        up. While its time limit runs, its readers wait with it."""
        task = self._turn.task
        if task is not None and task.cancelling():
            return True
        return done and (self._seconds is None or asyncio.get_running_loop().time() - self._began >= self._seconds)


class _Waiting:
    """Watches an append that is delayed, which is made in its block. *over* says whether those who wait for the turn's
    end are to be released. When the process stops, the append is given up: what it did is found in the record."""

    __slots__ = ("_over", "_stops", "_task", "_timer", "_turn", "_until")

    def __init__(self, turn: Turn, over: Callable[[], bool]) -> None:
        self._turn = turn
        self._over = over
        self._timer: asyncio.TimerHandle | None = None
        """Runs from `begin` until the block of this context manager is left."""
        self._until: float | None = None
        """When they are released; None while the turn isn't over."""
        self._stops: float | None = None
        """When the append is given up; None while the process doesn't stop."""
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()

    def __exit__(self, *_exc: object) -> None:
        self._task = None
        if self._timer is not None:
            self._timer.cancel()

    def begin(self, reason: str) -> None:
        """The append is delayed because of *reason*."""
        self._turn.emit(RecordDelayed(reason))
        self._look()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._until is None and self._over():
            self._until = now + _GRACE_SECONDS
        if self._until is not None and now >= self._until:
            self._turn.stall()
            self._until = now + _GRACE_SECONDS
        if self._turn.suspended and self._task is not None:
            self._stops = self._stops if self._stops is not None else now + _STOP_SECONDS
            if now >= self._stops:
                self._task.cancel()
                return
        self._timer = loop.call_later(_LOOK_SECONDS, self._look)


def record_of(fact: Fact, parent: int | None = None) -> NewRecord:
    """*fact* as a journal takes it."""
    return NewRecord(kind_of(fact), encode_fact(fact), text_of_fact(fact), is_message(fact), parent)


def replay_of(journal: Journal, owner: str, session_id: str, turn_id: str) -> Replay:
    """The replay of a recorded turn."""

    async def replay(after: int) -> Sequence[Recorded]:
        records = await journal.read(owner, session_id, after, turn=turn_id)
        return [(record.seq, readable_fact(record)) for record in records]

    return replay
