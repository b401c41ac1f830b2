"""Runtime: the process's owner of running turns, open resources and model slots. Created, passed in, closed.

    async with Runtime(catalog) as runtime:
        session = await runtime.open("coder")
        turn = await runtime.start(session, "What does this project do?")
        async for event in turn.events(): ...
        answer = (await turn.result()).text

        async for event in runtime.turn(coder, "…"): ...          # one-off; leaving this loop cancels

Nothing here is global: two runtimes in one process share nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Self, TypeAlias

import attrs

from gaia_core.agent import Agent
from gaia_core.catalog import Catalog
from gaia_core.errors import BusyError, ClosedError
from gaia_core.events import Event, Outcome
from gaia_core.journal._old import Journal, MemoryJournal
from gaia_core.messages import Content, Message, Usage, UserMessage
from gaia_core.models import Model, SlotPool
from gaia_core.session import Session, new_id
from gaia_core.turn import NO_OPTIONS, OpenResources, Setting, ToolThreads, Turn, TurnOptions, run_turn
from gaia_core.turn._budget import Budget

_log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str]

IDLE_SECONDS = 600.0
_STRAY_GRACE_SECONDS = 5.0


@attrs.frozen
class ModelLoad:
    """A model's slots: how many there are, are *busy*, and how many requests are *queued*."""

    model: str
    slots: int
    busy: int
    queued: int


@attrs.frozen
class RuntimeStats:
    """A picture of a runtime: what runs now, and what has happened since its start."""

    running_turns: int
    sessions: int
    models: tuple[ModelLoad, ...]
    turns: tuple[tuple[str, int], ...]
    """Ended turns by status."""
    tool_calls: tuple[tuple[str, str, int], ...]
    """Tool calls by tool and outcome."""
    usage: Usage


@attrs.define(eq=False)
class _Counts:
    turns: dict[str, int] = attrs.field(factory=dict)
    tool_calls: dict[tuple[str, Outcome], int] = attrs.field(factory=dict)
    usage: Usage = Usage()

    def tool_call(self, tool: str, outcome: Outcome) -> None:
        self.tool_calls[tool, outcome] = self.tool_calls.get((tool, outcome), 0) + 1


@attrs.define(eq=False)
class _SessionState:
    """All that changes of a session in this process. It exists while a turn runs or a resource is open."""

    resources: OpenResources
    turn: Turn | None = None
    used_at: float = 0.0


@attrs.frozen(eq=False)
class _OpenModel:
    model: Model
    slots: SlotPool


