"""Events → changes of one message's content blocks. A fold, of which both shapes of a protocol's answer are made.

| the turn has | the message gets |
|---|---|
| text | a block of text; that of later steps continues it in a new paragraph, or is a block behind another kind |
| the model's reasoning | a block of reasoning, where the client is shown that |
| calls of the agent's own tools | a block of activity, a line each, likewise; never a call |
| calls of the client's tools | a block each, as they come (`ClientCallDelta`) or at the end |

Blocks never overlap: what the model says after it has begun to call follows the calls.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from gaia_core.activity import line_of, told
from gaia_core.events import (
    ClientCallDelta,
    Event,
    LimitReached,
    ReasoningDelta,
    Reset,
    StepEnded,
    StepStarted,
    TextDelta,
    ToolStarted,
    TurnEnded,
)
from gaia_core.messages import FunctionCall, ToolCall, text_of
from gaia_core.runtime import PARAGRAPH
from gaia_http._errors import ErrorReply, cancelled, interrupted, of_turn, overdue
from gaia_http.transcript._step_text import StepText
from gaia_http.transcript._suspended_turns import client_id

BlockKind: TypeAlias = Literal["text", "reasoning", "activity", "call"]


class BlockStarted(msgspec.Struct, frozen=True, gc=False):
    """A block begins. *call*: of a block of kind `call`, with the id that the client knows, and without arguments."""

    index: int
    kind: BlockKind
    call: ToolCall | None = None


class BlockDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a block: text, or the JSON text of a call's arguments."""

    index: int
    kind: BlockKind
    text: str


class BlockStopped(msgspec.Struct, frozen=True, gc=False):
    """A block is complete."""

    index: int
    kind: BlockKind


BlockChange: TypeAlias = BlockStarted | BlockDelta | BlockStopped


