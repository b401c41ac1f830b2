"""Events → screen: a fold. It decides how things look and nothing else; who asks and answers is the conversation."""

from gaia_core.activity import line_of
from gaia_core.cli.terminal._screen import Screen
from gaia_core.events import (
    Event,
    LimitReached,
    ModelRetried,
    Nested,
    Queued,
    ReasoningDelta,
    RecordDelayed,
    StepEnded,
    StepStarted,
    TextDelta,
    ToolCalled,
    ToolEnded,
    ToolProgress,
    TurnEnded,
)
from gaia_core.messages import text_of


class EventView:
    """Shows the events of one turn on *screen*."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._running: frozenset[str] = frozenset()
        """The ids of the calls that run, sub-agents' too, each after those of its callers."""
        self._parallel = False
        self._said = self._live = False

    def event(self, event: Event) -> None:
        """Show *event*; `ended` shows the last one."""
        if isinstance(event, TextDelta):
            self._live = True
            self.text(event.text)
        elif isinstance(event, ReasoningDelta):
            self._screen.reasoning(event.text)
        elif isinstance(event, StepStarted):
            self._said = self._live = False
            self._screen.waiting()
        elif isinstance(event, StepEnded):
            self._ended_step(event)
        elif not self._nested(event) and not self._status(event):
            self._line(event, event)

    def text(self, text: str) -> None:
        """Show *text* of the answer."""
        self._said = True
        self._screen.text(text)

    def _ended_step(self, event: StepEnded) -> None:
        """Show what the step said, unless it was shown as it came: a record has no deltas."""
        if not self._live:
            self._said = False
            if text := text_of(event.message.content):
                self.text(text)
        self._live = False

    def ended(self, event: TurnEnded) -> None:
        """Say how the turn ended, unless it was by an answer."""
        if event.error is not None:
            again = f" (try again in {event.error.retry_after:.0f} s)" if event.error.retry_after else ""
            self._screen.line(f"✗ {event.error.message}{again}", "red")
        elif event.status == "cancelled":
            self._screen.line("■ cancelled", "yellow")
        elif event.status == "completed" and event.finish_reason == "length":
            self._screen.line("■ the model was cut off: the answer reached its limit of tokens", "yellow")
        elif event.status == "completed" and event.finish_reason == "content_filter":
            self._screen.line("■ the model's endpoint filtered the answer", "yellow")
        elif event.status == "completed" and not self._said:
            self._screen.line("■ the model answered nothing", "yellow")
        self._screen.rest()

    def _nested(self, event: Event) -> bool:
        """Show an event of a sub-agent. Several may run at once, so that their texts are shown whole."""
        depth, inner = 0, event
        while isinstance(inner, Nested):
            depth, inner = depth + 1, inner.event
        if not depth:
            return False
        if isinstance(inner, StepEnded):
            if text := text_of(inner.message.content).strip():
                self._screen.aside(text, depth)
        elif not self._status(inner):
            self._line(event, inner)
        return True

    def _status(self, event: Event) -> bool:
        if isinstance(event, Queued):
            self._screen.status(f"queued for the model: position {event.position}")
        elif isinstance(event, ModelRetried) and event.kind == "not_ready" and not event.delay:
            self._screen.status(f"waiting for the model ({event.reason})")
        elif isinstance(event, ModelRetried) and event.kind == "not_ready":
            self._screen.status(f"waiting for the model ({event.reason}); asked again in {event.delay:.1f} s")
        elif isinstance(event, ModelRetried) and event.kind == "context_length":
            self._screen.status(event.reason)
        elif isinstance(event, ModelRetried):
            self._screen.status(f"the model failed ({event.reason}); asked again in {event.delay:.1f} s")
        elif isinstance(event, RecordDelayed):
            self._screen.status(f"waiting for the journal: {event.reason}")
        elif isinstance(event, ToolProgress):
            self._screen.status(event.text)
        else:
            return False
        return True

    def _line(self, event: Event, inner: Event) -> None:
        """The line of *event*, whose innermost event is *inner*."""
        if isinstance(inner, ToolCalled):
            call = _path(event, inner.call_id)
            self._parallel = any(not call.startswith(f"{other}/") for other in self._running)
            self._running |= {call}
        line = line_of(event, named=self._parallel)
        if line is not None:
            self._screen.line(line.rstrip("\n"), _style(inner))
        if isinstance(inner, ToolEnded):
            self._running -= {_path(event, inner.call_id)}
            if inner.still_running:
                self._screen.line(f"■ {inner.tool} still runs and can't be stopped", "yellow")


def _path(event: Event, call_id: str) -> str:
    """The ids of the calls around *event*, and *call_id*."""
    return f"{event.parent_call_id}/{_path(event.event, call_id)}" if isinstance(event, Nested) else call_id


def _style(event: Event) -> str:
    if isinstance(event, ToolEnded):
        return "dim" if event.outcome == "ok" else "red"
    return "yellow" if isinstance(event, LimitReached) else "cyan"