class Runtime:
    """See the module's text.

    *journal* keeps sessions (default: in memory). *tool_threads* bounds the threads for synchronous tools.
    *idle_seconds*: resources of a session that was idle for so long close, and reopen on use.
    """

    def __init__(
        self,
        catalog: Catalog,
        journal: Journal | None = None,
        *,
        tool_threads: int = 32,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._catalog = catalog
        self._journal: Journal = journal if journal is not None else MemoryJournal()
        self._threads = ToolThreads(tool_threads)
        self._idle_seconds = idle_seconds
        self._models: dict[str, _OpenModel] = {}
        self._states: dict[Key, _SessionState] = {}
        self._process = OpenResources(self._threads)
        self._turns: set[Turn] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._counts = _Counts()
        self._sweeper: asyncio.Task[None] | None = None
        self._accepting = False

    @property
    def catalog(self) -> Catalog:
        """The agents and models of this runtime."""
        return self._catalog

    async def __aenter__(self) -> Self:
        self._sweeper = asyncio.create_task(self._sweep(), name="gaia idle sessions")
        self._accepting = True
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    # Sessions.

    async def open(self, agent: Agent | str, id: str | None = None, *, owner: str = "") -> Session:
        """A session of *agent* (or of the catalog's agent of that name): a new one, or the one of that *id*."""
        found = self._catalog.agent(agent) if isinstance(agent, str) else agent
        session = Session(id or new_id(), found, owner)
        await self._journal.create(session.id, owner)
        return session

    async def history(self, session: Session) -> tuple[Message, ...]:
        """The session's recorded messages. Raises NotFoundError."""
        records = await self._journal.read(session.id, session.owner)
        return tuple(message for record in records for message in record.messages)

    async def delete(self, session: Session) -> None:
        """Erase the session; a running turn is cancelled first. Raises NotFoundError."""
        state = self._states.get((session.owner, session.id))
        if state is not None and state.turn is not None:
            await state.turn.cancel()
        await self._close_resources((session.owner, session.id))
        await self._journal.delete(session.id, session.owner)

    # Turns.

    async def start(
        self,
        session: Session,
        content: Content | None = None,
        *,
        transcript: tuple[Message, ...] | None = None,
        interactive: bool = False,
        options: TurnOptions = NO_OPTIONS,
    ) -> Turn:
        """Begin a turn with the user's *content*; it goes on whoever reads it.

        *transcript*: the whole conversation comes from the caller; the session gives resources only, and nothing is
        recorded. *interactive*: somebody answers approvals and questions by `Turn.decide` and `Turn.answer`.
        Raises BusyError when the session runs a turn, ClosedError, NotFoundError.
        """
        key = (session.owner, session.id)
        state = self._claim(key)
        try:
            turn = await self._begin(session, state, content, transcript, interactive, options)
        except BaseException:
            state.turn = None
            self._drop_if_unused(key, state)
            raise
        return turn

    async def turn(
        self, agent: Agent | str, content: Content, *, options: TurnOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        """The events of a one-off turn, which leaves no session. Leaving the loop cancels it."""
        turn = await self.once(agent, (UserMessage(content),), options=options)
        try:
            async for event in turn.events():
                yield event
        finally:
            await turn.cancel()

    async def once(
        self,
        agent: Agent | str,
        transcript: tuple[Message, ...],
        *,
        interactive: bool = False,
        options: TurnOptions = NO_OPTIONS,
        key: str = "",
    ) -> Turn:
        """Begin a turn on *transcript* that leaves no session; its resources close when it ends.

        *key* names who asks, for a fair queue; by default each turn counts by itself.
        """
        found = self._catalog.agent(agent) if isinstance(agent, str) else agent
        own = f"once_{new_id()}"
        session = Session(key or own, found)
        return await self._begin(
            session, self._claim(("", own)), None, transcript, interactive, options, once=("", own)
        )

    def _claim(self, key: Key) -> _SessionState:
        if not self._accepting:
            raise ClosedError("the runtime takes no new turns: it is not open, or about to close")
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _SessionState(OpenResources(self._threads))
        elif state.turn is not None:
            raise BusyError(f"session {key[1]!r} runs a turn already")
        state.turn = Turn(f"turn_{new_id()}", key[1])
        return state

    async def _begin(
        self,
        session: Session,
        state: _SessionState,
        content: Content | None,
        transcript: tuple[Message, ...] | None,
        interactive: bool,
        options: TurnOptions,
        once: Key | None = None,
    ) -> Turn:
        turn = state.turn
        assert turn is not None
        conversation = transcript if transcript is not None else await self.history(session)
        new = () if content is None else (UserMessage(content),)
        recorded = transcript is None

        async def record(messages: tuple[Message, ...], usage: Usage) -> None:
            turn.messages += messages
            if recorded and messages:
                await self._journal.append(session.id, session.owner, turn.id, messages, usage)

        agent = session.agent
        opened = self._model(agent.model)
        setting = Setting(
            agent=agent,
            turn=turn,
            model=opened.model,
            slots=opened.slots,
            budget=Budget(agent.limits),
            threads=self._threads,
            resources=lambda recipe: self._process if recipe.scope == "process" else state.resources,
            record=record,
            resolve=self._resolve,
            counted=self._counts.tool_call,
            interactive=interactive,
            options=options,
        )
        if recorded and new:
            await self._journal.append(session.id, session.owner, turn.id, new, Usage())
        self._turns.add(turn)
        run = self._run(
            setting, (*conversation, *new), once or (session.owner, session.id), state, close=once is not None
        )
        turn.task = asyncio.create_task(run, name=turn.id)
        return turn

    async def _run(
        self, setting: Setting, conversation: tuple[Message, ...], key: Key, state: _SessionState, *, close: bool
    ) -> None:
        turn = setting.turn
        try:
            await run_turn(setting, conversation, setting.agent.fingerprint)
        finally:
            state.turn = None
            state.used_at = asyncio.get_running_loop().time()
            self._turns.discard(turn)
            if turn.ended is not None:
                self._counts.turns[turn.ended.status] = self._counts.turns.get(turn.ended.status, 0) + 1
                self._counts.usage += turn.ended.usage
            if close:
                await self._close_resources(key)
            else:
                self._drop_if_unused(key, state)

    # Models.

    def _model(self, name: str) -> _OpenModel:
        opened = self._models.get(name)
        if opened is None:
            spec = self._catalog.model(name)
            opened = self._models[name] = _OpenModel(spec.open(), SlotPool(name, spec.slots, spec.queue))
        return opened

    def _resolve(self, name: str) -> tuple[Model, SlotPool]:
        opened = self._model(name)
        return opened.model, opened.slots

    def model(self, name: str) -> Model:
        """The open model of that name in the catalog, opened at first use. Raises NotFoundError."""
        return self._model(name).model

    # Life.

    @property
    def accepting(self) -> bool:
        """Whether new turns are taken."""
        return self._accepting

    def stats(self) -> RuntimeStats:
        """What runs now, and what has happened since the start."""
        counts = self._counts
        return RuntimeStats(
            running_turns=len(self._turns),
            sessions=len(self._states),
            models=tuple(
                ModelLoad(name, opened.slots.slots, opened.slots.busy, opened.slots.queued)
                for name, opened in sorted(self._models.items())
            ),
            turns=tuple(sorted(counts.turns.items())),
            tool_calls=tuple(sorted((tool, outcome, n) for (tool, outcome), n in counts.tool_calls.items())),
            usage=counts.usage,
        )

    async def drain(self, seconds: float) -> bool:
        """Take no new turns, and give the running ones *seconds* to end. True when all of them did."""
        self._accepting = False
        running = tuple(turn.task for turn in self._turns if turn.task is not None)
        if running:
            await asyncio.wait(running, timeout=seconds)
        return not self._turns

    async def aclose(self) -> None:
        """Cancel the running turns, then close the sessions' resources, the process's, and the models. Idempotent."""
        self._accepting = False
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait((self._sweeper,))
            self._sweeper = None
        running = tuple(self._turns)
        tasks = tuple(turn.task for turn in running if turn.task is not None)
        for turn in running:
            await turn.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for key in tuple(self._states):
            await self._close_resources(key)
        self._late.update(await self._process.close())
        if self._late:
            _, still_open = await asyncio.wait(self._late, timeout=_STRAY_GRACE_SECONDS)
            if still_open:
                _log.warning("still running and can't be stopped: %s", ", ".join(self._threads.stuck))
                for task in still_open:
                    task.cancel()
        for opened in self._models.values():
            if (close := getattr(opened.model, "aclose", None)) is not None:
                await close()
        self._models.clear()
        self._threads.close()

    async def _close_resources(self, key: Key) -> None:
        state = self._states.pop(key, None)
        if state is not None:
            for task in await state.resources.close():
                self._late.add(task)
                task.add_done_callback(self._late.discard)

    def _drop_if_unused(self, key: Key, state: _SessionState) -> None:
        if not len(state.resources) and state.turn is None:
            self._states.pop(key, None)

    async def _sweep(self) -> None:
        """Close the resources of sessions that were idle for long."""
        while True:
            await asyncio.sleep(self._idle_seconds / 10)
            now = asyncio.get_running_loop().time()
            idle: list[Any] = [
                key
                for key, state in self._states.items()
                if state.turn is None and now - state.used_at >= self._idle_seconds
            ]
            for key in idle:
                if self._states[key].turn is None:
                    await self._close_resources(key)


__all__ = ["ModelLoad", "Runtime", "RuntimeStats"]
