"""Turns: those that run, from their beginning or from where a dead process left them, to their end."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import attrs
import msgspec

from gaia_core.background_tasks import BackgroundTasks
from gaia_core.errors import BusyError, DamagedRecordError, FencedError, GaiaError, NotFoundError
from gaia_core.events import ErrorInfo
from gaia_core.facts import AgentSwitched, Answered, Began, Ended, Fact, Resumed, encode_fact
from gaia_core.journal import Journal, JournalHealth, Lease, NewRecord, SessionInfo, Signal, with_first
from gaia_core.messages import AssistantMessage, ToolCall, Usage, UserMessage
from gaia_core.models import SlotRequest
from gaia_core.runtime._catalog_generations import Generations
from gaia_core.runtime._journal_signals import apply_signal
from gaia_core.runtime._quota import Quota
from gaia_core.runtime._session_gate import SessionGate
from gaia_core.runtime._session_state import Counts, Key, SessionState
from gaia_core.runtime.sessions._history import Histories, History, encode_options, fold, recorded_request
from gaia_core.runtime.sessions._session_configuration import configured
from gaia_core.runtime.sessions._session_events import SessionEvents
from gaia_core.session import Session, new_id
from gaia_core.turn import (
    Audience,
    Budget,
    Grant,
    JournalRecorder,
    MemoryRecorder,
    Observer,
    Recorder,
    SpeculativeRequest,
    ToolThreads,
    Transcript,
    Turn,
    TurnContext,
    TurnObserver,
    TurnRequest,
    finish,
    record_of,
    replay_of,
    request_of,
    run_turn,
    size,
    window_of,
    with_room,
)
from gaia_core.uninterrupted import uninterrupted

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0
_NEVER_RAN = Ended("cancelled", "", "stop", Usage(), 0)
"""The end of a turn whose start was cancelled, or failed, after its claim was recorded."""

TAKEOVERS = 3
"""How often a turn is taken over from a process that died before it is given up: one that kills its process must not
do so for ever. Orderly restarts don't count (`Journal.release`)."""

PATIENCE_SECONDS = 300.0
"""How long a turn that was taken over waits for its model, which may be starting as its server did."""


@attrs.frozen(kw_only=True, eq=False)
class TurnStart:
    """A turn that is about to begin: where, in whose *state*, and what it is asked.

    *key* is its session's in the gate, which gives its resources and *grants*; *session* has its record. *closes*: the
    state is the turn's own, and its resources close when the turn ends.
    """

    session: Session
    key: Key
    state: SessionState
    request: TurnRequest
    closes: bool = False
    grants: tuple[Grant, ...] = ()


