"""Runtime: see below.

async with Runtime(catalog, journal) as runtime:
    session = await runtime.open("coder")
    turn = await runtime.start(session, "What does this project do?")
    async for event in turn.events(): ...
    answer = (await turn.result()).text

    answer = await runtime.run("coder", "What does this project do?")              # one-off: leaves no session
    size = await runtime.run("coder", "How large is it?", answer=ProjectSize)      # a typed answer, validated
    async for event in runtime.turn(coder, "…"): ...                               # leaving this loop cancels

Nothing here is global: two runtimes in one process share nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import PurePath
from typing import Any, Self, TypeVar, overload

import attrs

from gaia_core.agent import Agent
from gaia_core.background_tasks import BackgroundTasks
from gaia_core.catalog import Catalog
from gaia_core.errors import ConfigError, FencedError, JournalError, NotFoundError, OutcomeUnknownError
from gaia_core.events import Event
from gaia_core.frozen_types import shown
from gaia_core.journal import TTL_SECONDS, Journal, JournalHealth, MemoryJournal, NewSession, SessionInfo
from gaia_core.messages import Content, FunctionCall, Message, ToolCall, Usage, UserMessage
from gaia_core.runtime._catalog_generations import Generations
from gaia_core.runtime._model_queries import Models
from gaia_core.runtime._process_identity import replica_name
from gaia_core.runtime._quota import NoQuota, Quota
from gaia_core.runtime._run import answer_of, request_for
from gaia_core.runtime._session_gate import SessionGate, WhenBusy
from gaia_core.runtime._session_state import Counts, Key, RuntimeStats, load_of
from gaia_core.runtime._storage import Storage
from gaia_core.runtime._takeover import Takeover
from gaia_core.runtime._toolset_sources import SourceState, ToolsetSources, tell_problems
from gaia_core.runtime._turn_runner import TurnRunner, TurnStart, recorded_size
from gaia_core.runtime.sessions._history import fold
from gaia_core.runtime.sessions._session_events import SessionEvents
from gaia_core.runtime.sessions._sessions import Sessions
from gaia_core.session import Session, new_id
from gaia_core.turn import (
    NO_OPTIONS,
    Audience,
    Grant,
    Observer,
    ToolThreads,
    Turn,
    TurnOptions,
    TurnRequest,
)

_log = logging.getLogger(__name__)

T = TypeVar("T")

IDLE_SECONDS = 600.0
_SWEEPER = "gaia idle sessions"
_STRAY_GRACE_SECONDS = 5.0


class Runtime:
    """See the module's text.

    *journal* keeps sessions (default: in memory) and is opened and closed by the runtime. *tool_threads* bounds the
    threads for synchronous tools. *idle_seconds*: resources of a session that was idle for this long close, and reopen
    on use. *address*: where other processes that share the journal reach this one. *ttl*: seconds for which a process
    counts as alive after its last heartbeat. *takes_over*: turns that dead processes left are resumed; else only
    those that `sessions.take_over` names. *observer* sees the turns as they happen: see `gaia_core.telemetry`. *quota*
    bounds what an owner's turns may use.

    It may be entered more than once at a time, by several applications say: the first one opens it, and it closes when
    the last one leaves.
    """

    def __init__(
        self,
        catalog: Catalog,
        journal: Journal | None = None,
        *,
        tool_threads: int = 32,
        idle_seconds: float = IDLE_SECONDS,
        address: str = "",
        ttl: float = TTL_SECONDS,
        takes_over: bool = True,
        observer: Observer | None = None,
        quota: Quota | None = None,
    ) -> None:
        _check_arguments(catalog, journal)
        self._base = catalog
        """The catalog as it was given, without what sources list. Written by `reload`."""
        self._closed = False
        """Whether `_recompose` has no effect. Written by `aclose` and `_open`."""
        self._entered = 0
        """How many are inside `async with`. Written under `_entering`."""
        self._entering = asyncio.Lock()
        """Held while the runtime opens or closes: a task that enters meanwhile waits for it. `aclose` doesn't take it,
        so that a failed `_open`, which holds it, can call it."""
        self._reloading = asyncio.Lock()
        """Held by `reload`: one after the other, so that the last one asked for is in use at the end."""
        self._journal: Journal = journal if journal is not None else MemoryJournal()
        self._private = MemoryJournal()
        self._health = JournalHealth()
        self._idle_seconds = idle_seconds
        self._counts = Counts()
        self._threads = ToolThreads(tool_threads)
        self.replica = replica_name()
        """This process's name in the journal."""
        self.feed = SessionEvents()
        """What happens to sessions."""
        self._quota: Quota = quota or NoQuota()
        self.storage = Storage(self._quota, lambda: self.catalog.storage, (self._journal, self._private))
        """How much owners keep. Who writes into the journal by itself asks it first (`Storage.admit`)."""
        self.background = BackgroundTasks()
        """The background tasks of this process, those of surfaces among them: logged, restarted, in `stats`."""
        self._gate = SessionGate(self._threads, self.background)
        self._generations = Generations(catalog, self._gate.process, self.background)
        self._sources = ToolsetSources(self._gate.process, self._recompose)
        self._turns = TurnRunner(
            self._generations,
            self.replica,
            self._counts,
            self.feed,
            self._gate,
            self._threads,
            self.background,
            self._titled,
            self._quota,
            observer,
            health=self._health,
        )
        self.models = Models(self._generations, self._gate, self._counts, self._quota)
        """The models, for surfaces that ask them for something else than a turn."""
        self._takeover = Takeover(
            self._journal,
            self.replica,
            address,
            self.resume,
            self._poll,
            self.background,
            self._health,
            takes=takes_over,
            ttl=ttl,
        )
        self.sessions = Sessions(self, self._journal, self._private)
        """The sessions, for surfaces that list and change them."""

    @property
    def catalog(self) -> Catalog:
        """The agents and models of this runtime, as they are for a turn that begins now."""
        return self._generations.current.catalog

    @property
    def sources(self) -> tuple[SourceState, ...]:
        """How the catalog's sources of tools are."""
        return self._sources.states(self._base, self.catalog)

    @property
    def quota(self) -> Quota:
        """What an owner's turns may use."""
        return self._quota

    @property
    def journal(self) -> Journal:
        """Where sessions are kept."""
        return self._journal

    async def __aenter__(self) -> Self:
        async with self._entering:
            if not self._entered:
                await self._open()
            self._entered += 1
        return self

    async def __aexit__(self, *_exc: object) -> None:
        async with self._entering:
            self._entered -= 1
            if not self._entered:
                await self.aclose()

    async def _open(self) -> None:
        try:
            await self._journal.open()
            await self._private.open()
            self._closed = False
            await self._sources.open(self._base.sources)
            self._recompose()
            # Stopped first by `aclose`. A failure is logged, and the sweeper restarted, by `BackgroundTasks`.
            self.background.keep(_SWEEPER, self._sweep)
            # From here on turns may begin, also while the dead processes' turns are being adopted below.
            self._gate.accepting = self._gate.opened = True
            await self._takeover.begin(lambda: tuple(agent.name for agent in self.catalog.agents))
        except BaseException:
            await self.aclose()
            raise

    # Sessions.

    async def open(
        self,
        agent: Agent | str,
        id: str | None = None,
        *,
        owner: str = "",
        private: bool = False,
        title: str = "",
        metadata: bytes = b"{}",
        surface: str = "",
    ) -> Session:
        """A session of *agent* (or of the catalog's agent of that name): a new one, or the one of that *id*.

        *private*: it is kept in memory only and leaves nothing on disk. *title*, *metadata* (a surface's own
        fields, JSON) and *surface* (see NewSession) are a new session's. Raises StorageFullError.
        """
        found = self.catalog.agent(agent) if isinstance(agent, str) else agent
        session = Session(id or new_id(), found, owner)
        journal = self._private if private else await self.sessions.journal_of(owner, session.id)
        new = NewSession(session.id, owner, found.name, found.fingerprint, title, metadata, surface)
        if self.storage.is_limited(owner) and not await self.sessions.exists(owner, session.id):
            await self.storage.admit(owner, objects=1, size=len(title) + len(metadata))
        if not (await journal.create(new)).seq:
            self._turns.histories.began((owner, session.id))
        return session

    async def history(self, session: Session) -> tuple[Message, ...]:
        """The messages of the session's present branch, as its next turn sees them. Raises NotFoundError."""
        journal = await self.sessions.journal_of(session.owner, session.id)
        info = await journal.get(session.owner, session.id)
        records = await journal.read(session.owner, session.id)
        return tuple(entry.message for entry in fold(records, info.head, session.id).transcript.entries)

    async def delete(self, session: Session) -> None:
        """Erase the session; a running turn is cancelled first. Raises NotFoundError."""
        await self.sessions.delete(session.owner, session.id)

    async def forget(self, owner: str, id: str) -> None:
        """Close what the session has open in this process, unless a turn runs, and keep nothing of it in memory."""
        self._turns.histories.drop((owner, id))
        await self._gate.forget((owner, id))

    # Turns.

    async def start(
        self,
        session: Session,
        request: TurnRequest | Content,
        *,
        when_busy: WhenBusy = "reject",
        queued: Callable[[int], None] | None = None,
    ) -> Turn:
        """Begin a turn in *session*: a message, or a whole `TurnRequest`. It runs whether or not its events are read,
        and continues after a restart.

        *when_busy*, while the session runs a turn: `reject` (BusyError), `queue`, or `interrupt` that turn. *queued*
        is called with the position in that queue, at first and whenever it changes; 1 is next.

        Raises BusyError (also when too many turns wait, and when the request's turn *id* was begun before), LimitError,
        StorageFullError, ClosedError, NotFoundError, and JournalError while the journal can't be written.
        """
        given: object = session
        if not isinstance(given, Session):
            raise ConfigError(
                f"a turn begins in a session, not in {shown(given)}; write session = await runtime.open(agent), or "
                "runtime.run(agent, text) for one without a session"
            )
        asked = request if isinstance(request, TurnRequest) else TurnRequest(request)
        if asked.transcript is None and self.storage.is_limited(session.owner):
            await self.storage.admit(session.owner, size=recorded_size(asked))
        key = (session.owner, session.id)
        # From here on the session is this turn's. What is awaited until the turn's task exists may fail or be
        # cancelled; then the session is freed below. Once the task exists, it frees the session itself
        # (`TurnRunner._run`).
        state = await self._gate.claim(key, when_busy, queued)
        try:
            start = TurnStart(session=session, key=key, state=state, request=asked)
            with self._counted(session.owner):
                if asked.transcript is not None and not asked.record:
                    return self._turns.once(start, grants=await self._grants(key))
                if asked.record and asked.record != session.id:
                    record = Session(asked.record, session.agent, session.owner)
                    start = attrs.evolve(start, session=record, grants=tuple(await self._grants(key)))
                journal = await self.sessions.journal_of(start.session.owner, start.session.id)
                if journal is self._journal:
                    self.check_journal()
                return await self._turns.recorded(start, journal)
        except BaseException:
            self._gate.free(key, state)
            raise

    def check_journal(self) -> None:
        """Raise JournalError while the journal can't be written, so that no recorded turn may begin. Reads nothing: a
        surface calls it first, because a database that is out of reach answers late."""
        if (why := self._health.trouble) is not None:
            raise JournalError(f"no turn can begin while the journal can't be written: {why}")

    async def _grants(self, key: Key) -> list[Grant]:
        """What people have granted the session for good; nothing for one that has no record."""
        journal = await self.sessions.journal_of(*key)
        try:
            info = await journal.get(*key)
        except NotFoundError:
            return []
        return fold(await journal.read(*key, upto=info.head), info.head, info.id).grants if info.head else []

    async def turn(
        self, agent: Agent | str, content: Content, *, options: TurnOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        """The events of a one-off turn, which leaves no session. Leaving the loop cancels it."""
        turn = await self.once(agent, TurnRequest(transcript=(UserMessage(content),), options=options))
        try:
            async for event in turn.events():
                yield event
        finally:
            await turn.cancel()

    @overload
    async def run(
        self,
        agent: Agent | Session | str,
        content: Content,
        *,
        options: TurnOptions = NO_OPTIONS,
        audience: Audience = Audience.NOBODY,
    ) -> str: ...
    @overload
    async def run(
        self,
        agent: Agent | Session | str,
        content: Content,
        *,
        answer: type[T],
        options: TurnOptions = NO_OPTIONS,
        audience: Audience = Audience.NOBODY,
    ) -> T: ...
    async def run(
        self,
        agent: Agent | Session | str,
        content: Content,
        *,
        answer: type[Any] = str,
        options: TurnOptions = NO_OPTIONS,
        audience: Audience = Audience.NOBODY,
    ) -> Any:
        """Run a turn and return its answer: one-off for an *agent* (or its name), in a session for a `Session`.

            text = await runtime.run(coder, "What does this project do?")
            city = await runtime.run(coder, "Which city is this?", answer=City)

        *answer* is the answer's type: a msgspec Struct, attrs class, dataclass, TypedDict, pydantic model, or a type
        such as `list[str]`. The model is sent its JSON schema, the text is validated and decoded, and the model
        corrects it once. `str`, the default, takes any text, also one that was cut off at `Sampling.max_tokens`.

        Cancelling the caller cancels the turn. Calls that need approval are denied unless an *audience* is there: use
        `start` or `once`, and see `Turn`. Raises TurnError, with the `TurnEnded`, when the turn ends without an
        answer of that type; ConfigError and SchemaError for a type that can't be described to a model; and what
        `start` and `once` raise.
        """
        request, form = request_for(content, answer, options, audience)
        if isinstance(agent, Session):
            turn = await self.start(agent, request)
        else:
            turn = await self.once(agent, attrs.evolve(request, content=None, transcript=(UserMessage(content),)))
        try:
            return await answer_of(turn, form)
        finally:
            await turn.cancel()

    async def once(self, agent: Agent | str, request: TurnRequest, *, key: str = "") -> Turn:
        """Begin a turn on the request's transcript that leaves no session; its resources close when it ends.

        *key* names who asks, for a fair queue and their quota; by default nobody does. Raises LimitError, ClosedError.
        """
        return await self._unrecorded(agent, f"once_{new_id()}", request, key)

    async def call(
        self, agent: Agent | str, tool: str, arguments: str, *, audience: Audience = Audience.NOBODY, key: str = ""
    ) -> Turn:
        """Begin a one-off turn that makes one call of *agent*'s *tool* and asks no model: for a caller that brings a
        model of its own. The call is validated, approved, run and limited as any other; its `ToolEnded` has the result.

        *arguments* is a JSON object; *key* as for `once`.
        """
        call_id = f"call_{new_id()}"
        given = (ToolCall(call_id, FunctionCall(tool, arguments)),)
        return await self._unrecorded(agent, call_id, TurnRequest(audience=audience), key, given)

    async def _unrecorded(
        self, agent: Agent | str, id: str, request: TurnRequest, owner: str, given: tuple[ToolCall, ...] = ()
    ) -> Turn:
        found = self.catalog.agent(agent) if isinstance(agent, str) else agent
        key = ("", id)
        state = await self._gate.claim(key)
        try:
            start = TurnStart(session=Session(id, found, owner), key=key, state=state, request=request, closes=True)
            with self._counted(owner):
                return self._turns.once(start, given=given)
        except BaseException:
            self._gate.free(key, state)
            raise

    @contextmanager
    def _counted(self, owner: str) -> Iterator[None]:
        """A turn of *owner* begins in this block, and counts from its beginning on."""
        self._quota.begin(owner)
        try:
            yield
        except BaseException:
            self._quota.ended(owner, Usage())  # it has not begun
            raise

    def running(self, owner: str, id: str) -> Turn | None:
        """The turn that the session runs in this process, or None."""
        return self._turns.get((owner, id))

    @property
    def running_turns(self) -> tuple[tuple[Key, Turn], ...]:
        """Whose turns run here: owner and session, and the turn."""
        return tuple((key, turn) for turn, key in self._turns.running.items())

    def _titled(self, key: Key, turn: Turn) -> None:
        """A recorded turn has ended: its session may need a title."""
        if turn.opens_session and not turn.handed_over and turn.ended is not None and turn.ended.text:
            self.background.run("gaia title", self.sessions.title_from(*key, turn.ended.text, self._health))

    async def resume(self, info: SessionInfo) -> None:
        """Go on with the turn that a dead process left in the session, if it did."""
        await self._turns.resume(self._journal, info)

    async def _poll(self) -> None:
        """Hear what other processes have to say to our turns, which may append nothing themselves for long."""
        for turn in tuple(self._turns.running):
            if turn.journal is self._journal and turn.lease is not None and not turn.cancelling:
                try:
                    # The lease may be an older one when this returns: the turn's own task appends meanwhile. A
                    # FencedError says that another process has the session.
                    self._turns.signalled(turn, await self._journal.take_signals(turn.lease))
                except FencedError:
                    # Not awaited: a tool may take long to end, and this is called between two heartbeats.
                    self.background.run(f"end of {turn.id}", _cancelled(turn))

    # Catalogs.

    async def reload(self, catalog: Catalog) -> Catalog:
        """Let the turns that begin from now on have *catalog*; those that run keep theirs.

        Sources that are new are asked first; models, resources and sources that are equal stay open, and what only
        the old catalog used closes after its last turn. Returns the catalog as it is in use, with its problems.
        """
        async with self._reloading:
            # Up to `PATIENCE_SECONDS`. Turns that begin meanwhile have the old catalog. Below, all is swapped in one
            # step.
            await self._sources.open(catalog.sources)
            self._base = catalog
            self._sources.forget(catalog.sources)
            composed = self._sources.composed(catalog, self.catalog.agents)
            tell_problems(self.catalog, composed)
            self._generations.replace(composed)
            return composed

    def _recompose(self) -> None:
        """A source lists other tools, or is there or gone. Called from the sources' tasks; awaits nothing."""
        if self._closed:
            return
        composed = self._sources.composed(self._base, self.catalog.agents)
        if composed != self.catalog:
            tell_problems(self.catalog, composed)
            self._generations.replace(composed)

    # Life.

    @property
    def durable(self) -> bool:
        """Whether turns that run when this stops are left for the next process."""
        return self._journal.durable

    @property
    def journal_trouble(self) -> str | None:
        """Why the journal can't be written now, so that no recorded turn may begin; None while it can."""
        return self._health.trouble

    @property
    def accepting(self) -> bool:
        """Whether new turns are taken."""
        return self._gate.accepting

    @property
    def journal_fault(self) -> str:
        """Why what is recorded now is lost when this process stops, as the last heartbeat found it; "" when nothing is
        wrong. See `Journal.fault`."""
        return self._takeover.journal_fault

    def stats(self) -> RuntimeStats:
        """What runs now, and what has happened since the start."""
        counts = self._counts
        return RuntimeStats(
            running_turns=len(self._turns.running),
            sessions=len(self._gate),
            models=tuple(load_of(name, opened) for name, opened in sorted(self._generations.current.models.items())),
            turns=tuple(sorted(counts.turns.items())),
            tool_calls=tuple(sorted((tool, outcome, n) for (tool, outcome), n in counts.tool_calls.items())),
            usage=counts.usage,
            journal=self._journal.stats(),
            turn_seconds=counts.turn_seconds.spreads,
            answer_seconds=counts.answer_seconds.spreads,
            first_token_seconds=counts.first_token_seconds.spreads,
            tool_seconds=counts.tool_seconds.spreads,
            background=self.background.tasks,
        )

    async def drain(self, seconds: float) -> bool:
        """Take no new turns, and give the running ones *seconds* to end. True when all of them did.

        A turn that waits for a person is not waited for where the journal keeps it: the next process resumes it.
        """
        self._gate.accepting = False
        return await self._turns.drain(seconds, self._journal if self._journal.durable else None)

    async def aclose(self) -> None:
        """Stop: running turns that a durable journal keeps are left for the next process, others are cancelled; then
        resources, models and the journal are closed. Idempotent."""
        # No further turn may claim a session, and no source changes the catalog any more.
        self._gate.accepting = False
        self._closed = True
        # From the last to the first, and each also when one before it fails or is cancelled.
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._journal.aclose)
            stack.push_async_callback(self._private.aclose)
            stack.push_async_callback(self.background.aclose)
            stack.push_async_callback(self._takeover.end)
            stack.callback(self._threads.close)
            stack.push_async_callback(self._generations.close)
            stack.push_async_callback(self._settle)
            stack.callback(self.feed.close)
            stack.push_async_callback(self._turns.close, self._journal if self._journal.durable else None)
            stack.push_async_callback(self.background.stop, _SWEEPER)

    async def _settle(self) -> None:
        if not await self.background.settle(_STRAY_GRACE_SECONDS) and self._threads.stuck:
            _log.warning("still running and can't be stopped: %s", ", ".join(self._threads.stuck))

    async def _sweep(self) -> None:
        """Close the resources of sessions that were idle for long."""
        while True:
            await asyncio.sleep(self._idle_seconds / 10)
            await self._gate.sweep(self._idle_seconds)


def _check_arguments(catalog: object, journal: object) -> None:
    if not isinstance(catalog, Catalog):
        raise ConfigError(
            f"a Runtime takes a catalog, not {shown(catalog)}; write Runtime(Catalog.of(agent, models={{…}})), "
            "or gaia_core.run(agent, text)"
        )
    if isinstance(journal, str | PurePath):
        raise ConfigError(
            f"a journal is an object, not the path {shown(journal)}; write SQLiteJournal({str(journal)!r}), of "
            "gaia_core.journal.sqlite"
        )


async def _cancelled(turn: Turn) -> None:
    with suppress(OutcomeUnknownError):
        await turn.cancel()
