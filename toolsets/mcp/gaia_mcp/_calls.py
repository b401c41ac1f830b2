"""Calls: each belongs to one session, with its own progress and questions, also on a shared connection."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import mcp_types

from gaia_core import Context

_PROGRESS_SECONDS = 0.1


class ServerCall:
    """One call that runs: whose it is, and the questions that it waits for."""

    __slots__ = ("_asking", "_told", "ctx")

    def __init__(self, ctx: Context[Any]) -> None:
        self.ctx = ctx
        self._asking: set[asyncio.Task[Any]] = set()
        """The questions of the server that are being answered. Added and removed by `ask`, in the SDK's task or the
        call's; cancelled by `end`."""
        self._told = 0.0
        """When progress was emitted last. Written by `progress`, in the SDK's task."""

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Tell where the call is, at most ten times a second."""
        now = asyncio.get_running_loop().time()
        if now - self._told < _PROGRESS_SECONDS and progress != total:
            return
        self._told = now
        share = f"{progress:g}/{total:g}" if total is not None else f"{progress:g}"
        self.ctx.progress(f"{message[:500]} ({share})" if message else share)

    async def ask(self, question: Callable[[Context[Any]], Awaitable[Any]]) -> Any:
        """Answer *question* as a part of this call: when the call ends, the question is cancelled."""
        # A task of its own, so that `end` can cancel the question without cancelling the task that asks. Its failure is
        # raised to that task.
        task = asyncio.ensure_future(question(self.ctx))
        self._asking.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            self._asking.discard(task)

    def end(self) -> None:
        """The call is over."""
        for task in tuple(self._asking):
            task.cancel()


class ServerCalls:
    """The calls that run on one connection."""

    def __init__(self) -> None:
        self._running: dict[ServerCall, None] = {}
        """In the order of their beginning. Each call adds and removes itself, in its own task."""
        # A transport that answers each request on a stream of its own runs what it hears there in the context of who
        # asked; one variable a connection, which lives as long as its server is configured.
        self._present: ContextVar[ServerCall | None] = ContextVar("mcp call", default=None)

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, ctx: Context[Any], send: Callable[[ServerCall], Awaitable[Any]]) -> Any:
        """What *send* gives, as a call of *ctx*."""
        call = ServerCall(ctx)
        self._running[call] = None
        token = self._present.set(call)
        try:
            return await send(call)
        finally:
            self._present.reset(token)
            del self._running[call]
            # No await in this block: it also runs to its end when the call is cancelled.
            call.end()

    def asker(self) -> ServerCall | None:
        """The call whose server asks something; None where that can't be told: a question never reaches a stranger.

        On one shared pipe a question doesn't say which call it is for, so it is answered only while all calls that run
        are one session's.
        """
        present = self._present.get()
        if present in self._running:
            return present
        if len({call.ctx.session_id for call in self._running}) != 1:
            return None
        return next(reversed(self._running))


async def answered(
    send: Callable[[dict[str, Any] | None, str | None], Awaitable[Any]],
    answer: Callable[[Any], Awaitable[Any]],
    most: int = 10,
) -> Any:
    """The result of *send*, whose server may want to know more first: each such request goes to *answer*, and the call
    is sent again with what it gave. Source: MCP 2026-07-28, multi round-trip requests."""
    responses: dict[str, Any] | None = None
    state: str | None = None
    for _ in range(most):
        result = await send(responses, state)
        if not isinstance(result, mcp_types.InputRequiredResult):
            return result
        state = result.request_state
        responses = {name: await answer(request) for name, request in (result.input_requests or {}).items()} or None
        if responses is None:
            await asyncio.sleep(_PROGRESS_SECONDS)
    raise RuntimeError(f"the server asked for more than {most} times")
