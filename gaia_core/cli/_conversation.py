"""A conversation at the terminal: messages typed, turns shown, approvals and questions of tools answered.

The terminal has this thread, the Runtime an event loop on another. While a turn runs, Ctrl-C cancels it, and it ends
as any other turn does; a second Ctrl-C doesn't wait for that and leaves. At a prompt Ctrl-C raises KeyboardInterrupt.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, TypeAlias

import attrs
import msgspec

from gaia_core.catalog import Catalog
from gaia_core.cli._background import Background
from gaia_core.cli._prompt import Prompt, echo
from gaia_core.cli._screen import Screen
from gaia_core.cli._show import Show
from gaia_core.errors import NotFoundError
from gaia_core.events import ApprovalRequested, Event, InputRequested, Nested, TurnEnded
from gaia_core.runtime import Runtime
from gaia_core.session import Session
from gaia_core.turn import Turn

Arrived: TypeAlias = tuple[float, Sequence[Event]] | None
"""A batch of events and when it came; None after the last."""

_CANCELLED_EXIT = 130
_NOT_READY_SECONDS = 1.0
_BEAT_SECONDS = 0.25


@contextmanager
def conversation(
    loop: Background, catalog: Catalog, agent: str | None, screen: Screen, *, interactive: bool
) -> Iterator["Conversation"]:
    """A conversation with *agent* (None: the default one) on a runtime that closes with the block.

    *interactive*: somebody is here to answer approvals and questions. Raises NotFoundError for an unknown agent.
    """
    chosen = catalog.agent(agent or catalog.default_agent)

    async def opened() -> tuple[Runtime, Session]:
        runtime = await Runtime(catalog).__aenter__()
        if catalog.model(chosen.model).kind == "embedded":
            runtime.model(chosen.model)  # so that it is fetched and started while the person types
        return runtime, await runtime.open(chosen)

    runtime, session = loop.run(opened())
    # A program that a script started in the background ignores Ctrl-C, as it was told; at a terminal it is heard.
    heard = signal.default_int_handler if interactive else signal.getsignal(signal.SIGINT)
    try:
        with _ctrl_c(heard):
            yield Conversation(loop, runtime, session, screen, interactive)
    finally:
        loop.run(runtime.aclose())


@attrs.frozen
class Conversation:
    """One session, this terminal, and who sits at it."""

    loop: Background
    runtime: Runtime
    session: Session
    screen: Screen
    interactive: bool
    prompt: Prompt = attrs.field(factory=Prompt)

    def go_on(self) -> int:
        """Turn after turn, until the person leaves. The exit code."""
        self._greet()
        while (message := self.prompt.message()) is not None:
            self._turn(message)
        return 0

    def once(self, message: str) -> int:
        """One turn. The exit code: 0 for a whole answer."""
        ended = self._turn(message)
        if ended.status == "cancelled":
            return _CANCELLED_EXIT
        return 0 if ended.status == "completed" and ended.finish_reason == "stop" else 1

    def _greet(self) -> None:
        agent = self.session.agent
        model = self.runtime.catalog.model(agent.model)
        tools = f"{len(agent.tools)} tools" if len(agent.tools) else "no tools"
        self.screen.line(f"{agent.name} · {model.description or model.kind} · {tools}", "dim")
        self.screen.line("Ctrl-C cancels an answer, Ctrl-D leaves; a line that ends with \\ goes on", "dim")
        self.screen.rest()

    def _turn(self, message: str) -> TurnEnded:
        """Say *message*, and show what happens until it has ended."""
        show = Show(self.screen)
        try:
            ended = _Turn(self, show).run(message)
            while self._becomes_ready(ended) and self._waited(ended):
                ended = _Turn(self, show).run(None)  # the message is in the session already
            show.ended(ended)
        finally:
            self.screen.rest()
        return ended

    def _becomes_ready(self, ended: TurnEnded) -> bool:
        """Whether the embedded model is still being fetched or started, and will answer."""
        error = ended.error
        embedded = self.runtime.catalog.model(self.session.agent.model).kind == "embedded"
        return embedded and error is not None and error.type == "not_ready" and error.retryable

    def _waited(self, ended: TurnEnded) -> bool:
        """Wait a moment; False when the person doesn't want to."""
        assert ended.error is not None
        self.screen.status(ended.error.message)
        try:
            threading.Event().wait(_NOT_READY_SECONDS)
        except KeyboardInterrupt:
            return False
        return True


class _Turn:
    """A turn that runs, as this thread sees it."""

    def __init__(self, conversation: Conversation, show: Show) -> None:
        self._of = conversation
        self._show = show
        self._arrived: SimpleQueue[Arrived] = SimpleQueue()
        self._turn: Turn | None = None
        self._interrupts = 0

    def run(self, message: str | None) -> TurnEnded:
        """Run it to its end."""
        of = self._of
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with _ctrl_c(signal.SIG_IGN if ignored else self._interrupt), echo(on=False):
            turn = of.loop.run(of.runtime.start(of.session, message, interactive=of.interactive))
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
        seconds = at + event.timeout_seconds - time.monotonic()
        self._of.screen.rest()
        try:
            with _ctrl_c(signal.default_int_handler), echo(on=True):
                if isinstance(event, ApprovalRequested):
                    self._approve(turn, event, seconds)
                else:
                    self._input(turn, event, seconds)
        except (KeyboardInterrupt, EOFError):
            self._interrupt(signal.SIGINT, None)

    def _approve(self, turn: Turn, event: ApprovalRequested, seconds: float) -> None:
        """Ask until there is a yes, a no, or a reason, which is a no too. The whole call is shown."""
        screen = self._of.screen
        screen.line(f"? {event.reason}:", "bold")
        screen.aside(_call_text(event), 1)
        screen.rest()
        answer = ""
        while not answer:
            given = self._of.prompt.ask(f"Allow {event.tool}? y, n, or why not: ", seconds)
            if given is None:
                return  # too late; the turn says so itself
            answer = given
        approved = answer.lower() in ("y", "yes")
        reason = "" if approved or answer.lower() in ("n", "no") else answer
        self._tell(lambda: turn.decide(event.approval_id, approved, reason))

    def _input(self, turn: Turn, event: InputRequested, seconds: float) -> None:
        screen = self._of.screen
        screen.line(f"? {event.question}", "bold")
        for number, option in enumerate(event.options, 1):
            screen.line(f"  {number}. {option}")
        screen.rest()
        while True:
            answer = self._of.prompt.ask("Answer: ", seconds)
            if answer is None:
                return
            if event.options and answer.isdecimal() and 1 <= int(answer) <= len(event.options):
                answer = event.options[int(answer) - 1]
            if answer in event.options or (answer and not event.options):
                break
        self._tell(lambda: turn.answer(event.request_id, answer))

    def _tell(self, answer: Callable[[], None]) -> None:
        """Give the turn an answer, on its own thread."""

        async def tell() -> None:
            answer()

        try:
            self._of.loop.run(tell())
        except NotFoundError:
            self._of.screen.line("✗ too late: it doesn't wait for an answer any more", "red")


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
    arguments = msgspec.json.decode(event.arguments or "{}")
    lines = [event.tool]
    for name, value in arguments.items() if isinstance(arguments, dict) else ():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        shown = text.split("\n")
        lines.append(f"{name}: {shown[0]}" if len(shown) == 1 else f"{name}:")
        lines += [f"  │ {line}" for line in shown] if len(shown) > 1 else []
    return "\n".join(lines)
