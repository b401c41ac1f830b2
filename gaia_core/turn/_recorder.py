"""Recorders: they record a turn's facts before the events are sent (law 9).

`JournalRecorder` appends them under the turn's lease, one append at a time: facts that come while one is on its way
wait for it. `MemoryRecorder` keeps them in this object, for turns that leave no session.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias

from gaia_core.events import Event, Nested
from gaia_core.facts import Began, Fact, encode_fact, events_of, is_message, kind_of, text_of_fact
from gaia_core.journal import Journal, Lease, NewRecord, Signal, readable_fact
from gaia_core.turn._turn import Recorded, Replay, Turn
from gaia_core.turn.context._transcript import Transcript
from gaia_core.uninterrupted import uninterrupted

Signalled: TypeAlias = Callable[[tuple[Signal, ...]], None]


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

        When it returns or is cancelled, they are recorded. Raises FencedError, JournalError.
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
    """Facts under a lease. *claimed* are those that were recorded with its claim."""

    def __init__(
        self,
        journal: Journal,
        lease: Lease,
        turn: Turn,
        transcript: Transcript,
        *,
        signalled: Signalled,
        claimed: tuple[Fact, ...] = (),
    ) -> None:
        self._journal = journal
        self._lease = lease
        """The lease after the last append. Written by `_append` under the lock."""
        self._turn = turn
        self._teller = _Teller(turn, transcript)
        self._signalled = signalled
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
        """See Recorder."""
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
            appended = await self._journal.append(self._lease, records, done=done)
            self._lease = self._turn.lease = appended.lease
            self._teller.take(facts, first, self._lease.epoch, done=done)
        # Outside the lock: a signal's task may cancel this turn or answer a call, which appends.
        if appended.signals:
            self._signalled(appended.signals)


def record_of(fact: Fact, parent: int | None = None) -> NewRecord:
    """*fact* as a journal takes it."""
    return NewRecord(kind_of(fact), encode_fact(fact), text_of_fact(fact), is_message(fact), parent)


def replay_of(journal: Journal, owner: str, session_id: str, turn_id: str) -> Replay:
    """The replay of a recorded turn."""

    async def replay(after: int) -> Sequence[Recorded]:
        records = await journal.read(owner, session_id, after, turn=turn_id)
        return [(record.seq, readable_fact(record)) for record in records]

    return replay
