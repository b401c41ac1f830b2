"""A conversation at the terminal: messages typed, turns shown, approvals and questions of tools answered.

The terminal has this thread, the Runtime an event loop on another. While a turn runs, Ctrl-C cancels it, and it ends
as any other turn does; a second Ctrl-C doesn't wait for that and leaves. At a prompt Ctrl-C raises KeyboardInterrupt.
"""

import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, TypeAlias
from uuid import uuid4

import attrs
import msgspec

from gaia_core.catalog import Catalog
from gaia_core.cli._journal_option import OWNER, SHORT_ID, find_session
from gaia_core.cli.terminal._event_loop_thread import EventLoopThread
from gaia_core.cli.terminal._event_view import EventView
from gaia_core.cli.terminal._prompt import Prompt, without_echo
from gaia_core.cli.terminal._recorded_conversation import show_recap
from gaia_core.cli.terminal._screen import Screen
from gaia_core.errors import AnsweredError, BusyError, NotFoundError
from gaia_core.events import ApprovalRequested, Event, InputRequested, Nested, TurnEnded
from gaia_core.facts import Asked
from gaia_core.journal import Journal, SessionUpdate
from gaia_core.nesting import decode_json
from gaia_core.runtime import Facts, Runtime, configured
from gaia_core.session import Session
from gaia_core.turn import Audience, Turn, TurnRequest
from gaia_core.visible_text import visible, visible_value

Arrived: TypeAlias = tuple[float, Sequence[Event]] | None
"""A batch of events and when it came; None after the last."""

_CANCELLED_EXIT = 130
_BEAT_SECONDS = 0.25


@contextmanager
def conversation(
    loop: EventLoopThread,
    catalog: Catalog,
    agent: str | None,
    screen: Screen,
    *,
    interactive: bool,
    journal: Journal | None = None,
    session: str | None = None,
    model: str | None = None,
    history: Path | None = None,
) -> Iterator["Conversation"]:
    """A conversation with *agent* (None: the default one) on a runtime that closes with the block.

    *model* of the catalog instead of the agent's own. *history*: the file of what was typed before.

    *interactive*: somebody is here to answer approvals and questions. *journal* keeps it; None: nothing does.
    *session*: the one in *journal* to go on with, by its own agent unless one is named; a turn that a stopped process
    left in it is taken over. Raises NotFoundError for an unknown agent or session, BusyError, JournalError.
    """
    chosen = catalog.agent(agent or catalog.default_agent) if agent is not None or session is None else None
    runtime = Runtime(catalog, journal, takes_over=False)

    async def opened() -> Conversation:
        await runtime.__aenter__()
        if journal is not None and session is not None:
            given, left = await _found(runtime, session, agent, interactive=interactive)
        else:
            assert chosen is not None
            given, left = Session(str(uuid4()), runtime.catalog.agent(chosen.name), OWNER), None
        talk = Conversation(loop, runtime, given, screen, interactive, recorded=journal is not None, left=left)
        if model is not None:
            await talk.use_model(model)
        if catalog.model(talk.session.agent.model).kind == "embedded":
            runtime.models.get(talk.session.agent.model)  # so that it is fetched and started while the person types
        return talk

    try:
        talk = loop.run(opened())
    except BaseException:
        loop.run(runtime.aclose())
        raise
    # A program that a script started in the background ignores Ctrl-C, as it was told; at a terminal it is heard.
    heard = signal.default_int_handler if interactive else signal.getsignal(signal.SIGINT)
    try:
        if interactive:
            talk.prompt = Prompt(history)
        with _ctrl_c(heard):
            yield talk
    finally:
        loop.run(runtime.aclose())


