"""The loop of a turn: model request, tool calls, again, until an answer or a limit.

Each step is recorded before anybody is told that it is done (law 9). A sub-agent is the same loop on a child budget.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import attrs

from gaia_core.agent import Agent
from gaia_core.errors import GaiaError, QueueFullError, ToolError
from gaia_core.events import (
    ErrorInfo,
    FinishReason,
    LimitReached,
    Nested,
    StepEnded,
    StepStarted,
    TurnEnded,
    TurnStarted,
)
from gaia_core.messages import AssistantMessage, Message, ToolCall, Usage, UserMessage, text_of
from gaia_core.models._protocol import ModelError, ModelRequest, ToolChoice
from gaia_core.turn._budget import Budget
from gaia_core.turn._calls import Calls
from gaia_core.turn._context import messages_for
from gaia_core.turn._setting import NO_OPTIONS, Setting, TurnOptions
from gaia_core.turn._step import Step

_log = logging.getLogger(__name__)
_NO_USAGE = Usage()

Status = Literal["completed", "tool_calls", "limit", "cancelled", "failed"]


async def run_turn(setting: Setting, conversation: tuple[Message, ...], fingerprint: str) -> None:
    """Run a turn to its end. Never raises but for the cancellation of the event loop itself: see `TurnEnded`."""
    turn, agent = setting.turn, setting.agent
    turn.emit(TurnStarted(turn.id, turn.session_id, agent.name, fingerprint, agent.model))
    loop = _Loop(setting, conversation, turn.emit)
    turn.begun = True
    try:
        turn.end(loop.ended("cancelled") if turn.cancelling else await loop.run())
    except asyncio.CancelledError:
        turn.end(loop.ended("cancelled"))
        if not turn.cancelling:
            raise
    except Exception as error:  # noqa: BLE001  # a turn always ends with its event
        turn.end(loop.ended("failed", error=_error_info(error, turn.id)))


def _error_info(error: Exception, turn_id: str) -> ErrorInfo:
    if isinstance(error, ModelError):
        return ErrorInfo(error.kind, str(error), error.retryable, error.retry_after, error.status)
    if isinstance(error, QueueFullError):
        return ErrorInfo("queue_full", str(error), retryable=True, retry_after=error.retry_after)
    _log.exception("turn %s failed", turn_id, exc_info=error)
    if isinstance(error, GaiaError):
        return ErrorInfo(type(error).__name__, str(error))
    return ErrorInfo("internal", f"the server failed ({type(error).__name__}); its log has more")


class _Loop:
    """The steps of one agent's part of a turn."""

    def __init__(self, setting: Setting, conversation: tuple[Message, ...], emit: Callable[..., None]) -> None:
        self._setting = setting
        self._agent: Agent = setting.agent
        self._emit = emit
        self._messages = list(messages_for(setting.agent, conversation))
        self._calls = Calls(setting, emit, self._delegate)
        self._client_names = frozenset(tool.name for tool in setting.options.client_tools)
        self._steps = 0
        self._step: Step | None = None
        self._call_ids: set[str] = set()
        self._text = ""
        self._finish: FinishReason = "stop"

    async def run(self) -> TurnEnded:
        """How it ended: by an answer, by a client's tool, or by a limit."""
        seconds = self._agent.limits.seconds
        try:
            async with asyncio.timeout(seconds) as clock:
                with self._setting.budget.clock(clock):
                    return await self._run_steps()
        except TimeoutError:
            if not clock.expired():
                raise
            return self._limited(LimitReached("seconds", seconds, f"the limit of {seconds:g} seconds is reached"))

    async def _run_steps(self) -> TurnEnded:
        while True:
            if reached := self._setting.budget.step():
                return self._limited(reached)
            message = await self._ask()
            if not message.tool_calls:
                return self.ended("completed")
            own = tuple(call for call in message.tool_calls if call.name not in self._client_names)
            results = await self._calls.run(own) if own else ()
            await self._keep(results)
            if len(own) < len(message.tool_calls):
                theirs = tuple(call for call in message.tool_calls if call.name in self._client_names)
                return self.ended("tool_calls", client_calls=theirs)
            if self._calls.limit is not None:
                return self._limited(self._calls.limit)

    async def _ask(self) -> AssistantMessage:
        """One model request: recorded, then told."""
        self._steps += 1
        self._emit(StepStarted(self._steps))
        self._step = Step(self._setting.turn, self._request(), self._call_ids)
        message, self._finish, usage = await self._step.run(self._setting, self._emit)
        self._step = None
        self._text = text_of(message.content)
        self._setting.budget.charge(usage)
        await self._keep((message,), usage)
        self._emit(StepEnded(self._steps, message, self._finish, usage))
        return message

    def _request(self) -> ModelRequest:
        options = self._setting.options
        tools = self._agent.tools.definitions
        choice, parallel = ToolChoice(), None
        if options.client_tools:
            choice, parallel = _choice(options, own=bool(tools), first=self._steps == 1), options.parallel_tool_calls
            tools = tuple(sorted((*tools, *options.client_tools), key=lambda tool: tool.name))
        return ModelRequest(
            messages=tuple(self._messages),
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=parallel,
            response_format=options.response_format,
            sampling=options.sampling,
            session_key=self._setting.turn.session_id,
        )

    async def _keep(self, messages: tuple[Message, ...], usage: Usage = _NO_USAGE) -> None:
        self._messages += messages
        await self._setting.record(messages, usage)

    def _limited(self, reached: LimitReached) -> TurnEnded:
        self._emit(reached)
        self._finish = "length"
        return self.ended("limit")

    def ended(
        self, status: Status, *, client_calls: tuple[ToolCall, ...] = (), error: ErrorInfo | None = None
    ) -> TurnEnded:
        """The turn's last event, from what is known now."""
        finish: FinishReason = "tool_calls" if client_calls else self._finish
        if status == "completed" and finish == "tool_calls":
            finish = "stop"
        usage = self._setting.budget.usage
        text = self._step.text if self._step is not None else self._text
        return TurnEnded(status, text, finish, usage, self._steps, client_calls, error)

    async def _delegate(self, call_id: str, agent: Agent, task: str) -> str:
        """Run a sub-agent as the call *call_id*; its answer. ToolError when there is none."""
        setting = self._setting
        model, slots = setting.resolve(agent.model)
        child = attrs.evolve(
            setting,
            agent=agent,
            model=model,
            slots=slots,
            budget=Budget(agent.limits, setting.budget),
            record=_keep_nothing,
            options=NO_OPTIONS,
            path=f"{setting.path}{call_id}/",
        )
        loop = _Loop(child, (UserMessage(task),), partial(_emit_nested, self._emit, call_id))
        try:
            ended = await loop.run()
        except (ModelError, QueueFullError) as error:
            raise ToolError(f"the agent {agent.name} failed: {error}") from error
        if ended.status == "limit":
            raise ToolError(
                f"the agent {agent.name} was stopped by a limit. What it has so far: {ended.text or 'nothing'}"
            )
        return ended.text


def _choice(options: TurnOptions, *, own: bool, first: bool) -> ToolChoice:
    """A client's choice concerns its own tools: beside an agent's own it is forced on the first step only."""
    choice = options.tool_choice
    return ToolChoice() if choice.mode == "required" and choice.name is None and own and not first else choice


async def _keep_nothing(_messages: tuple[Message, ...], _usage: Usage) -> None:
    """A sub-agent's messages are not the conversation's; its events are in the turn."""


def _emit_nested(emit: Callable[..., None], call_id: str, *events: Any) -> None:
    emit(*(Nested(call_id, event) for event in events))
