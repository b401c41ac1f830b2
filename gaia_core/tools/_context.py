"""Context: what a running tool is given besides its arguments, and nothing more (a tool can't reach what its agent
was not given)."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from gaia_core.errors import ToolError

R = TypeVar("R")


def _no_progress(_text: str) -> None:
    return None


async def _nobody(_question: str, _options: tuple[str, ...]) -> str:
    raise ToolError("no user can be asked here")


async def _no_agents(_agent: Any, _task: str) -> str:
    raise ToolError("no agent can be run here")


def _never() -> bool:
    return False


class Context(Generic[R]):
    """One call's view of its session.

        ctx.resource           what the toolset's recipe opened, shared by the calls of its scope
        ctx.session_id         the conversation
        ctx.turn_id            the turn
        ctx.call_id            this call
        ctx.idempotency_key    the same for every attempt at this call: give it to what you call
        ctx.progress("50 %")   report progress to the turn's clients; from any thread
        await ctx.ask("Which?", ("a", "b"))   ask the user; ToolError when there is nobody
        ctx.cancelled          true once the call was cancelled or timed out: a thread should stop

    In tests: `Context(resource)`.
    """

    __slots__ = (
        "_ask",
        "_cancelled",
        "_delegate",
        "_progress",
        "call_id",
        "idempotency_key",
        "resource",
        "session_id",
        "turn_id",
    )

    def __init__(
        self,
        resource: R,
        *,
        session_id: str = "session",
        turn_id: str = "turn",
        call_id: str = "call",
        idempotency_key: str = "key",
        progress: Callable[[str], None] = _no_progress,
        ask: Callable[[str, tuple[str, ...]], Awaitable[str]] = _nobody,
        cancelled: Callable[[], bool] = _never,
        delegate: Callable[[Any, str], Awaitable[str]] = _no_agents,
    ) -> None:
        self.resource = resource
        self.session_id = session_id
        self.turn_id = turn_id
        self.call_id = call_id
        self.idempotency_key = idempotency_key
        self._progress = progress
        self._ask = ask
        self._cancelled = cancelled
        self._delegate = delegate

    def progress(self, text: str) -> None:
        """Report the progress of the call to the turn's clients. May be called from any thread."""
        self._progress(text)

    async def ask(self, question: str, options: tuple[str, ...] = ()) -> str:
        """Ask the user and wait for the answer. Raises ToolError when nobody is there or nobody answers."""
        return await self._ask(question, options)

    @property
    def cancelled(self) -> bool:
        """True once the call was cancelled or timed out; a function on a thread can't be stopped and should look."""
        return self._cancelled()

    async def delegate(self, agent: Any, task: str) -> str:
        """Run *agent* on *task* as part of this turn, within its limits, and return its answer.

        Raises ToolError, with the reason, when it ends without one. `Agent.as_tool` is made of this.
        """
        return await self._delegate(agent, task)