@attrs.define(eq=False)
class Conversation:
    """The session that is talked in, this terminal, and who sits at it. Belongs to the terminal's thread; while
    `opened` runs, to the loop's."""

    loop: EventLoopThread
    runtime: Runtime
    session: Session
    """Slash commands replace it."""
    screen: Screen
    interactive: bool
    prompt: Prompt | None = None
    """Set when it is interactive."""
    recorded: bool = False
    """Whether the session is kept, so that it can be continued later."""
    left: Turn | None = None
    """A turn that was taken over; it is shown before the next prompt."""
    said: bool = False
    """Whether something was said in the session since it was opened."""

    @property
    def person(self) -> Prompt:
        """Who is asked."""
        assert self.prompt is not None, "nobody is asked unless it is interactive"
        return self.prompt

    def farewell(self) -> None:
        """Say how to continue the session, before it is left."""
        if self.recorded and self.said:
            self.screen.line(f"continue with: gaia chat --session {self.session.id[:SHORT_ID]}", "dim")
            self.screen.rest()

    def once(self, message: str) -> int:
        """One turn. The exit code: 0 for a whole answer."""
        ended = self._turn(self._start(message))
        if ended.status == "cancelled":
            return _CANCELLED_EXIT
        return 0 if ended.status == "completed" and ended.finish_reason == "stop" else 1

    def greet(self) -> None:
        """Say who answers, and what was said last."""
        agent = self.session.agent
        model = self.runtime.catalog.model(agent.model)
        tools = f"{len(agent.tools)} tools" if len(agent.tools) else "no tools"
        self.screen.line(f"{agent.name} · {model.description or model.kind} · {tools}", "dim")
        self.screen.line("Ctrl-C cancels an answer, Ctrl-D leaves, /help lists the commands", "dim")
        self.screen.rest()
        if facts := self.loop.run(self._facts()):
            show_recap(facts, self.session.id, self.screen)

    async def _facts(self) -> Facts:
        """What was said before."""
        try:
            return await self.runtime.sessions.facts(OWNER, self.session.id)
        except NotFoundError:  # nothing yet: a session begins with its first message
            return ()

    async def _start(self, message: str) -> Turn:
        session = self.session
        model = session.agent.model
        chosen = model != self.runtime.catalog.agent(session.agent.name).model
        metadata = msgspec.json.encode({"model": model} if chosen else {})
        await self.runtime.open(session.agent, session.id, owner=session.owner, metadata=metadata)
        return await self.runtime.start(
            session, TurnRequest(message, audience=Audience.INTERACTIVE if self.interactive else Audience.NOBODY)
        )

    def say(self, message: str) -> None:
        """One turn of a dialogue. Another process that was quicker is an error that is shown."""
        self.said = True
        try:
            self._turn(self._start(message))
        except BusyError as error:
            self.screen.line(f"✗ {error}", "red")
            self.screen.rest()

    def take_left(self) -> None:
        """Show the turn that was taken over, if there is one, to its end."""
        if (left := self.left) is not None:
            self.left = None
            self._turn(_begun(left))

    async def use_session(self, id: str | None) -> None:
        """Talk in the session that *id* begins; None: in a new one of the same agent. Raises NotFoundError,
        BusyError."""
        if id is None:
            self.session = Session(str(uuid4()), self.session.agent, OWNER)
        else:
            self.session, self.left = await _found(self.runtime, id)
        self.said = False

    async def use_model(self, name: str) -> None:
        """Let the session's agent ask the model *name*, also when it is continued later. Raises NotFoundError."""
        self.runtime.catalog.model(name)
        session = self.session
        if await self.runtime.sessions.exists(session.owner, session.id):
            info = await self.runtime.sessions.get(session.owner, session.id)
            metadata = msgspec.json.encode(decode_json(info.metadata, dict[str, Any]) | {"model": name})
            await self.runtime.sessions.update(session.owner, session.id, SessionUpdate(metadata=metadata))
        self.session = Session(session.id, attrs.evolve(session.agent, model=name), session.owner)

    async def use_agent(self, name: str) -> None:
        """Let the session go on with the agent *name*. Raises NotFoundError."""
        session, agent = self.session, self.runtime.catalog.agent(name)
        if await self.runtime.sessions.exists(session.owner, session.id):
            info = await self.runtime.sessions.update(session.owner, session.id, SessionUpdate(agent=name))
            agent = configured(self.runtime.catalog, info, name)
        self.session = Session(session.id, agent, session.owner)

    def _turn(self, beginning: Coroutine[Any, Any, Turn]) -> TurnEnded:
        """Show what happens until the turn has ended that *beginning* gives."""
        show = EventView(self.screen)
        try:
            ended = _Turn(self, show).run(beginning)
            show.ended(ended)
        finally:
            self.screen.rest()
        return ended


async def _found(
    runtime: Runtime, id: str, agent: str | None = None, *, interactive: bool = True
) -> tuple[Session, Turn | None]:
    """The session that *id* begins, with *agent*, and the turn that a stopped process left in it, which is resumed
    here."""
    info = await find_session(runtime.journal, id)
    session = Session(info.id, configured(runtime.catalog, info, agent), OWNER)
    if info.turn is not None and not interactive:
        raise BusyError(f"session {info.id} has a turn that has not ended; continue it at a terminal")
    left = await runtime.sessions.take_over(OWNER, info.id)
    if agent is not None and agent != info.agent:
        await runtime.sessions.update(OWNER, info.id, SessionUpdate(agent=agent))
    return session, left


