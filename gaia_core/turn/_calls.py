"""Tool calls: validate, then approve, then run (law 6). Whatever happens becomes a result that the model can act on."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from gaia_core.agent import Agent
from gaia_core.errors import ArgumentsError, ToolError
from gaia_core.events import (
    ApprovalDecided,
    ApprovalRequested,
    Event,
    InputRequested,
    LimitReached,
    Outcome,
    ToolCalled,
    ToolEnded,
    ToolProgress,
    ToolStarted,
)
from gaia_core.messages import ToolCall, ToolMessage
from gaia_core.session import new_id
from gaia_core.tools import Bound, Context, nearest
from gaia_core.turn._setting import Setting

_log = logging.getLogger(__name__)


class Calls:
    """Runs the calls of one turn's steps. *emit* takes events; *limit* is set when the turn must end after the step."""

    def __init__(self, setting: Setting, emit: Callable[..., None], delegate: "Callable[..., Any]") -> None:
        self._setting = setting
        self._agent: Agent = setting.agent
        self._emit = emit
        self._delegate = delegate
        self.limit: LimitReached | None = None

    async def run(self, calls: tuple[ToolCall, ...]) -> tuple[ToolMessage, ...]:
        """The results of *calls*, in their order. Calls run in parallel, an exclusive one alone."""
        if len(calls) == 1:
            return (await self._one(calls[0]),)
        results: list[ToolMessage] = []
        together: list[ToolCall] = []
        for call in calls:
            bound = self._agent.tools.get(call.name)
            if bound is not None and bound.tool.exclusive:
                results += await self._parallel(together)
                together = []
                results.append(await self._one(call))
            else:
                together.append(call)
        return (*results, *await self._parallel(together))

    async def _parallel(self, calls: list[ToolCall]) -> list[ToolMessage]:
        if not calls:
            return []
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(call)) for call in calls]
        return [task.result() for task in tasks]

    async def _one(self, call: ToolCall) -> ToolMessage:
        self._emit(ToolCalled(call.id, call.name, call.arguments))
        started = time.monotonic()
        try:
            outcome, content, still_running = await self._outcome(call)
        except asyncio.CancelledError:
            running = self._still_running(call)
            words = "The call was cancelled; its outcome is unknown."
            self._emit(ToolEnded(call.id, call.name, "cancelled", words, time.monotonic() - started, running))
            raise
        content = _bounded(content, self._agent.limits.result_chars)
        self._setting.counted(call.name if call.name in self._agent.tools else "(unknown)", outcome)
        self._emit(ToolEnded(call.id, call.name, outcome, content, time.monotonic() - started, still_running))
        return ToolMessage(content, call.id)

    def _still_running(self, call: ToolCall) -> bool:
        return self._setting.path + call.id in self._setting.abandoned

    async def _outcome(self, call: ToolCall) -> tuple[Outcome, str, bool]:
        tools = self._agent.tools
        bound = tools.get(call.name)
        if bound is None:
            known = ", ".join(tools.names) or "none"
            return (
                "unknown_tool",
                f"There is no tool {call.name!r}.{nearest(call.name, tools.names)} Tools: {known}",
                False,
            )
        if reached := self._setting.budget.tool_call():
            self.limit = reached
            return "denied", f"Not run: {reached.message}.", False
        try:
            arguments = bound.tool.parameters.decode(call.name, call.arguments)
        except ArgumentsError as error:
            return "invalid", f"{error}\nCall {call.name} again with valid arguments.", False
        if denied := await self._denied(call, bound):
            return "denied", denied, False
        return await self._run(call, bound, arguments)

    async def _denied(self, call: ToolCall, bound: Bound) -> str | None:
        """Why the validated *call* must not run, or None."""
        policy = self._agent.approvals
        reason = policy.reason(bound.tool)
        if reason is None:
            return None
        if not self._setting.interactive:
            words = f"{reason}, and nobody is here to give it"
            self._emit(ApprovalDecided(call.id, approved=False, reason=words))
            return f"Denied: {words}. Go on without this call, or tell the user what would be needed."
        approval_id = f"appr_{new_id()}"
        with self._setting.budget.asking():
            self._emit(ApprovalRequested(approval_id, call.id, call.name, call.arguments, reason, policy.timeout))
            decision = await self._setting.turn.approval(approval_id, policy.timeout)
        approved, why = decision or (False, f"nobody answered within {policy.timeout:g} s")
        self._emit(ApprovalDecided(call.id, approved, why))
        if approved:
            return None
        return f"Denied: {why or 'the user said no'}. Go on without this call."

    async def _run(self, call: ToolCall, bound: Bound, arguments: Any) -> tuple[Outcome, str, bool]:
        tool = bound.tool
        seconds = tool.timeout or self._agent.limits.tool_seconds
        self._emit(ToolStarted(call.id))
        try:
            async with asyncio.timeout(seconds) as clock:
                result = await self._invoke(call, bound, arguments, clock)
            return "ok", _text(result), False
        except ToolError as error:
            return "error", f"Error: {error}", False
        except TimeoutError as error:
            if not clock.expired():
                return "error", self._failed(call, error), False
            running = self._still_running(call)
            rest = " It can't be stopped and may still have an effect." if running else ""
            return "timeout", f"Error: {call.name} took longer than {seconds:g} s and was given up.{rest}", running
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return "error", self._failed(call, error), False  # the tool's own
        except Exception as error:  # noqa: BLE001  # whatever a tool raises is the call's result
            return "error", self._failed(call, error), False

    def _failed(self, call: ToolCall, error: BaseException) -> str:
        """The trace for the operator's log; for the model only what kind of thing failed."""
        setting = self._setting
        _log.error(
            "tool %s failed in turn %s of session %s",
            call.name,
            setting.turn.id,
            setting.turn.session_id,
            exc_info=error,
        )
        return (
            f"Error: {call.name} failed with {type(error).__name__}. This is a fault of the tool, not of the arguments."
        )

    async def _invoke(self, call: ToolCall, bound: Bound, arguments: Any, clock: asyncio.Timeout) -> Any:
        tool, parameters = bound.tool, bound.tool.parameters
        named: dict[str, Any] = msgspec.structs.asdict(arguments) if parameters.decoder else {"arguments": arguments}
        if parameters.context is not None:
            named[parameters.context] = await self._context(call, bound, clock)
        if tool.is_async:
            return await tool.handler(**named)
        return await self._on_thread(call, bound, partial(tool.handler, **named))

    async def _on_thread(self, call: ToolCall, bound: Bound, function: Callable[[], Any]) -> Any:
        threads = self._setting.threads
        running = threads.submit(call.name, function)
        try:
            return await running.result
        except asyncio.CancelledError:
            if threads.abandon(running):
                self._setting.abandoned.add(self._setting.path + call.id)
                if bound.resource is not None:
                    self._setting.resources(bound.resource).close_after(bound.resource, running)
            raise

    async def _context(self, call: ToolCall, bound: Bound, clock: asyncio.Timeout) -> Context[Any]:
        setting = self._setting
        recipe = bound.resource
        return Context(
            await setting.resources(recipe).get(recipe) if recipe is not None else None,
            session_id=setting.turn.session_id,
            turn_id=setting.turn.id,
            call_id=call.id,
            idempotency_key=f"{setting.turn.id}/{setting.path}{call.id}",
            progress=partial(_progress, self._emit, call.id, asyncio.get_running_loop()),
            ask=partial(self._ask, call.id, clock),
            cancelled=lambda: clock.expired() or setting.turn.cancelling,
            delegate=partial(self._delegate, call.id),
        )

    async def _ask(self, call_id: str, clock: asyncio.Timeout, question: str, options: tuple[str, ...]) -> str:
        setting = self._setting
        if not setting.interactive:
            raise ToolError(f"nobody is here to answer: {question}")
        seconds = self._agent.approvals.timeout
        request_id = f"ask_{new_id()}"
        loop = asyncio.get_running_loop()
        left = (clock.when() or 0.0) - loop.time()
        clock.reschedule(None)  # the call's time stops as well
        try:
            with setting.budget.asking():
                self._emit(InputRequested(request_id, call_id, question, tuple(options), seconds))
                answer = await setting.turn.input(request_id, seconds)
        finally:
            if not clock.expired():
                clock.reschedule(loop.time() + left)
        if answer is None:
            raise ToolError(f"nobody answered within {seconds:g} s: {question}")
        return answer


def _progress(emit: Callable[[Event], None], call_id: str, loop: asyncio.AbstractEventLoop, text: str) -> None:
    event = ToolProgress(call_id, str(text))
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        emit(event)
    else:
        loop.call_soon_threadsafe(emit, event)


def _text(result: Any) -> str:
    """A handler's result as the model reads it."""
    if isinstance(result, str):
        return result.encode("utf-8", "replace").decode() if not result.isascii() else result
    if result is None:
        return "Done."
    if isinstance(result, bytes | bytearray | memoryview):
        return f"{len(result)} bytes of binary data"
    return msgspec.json.encode(result, enc_hook=str).decode()


def _bounded(content: str, limit: int) -> str:
    if len(content) <= limit:
        return content
    return f"{content[:limit]}\n… {len(content) - limit} more characters were left out: a result may have {limit}."
