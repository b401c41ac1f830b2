"""Events → the server-sent events of a streamed message. A fold: its own small state and a batch give bytes.

message_start, ping, then of each block content_block_start, content_block_delta*, content_block_stop; at the end
message_delta with the stop reason and the usage, and message_stop. A failure is an `error` event, after which nothing
comes (source: Anthropic API reference, streaming messages).
"""

from collections.abc import Sequence

import msgspec

from gaia_core import Agent
from gaia_core.events import Event, TurnEnded
from gaia_core.messages import Usage
from gaia_http._errors import ErrorReply, encoded
from gaia_http.anthropic._message_object import (
    MessageObject,
    MessageUsage,
    Stopped,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    message_id,
    stopped,
    usage_of,
)
from gaia_http.anthropic._wire import ACTIVITY, REASONING
from gaia_http.streaming._json_text import encoded_text
from gaia_http.streaming._sse_writer import PING
from gaia_http.transcript._content_blocks import BlockChange, BlockDelta, BlockKind, BlockStarted, ContentBlocks

_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_NO_INPUT = msgspec.Raw(b"{}")


class _MessageStart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="message_start"):
    message: MessageObject


class _BlockStart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="content_block_start"):
    index: int
    content_block: TextBlock | ThinkingBlock | ToolUseBlock


class _MessageDelta(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="message_delta"):
    delta: Stopped
    usage: MessageUsage


class MessageTranslator:
    """The translator of one streamed message. *done* and *failure*: see `Translator`. *request_id*: of its errors;
    *stops*: the stop sequences of the request."""

    def __init__(
        self, turn_id: str, agent: Agent, blocks: ContentBlocks, request_id: str, stops: tuple[str, ...] = ()
    ) -> None:
        self._turn_id = turn_id
        self._agent = agent
        self._blocks = blocks
        self._request_id = request_id
        self._stops = stops
        self._begun = False
        self.done = False
        self.failure: ErrorReply | None = None

    def interrupted(self) -> bytes:
        """See `Translator`: a turn's events always end with its end."""
        return b""

    def take(self, batch: Sequence[Event]) -> bytes:
        """The bytes of *batch*; none when nothing of it concerns the client."""
        changes = self._blocks.take(batch)
        ended, failure = self._blocks.ended, self._blocks.failure
        if not changes and ended is None and failure is None:
            return b""
        out = [_change(change) for change in changes]
        if failure is not None:
            self.done, self.failure = True, failure
            out.append(b"event: error\ndata: " + failure.anthropic_body(self._request_id) + b"\n\n")
        elif ended is not None:
            self.done = True
            out += (_end(ended, stopped(ended, self._blocks.stop_sequence, self._stops)), _STOP)
        if not self._begun and (failure is None or changes):
            self._begun = True
            out.insert(0, self._start())
        return b"".join(out)

    def _start(self) -> bytes:
        message = MessageObject(
            id=message_id(self._turn_id),
            type="message",
            role="assistant",
            model=self._agent.name,
            content=(),
            stop_reason=None,
            stop_sequence=None,
            usage=usage_of(Usage()),  # not known yet: the last event has it
        )
        return _event(b"message_start", _MessageStart(message)) + PING


def _change(change: BlockChange) -> bytes:
    if isinstance(change, BlockDelta):
        return _delta(change.index, change.kind, change.text)
    if isinstance(change, BlockStarted):
        return _event(b"content_block_start", _BlockStart(change.index, _opened(change)))
    sign = b""
    if change.kind in ("reasoning", "activity"):
        signature = ACTIVITY if change.kind == "activity" else REASONING
        sign = _field(change.index, b"signature_delta", b"signature", signature)
    stop = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % change.index
    return sign + stop


def _delta(index: int, kind: BlockKind, text: str) -> bytes:
    if kind == "text":
        return _field(index, b"text_delta", b"text", text)
    if kind == "call":
        return _field(index, b"input_json_delta", b"partial_json", text)
    return _field(index, b"thinking_delta", b"thinking", text)


def _field(index: int, kind: bytes, name: bytes, text: str) -> bytes:
    head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'
    return head % (index, kind, name) + encoded_text(text) + b"}}\n\n"


def _opened(block: BlockStarted) -> TextBlock | ThinkingBlock | ToolUseBlock:
    if block.call is not None:
        return ToolUseBlock(block.call.id, block.call.name, _NO_INPUT)
    return TextBlock("") if block.kind == "text" else ThinkingBlock("", "")


def _end(ended: TurnEnded, why: Stopped) -> bytes:
    return _event(b"message_delta", _MessageDelta(why, usage_of(ended.usage)))


def _event(name: bytes, data: msgspec.Struct) -> bytes:
    return b"event: " + name + b"\ndata: " + encoded(data) + b"\n\n"