class _Turn:
    """A turn that runs, as this thread sees it."""

    def __init__(self, conversation: Conversation, show: EventView) -> None:
        self._of = conversation
        self._show = show
        self._arrived: SimpleQueue[Arrived] = SimpleQueue()
        self._turn: Turn | None = None
        self._interrupts = 0

    def run(self, beginning: Coroutine[Any, Any, Turn]) -> TurnEnded:
        """Run it to its end."""
        of = self._of
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with _ctrl_c(signal.SIG_IGN if ignored else self._interrupt), without_echo():
            turn = of.loop.run(beginning)
            self._turn = turn
            if self._interrupts:  # before there was anything to cancel
                of.loop.spawn(turn.cancel())
            of.loop.spawn(self._follow(turn))
            while (arrived := self._next()) is not None:
                at, events = arrived
                for event in events:
                    self._show.event(event)
                    self._answer(turn, event, at)
            return of.loop.run(turn.result())

    async def _follow(self, turn: Turn) -> None:
        """Hand the events over to the terminal's thread."""
        try:
            async for batch in turn.batches():
                self._arrived.put((time.monotonic(), batch))
        finally:
            self._arrived.put(None)

    def _next(self) -> Arrived:
        """What comes next; the screen is drawn while nothing does."""
        while True:
            try:
                # Never for long: a signal that comes just before the wait would be seen after it.
                return self._arrived.get(timeout=min(_BEAT_SECONDS, self._of.screen.draw() or _BEAT_SECONDS))
            except Empty:
                continue

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 1:
            raise KeyboardInterrupt
        if self._turn is not None:
            self._of.loop.spawn(self._turn.cancel())

    def _answer(self, turn: Turn, event: Event, at: float) -> None:
        """Ask the person, when *event* (which came *at* that time) wants something of them."""
        while isinstance(event, Nested):
            event = event.event
        if not isinstance(event, ApprovalRequested | InputRequested) or self._interrupts:
            return
        seconds = self._of.loop.run(_left_for(turn, event, at + event.timeout_seconds - time.monotonic()))
        if seconds is None:
            return
        self._of.screen.rest()
        try:
            with _ctrl_c(signal.default_int_handler):
                if isinstance(event, ApprovalRequested):
                    self._approve(turn, event, seconds)
                else:
                    self._input(turn, event, seconds)
        except (KeyboardInterrupt, EOFError):
            self._interrupt(signal.SIGINT, None)

    def _approve(self, turn: Turn, event: ApprovalRequested, seconds: float) -> None:
        """Ask until the answer is yes (once, or always in this session), no, or a reason, which counts as no.

        The whole call is shown, and what `always` would cover.
        """
        screen = self._of.screen
        screen.line(f"? {visible(event.reason)}:", "bold")
        screen.aside(_call_text(event), 1)
        screen.aside(f"always: {visible(event.scope)}", 1)
        screen.rest()
        answer = ""
        while not answer:
            given = self._of.person.ask(f"Allow {event.tool}? y, n, always, or why not: ", seconds)
            if given is None:
                return  # too late; the turn says so itself
            answer = given
        always = answer.lower() == "always"
        approved = always or answer.lower() in ("y", "yes")
        reason = "" if approved or answer.lower() in ("n", "no") else answer
        self._tell(turn.decide(event.approval_id, approved, reason, scope="session" if always else "once"))

    def _input(self, turn: Turn, event: InputRequested, seconds: float) -> None:
        screen = self._of.screen
        screen.line(f"? {visible(event.question)}", "bold")
        for number, option in enumerate(event.options, 1):
            screen.line(f"  {number}. {visible(option)}")
        screen.rest()
        while True:
            answer = self._of.person.ask("Answer: ", seconds)
            if answer is None:
                return
            if event.options and answer.isdecimal() and 1 <= int(answer) <= len(event.options):
                answer = event.options[int(answer) - 1]
            if answer in event.options or (answer and not event.options):
                break
        self._tell(turn.answer(event.request_id, answer))

    def _tell(self, answering: Coroutine[Any, Any, None]) -> None:
        """Give the turn an answer, on its own thread."""
        try:
            self._of.loop.run(answering)
        except (AnsweredError, NotFoundError):
            self._of.screen.line("✗ too late: it doesn't wait for an answer any more", "red")


async def _begun(turn: Turn) -> Turn:
    return turn


async def _left_for(turn: Turn, event: ApprovalRequested | InputRequested, seconds: float) -> float | None:
    """The seconds in which *event* can be answered, *seconds* unless the record knows better; None: not any more."""
    request_id = event.approval_id if isinstance(event, ApprovalRequested) else event.request_id
    if request_id not in turn.answers.open:
        return None
    for _, fact in await turn.replay(turn.after):
        if isinstance(fact, Asked) and fact.approval_id == request_id:
            seconds = min(seconds, fact.expires_at - time.time())
    return seconds if seconds > 0 else None


@contextmanager
def _ctrl_c(handler: Callable[[int, FrameType | None], Any] | int | None) -> Iterator[None]:
    """Let Ctrl-C call *handler*."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _call_text(event: ApprovalRequested) -> str:
    """The whole call: nobody approves what they can't see."""
    arguments = visible_value(msgspec.json.decode(event.arguments or "{}"))
    lines = [event.tool]
    for name, value in arguments.items() if isinstance(arguments, dict) else ():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        shown, name = text.split("\n"), name.replace("\n", "\\n")  # noqa: PLW2901
        lines.append(f"{name}: {shown[0]}" if len(shown) == 1 else f"{name}:")
        lines += [f"  │ {line}" for line in shown] if len(shown) > 1 else []
    return "\n".join(lines)