class ContentBlocks:
    """One message while its turn runs. *thinking*: the client is shown reasoning; *activity*: the agent's own tools,
    too. *formed*: the final text has a form, so nothing that was said on the way belongs to it; all that comes live
    does. *prefix*: of the ids of the client's calls.
    """

    def __init__(self, turn_id: str, *, thinking: bool, activity: bool, formed: bool, prefix: str = "call") -> None:
        self._turn_id = turn_id
        self._prefix = prefix
        self._thinking = thinking
        self._activity = thinking and activity
        self._formed = formed
        self._changes: list[BlockChange] = []
        self._index = -1
        self._kind: BlockKind | None = None
        self._text = StepText()
        self._reasoning = StepText()
        self._calls: dict[str, StepText] = {}
        """By the model's id: the arguments of the client's calls that have a block."""
        self._calls_done = False
        """The calls are complete."""
        self._gap = ""
        self._said = False
        self._begun = 0
        """The step that was begun last."""
        self._step = 0
        """The step that has ended last."""
        self._replayed = False
        self._tools_ran = False
        self._overdue: LimitReached | None = None
        self.ended: TurnEnded | None = None
        """The end of the turn, once it is known."""
        self.failure: ErrorReply | None = None
        """Why there is no message."""
        self.stop_sequence: str | None = None
        """What ended the text of the last step, where the endpoint says it."""

    def take(self, batch: Sequence[Event]) -> list[BlockChange]:
        """What *batch* changes, in this order."""
        self._changes = []
        pending: list[str] = []
        pending_kind: BlockKind | None = None
        for event in batch:
            kind: BlockKind | None = None
            text = ""
            if type(event) is TextDelta:
                kind, text = "text", "" if self._calls else self._text.more(event.text)
            elif type(event) is ReasoningDelta:
                shown = self._thinking and not self._calls
                kind, text = "reasoning", self._reasoning.more(event.text) if shown else ""
            if pending and kind != pending_kind:
                self._write(pending_kind, "".join(pending))
                pending = []
            if kind is None:
                self._take(event)
            elif text:
                pending_kind = kind
                pending.append(text)
        if pending:
            self._write(pending_kind, "".join(pending))
        if self.failure is None and self._conflict:
            self.failure = interrupted()
        return self._changes

    @property
    def _conflict(self) -> bool:
        """What was sent does not begin what another process has made of the same step."""
        return any(source.conflict for source in (self._text, self._reasoning, *self._calls.values()))

    def _take(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self._begin_step(event.step)
        elif isinstance(event, StepEnded):
            self._end_step(event)
        elif isinstance(event, ClientCallDelta):
            if not self._calls_done:
                self._write_arguments(self._call(event.call_id, event.tool).more(event.arguments))
        elif isinstance(event, Reset):
            for source in (self._text, self._reasoning, *self._calls.values()):
                source.again()
            self._replayed = True
        elif isinstance(event, TurnEnded):
            self._end(event)
        elif (inner := told(event)) is not None:
            self._tools_ran = self._tools_ran or type(inner) is ToolStarted
            if isinstance(inner, LimitReached) and inner.limit == "seconds":
                self._overdue = inner
            if self._activity and not self._replayed and (line := line_of(event)) is not None:
                self._write("activity", line)

    def _begin_step(self, step: int) -> None:
        self._replayed = False
        if step == self._begun:  # another process asks it again
            return
        self._begun = step
        self._begin_text()
        if self._kind == "reasoning":
            self._close()

    def _end_step(self, event: StepEnded) -> None:
        """What was not sent as it came: a reader that lags behind gets a step whole."""
        if event.step <= self._step:
            return
        self._step = event.step
        self._replayed = False
        self.stop_sequence = event.stop_sequence
        called = bool(self._calls)
        if called:  # before what the model said after it had begun to call
            self._end_calls(event)
        if self._thinking:
            self._write("reasoning", self._reasoning.rest(event.message.reasoning_content or ""))
        if not self._formed:
            self._write("text", self._text.rest(text_of(event.message.content)))
        if event.client_calls and not called:
            self._end_calls(event)
        # A record has no beginnings of steps: the text of the next one begins here.
        self._begin_text()

    def _begin_text(self) -> None:
        self._reasoning.begin()
        if not self._formed:
            self._gap = PARAGRAPH if self._said else ""
            self._text.begin()

    def _end(self, ended: TurnEnded) -> None:
        self.ended = ended
        if ended.status in ("failed", "cancelled"):
            error = ended.error
            self.failure = (
                of_turn(error, tools_ran=self._tools_ran) if error is not None else cancelled(tools_ran=self._tools_ran)
            )
            return
        if self._formed:
            self._write("text", self._text.rest(ended.text) if not ended.client_calls else "")
        elif ended.steps > self._step:  # the last one was cut short
            self._write("text", self._text.rest(ended.text))
        if self._overdue is not None and not self._said:
            self.failure = overdue(self._overdue, tools_ran=self._tools_ran)
            return
        self._close()
        if not self._calls_done:
            self._whole_calls(ended.client_calls)

    def _end_calls(self, event: StepEnded) -> None:
        self._whole_calls([call for call in event.message.tool_calls if call.id in event.client_calls])
        self._calls_done = True

    def _whole_calls(self, calls: Sequence[ToolCall]) -> None:
        """What was not sent of *calls*, which are complete."""
        for call in calls:
            self._write_arguments(self._call(call.id, call.name).rest(call.arguments or "{}"))
        if self._kind == "call":
            self._close()

    def _call(self, model_id: str, name: str) -> StepText:
        """The arguments of a call, whose block is begun. Calls come one after the other: only the latest gets more."""
        source = self._calls.get(model_id)
        if source is None:
            self._close()
            source = self._calls[model_id] = StepText()
            own_id = client_id(self._turn_id, len(self._calls) - 1, self._prefix)
            self._open("call", ToolCall(own_id, FunctionCall(name, "")))
        return source

    def _write_arguments(self, text: str) -> None:
        if text and not self._conflict:
            self._changes.append(BlockDelta(self._index, "call", text))

    def _write(self, kind: BlockKind | None, text: str) -> None:
        if not text or kind is None or self._conflict:
            return
        if kind != self._kind:
            self._close()
            self._open(kind)
        elif kind == "text" and self._gap:
            text = self._gap + text
        if kind == "text":
            self._gap, self._said = "", True
        self._changes.append(BlockDelta(self._index, kind, text))

    def _open(self, kind: BlockKind, call: ToolCall | None = None) -> None:
        self._index += 1
        self._kind = kind
        self._changes.append(BlockStarted(self._index, kind, call))

    def _close(self) -> None:
        if self._kind is not None:
            self._changes.append(BlockStopped(self._index, self._kind))
            self._kind = None
