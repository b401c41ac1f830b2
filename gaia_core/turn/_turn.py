"""Turn: the handle of one turn. Any number of readers follow its events; leaving a reader changes nothing.

A reader takes its events from the ring. One that lags behind it, or comes back to a turn that another process began,
gets `Reset` and what the record has (`gaia_core.facts.events_of`), and continues live.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec

from gaia_core.agent import Agent
from gaia_core.errors import OutcomeUnknownError
from gaia_core.events import Event, GrantScope, Reset, TurnEnded
from gaia_core.facts import Fact, events_of
from gaia_core.journal import Journal, Lease
from gaia_core.messages import Message
from gaia_core.models import ModelRequest
from gaia_core.turn._event_ring import EventId, EventRing
from gaia_core.turn._observer import TurnObserver
from gaia_core.turn.calls._pending_requests import APPROVAL, QUESTION, Decision, PendingRequests, check_kind

_log = logging.getLogger(__name__)

Recorded: TypeAlias = tuple[int, Fact]
"""A fact of the turn, and the seq of its record."""

Replay: TypeAlias = Callable[[int], Awaitable[Sequence[Recorded]]]
"""The turn's facts after a record."""

Frame: TypeAlias = tuple[EventId, Event]


async def nothing_recorded(_after: int) -> Sequence[Recorded]:
    """The replay of a turn without facts."""
    return ()


