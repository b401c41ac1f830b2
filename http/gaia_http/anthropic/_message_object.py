"""The message object: what a stream begins with, and the whole answer that is not streamed."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from gaia_core import Agent
from gaia_core.events import Event, FinishReason, TurnEnded
from gaia_core.messages import Usage
from gaia_http._errors import ErrorReply, encoded
from gaia_http.anthropic._wire import ACTIVITY, REASONING
from gaia_http.transcript._content_blocks import BlockChange, BlockDelta, BlockStarted, ContentBlocks


class TextBlock(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """Text of the answer."""

    text: str


class ThinkingBlock(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="thinking"):
    """What the model thought, or what the agent did; *signature* says which."""

    thinking: str
    signature: str


class ToolUseBlock(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="tool_use"):
    """A call of one of the client's tools; *input*: a JSON object."""

    id: str
    name: str
    input: msgspec.Raw


OutputBlock: TypeAlias = TextBlock | ThinkingBlock | ToolUseBlock


class _ThinkingTokens(msgspec.Struct, frozen=True, gc=False):
    thinking_tokens: int


class MessageUsage(msgspec.Struct, frozen=True, gc=False):
    """The sum over all steps of a turn, in tokens. *input_tokens* are those that were not read from a cache."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: _ThinkingTokens


class MessageObject(msgspec.Struct, frozen=True, gc=False):
    """A message of the assistant. *stop_reason* is None as long as it is streamed."""

    id: str
    type: str
    role: str
    model: str
    content: tuple[OutputBlock, ...]
    stop_reason: str | None
    stop_sequence: str | None
    usage: MessageUsage


def message_id(turn_id: str) -> str:
    """The id of the message that the turn makes."""
    return f"msg_{turn_id.removeprefix('turn_')}"


def usage_of(usage: Usage) -> MessageUsage:
    """*usage* on the wire."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    details = _ThinkingTokens(usage.reasoning_tokens)
    return MessageUsage(usage.input_tokens - cached, 0, cached, usage.output_tokens, details)


class Stopped(msgspec.Struct, frozen=True, gc=False):
    """Why a message ended, in the API's words; *stop_sequence*: which one of the request's, where one did."""

    stop_reason: str
    stop_sequence: str | None = None


def stopped(ended: TurnEnded, sequence: str | None, asked: tuple[str, ...]) -> Stopped:
    """Why the message of a turn ended. *sequence*: what the endpoint says that it met; *asked*: the request's."""
    if ended.finish_reason == "stop" and sequence is not None and sequence in asked:
        return Stopped("stop_sequence", sequence)
    return Stopped(_stop_reason(ended.finish_reason))


def _stop_reason(reason: FinishReason) -> str:
    match reason:
        case "length":
            return "max_tokens"
        case "tool_calls":
            return "tool_use"
        case "content_filter":
            return "refusal"
        case "stop":
            return "end_turn"


def message_of(
    blocks: ContentBlocks, turn_id: str, agent: Agent, events: Sequence[Event], stops: tuple[str, ...] = ()
) -> bytes | ErrorReply:
    """The encoded message of an ended turn's *events*, or the reply to its failure. *stops*: the request's."""
    changes = blocks.take(events)
    if blocks.failure is not None:
        return blocks.failure
    ended = blocks.ended
    assert isinstance(ended, TurnEnded)
    why = stopped(ended, blocks.stop_sequence, stops)
    return encoded(
        MessageObject(
            id=message_id(turn_id),
            type="message",
            role="assistant",
            model=agent.name,
            content=_content(changes),
            stop_reason=why.stop_reason,
            stop_sequence=why.stop_sequence,
            usage=usage_of(ended.usage),
        )
    )


def _content(changes: Sequence[BlockChange]) -> tuple[OutputBlock, ...]:
    started = [change for change in changes if isinstance(change, BlockStarted)]
    texts: list[list[str]] = [[] for _ in started]
    for change in changes:
        if isinstance(change, BlockDelta):
            texts[change.index].append(change.text)
    return tuple([_block(block, "".join(texts[block.index])) for block in started])


def _block(block: BlockStarted, text: str) -> OutputBlock:
    if block.call is not None:
        return ToolUseBlock(block.call.id, block.call.name, msgspec.Raw(text.encode("utf-8", "replace")))
    if block.kind == "text":
        return TextBlock(text)
    return ThinkingBlock(text, ACTIVITY if block.kind == "activity" else REASONING)
