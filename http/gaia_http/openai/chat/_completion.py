"""Events → the chat completion that is not streamed. The same text as the stream's, in one piece."""

from collections.abc import Sequence
from typing import TypeGuard

import msgspec

from gaia_core import Agent
from gaia_core.events import (
    ApprovalDecided,
    Event,
    LimitReached,
    StepEnded,
    ToolCalled,
    ToolEnded,
    TurnEnded,
)
from gaia_core.messages import ToolCall
from gaia_core.runtime import AnswerText
from gaia_http._errors import ErrorReply, cancelled, encoded, of_turn, overdue
from gaia_http.openai._usage import ChatUsage, chat_usage
from gaia_http.openai.chat._chunks import completion_id
from gaia_http.transcript._suspended_turns import client_ids


class _CompletionMessage(msgspec.Struct, frozen=True, gc=False):
    role: str
    content: str | None
    refusal: str | None
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: tuple[ToolCall, ...] | msgspec.UnsetType = msgspec.UNSET
    annotations: tuple[str, ...] = ()


class _CompletionChoice(msgspec.Struct, frozen=True, gc=False):
    index: int
    message: _CompletionMessage
    logprobs: None
    finish_reason: str


class _OwnCall(msgspec.Struct, frozen=True, gc=False):
    """One call of the agent's own tools. *reason*: why it was denied."""

    id: str
    tool: str
    arguments: str
    outcome: str
    seconds: float
    reason: str | msgspec.UnsetType = msgspec.UNSET


class _Gaia(msgspec.Struct, frozen=True, gc=False):
    """What the agent did on its own."""

    turn_id: str
    steps: int
    tool_calls: tuple[_OwnCall, ...]


class _Completion(msgspec.Struct, frozen=True, gc=False):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[_CompletionChoice, ...]
    usage: ChatUsage
    x_gaia: _Gaia | msgspec.UnsetType = msgspec.UNSET


def completion_of(
    turn_id: str, agent: Agent, created: int, events: Sequence[Event], *, formed: bool = False
) -> bytes | ErrorReply:
    """The encoded completion of an ended turn's *events*, or the reply to its failure. *formed*: its text is of a form
    that was asked for, so nothing that was said on the way belongs to it."""
    ended = events[-1]
    assert isinstance(ended, TurnEnded)
    answer = AnswerText()
    for event in events:
        answer.take(event)
    ran = answer.tools_ran
    if ended.status in ("failed", "cancelled"):
        return of_turn(ended.error, tools_ran=ran) if ended.error is not None else cancelled(tools_ran=ran)
    own = _own_calls(events)
    text = answer.content(ended)
    if formed:
        text = ended.text if not ended.client_calls else ""
    message = _message(turn_id, text, events, ended, hidden=bool(own))
    if not message.content and (limit := next(filter(_is_deadline, events), None)) is not None:
        return overdue(limit, tools_ran=ran)
    completion = _Completion(
        id=completion_id(turn_id),
        object="chat.completion",
        created=created,
        model=agent.name,
        system_fingerprint=agent.fingerprint,
        choices=(_CompletionChoice(0, message, None, ended.finish_reason),),
        usage=chat_usage(ended.usage),
        x_gaia=_Gaia(turn_id, ended.steps, own) if own else msgspec.UNSET,
    )
    return encoded(completion)


def _message(turn_id: str, text: str, events: Sequence[Event], ended: TurnEnded, *, hidden: bool) -> _CompletionMessage:
    steps = [event.message for event in events if type(event) is StepEnded]
    reasoning = "\n".join(message.reasoning_content for message in steps if message.reasoning_content)
    calls = ended.client_calls
    if hidden and calls:
        ids = client_ids(turn_id, calls)
        calls = tuple(ToolCall(ids[index], call.function) for index, call in enumerate(calls))
    return _CompletionMessage(
        role="assistant",
        content=text if text or not calls else None,
        refusal=None,
        reasoning_content=reasoning or msgspec.UNSET,
        tool_calls=calls or msgspec.UNSET,
    )


def _is_deadline(event: Event) -> TypeGuard[LimitReached]:
    return type(event) is LimitReached and event.limit == "seconds"


def _own_calls(events: Sequence[Event]) -> tuple[_OwnCall, ...]:
    arguments = {event.call_id: event.arguments for event in events if type(event) is ToolCalled}
    denied = {event.call_id: event.reason for event in events if type(event) is ApprovalDecided and not event.approved}
    return tuple(
        _OwnCall(
            event.call_id,
            event.tool,
            arguments.get(event.call_id, ""),
            event.outcome,
            round(event.seconds, 4),
            denied.get(event.call_id, msgspec.UNSET),
        )
        for event in events
        if type(event) is ToolEnded
    )