class Turn:
    """One turn, running or ended.

        async for event in turn.events(): ...       # from the first; after=ID: what follows that event
        ended = await turn.result()
        await turn.cancel()                         # returns when nothing of it runs any more
        await turn.decide(approval_id, True)        # answers that ApprovalRequested
        await turn.answer(request_id, "b")          # answers that InputRequested

    Approvals in a loop:

        turn = await runtime.start(session, TurnRequest("Clean up.", audience=Audience.INTERACTIVE))
        async for event in turn.events():
            if isinstance(event, ApprovalRequested):
                await turn.decide(event.approval_id, input(f"{event.tool} {event.arguments}? ") == "y")

    Made by `Runtime.start`. It is also where the loop puts what happens.

    All methods run on one event loop. `tell`, `emit`, `wake` and `end` await nothing, so a reader never sees half of
    what they do. A thread reaches them only through `loop.call_soon_threadsafe`.
    """

    __slots__ = (
        "_awaiting_end",
        "_observer",
        "_readers",
        "_ring",
        "_seq",
        "_stalls",
        "_stopping",
        "_whole",
        "after",
        "answers",
        "begun",
        "cancelling",
        "ended",
        "handed_over",
        "id",
        "journal",
        "lease",
        "message_id",
        "messages",
        "opens_session",
        "replay",
        "session_id",
        "step_limit",
        "suspended",
        "task",
    )

    def __init__(
        self,
        turn_id: str,
        session_id: str,
        *,
        observer: TurnObserver | None = None,
        replay: Replay = nothing_recorded,
        after: int = 0,
        seq: int = 0,
        epoch: int = 0,
    ) -> None:
        """*after*: the record before the turn's first one; *seq*, *epoch*: where the ring begins."""
        self.id = turn_id
        self.session_id = session_id
        self.messages: tuple[Message, ...] = ()
        """What the turn has added to the conversation so far, the user's message left out. Extended by the recorder
        when a fact is recorded."""
        self.task: asyncio.Task[None] | None = None
        """Set by `TurnRunner._begin`. `cancel` and `suspend` together cancel it once at most; so may a time limit."""
        self.ended: TurnEnded | None = None
        """Set by the turn's task in `finish`: first before the session is freed, then by `end`, without an
        await in between."""
        self.begun = False
        """Set by the turn's task in its first step (`run_turn`). Before that, its task is not cancelled: `run_turn`
        reads `cancelling` instead."""
        self.cancelling = False
        """Set by `cancel` (any task) or `suspend` (`TurnRunner.close`), and never reset."""
        self.opens_session = False
        """Whether it is the first of its session. Set before the turn's task exists."""
        self.step_limit: int | None = None
        """How many steps it may have; None for one that comes from the record. Set before its task exists."""
        self.message_id = 0
        """The seq of the record that ended the turn, by which its answer is known; 0 until then. Set by the
        turn's task in `finish`."""
        self.answers = PendingRequests()
        """Opened and settled by the tasks of the turn's calls, answered by the tasks of clients."""
        self._observer = observer
        """Set to None, by the task that called it, when it raises."""
        self.replay = replay
        """Replaced once, by `MemoryRecorder`, before the turn's task exists."""
        self.journal: Journal | None = None
        """Where the turn is recorded; None for one that leaves nothing behind."""
        self.lease: Lease | None = None
        """The lease under which it is recorded, as it is now. Written by `JournalRecorder`, after each append under its
        lock. The heartbeat's task reads it (`Runtime._poll`)."""
        self.suspended = False
        """Nothing more is recorded of it here: this process stops. Set by `suspend`."""
        self.handed_over = False
        """Another process continues it, because it was suspended or its lease was lost: its readers end without a
        `TurnEnded`. Set by the turn's task in `finish`, before `ended`."""
        self._stalls = 0
        """How often its readers were released while its end could not be recorded. Written by `stall`."""
        self._stopping: asyncio.Future[None] | None = None
        """What `pause` waits for; `suspend` resolves it."""
        self.after = after
        """The record before the turn's first one."""
        self._seq = seq
        self._whole = after == seq
        self._ring = EventRing(seq, epoch)
        """Written by `tell` and `emit`, read by any number of readers."""
        self._readers: list[asyncio.Future[None]] = []
        """A future for each reader that waits for events. Readers add and remove their own; `_wake` resolves them
        all."""
        self._awaiting_end: list[asyncio.Future[None]] = []
        """The same for the callers of `result`; `end` resolves them."""

    def __repr__(self) -> str:
        return f"<Turn {self.id} of session {self.session_id}: {self.ended.status if self.ended else 'running'}>"

    # Reading.

    async def events(self, after: EventId | str | None = None) -> AsyncIterator[Event]:
        """The events from the first one (or those that follow *after*), until and with `TurnEnded`.

        They end without it when another process continues the turn, or when its end can't be recorded for long.
        """
        async for batch in self.frames(after):
            for _, event in batch:
                yield event

    async def batches(self) -> AsyncGenerator[Sequence[Event], None]:
        """The events from the first one, what came together in one piece: for surfaces that write it together."""
        ring = self._ring
        position = 0 if self._whole else None
        stalls = self._stalls
        while True:
            if position is None or position < ring.first:
                frames, position = await self._rejoin(None, reset=bool(position))
                yield [event for _, event in frames]
            elif position < ring.end:
                batch = ring.since(position)
                position = ring.end
                yield batch
            elif self.ended is not None or self._stalls != stalls:
                return
            else:
                await _wait_in(self._readers)

    async def frames(self, after: EventId | str | None = None) -> AsyncIterator[Sequence[Frame]]:
        """The same, each event with its id, and from *after* on. Raises EventIdError for a text that is no id."""
        ring = self._ring
        last = EventId.parse(after) if isinstance(after, str) else after
        begin = 0 if self._whole else None
        position = ring.position_after(last) if last is not None else begin
        stalls = self._stalls
        while True:
            if position is None or position < ring.first:
                frames, position = await self._rejoin(last, reset=last is not None)
            elif position < ring.end:
                frames = ring.numbered(position)
                position = ring.end
            elif self.ended is not None or self._stalls != stalls:
                return
            else:
                # Nothing is awaited between the checks above and the registration in `_wait_in`, so no event is missed.
                await _wait_in(self._readers)
                continue
            if frames:
                last = frames[-1][0]
                yield frames

    async def _rejoin(self, last: EventId | None, *, reset: bool) -> tuple[list[Frame], int]:
        """What the record has after *last* (None: from the first fact), and the position where the ring continues."""
        ring = self._ring
        since = last.seq if last is not None else 0
        after = self.after if last is None else max(self.after, since - 1)
        while True:
            # Meanwhile the turn continues: facts may be recorded, and the ring may drop events. So its section is read
            # afterwards, in one step with `ring.first` and `ring.lost()` below.
            facts = await self.replay(after)
            start, seq, epoch = ring.section(since)
            if not facts or facts[-1][0] >= seq:
                break  # else the ring moved on meanwhile
        frames: list[Frame] = []
        if reset:
            begin = last or EventId(after, epoch, 0)
            frames.append((begin, Reset(begin.seq)))
        durable = 0
        for at, fact in facts:
            if at > seq:
                break
            told = events_of(fact, self.id, self.session_id)
            # What the record told before the ring began is not in the ring.
            durable = len(told) if at == seq and (start, seq) != (0, self._seq) else 0
            seen = last.index + 1 if last is not None and last.seq == at else 0
            frames += [(EventId(at, epoch, index), event) for index, event in enumerate(told) if index >= seen]
        position = max(ring.first, start + durable)
        if ring.first > start + durable:
            frames += [(ring.id_at(position - 1), event) for event in ring.lost()]
        return frames, position

    async def told(self, upto: EventId) -> tuple[list[Event], Event | None]:
        """The events that a reader had received before *upto*, from the record and live since its last record; and
        the event *upto* itself (None when it isn't kept: it was live only, and a `Reset` follows).

        A surface whose translation has state folds these to know where that reader stands.
        """
        # A copy, taken before the await below: the ring may drop these events meanwhile.
        since = self._ring.told(upto)
        told: list[Event] = []
        for at, fact in await self.replay(self.after):
            if at > upto.seq:
                break
            events = events_of(fact, self.id, self.session_id)
            if at < upto.seq or (since is not None and at == self._seq):
                told += events
            elif since is None:
                told += events[: upto.index + 1]
                if upto.index < len(events):
                    return told[:-1], told[-1]
        told += since or []
        return (told[:-1], told[-1]) if since else (told, None)

    async def result(self) -> TurnEnded:
        """How the turn ended. Cancelling the caller doesn't cancel the turn.

        Raises OutcomeUnknownError when its end can't be recorded for long. The turn is not over then; ask again.
        """
        stalls = self._stalls
        while self.ended is None:
            if self._stalls != stalls:
                words = "the journal can't record the end of the turn for now, so its outcome is not known"
                raise OutcomeUnknownError(f"{words}; attach to session {self.session_id!r} again")
            await _wait_in(self._awaiting_end)
        return self.ended

    # Steering.

    async def cancel(self) -> TurnEnded:
        """End the turn: the upstream response is closed, its tools are cancelled. Returns when it has ended.

        Raises OutcomeUnknownError when its end can't be recorded for long; it is recorded as soon as it can be.
        """
        if self.ended is None and not self.cancelling:
            self.cancelling = True
            if (
                self.task is not None and self.begun
            ):  # a task that is cancelled before it began would never end the turn
                self.task.cancel()
        # The task may still record facts and close its tools; it can't be cancelled a second time from here.
        return await self.result()

    async def decide(self, approval_id: str, approved: bool, reason: str = "", *, scope: GrantScope = "once") -> None:
        """Answer the `ApprovalRequested` of that id, and no other; returns when the answer is recorded.

        *scope* `session`: the same is not asked again in this session, within what the request's `scope` said.
        Raises NotFoundError for an id that was never asked, AnsweredError when it was answered or has expired.
        """
        check_kind(approval_id, APPROVAL)
        await self.answers.give(approval_id, Decision(bool(approved), reason, scope if approved else "once"))

    async def answer(self, request_id: str, value: str) -> None:
        """Answer the `InputRequested` of that id; returns when that is recorded. Raises as `decide` does."""
        check_kind(request_id, QUESTION)
        await self.answers.give(request_id, value)

    # For the loop and its runtime.

    def suspend(self) -> None:
        """Stop the turn without ending it: its record stays as it is, also when an end waits to be recorded."""
        if self.ended is not None or self.suspended:
            return
        self.suspended = True
        if self._stopping is not None and not self._stopping.done():
            self._stopping.set_result(None)
        if not self.cancelling:
            self.cancelling = True
            if self.task is not None and self.begun:
                self.task.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait *seconds*, or until the turn is suspended. For its recorder, which calls it under its lock."""
        self._stopping = asyncio.get_running_loop().create_future()
        if self.suspended:
            return
        await asyncio.wait((self._stopping,), timeout=seconds)

    def stall(self) -> None:
        """Release the present readers and callers of `result`: the turn's end can't be recorded yet."""
        self._stalls += 1
        _wake(self._readers)
        _wake(self._awaiting_end)

    def tell(self, seq: int, epoch: int, fact: Fact) -> None:
        """Tell what the recorded *fact* says. `wake` shows it to the readers."""
        self._ring.mark(seq, epoch)
        events = events_of(fact, self.id, self.session_id)
        self._ring.add(events)
        if self._observer is not None:
            self._observe(events)

    def emit(self, *events: Event) -> None:
        """Append *events* that are live only, and wake the readers."""
        self._ring.add(events)
        if self._observer is not None:
            self._observe(events)
        if self._readers:
            _wake(self._readers)

    def _observe(self, events: Sequence[Event]) -> None:
        assert self._observer is not None
        try:
            self._observer.take(events)
        except Exception:  # noqa: BLE001  # logged there
            self._lose_observer()

    def asking(self, path: str, agent: Agent, request: ModelRequest) -> ModelRequest:
        """*agent* is about to ask its model: *request*, with what an observer has it carry on. See TurnObserver."""
        if self._observer is None:
            return request
        try:
            headers = self._observer.asking(path, agent, request)
        except Exception:  # noqa: BLE001  # logged there
            self._lose_observer()
            return request
        return msgspec.structs.replace(request, headers=(*request.headers, *headers)) if headers else request

    def _lose_observer(self) -> None:
        self._observer = None
        _log.exception("the observer of %s failed and sees no more of it", self.id)

    def wake(self) -> None:
        """Show the readers what was told."""
        if self._readers:
            _wake(self._readers)

    def end(self, event: TurnEnded) -> None:
        """The turn is over, by *event*, which was sent already."""
        self.ended = event
        self.answers.close()
        if self._observer is not None:
            try:
                self._observer.close()
            except Exception:  # noqa: BLE001  # logged there
                self._lose_observer()
        # `ended` is set, so a reader that wakes up returns after it has read the rest of the ring.
        _wake(self._readers)
        _wake(self._awaiting_end)


async def _wait_in(waiters: list[asyncio.Future[None]]) -> None:
    """Wait for the next `_wake`. Check the condition again afterwards: other tasks may have run before this one."""
    waiter = asyncio.get_running_loop().create_future()
    waiters.append(waiter)
    try:
        await waiter
    finally:
        # `_wake` has cleared the list, unless this task was cancelled.
        if waiter in waiters:
            waiters.remove(waiter)


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
