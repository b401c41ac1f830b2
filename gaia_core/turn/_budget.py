"""Budget: what a turn has used of its limits. A sub-agent's budget also charges its caller's."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gaia_core.agent import Limits
from gaia_core.events import LimitReached
from gaia_core.messages import Usage
from gaia_core.turn._pausable_clock import PausableClock


class Budget:
    """The counters of one turn; *parent* is charged too.

    Written by the turn's task and by the tasks of its calls, on one event loop. No method awaits between a check and
    its increment, so calls that run in parallel can't exceed a limit together.
    """

    __slots__ = ("_limits", "_parent", "clock", "steps", "tool_calls", "usage")

    def __init__(self, limits: Limits, parent: "Budget | None" = None) -> None:
        self._limits = limits
        self._parent = parent
        self.steps = 0
        """Counted by the loop's own task, and in a parent also by the tasks of its sub-agents; the same for the next
        two."""
        self.tool_calls = 0
        self.usage = Usage()
        self.clock: PausableClock | None = None
        """The turn's wall clock while it runs, which `asking` stops, also for questions of sub-agents. Set and reset by
        `_Loop.run`, in the loop's task."""

    @property
    def limits(self) -> Limits:
        """The limits that this budget counts against."""
        return self._limits

    def restore(self, steps: int, tool_calls: int, usage: Usage) -> None:
        """Count what another process used of the turn's limits; the wall clock begins anew."""
        self.steps, self.tool_calls, self.usage = steps, tool_calls, usage

    def step(self) -> LimitReached | None:
        """Count a step about to begin, or say which limit forbids it."""
        limits = self._limits
        if self.steps >= limits.steps:
            return LimitReached("steps", limits.steps, f"the limit of {limits.steps} steps is reached")
        if limits.tokens is not None and self.usage.total_tokens >= limits.tokens:
            used = self.usage.total_tokens
            return LimitReached("tokens", limits.tokens, f"{used} of at most {limits.tokens} tokens are used")
        if self._parent is not None and (reached := self._parent.step()):
            return reached
        self.steps += 1
        return None

    def tool_call(self) -> LimitReached | None:
        """Count a tool call about to run, or say that the limit forbids it."""
        limits = self._limits
        if self.tool_calls >= limits.tool_calls:
            message = f"the limit of {limits.tool_calls} tool calls is reached"
            return LimitReached("tool_calls", limits.tool_calls, message)
        if self._parent is not None and (reached := self._parent.tool_call()):
            return reached
        self.tool_calls += 1
        return None

    def charge(self, usage: Usage) -> None:
        """Add what a step cost, here and above."""
        self.usage += usage
        if self._parent is not None:
            self._parent.charge(usage)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Stop the wall clock, here and above, while people are asked."""
        with ExitStack() as stack:
            if self._parent is not None:
                stack.enter_context(self._parent.asking())
            if self.clock is not None:
                stack.enter_context(self.clock.paused())
            yield