class TurnRunner:
    """Belongs to one Runtime."""

    def __init__(
        self,
        generations: Generations,
        replica: str,
        counts: Counts,
        feed: SessionEvents,
        gate: SessionGate,
        threads: ToolThreads,
        background: BackgroundTasks,
        ended: Callable[[Key, Turn], None],
        quota: Quota,
        observer: Observer | None = None,
        *,
        health: JournalHealth,
    ) -> None:
        self._generations = generations
        self._replica = replica
        self._counts = counts
        self._feed = feed
        self._gate = gate
        self._threads = threads
        self._background = background
        self._ended = ended
        self._observer = observer
        self._quota = quota
        self._health = health
        self.histories = Histories()
        """What the sessions that talked last amount to. Taken when a turn starts, put back by the turn's task."""
        self.running: dict[Turn, Key] = {}
        """The turns that run now, and whose they are. Added by `_begin`, removed by the turn's own task in `over`,
        before its last event is sent. A turn whose claim is still awaited is not here."""
        self._tasks: set[asyncio.Task[None]] = set()
        """The tasks of turns until they are done: a one-off turn's closes its resources after it has left `running`.
        Added by `_begin`."""
        self._starting: set[asyncio.Future[None]] = set()
        """One for each start or takeover that awaits the journal. `close` waits for them: they begin a turn, or give
        their lease back. Written by `_awaiting_journal`."""
        self._resuming: dict[Key, asyncio.Future[None]] = {}
        """The one of each session whose turn is being resumed. Written by `resume`."""

    def get(self, key: Key) -> Turn | None:
        """The turn that the session runs, or None."""
        state = self._gate.get(key)
        return state.turn if state is not None and state.turn in self.running else None

    # Beginning.

    def once(self, start: TurnStart, *, grants: list[Grant] | None = None, given: tuple[ToolCall, ...] = ()) -> Turn:
        """A turn on its request's transcript that no journal records.

        *grants* are the session's; what the turn adds to them ends with it. *given*: the turn makes these calls, as if
        a model had asked for them, and asks none.
        """
        turn_id = f"turn_{new_id()}"
        turn = Turn(turn_id, start.session.id, observer=self._observed(start.session, turn_id))
        transcript = Transcript(start.request.transcript or ())
        context = self._turn_context(start, turn, transcript, MemoryRecorder(turn, transcript), grants or [])
        began = _began(start)
        if not given:
            context = msgspec.structs.replace(context, summarizes=True) if start.request.summarize else context
            self._begin(start, context, (began,))
            return turn
        asked = Answered(1, AssistantMessage(None, given), "tool_calls", Usage())
        self._begin(start, msgspec.structs.replace(context, calls_only=True), (began, asked), resumed=asked)
        return turn

    async def recorded(self, start: TurnStart, journal: Journal) -> Turn:
        """A turn in the session's record. Raises BusyError, NotFoundError."""
        began = _began(start)
        speculative = self._speculate(start, began) if start.request.parent is None and journal.durable else None
        with self._awaiting_journal():
            try:
                context, opening, history = await self._claimed(start, journal, began, speculative)
            except BaseException:
                if speculative is not None:
                    # The turn's task doesn't exist yet, so nobody else closes it.
                    await speculative.aclose()
                raise
            self._begin(start, context, opening, history=history)
        return context.turn

    @contextmanager
    def _awaiting_journal(self) -> Iterator[asyncio.Future[None]]:
        """A turn may begin at the end of this block, which awaits the journal."""
        starting = asyncio.get_running_loop().create_future()
        self._starting.add(starting)
        try:
            yield starting
        finally:
            self._starting.discard(starting)
            starting.set_result(None)

    def _speculate(self, start: TurnStart, began: Began) -> SpeculativeRequest | None:
        """The turn's first model request on its way, where it is known what that will be and a slot is free."""
        if self._observer is not None and self._observer.sees_turns:
            return None  # the request's trace context is the claimed turn's
        session, agent = start.session, start.session.agent
        access = self._generations.current.access(agent.model)
        before = self.histories.guess((session.owner, session.id))
        if before is None or not getattr(access.model, "any_task", False):
            return None
        if access.slots.context_tokens is not None:
            return None  # how many tokens it needs, the turn will say
        transcript = before.followed_by(began)
        if transcript.has_images:
            return None  # whether the model takes images, the turn will ask
        window = window_of(agent, access)
        if window is not None and agent.context.compact and size(agent, transcript, window) > window.tokens:
            return None  # a summary comes first
        options = start.request.options
        request = request_of(agent, transcript, options, window, session.id, first=True, owner=session.owner)
        request = with_room(access, transcript, request)
        slot = access.slots.acquire_now(SlotRequest(session.owner, session.id, not start.request.audience.waits))
        return SpeculativeRequest(access.model, request, slot) if slot is not None else None

    async def _claimed(
        self, start: TurnStart, journal: Journal, began: Began, speculative: SpeculativeRequest | None
    ) -> tuple[TurnContext, tuple[Fact, ...], History]:
        """Claim the session; the turn's context, the facts that it opens with, and the history that it continues."""
        owner, session_id, agent = start.session.owner, start.session.id, start.session.agent
        parent = start.request.parent
        first = (record_of(began, parent),)
        # Meanwhile the speculative request runs. The gate has excluded the turns of this process; the claim excludes
        # those of others.
        turn_id, once = start.request.id or f"turn_{new_id()}", bool(start.request.id)
        lease = await self._lease(journal, owner, session_id, turn_id, first, speculative, once=once)
        if lease is None:
            words = ", or has run this one" if once else ", in another process"
            raise BusyError(f"session {session_id!r} runs a turn already{words}")
        before = lease.seq - 1
        try:
            head = lease.found if parent is None else parent
            history = self.histories.take(lease, head) if head == lease.found else None
            if history is None:
                history = fold(await journal.read(owner, session_id, upto=before) if head else (), head, session_id)
        except BaseException:
            # The session is claimed in the journal, and no turn will end that claim.
            await uninterrupted(self._give_back(journal, lease, _NEVER_RAN))
            raise
        history.grants += start.grants
        context = self._leased(start, journal, lease, history, before, claimed=(began,), speculative=speculative)
        changed = history.fingerprint and (history.agent, history.fingerprint) != (agent.name, agent.fingerprint)
        context.turn.opens_session = not head
        return context, (AgentSwitched(agent.name, agent.fingerprint),) if changed else (), history

    async def _lease(
        self,
        journal: Journal,
        owner: str,
        session_id: str,
        turn: str | None,
        first: tuple[NewRecord, ...] = (),
        speculative: SpeculativeRequest | None = None,
        *,
        once: bool = False,
    ) -> Lease | None:
        """Claim the session in *journal*; *once*: unless it has had the turn. A caller that is cancelled meanwhile
        leaves no claim: *speculative* is closed at once, and the claim given back when it is known."""
        if once and turn is not None:
            claim = _claimed_once(journal, owner, session_id, self._replica, turn, first)
        else:
            claim = journal.claim(owner, session_id, self._replica, turn, first)
        if not journal.durable:
            return await claim  # never suspends
        claiming = asyncio.ensure_future(claim)
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The claim may be recorded already: only its result says so.
            if speculative is not None:
                await speculative.aclose()
            await uninterrupted(self._unclaim(journal, claiming, _NEVER_RAN if turn is not None else None))
            raise

    async def _unclaim(self, journal: Journal, claiming: "asyncio.Future[Lease | None]", ended: Ended | None) -> None:
        await asyncio.wait((claiming,))
        lease = claiming.result() if claiming.exception() is None else None
        if lease is not None:
            await self._give_back(journal, lease, ended)

    async def _give_back(self, journal: Journal, lease: Lease, ended: Ended | None) -> None:
        """End *lease*, which no turn holds, with *ended*. While that can't be recorded, a background task tries again:
        this process lives, so no other one may take the session over."""
        records = (record_of(ended),) if ended is not None else ()
        try:
            await journal.append(lease, records, done=True)
        except FencedError:
            pass
        except GaiaError as error:
            _log.warning("session %s could not be freed (%s); this is tried again", lease.id, error)
            self._background.run(f"free session {lease.id}", self._give_back_later(journal, lease, records))

    async def _give_back_later(self, journal: Journal, lease: Lease, records: tuple[NewRecord, ...]) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            try:
                await journal.append(lease, records, done=True)
            except FencedError:
                return
            except GaiaError:
                continue
            _log.info("session %s is free again", lease.id)
            return

    async def resume(self, journal: Journal, info: SessionInfo) -> None:
        """Continue the turn that a dead process left in the session. A session that runs a turn here is left alone; one
        whose turn is just being resumed is waited for."""
        key = (info.owner, info.id)
        if (resuming := self._resuming.get(key)) is not None:
            await asyncio.wait((resuming,))
            return
        if not self._gate.accepting or self._gate.get(key) is not None:
            return
        # One step with the check above, because a free session is claimed without waiting.
        state = await self._gate.claim(key)
        with self._awaiting_journal() as starting:
            self._resuming[key] = starting
            try:
                lease = await self._lease(journal, info.owner, info.id, None)
                if lease is None or not await self._resumed(journal, info, lease, state):
                    # Nothing to resume, or another process was faster.
                    self._gate.free(key, state)
            except BaseException:
                self._gate.free(key, state)
                raise
            finally:
                del self._resuming[key]

    async def _resumed(self, journal: Journal, info: SessionInfo, lease: Lease, state: SessionState) -> bool:
        """Continue the turn of *lease*, which is this living process's from now on: while the journal fails, try
        again, because no other process can. False when it had nothing to continue, or was given up."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._resume(journal, info, lease, state)
            except FencedError:
                return False
            except GaiaError as error:
                if not self._gate.accepting:
                    raise  # this process stops, and releases what it has
                _log.warning("the turn of session %s can't be continued yet: %s", info.id, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _resume(self, journal: Journal, info: SessionInfo, lease: Lease, state: SessionState) -> bool:
        """One try of `_resumed`."""
        try:
            history = fold(await journal.read(info.owner, info.id), lease.head, info.id)
        except DamagedRecordError as error:  # no later try would read it
            damaged = Ended("failed", "", "stop", Usage(), 0, error=ErrorInfo("journal", str(error)))
            await journal.append(lease, _taken_over(lease, damaged), done=True)
            _log.error("a turn is given up: %s", error)
            return False
        began = history.began
        if began is None or history.turn != lease.turn:
            # Its process died before the first record: there is nothing to continue.
            await journal.append(lease, (), done=True)
            return False
        request = recorded_request(began)
        try:
            agent, lost = configured(self._generations.current.catalog, info, began.agent), None
        except NotFoundError as error:
            lost = ErrorInfo("agent_gone", f"the server was restarted, and {error}")
        if lease.takeovers > TAKEOVERS:
            lost = ErrorInfo("takeovers", f"the turn was given up: {lease.takeovers} processes ended while it ran")
        if request.audience is Audience.CLIENT and not _waits(history):
            lost = ErrorInfo("interrupted", "the server was restarted while this ran, and its client has gone")
        if lost is not None:
            ended = Ended("failed", "", "stop", history.usage, history.steps, error=lost)
            await journal.append(lease, _taken_over(lease, ended), done=True)
            return False
        session = Session(info.id, agent, info.owner)
        start = TurnStart(session=session, key=(info.owner, info.id), state=state, request=request)
        # From here to the turn's task nothing is awaited.
        context = self._leased(start, journal, lease, history, history.before, patience=PATIENCE_SECONDS)
        context.budget.restore(history.steps, history.tool_calls, history.usage)
        own = (entry.message for entry in history.transcript.entries if entry.seq > history.before + 1)
        context.turn.messages = tuple(own)
        for call in history.transcript.open.values():  # before anybody can find the turn and answer
            if call.asked is not None and call.decided is None:
                if call.asked.agent == agent.fingerprint:
                    context.turn.answers.ask(call.asked.approval_id)
                else:
                    context.turn.answers.withdraw(call.asked.approval_id)
        opening: list[Fact] = [Resumed(lease.takeovers)]
        if began.fingerprint != agent.fingerprint:
            opening.insert(0, AgentSwitched(agent.name, agent.fingerprint))
        self._quota.begin(info.owner, resumed=True)
        self._begin(start, context, tuple(opening), history=history, resumed=history.answered)
        return True

    def _leased(
        self,
        start: TurnStart,
        journal: Journal,
        lease: Lease,
        history: History,
        after: int,
        *,
        claimed: tuple[Fact, ...] = (),
        patience: float = 0.0,
        speculative: SpeculativeRequest | None = None,
    ) -> TurnContext:
        """The context of the turn that holds *lease*, whose first record follows *after*."""
        session = start.session
        turn = Turn(
            lease.turn,
            start.key[1],
            observer=self._observed(session, lease.turn),
            replay=replay_of(journal, session.owner, session.id, lease.turn),
            after=after,
            seq=lease.seq - len(claimed),
            epoch=lease.epoch,
        )
        recorder = JournalRecorder(
            journal,
            lease,
            turn,
            history.transcript,
            signalled=lambda found: self.signalled(turn, found),
            claimed=claimed,
            health=self._health,
            seconds=session.agent.limits.seconds,
        )
        return self._turn_context(
            start, turn, history.transcript, recorder, history.grants, patience=patience, speculative=speculative
        )

    def _turn_context(
        self,
        start: TurnStart,
        turn: Turn,
        transcript: Transcript,
        recorder: Recorder,
        grants: list[Grant],
        *,
        patience: float = 0.0,
        speculative: SpeculativeRequest | None = None,
    ) -> TurnContext:
        start.state.turn = turn
        generation = self._generations.current
        session, state = start.session, start.state
        turn.step_limit = session.agent.limits.steps
        return TurnContext(
            agent=session.agent,
            turn=turn,
            transcript=transcript,
            recorder=recorder,
            access=generation.access(session.agent.model),
            budget=Budget(session.agent.limits),
            threads=self._threads,
            resources=lambda recipe: self._gate.process if recipe.scope == "process" else state.resources,
            resolve=generation.access,
            counts=self._counts,
            grants=grants,
            owner=session.owner,
            approves=partial(self._quota.approves, session.owner),
            # A conversation that has no session is known by its beginning.
            affinity=transcript.beginning() if start.closes else "",
            patience=patience,
            audience=start.request.audience,
            compacts=isinstance(recorder, JournalRecorder) and start.request.transcript is None,
            options=start.request.options,
            check_answer=start.request.check_answer,
            speculative=speculative,
        )

    def _observed(self, session: Session, turn_id: str) -> TurnObserver | None:
        return self._observer.turn(session, turn_id) if self._observer is not None else None

    # Running.

    def _begin(
        self,
        start: TurnStart,
        context: TurnContext,
        opening: tuple[Fact, ...],
        *,
        history: History | None = None,
        resumed: Answered | None = None,
    ) -> None:
        """Start the turn's task. It is awaited by `close`; `Turn.cancel`, `Turn.suspend` and its time limit cancel it.

        What fails in the turn ends it with an event (`run_turn`, `finish`). `drain` only waits for it.
        """
        turn = context.turn
        self.running[turn] = start.key
        generation = self._generations.begin()  # nothing was awaited since `_turn_context`
        if start.state.interrupted:
            turn.cancelling = True  # by a turn that came while this one was being claimed; its task will end it
        turn.task = asyncio.create_task(self._run(start, context, opening, history, resumed), name=turn.id)
        self._tasks.add(turn.task)
        turn.task.add_done_callback(self._tasks.discard)
        # By a callback and not in `_run`, so that it also runs when the task failed, or was cancelled before its first
        # step.
        turn.task.add_done_callback(lambda _task: self._generations.end(generation))
        if not start.closes:
            self._feed.tell("turn_started", *start.key)

    async def _run(
        self,
        start: TurnStart,
        context: TurnContext,
        opening: tuple[Fact, ...],
        history: History | None,
        resumed: Answered | None,
    ) -> None:
        turn = context.turn
        facts = await run_turn(context, opening, resumed, resumed.step if resumed is not None else 0)

        def over() -> None:
            # One step, without an await, after the last record and before the last event: a client that has received
            # `TurnEnded` finds the session free.
            self.running.pop(turn, None)
            done = turn.ended if not turn.handed_over else None
            self._quota.ended(context.owner, done.usage if done is not None else Usage())
            if done is not None:
                self._counts.turn(done)
                if history is not None and turn.lease is not None:
                    self.histories.put(turn.lease, history, context.agent)
            if not start.closes:
                self._gate.free(start.key, start.state)

        await finish(context, facts, over)
        if start.closes:
            # The turn has ended for everyone; only its resources are closed here.
            await self._gate.drop(start.key, start.state)
        else:
            self._feed.tell("turn_ended", *start.key)
            self._ended(start.key, turn)

    def signalled(self, turn: Turn, signals: tuple[Signal, ...]) -> None:
        """What another process has to say to a turn of ours."""
        for signal in signals:
            # A task for each, because applying one may wait for the turn's next append. A failure is logged.
            self._background.run(f"signal {signal.kind}", apply_signal(turn, signal))

    # The end.

    async def drain(self, seconds: float, durable: Journal | None) -> bool:
        """Give the running turns *seconds* to end; True when all of them did.

        One that waits for a person and is kept by *durable* isn't waited for: the next process resumes it.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            busy = [
                turn.task
                for turn in self.running
                if turn.task is not None and not (durable is not None and turn.journal is durable and turn.answers.open)
            ]
            left = until - loop.time()
            if not busy or left <= 0:
                return not self.running
            # With a short time limit: a turn that begins to wait for a person is no longer waited for.
            await asyncio.wait(busy, timeout=min(left, _LOOK_SECONDS), return_when=asyncio.FIRST_COMPLETED)

    async def close(self, durable: Journal | None) -> None:
        """End the running turns: those that *durable* keeps are left for the next process, others are cancelled."""
        # No further turn claims a session. Those that are claiming one begin, or give it back.
        if self._starting:
            await asyncio.wait(tuple(self._starting))
        # A copy: turns leave `running` during the awaits below.
        running = tuple(self.running)
        for turn in running:
            if durable is not None and turn.journal is durable:
                turn.suspend()
        for turn in running:
            if not turn.suspended:
                await turn.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        await self._gate.close()


