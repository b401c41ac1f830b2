"""The loop of a turn: model request, tool calls, again, until an answer or a limit.

It is a fold over the turn's facts: what comes next depends on the transcript that they made, so a turn that another
process left is continued by the same code. A sub-agent is the same loop on a child budget.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec

from gaia_core.agent import Agent
from gaia_core.errors import QueueFullError, ToolError
from gaia_core.events import (
    ErrorInfo,
    FinishReason,
    LimitReached,
    ModelRetried,
    StepStarted,
    TextDelta,
    ToolsReplaced,
    TurnStatus,
)
from gaia_core.facts import Answered, Began, Ended, Fact
from gaia_core.messages import AssistantMessage, ToolCall, UserMessage, text_of
from gaia_core.models import Input, ModelError, ModelRequest
from gaia_core.tools import ToolDefinition
from gaia_core.turn._budget import Budget
from gaia_core.turn._pausable_clock import PausableClock
from gaia_core.turn._recorder import NestedRecorder
from gaia_core.turn._speculative_request import SpeculativeRequest
from gaia_core.turn._turn_context import TurnContext
from gaia_core.turn._turn_end import error_info
from gaia_core.turn._turn_request import NO_OPTIONS
from gaia_core.turn.calls._tool_calls import ToolCalls
from gaia_core.turn.context._transcript import Transcript
from gaia_core.turn.step._answer_correction import AnswerCorrection, correction
from gaia_core.turn.step._client_calls import check_whole, client_calls, one_at_a_time
from gaia_core.turn.step._model_request import replaced, request_of
from gaia_core.turn.step._model_step import Answer, Clock, ModelStep
from gaia_core.turn.step._overflow_recovery import OverflowRecovery, with_room
from gaia_core.turn.step._summary import compact, summary_of
from gaia_core.turn.tool_search._find_tools import core_definitions

_log = logging.getLogger(__name__)

_NO_ANSWER = AssistantMessage("")
_PAUSE_SECONDS = 2.0


async def run_turn(
    context: TurnContext, opening: tuple[Fact, ...], resumed: Answered | None = None, steps: int = 0
) -> tuple[Fact, ...]:
    """Record *opening*, then go step by step; the facts that end the turn, for `finish`. Never raises.

    A turn that another process left is *resumed* from its last answer, after its first *steps* steps.
    """
    turn = context.turn
    loop = _Loop(context, turn.emit, resumed, steps)
    # Nothing was awaited since the task's first step: from here on `Turn.cancel` cancels the task.
    turn.begun = True
    try:
        try:
            if opening and not turn.suspended:
                await context.recorder.add(*opening)
            # `cancelling` is set here when `cancel` or `suspend` came before the first step, or during the append.
            ended = loop.ended("cancelled") if turn.cancelling else await loop.run()
        finally:
            if context.speculative is not None:
                await context.speculative.aclose()  # within the other: who cancels just now cancels the turn
    except asyncio.CancelledError:
        ended = loop.ended("cancelled")
    except Exception as error:  # noqa: BLE001  # a turn always ends with its event
        ended = loop.ended("failed", error=error_info(error, turn.id))
    return (*loop.last, ended)


class _Loop:
    """The steps of one agent's part of a turn.

    Its fields are written by one task only: the turn's, or for a sub-agent that of the call which runs it.
    """

    __slots__ = (
        "_agent",
        "_answer",
        "_began",
        "_call_ids",
        "_calls",
        "_client_names",
        "_context",
        "_core",
        "_correction",
        "_emit",
        "_inputs",
        "_limit",
        "_step",
        "_steps",
        "_tools",
        "_tools_chars",
        "last",
    )

    def __init__(
        self, context: TurnContext, emit: Callable[..., None], resumed: Answered | None = None, steps: int = 0
    ) -> None:
        self._context = context
        self._agent: Agent = context.agent
        self._emit = emit
        self._calls = ToolCalls(context, emit, partial(_delegated, context, emit))
        self._client_names = frozenset(tool.name for tool in context.options.client_tools)
        self._core: tuple[ToolDefinition, ...] = ()
        self._inputs: frozenset[Input] | None = None
        """What the model takes beside text; None until a result has images."""
        """Computed at the first request, where the agent searches its tools."""
        self._steps = steps
        """Steps begun, those of an earlier process included. Counted by `_ask`."""
        self._step: ModelStep | None = None
        """The request whose answer is not recorded yet; None otherwise. If the turn is cancelled meanwhile, `ended`
        takes the text that was sent so far from it."""
        self._call_ids = context.transcript.call_ids()
        """The ids of all calls so far."""
        self._tools: tuple[ToolDefinition, ...] = ()
        """The tools of the last request, and below their size: computed again by `_ask` when they change."""
        self._tools_chars = 0
        self._answer = resumed
        """The last answer of the model. Written by `_ask`, before it is recorded."""
        self._limit: LimitReached | None = None
        """The limit that ended the turn. Written by `_limited`, and by `_ask` for an answer without an end."""
        self._correction = AnswerCorrection(context.options.response_format, context.check_answer)
        """Whether the model was already asked to correct its answer. Its state is written from `_ask`."""
        self._began = time.monotonic()
        self.last: tuple[Fact, ...] = ()
        """The answer that ends the turn: it is recorded in one commit with the end. Written by `_said`."""

    async def run(self) -> Ended:
        """How it ended: by an answer, by a client's tool, or by a limit."""
        seconds, budget = self._agent.limits.seconds, self._context.budget
        try:
            async with asyncio.timeout(seconds) as timeout:
                budget.clock = PausableClock(timeout)
                return await self._run_steps()
        except TimeoutError:
            if not timeout.expired():
                raise
            return self._limited(LimitReached("seconds", seconds, f"the limit of {seconds:g} seconds is reached"))
        finally:
            if budget.clock is not None:
                budget.clock.ended = True  # a pause may still be open, of what a tool left running
            budget.clock = None

    async def _run_steps(self) -> Ended:
        if self._context.summarizes:
            return await self._summarize()
        if self._client_names and (names := replaced(self._agent, self._context.options)):
            self._emit(ToolsReplaced(names))
        if self._answer is not None:
            await self._settle()
            if (ended := self._after_calls()) is not None:
                return ended
        while True:
            if reached := self._context.budget.step():
                return self._limited(reached)
            await self._ask()
            if (ended := self._after_calls()) is not None:
                return ended

    async def _summarize(self) -> Ended:
        """The summary of the transcript as the answer."""
        if reached := self._context.budget.step():
            return self._limited(reached)
        summary, used = await summary_of(self._context, self._context.transcript.entries)
        if not summary:
            raise ModelError("server", "the model gave no summary of the conversation; ask again", retryable=True)
        self._steps = 1
        self._answer = Answered(self._steps, AssistantMessage(summary), "stop", used)
        self.last = (self._answer,)
        return self.ended("completed")

    def _after_calls(self) -> Ended | None:
        """The end after the last answer and its calls, or None when there is another step."""
        assert self._answer is not None
        message = self._answer.message
        if not message.tool_calls:
            return self._after_text()
        if theirs := self._context.transcript.client_calls:
            return self.ended("tool_calls", client_calls=theirs)
        if self._calls.limit is not None:
            return self._limited(self._calls.limit)
        return self.ended("completed") if self._context.calls_only else None

    def _after_text(self) -> Ended | None:
        """The end by an answer in words; None when it doesn't match the response format, and may be corrected."""
        assert self._answer is not None
        if self._limit is not None:
            return self.ended("limit")
        if not self._answer.objection:
            return self.ended("completed")
        if not self._correction.made:
            return None
        return self.ended("failed", error=self._correction.failure(self._answer.problems))

    async def _settle(self) -> None:
        """Carry out the calls that another process left open."""
        assert self._answer is not None
        calls, recorder = self._calls, self._context.recorder
        calls.asks = not self._answer.calls_streamed
        opened = self._context.transcript.open
        begun = [each for each in opened.values() if each.started is not None or each.asked is not None]
        plans = [calls.replan(each) for each in begun]
        if facts := calls.opening(plans):
            await recorder.add(*facts)
        await calls.run(plans)
        for batch in calls.batches([each.call for each in opened.values()]):
            plans = [calls.plan(call) for call in batch]
            await recorder.add(*calls.opening(plans))
            await calls.run(plans)

    async def _ask(self) -> None:
        """One model request and its calls: recorded, then told."""
        context = self._context
        await self._know_inputs()
        await self._compact()
        self._steps += 1
        self._emit(StepStarted(self._steps))
        self._correction.made = self._correction.made or (self._answer is not None and bool(self._answer.objection))
        request = self._request()
        formed = context.options.response_format is not None
        speculative = await self._speculated(request)
        clock = Clock(self._emit, asked=speculative.began if speculative is not None else None)
        message, finish, usage = await self._patiently(request, clock, speculative)
        seconds, first_seconds = clock.read()
        context.budget.charge(usage)
        context.counts.answer(self._agent.model, seconds, first_seconds)
        problems: tuple[str, ...] = ()
        if formed and not message.tool_calls:
            message, problems = self._correction.checked(message, finish)
        assert self._step is not None
        streamed_text, streamed_calls = self._step.streamed_text, bool(self._step.streamed_calls)
        if streamed_text and (problems or message.tool_calls):
            raise ModelError("response_format", self._correction.of_streamed(problems))
        own: list[ToolCall] = []
        theirs: tuple[str, ...] = ()
        if message.tool_calls:
            if context.options.parallel_tool_calls is False:
                message = one_at_a_time(message, self._client_names)
            called = client_calls(message, self._client_names)
            check_whole(called)
            theirs = tuple([call.id for call in called])
            own = [call for call in message.tool_calls if call.id not in theirs]
        self._answer = Answered(
            self._steps,
            message,
            finish,
            usage,
            theirs,
            seconds,
            first_seconds,
            correction(problems) if problems else "",
            self._servers(own),
            problems,
            self._step.stop_sequence,
            streamed_calls,
            self._step.reasoned_before,
        )
        if self._step.endless:
            most = self._step.most_chars
            words = f"the answer was cut off after {most} characters: the model went on without an end"
            self._limit = LimitReached("answer_chars", most, words)
        self._step = None
        if not message.tool_calls:
            await self._said(message, streamed_text)
            return
        self._calls.asks = not streamed_calls
        first, *rest = self._calls.batches(own) or [[]]
        plans = [self._calls.plan(call) for call in first]
        # The answer and the start of its calls are one commit, and no call runs before it (law 9). Cancelled here, the
        # facts are recorded, but no call has run: their outcome is unknown to a process that resumes.
        await context.recorder.add(self._answer, *self._calls.opening(plans))
        await self._calls.run(plans)
        for batch in rest:
            plans = [self._calls.plan(call) for call in batch]
            await context.recorder.add(*self._calls.opening(plans))
            await self._calls.run(plans)

    async def _said(self, message: AssistantMessage, told: str) -> None:
        """The model has answered in words: they end the turn, unless they have not the form that was asked for. *told*
        of a text with a form was sent as it came."""
        assert self._answer is not None
        if self._answer.objection and not self._correction.made:
            await self._context.recorder.add(self._answer)
            return
        text = text_of(message.content)
        if text and self._context.options.response_format is not None and not self._answer.objection:
            self._tell_rest(text, told)
        self.last = (self._answer,)

    def _tell_rest(self, text: str, told: str) -> None:
        """Tell what of *text*, which has a form, was not *told* as it came."""
        if rest := text.removeprefix(told):
            self._emit(TextDelta(rest))

    def _servers(self, calls: list[ToolCall]) -> tuple[tuple[str, str], ...]:
        found = [(call.id, bound.server) for call in calls if (bound := self._calls.get(call.name)) is not None]
        return tuple([pair for pair in found if pair[1]]) if found else ()

    async def _patiently(self, request: ModelRequest, clock: Clock, speculative: SpeculativeRequest | None) -> Answer:
        """The answer to *request*; a model that isn't ready is asked again, as long as there is patience, and one whose
        context it exceeds is sent a shorter one."""
        left = self._context.patience
        recovery = OverflowRecovery(self._context)
        attempt = 0
        while True:
            self._step = ModelStep(self._context, request, self._call_ids, self._tools_chars)
            clock.quiet = self._step.quiet
            try:
                return await self._step.run(clock, speculative)
            except ModelError as error:
                if clock.told or self._step.streamed_calls or self._step.streamed_text:
                    raise  # another answer would not continue what the client has
                delay = 0.0
                longest = request.sampling.max_tokens
                if error.kind == "context_length" and (words := recovery.learn(error, self._step.chars(), longest)):
                    await self._compact()
                    shorter = self._request()
                    if shorter == request:  # nothing is left to leave out
                        recovery.forget()
                        raise
                    request = shorter
                    self._emit(ModelRetried(attempt + 1, 0.0, words, error.kind))
                elif error.kind == "bad_request" and request.response_format is not None:
                    # An endpoint that knows no such form, or not all of it: the text is checked here in any case.
                    request = msgspec.structs.replace(request, response_format=None)
                    self._emit(ModelRetried(attempt + 1, 0.0, str(error), error.kind))
                elif error.kind == "not_ready" and left > 0:
                    delay = min(error.retry_after or _PAUSE_SECONDS, _PAUSE_SECONDS, left)
                    self._emit(ModelRetried(attempt + 1, delay, str(error), error.kind))
                else:
                    raise
                attempt += 1
                speculative = None
            # Without a slot: `ModelStep.run` has given it back. A reload meanwhile doesn't change this turn's model.
            await asyncio.sleep(delay)
            left -= delay

    def _request(self) -> ModelRequest:
        context = self._context
        if self._agent.search is not None:
            self._core = self._core or core_definitions(self._agent)
        request = request_of(
            self._agent,
            context.transcript,
            context.options,
            context.window,
            context.affinity or context.turn.session_id,
            first=self._steps == 1,
            calls=context.budget.tool_calls,
            mended=self._correction.made,
            core=self._core,
            owner=context.owner,
        )
        if request.tools is not self._tools:
            self._tools = request.tools
            self._tools_chars = sum([len(definition.encoded) for definition in request.tools])
        return with_room(context.access, context.transcript, request)

    async def _know_inputs(self) -> None:
        """Find out whether the model takes images, once there are some. While it doesn't say, it is shown none."""
        transcript = self._context.transcript
        if not transcript.has_images or self._inputs is not None:
            return
        try:
            self._inputs = await self._context.access.takes()
        except ModelError as error:
            _log.warning("model %s doesn't say whether it takes images: %s", self._agent.model, error)
            self._inputs = frozenset()  # for this turn: what was sent stays as it is
        transcript.shows_images = "image" in self._inputs

    async def _speculated(self, request: ModelRequest) -> SpeculativeRequest | None:
        """The request that was sent while the session was being claimed, if it equals *request*; else it is closed."""
        speculative = self._context.speculative
        if speculative is None or self._steps != 1:
            return None
        # A reload may have changed the model meanwhile.
        if speculative.request == request and speculative.model is self._context.access.model:
            return speculative
        # Closed before `ModelStep` asks for a slot of its own: the turn never holds two.
        await speculative.aclose()
        return None

    async def _compact(self) -> None:
        """Put the older messages into a summary when all of them would be too many, as a fact."""
        if (compacted := await compact(self._context)) is not None:
            await self._context.recorder.add(compacted)

    def _limited(self, reached: LimitReached) -> Ended:
        self._limit = reached
        if self._calls_streamed:
            words = f"{reached.message}, before the calls of the client's tools were complete: don't run them"
            return self.ended("failed", error=ErrorInfo("incomplete_call", words))
        ended = self.ended("limit")
        if self._context.options.response_format is not None and ended.text:
            # What there is; it was held back until now.
            self._tell_rest(ended.text, self._step.streamed_text if self._step is not None else "")
        return ended

    @property
    def _calls_streamed(self) -> bool:
        """Whether calls were sent to the client that the turn has not ended with yet."""
        if self._step is not None:
            return bool(self._step.streamed_calls)
        return self._answer is not None and self._answer.calls_streamed

    def ended(
        self, status: TurnStatus, *, client_calls: tuple[ToolCall, ...] = (), error: ErrorInfo | None = None
    ) -> Ended:
        """The turn's last fact, from what is known now."""
        answer = self._answer
        finish: FinishReason = "tool_calls" if client_calls else answer.finish_reason if answer is not None else "stop"
        if status == "limit":
            finish = "length"
        if status == "completed" and finish == "tool_calls":
            finish = "stop"
        text = (
            self._step.text if self._step is not None else text_of((answer.message if answer else _NO_ANSWER).content)
        )
        reasoning = self._step.reasoning if self._step is not None else ""
        partial = self._step.streamed_calls if self._step is not None else ()
        before = self._step.reasoned_before if self._step is not None else None
        return Ended(
            status,
            text,
            finish,
            self._context.budget.usage,
            self._steps,
            client_calls,
            error,
            self._limit,
            time.monotonic() - self._began,
            reasoning,
            partial,
            before,
        )


