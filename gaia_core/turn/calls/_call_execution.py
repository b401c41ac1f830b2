"""Running a call: its context, its time, its thread; and its result as the model reads it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any

import msgspec

from gaia_core.errors import FencedError, NestingError, ToolError
from gaia_core.events import Event, Outcome, ToolEnded, ToolProgress
from gaia_core.facts import Done, Questioned, Replied
from gaia_core.messages import ToolCall, Usage
from gaia_core.nesting import encode_json
from gaia_core.session import new_id
from gaia_core.tool_output import ToolOutput, within_limits
from gaia_core.tools import Bound, Context
from gaia_core.turn._pausable_clock import PausableClock
from gaia_core.turn._turn_context import TurnContext
from gaia_core.turn.calls._long_results import READ_RESULT, read_result, shortened
from gaia_core.turn.calls._pending_requests import QUESTION
from gaia_core.turn.context._context_window import result_chars
from gaia_core.turn.context._shortened_messages import chars_within
from gaia_core.turn.tool_search._find_tools import ToolFinder, find_tools
from gaia_core.turn.tool_search._vector_search import by_meaning

_log = logging.getLogger(__name__)

_NO_USAGE = Usage()


class CallExecution:
    """Runs validated, approved calls of one turn. *emit* takes live events, *delegate* runs sub-agents."""

    __slots__ = (
        "_context",
        "_delegate",
        "_emit",
        "_loaded",
        "_used",
    )

    def __init__(self, context: TurnContext, emit: Callable[..., None], delegate: Callable[..., Any]) -> None:
        self._context = context
        self._emit = emit
        self._loaded: dict[str, tuple[str, ...]] = {}
        """The tools that a call has found, by the call's id. Written by the task of that call, which removes it in
        `run`."""
        self._used: dict[str, Usage] = {}
        """What models did for a call, by the call's id. Written and removed in the same way."""
        self._delegate = delegate

    def key(self, call: ToolCall) -> str:
        """The idempotency key of *call*: the same for every attempt, in every process."""
        context = self._context
        return f"{context.turn.id}/{context.path}{call.id}"

    async def together(self, runs: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Await all of *runs* in a task group.

        A tool's failure is its call's result. When a call can't be recorded, the group cancels the other calls, and
        that call's error is raised, which ends the turn.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for run in runs:
                    group.create_task(run)
        except BaseExceptionGroup as failed:
            # Several calls that can't be recorded fail for the same reason, except that a lost lease says most.
            fenced = next((error for error in failed.exceptions if isinstance(error, FencedError)), None)
            raise fenced or failed.exceptions[0] from None

    async def run(self, call: ToolCall, bound: Bound, arguments: Any, replies: tuple[str | None, ...] = ()) -> None:
        """Run *call* and record how it ended. *replies* answer its first questions, as they did before."""
        context = self._context
        started = time.monotonic()
        try:
            outcome, output, still_running = await self._outcome(call, bound, arguments, list(replies))
        except asyncio.CancelledError:
            words = "The call was cancelled; its outcome is unknown."
            seconds = time.monotonic() - started
            context.counts.tool_call(call.name, "cancelled", seconds)
            # Live only: nothing is recorded of a call that was cancelled, and nothing is awaited here.
            self._emit(ToolEnded(call.id, call.name, "cancelled", words, seconds, self._still_running(call)))
            raise
        content, full, images = output.text, None, output.images
        if bound.tool is not read_result:  # which keeps to the same limit itself
            content, full = shortened(content, self._result_chars(content), call.id, images)
        loaded, used = self._loaded.pop(call.id, ()), self._used.pop(call.id, _NO_USAGE)
        seconds = time.monotonic() - started
        context.counts.tool_call(call.name, outcome, seconds)
        # The call has ended. Cancelled here, its result is recorded all the same, but without a second event.
        await context.recorder.add(
            Done(call.id, call.name, outcome, content, seconds, still_running, full, loaded, used, images)
        )

    def _result_chars(self, content: str | None = None) -> int:
        """How many characters of a result the model is shown: the agent's limit, and what is left of the model's
        window, which the encoded *content* has to fit."""
        context = self._context
        most, budget = context.agent.limits.result_chars, context.window
        if budget is None:
            return most
        room = result_chars(context.agent, context.transcript, budget)
        return min(most, room if content is None else chars_within(content, room))

    def _still_running(self, call: ToolCall) -> bool:
        return self._context.path + call.id in self._context.abandoned

    async def _outcome(
        self, call: ToolCall, bound: Bound, arguments: Any, replies: list[str | None]
    ) -> tuple[Outcome, ToolOutput, bool]:
        tool = bound.tool
        seconds = tool.timeout or self._context.agent.limits.tool_seconds
        try:
            async with asyncio.timeout(seconds) as timeout:
                clock = PausableClock(timeout)
                try:
                    result = await self._invoke(call, bound, arguments, clock, replies)
                finally:
                    clock.ended = True
            return "ok", _output(result), False
        except ToolError as error:
            return "error", ToolOutput(f"Error: {error}"), False
        except TimeoutError as error:
            if not timeout.expired():
                return "error", self._failed(call, error), False
            running = self._still_running(call)
            rest = " It can't be stopped and may still have an effect." if running else ""
            words = f"Error: {call.name} took longer than {seconds:g} s and was given up.{rest}"
            return "timeout", ToolOutput(words), running
        except asyncio.CancelledError as error:
            # Who was cancelled: this task, by the turn or its group; or only what the tool awaited.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return "error", self._failed(call, error), False  # the tool's own
        except Exception as error:  # noqa: BLE001  # whatever a tool raises is the call's result
            return "error", self._failed(call, error), False

    def _failed(self, call: ToolCall, error: BaseException) -> ToolOutput:
        """The trace for the operator's log; for the model only what kind of thing failed."""
        turn = self._context.turn
        _log.error("tool %s failed in turn %s of session %s", call.name, turn.id, turn.session_id, exc_info=error)
        return ToolOutput(
            f"Error: {call.name} failed with {type(error).__name__}. This is a fault of the tool, not of the arguments."
        )

    async def _invoke(
        self, call: ToolCall, bound: Bound, arguments: Any, clock: PausableClock, replies: list[str | None]
    ) -> Any:
        tool, parameters = bound.tool, bound.tool.parameters
        named: dict[str, Any] = msgspec.structs.asdict(arguments) if parameters.decoder else {"arguments": arguments}
        if parameters.context is not None:
            named[parameters.context] = await self._tool_context(call, bound, clock, replies)
        if tool.is_async:
            return await tool.handler(**named)
        return await self._on_thread(call, bound, partial(tool.handler, **named))

    async def _on_thread(self, call: ToolCall, bound: Bound, function: Callable[[], Any]) -> Any:
        threads = self._context.threads
        running = threads.submit(call.name, function)
        try:
            return await running.result
        except asyncio.CancelledError:
            # The thread can't be stopped: the call ends without it, and its resource stays open until the thread is
            # free. No await here: the function can't end between the two.
            if threads.abandon(running):
                self._context.abandoned.add(self._context.path + call.id)
                if bound.resource is not None:
                    self._context.resources(bound.resource).close_after(bound.resource, running)
            raise

    async def _tool_context(
        self, call: ToolCall, bound: Bound, clock: PausableClock, replies: list[str | None]
    ) -> Context[Any]:
        context = self._context
        return Context(
            await self._resource(call, bound),
            session_id=context.turn.session_id,
            turn_id=context.turn.id,
            call_id=call.id,
            idempotency_key=self.key(call),
            progress=partial(_progress, self._emit, call.id, asyncio.get_running_loop()),
            ask=partial(self._ask, call.id, clock, replies),
            cancelled=lambda: clock.expired or context.turn.cancelling,
            delegate=partial(self._delegate, call.id),
        )

    async def _resource(self, call: ToolCall, bound: Bound) -> Any:
        context = self._context
        if bound.tool is read_result and bound.name == READ_RESULT:
            return context.transcript, self._result_chars()
        if bound.tool is find_tools:
            load = partial(self._loaded.__setitem__, call.id)
            return ToolFinder(context.agent, context.transcript, load, self._by_meaning(call))
        recipe = bound.resource
        return await context.resources(recipe).get(recipe) if recipe is not None else None

    def _by_meaning(self, call: ToolCall) -> Callable[[str], Awaitable[tuple[str, ...]]] | None:
        context = self._context
        search = context.agent.search
        if search is None or search.embeddings is None:
            return None
        access = context.resolve(search.embeddings)
        charge = partial(self._charge, call)
        return lambda query: by_meaning(access, context.agent.tools, query, context.owner, charge)

    def _charge(self, call: ToolCall, usage: Usage) -> None:
        """*call* has had a model do this; the turn's budget knows it at once, the record with the call's end."""
        self._context.budget.charge(usage)
        self._used[call.id] = self._used.get(call.id, _NO_USAGE) + usage

    async def _ask(
        self, call_id: str, clock: PausableClock, replies: list[str | None], question: str, options: tuple[str, ...]
    ) -> str:
        """The user's answer. What was answered before a restart is not asked again: answers replay in their order."""
        context = self._context
        seconds = context.agent.approvals.timeout
        if replies:
            return _answered(replies.pop(0), question, seconds)
        if not context.audience.answers:
            raise ToolError(f"nobody is here to answer: {question}")
        if clock.ended or clock.expired:
            raise ToolError(f"the call has ended, so nobody was asked: {question}")
        request_id = f"{QUESTION}{new_id()}"
        with clock.paused():  # the call's time stops as well
            asked = Questioned(request_id, call_id, question, tuple(options), seconds, time.time() + seconds)
            # Opened before its event is sent, so that no answer can come too early.
            context.turn.answers.ask(request_id)
            await context.recorder.add(asked)
            with context.budget.asking():
                answer = await context.turn.answers.wait(request_id, seconds)
            assert answer is None or isinstance(answer, str)
            await context.recorder.add(Replied(request_id, call_id, answer))
            # Only now, so that `Turn.answer` returns when the answer is recorded. If this is not reached, the turn's
            # end settles it, as not recorded.
            context.turn.answers.settle(request_id)
        return _answered(answer, question, seconds)


def _answered(answer: str | None, question: str, seconds: float) -> str:
    if answer is None:
        raise ToolError(f"nobody answered within {seconds:g} s: {question}")
    return answer


def _progress(emit: Callable[[Event], None], call_id: str, loop: asyncio.AbstractEventLoop, text: str) -> None:
    """Called by the tool, on the event loop or on a tool's thread. From a thread, the event is emitted by a later step
    of the loop; from an abandoned one, this may be after the call's end."""
    event = ToolProgress(call_id, str(text))
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        emit(event)
    else:
        loop.call_soon_threadsafe(emit, event)


def _output(result: Any) -> ToolOutput:
    """A handler's result as it is kept."""
    if isinstance(result, ToolOutput):
        return within_limits(ToolOutput(_text(result.text), result.images))
    return ToolOutput(_text(result))


def _text(result: Any) -> str:
    """A handler's result as the model reads it."""
    if isinstance(result, str):
        return result.encode("utf-8", "replace").decode() if not result.isascii() else result
    if result is None:
        return "Done."
    if isinstance(result, bytes | bytearray | memoryview):
        return f"{len(result)} bytes of binary data"
    try:
        return encode_json(result, enc_hook=str).decode()
    except NestingError as error:
        raise ToolError(f"the tool's result is {error}") from None
