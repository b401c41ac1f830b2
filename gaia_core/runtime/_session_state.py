"""What changes: of a session in this process, and of the counts that an operator sees."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

import attrs

from gaia_core.background_tasks import TaskReport
from gaia_core.events import Outcome, TurnEnded
from gaia_core.frozen_types import made_once
from gaia_core.histogram import Histograms, Spread
from gaia_core.journal import JournalStats
from gaia_core.messages import Usage
from gaia_core.models import EndpointLoad
from gaia_core.turn import ModelAccess, OpenResources, Turn

_log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str]
"""A session's owner and id."""


@attrs.frozen
class ModelLoad:
    """A model's slots: how many there are, are *busy*, and how many requests are *queued*; and its *endpoints*.

    *tokens* are what the running requests need together, of *context_tokens* (None: not counted).
    """

    __attrs_pre_init__ = made_once

    model: str
    slots: int
    busy: int
    queued: int
    tokens: int = 0
    context_tokens: int | None = None
    endpoints: tuple[EndpointLoad, ...] = ()


def load_of(name: str, access: ModelAccess) -> ModelLoad:
    """The picture of an open model."""
    endpoints: tuple[EndpointLoad, ...] = getattr(access.model, "endpoints", ())
    slots = access.slots
    return ModelLoad(name, slots.slots, slots.busy, slots.queued, slots.tokens, slots.context_tokens, endpoints)


@attrs.frozen
class RuntimeStats:
    """A picture of a runtime: what runs now, and what has happened since its start."""

    __attrs_pre_init__ = made_once

    running_turns: int
    sessions: int
    models: tuple[ModelLoad, ...]
    turns: tuple[tuple[str, int], ...]
    """Ended turns by status."""
    tool_calls: tuple[tuple[str, str, int], ...]
    """Tool calls by tool and outcome."""
    usage: Usage
    """What ended turns and requests for vectors took."""
    journal: JournalStats
    turn_seconds: tuple[tuple[str, Spread], ...] = ()
    """How long ended turns ran, by status."""
    answer_seconds: tuple[tuple[str, Spread], ...] = ()
    """How long model requests took, waiting for a slot included, by model."""
    first_token_seconds: tuple[tuple[str, Spread], ...] = ()
    """The same until the first token."""
    tool_seconds: tuple[tuple[str, Spread], ...] = ()
    """How long tools ran, by tool."""
    background: tuple[TaskReport, ...] = ()
    """The long-lived background tasks."""


@attrs.define(eq=False)
class Counts:
    """What has happened since a runtime's start.

    Written on the runtime's event loop by the tasks of turns, calls and model queries; `Runtime.stats` reads it. No
    method awaits, so no count is lost.
    """

    turns: dict[str, int] = attrs.field(factory=dict)
    tool_calls: dict[tuple[str, Outcome], int] = attrs.field(factory=dict)
    usage: Usage = Usage()
    turn_seconds: Histograms[str] = attrs.field(factory=Histograms)
    answer_seconds: Histograms[str] = attrs.field(factory=Histograms)
    first_token_seconds: Histograms[str] = attrs.field(factory=Histograms)
    tool_seconds: Histograms[str] = attrs.field(factory=Histograms)

    def tool_call(self, tool: str, outcome: Outcome, seconds: float | None) -> None:
        """See Counting."""
        self.tool_calls[tool, outcome] = self.tool_calls.get((tool, outcome), 0) + 1
        if seconds is not None:
            self.tool_seconds.add(tool, seconds)

    def answer(self, model: str, seconds: float, first_seconds: float | None) -> None:
        """See Counting."""
        self.answer_seconds.add(model, seconds)
        if first_seconds is not None:
            self.first_token_seconds.add(model, first_seconds)

    def turn(self, ended: TurnEnded) -> None:
        """Count a turn that ended."""
        self.turns[ended.status] = self.turns.get(ended.status, 0) + 1
        self.usage += ended.usage
        self.turn_seconds.add(ended.status, ended.seconds)


@attrs.define(eq=False)
class WaitingTurn:
    """A turn that waits for its session. *free* is done when it may begin; *moved* gets its position (1: next);
    *interrupts*: it ends the turn that runs.

    Made by the task that waits. `SessionGate.free` resolves *free*; cancelling that task cancels it.
    """

    free: asyncio.Future[None]
    moved: Callable[[int], None] | None = None
    interrupts: bool = False
    position: int = 0
    """The position that *moved* received last. Written by `SessionState.tell_positions`."""


@attrs.define(eq=False)
class SessionState:
    """All that changes of a session in this process. It exists while a turn runs or waits, or a resource is open."""

    resources: OpenResources
    """Opened by the turn's calls, closed by SessionGate."""
    taken: bool = False
    """Whether a turn has claimed the session; *turn* is set once it runs. `SessionGate` sets it (`claim`, `free`)."""
    turn: Turn | None = None
    """Set by `TurnRunner._turn_context`, just before the turn's task is created; reset by `SessionGate.free`."""
    used_at: float = 0.0
    """When the last turn ended, on the loop's clock. Written by `SessionGate.free`."""
    waiting: list[WaitingTurn] = attrs.field(factory=list)
    """Turns that begin when this one has ended, in their order. Written by `SessionGate`, from the tasks that wait and
    from the task of the turn that ends."""

    @property
    def interrupted(self) -> bool:
        """Whether a turn waits that ends the one which begins now."""
        return any(waiting_turn.interrupts for waiting_turn in self.waiting)

    def tell_positions(self) -> None:
        """Tell those who wait their place, if it is another one. What a callback raises is logged."""
        for position, waiting_turn in enumerate(self.waiting, 1):
            if waiting_turn.moved is not None and waiting_turn.position != position:
                waiting_turn.position = position
                try:
                    waiting_turn.moved(position)
                except Exception:  # noqa: BLE001  # the turns must go on, whatever a surface's callback does
                    _log.exception("a callback for the position in a session's queue failed")