async def _delegated(context: TurnContext, emit: Callable[..., None], call_id: str, agent: Agent, task: str) -> str:
    """Run a sub-agent as the call *call_id*; its answer. ToolError when there is none."""
    transcript = Transcript()
    recorder = NestedRecorder(transcript, emit, context.turn, call_id)
    child = msgspec.structs.replace(
        context,
        agent=agent,
        access=context.resolve(agent.model),
        transcript=transcript,
        recorder=recorder,
        budget=Budget(agent.limits, context.budget),
        compacts=True,
        options=NO_OPTIONS,
        check_answer=None,
        audience=context.audience.of_delegate,
        calls_only=False,
        summarizes=False,
        speculative=None,
        path=f"{context.path}{call_id}/",
    )
    transcript.apply(0, Began(agent.name, "", agent.model, UserMessage(task)))
    loop = _Loop(child, recorder.emit)
    try:
        ended = await loop.run()
    except (ModelError, QueueFullError) as error:
        raise ToolError(f"the agent {agent.name} failed: {error}") from error
    if loop.last:
        await recorder.add(*loop.last)
    if ended.limit is not None:
        recorder.emit(ended.limit)
        raise ToolError(f"the agent {agent.name} was stopped by a limit. What it has so far: {ended.text or 'nothing'}")
    return ended.text