async def _claimed_once(
    journal: Journal, owner: str, session_id: str, replica: str, turn: str, first: tuple[NewRecord, ...]
) -> Lease | None:
    """Claim the session for the turn of id *turn*; None also when it has had that turn. The lease excludes others
    between the look and the turn's first record."""
    lease = await journal.claim(owner, session_id, replica, turn)
    if lease is None:
        return None
    if await journal.read(owner, session_id, turn=turn):
        await journal.append(lease, (), done=True)
        return None
    return msgspec.structs.replace(await with_first(journal, lease, first), found=lease.found)


def _began(start: TurnStart) -> Began:
    agent, request = start.session.agent, start.request
    return Began(
        agent.name,
        agent.fingerprint,
        agent.model,
        UserMessage(request.content) if request.content is not None else None,
        options=encode_options(request.options),
        system=agent.system_hash,
        tools=agent.tools.fingerprint,
        # A turn without a record has its transcript already.
        input=request.transcript if request.record and request.transcript is not None else request.input,
        note=request.note,
        edits=request.edits,
        audience=request.audience,
    )


def _taken_over(lease: Lease, ended: Ended) -> tuple[NewRecord, ...]:
    """The records of a turn that is taken over only to be ended: what the process before told of its last step is void
    for its readers then, too."""
    return record_of(Resumed(lease.takeovers)), record_of(ended)


def recorded_size(request: TurnRequest) -> int:
    """How many bytes the record of *request* has."""
    message = UserMessage(request.content) if request.content is not None else None
    return len(encode_fact(Began("", "", "", message, input=request.input, note=request.note)))


def _waits(history: History) -> bool:
    """Whether the turn waits for an approval."""
    return any(call.asked is not None and call.decided is None for call in history.transcript.open.values())
