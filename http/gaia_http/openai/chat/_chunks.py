"""Events → chunks of a chat completion's stream. A fold: its own small state and a batch of events give bytes.

Every chunk has the same id, created, model and system_fingerprint; the first delta has the role; there is exactly one
finish_reason, or an error. A chunk is a prepared frame with its delta between (no dict is built for a token); what
comes in one batch is one write, and adjacent pieces of text are one chunk.

The arguments of a client's call come in several chunks, the first of which has its id and name. What was not told live
follows when its step is recorded.
"""

from collections.abc import Sequence

import msgspec

from gaia_core import Agent
from gaia_core.activity import line_of, told
from gaia_core.events import (
    ClientCallDelta,
    Event,
    FinishReason,
    LimitReached,
    Nested,
    ReasoningDelta,
    Reset,
    StepEnded,
    StepStarted,
    TextDelta,
    ToolCalled,
    ToolEnded,
    ToolProgress,
    ToolsReplaced,
    ToolStarted,
    TurnEnded,
)
from gaia_core.messages import FunctionCall, ToolCall, text_of
from gaia_core.runtime import PARAGRAPH
from gaia_http._errors import ErrorReply, cancelled, encoded, interrupted, of_turn, overdue
from gaia_http._settings import Activity
from gaia_http.openai._usage import chat_usage
from gaia_http.streaming._json_text import encoded_text
from gaia_http.transcript._step_text import StepText
from gaia_http.transcript._suspended_turns import client_id

_DONE = b"data: [DONE]\n\n"
_ROLE = b'{"role":"assistant","content":"","refusal":null}'
_OPEN_CHOICE = b',"choices":[{"index":0,"delta":'
_UNFINISHED = b',"logprobs":null,"finish_reason":null}]'


class _ChunkHead(msgspec.Struct, frozen=True, gc=False):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str


class _CallStart(msgspec.Struct, frozen=True, gc=False):
    index: int
    id: str
    type: str
    function: FunctionCall


class _MoreArguments(msgspec.Struct, frozen=True, gc=False):
    arguments: str


class _CallDelta(msgspec.Struct, frozen=True, gc=False):
    index: int
    function: _MoreArguments


def completion_id(turn_id: str) -> str:
    """The id of the completion that the turn makes."""
    return f"chatcmpl-{turn_id.removeprefix('turn_')}"


class ChunkTranslator:
    """The translator of one streamed chat completion. *done* and *failure*: see `Translator`."""

    def __init__(
        self,
        turn_id: str,
        agent: Agent,
        created: int,
        *,
        include_usage: bool = False,
        activity: Activity = "reasoning",
        formed: bool = False,
    ) -> None:
        head = encoded(
            _ChunkHead(completion_id(turn_id), "chat.completion.chunk", created, agent.name, agent.fingerprint)
        )
        self._turn_id = turn_id
        self._head = b"data: " + head[:-1]
        self._open = self._head + _OPEN_CHOICE
        self._usage = b',"usage":null' if include_usage else b""
        self._close = _UNFINISHED + self._usage + b"}\n\n"
        self._content = (self._open + b'{"content":', b"}" + self._close)
        self._reasoning = (self._open + b'{"reasoning_content":', b"}" + self._close)
        self._include_usage = include_usage
        self._show_activity = activity == "reasoning"
        self._begun = False
        self._formed = formed
        """The final text is of a form that was asked for: what was said on the way does not belong to it."""
        self._text = StepText()
        self._thought = StepText()
        self._step = 0
        """The step that was begun last."""
        self._ended_steps = 0
        """The last step that has ended. After a `Reset`, earlier ones come again."""
        self._sent: list[Event] = []
        """The events that were sent whole."""
        self._again: list[Event] = []
        """Those of them that come again, after a `Reset`."""
        self._gap = ""
        self._said = False
        self._line_open = False
        self._has_tools = len(agent.tools) > 0
        self._own_calls = False
        self._calls: dict[str, StepText] = {}
        """By the model's id: the arguments of the client's calls that were begun."""
        self._whole_calls: set[str] = set()
        """Those of them that are complete."""
        self._tools_ran = False
        self._overdue: LimitReached | None = None
        self._replaced: bytes = b""
        """The chunk of a `ToolsReplaced`, which comes before the model answers. It is sent with the first chunk:
        until then a turn that fails is answered by the status of its failure."""
        self.done = False
        self.failure: ErrorReply | None = None

    def interrupted(self) -> bytes:
        """See `Translator`: a turn's events always end with its end."""
        return b""

    def take(self, batch: Sequence[Event]) -> bytes:
        """The bytes of *batch*; none when nothing of it concerns the client."""
        out: list[bytes] = []
        run: list[str] = []
        run_kind: type | None = None
        for event in batch:
            kind = type(event)
            if kind is TextDelta or kind is ReasoningDelta:
                if kind is not run_kind and run:
                    self._add_run(run_kind, run, out)
                    run = []
                run_kind = kind
                run.append(event.text)  # type: ignore[union-attr]
                continue
            if run:
                self._add_run(run_kind, run, out)
                run = []
            self._add(event, out)
        if run:
            self._add_run(run_kind, run, out)
        if not self.done and self._conflict:
            self.done = True
            self._fail(interrupted(), out)
        if not out:
            return b""
        if not self._begun and self.failure is None:
            self._begun = True
            out.insert(0, self._open + _ROLE + self._close + self._replaced)
        return b"".join(out) if len(out) > 1 else out[0]

    def _add_run(self, kind: type | None, run: list[str], out: list[bytes]) -> None:
        text = "".join(run) if len(run) > 1 else run[0]
        self._write(kind, (self._text if kind is TextDelta else self._thought).more(text), out)

    @property
    def _conflict(self) -> bool:
        return any(source.conflict for source in (self._text, self._thought, *self._calls.values()))

    def _write(self, kind: type | None, text: str, out: list[bytes]) -> None:
        if not text or self.done or self._conflict:
            return
        if kind is TextDelta:
            if self._gap:
                text, self._gap = self._gap + text, ""
            self._said = True
            before, after = self._content
        else:
            self._line_open = text[-1] != "\n"
            before, after = self._reasoning
        out.append(before + encoded_text(text) + after)

    def _add(self, event: Event, out: list[bytes]) -> None:
        kind = type(event)
        if kind is StepStarted:
            if event.step != self._step:  # type: ignore[union-attr]  # else it is asked again by another process
                self._step = event.step  # type: ignore[union-attr]
                self._begin_step()
        elif kind is StepEnded:
            self._end_step(event, out)  # type: ignore[arg-type]
        elif kind is Reset:
            for source in (self._text, self._thought, *self._calls.values()):
                source.again()
            self._again = [*self._sent]
        elif kind is TurnEnded:
            self._add_end(event, out)  # type: ignore[arg-type]
        elif kind is ClientCallDelta:
            self._more_of_call(event, out)  # type: ignore[arg-type]
        elif kind is ToolsReplaced:
            self._replaced = self._told(event)
        elif told(event) is not None:
            if event in self._again:
                self._again.remove(event)
                return
            if kind is not ToolProgress and kind is not Nested:  # live only: they come once
                self._sent.append(event)
            self._own_calls = self._own_calls or kind is ToolCalled
            self._tools_ran = self._tools_ran or kind is ToolStarted
            if kind is LimitReached and event.limit == "seconds":  # type: ignore[union-attr]
                self._overdue = event  # type: ignore[assignment]
            out.append(self._told(event))

    def _begin_step(self) -> None:
        # Text of an earlier step is an answer's beginning: what follows is a paragraph of its own.
        self._gap = PARAGRAPH if self._said else ""
        self._text.begin()
        self._thought.begin()

    def _end_step(self, event: StepEnded, out: list[bytes]) -> None:
        """Tell what was not sent as it came: a reader that lags behind, or comes later, gets a step whole."""
        if event.step <= self._ended_steps:
            return
        self._ended_steps = event.step
        self._write(ReasoningDelta, self._thought.rest(event.message.reasoning_content or ""), out)
        if not self._formed:
            self._write(TextDelta, self._text.rest(text_of(event.message.content)), out)
        if event.client_calls:
            self._rest_of_calls([call for call in event.message.tool_calls if call.id in event.client_calls], out)
        if not self._formed:
            # A record has no beginnings of steps: the text of the next one begins here.
            self._begin_step()

    def _told(self, event: Event) -> bytes:
        """A chunk with the whole event, and a line for people."""
        delta = b"{}"
        line = line_of(event) if self._show_activity else None
        if line is not None:
            if self._line_open:
                line, self._line_open = f"\n{line}", False
            delta = b'{"reasoning_content":' + encoded_text(line) + b"}"
        shown = encoded(_without_images(event))
        return b"".join((self._open, delta, _UNFINISHED, self._usage, b',"x_gaia":', shown, b"}\n\n"))

    def _write_last(self, text: str, out: list[bytes]) -> None:
        self._write(TextDelta, self._text.rest(text), out)

    def _add_end(self, event: TurnEnded, out: list[bytes]) -> None:
        if event.status in ("failed", "cancelled"):
            self.done = True
            failure = (
                of_turn(event.error, tools_ran=self._tools_ran)
                if event.error is not None
                else cancelled(tools_ran=self._tools_ran)
            )
            self._fail(failure, out)
            return
        if not self._formed:
            if event.steps > self._ended_steps:  # the last one was cut short
                self._write_last(event.text, out)
        elif not event.client_calls:
            self._write_last(event.text, out)
        self.done = True
        if self._conflict:
            self._fail(interrupted(), out)
            return
        if self._overdue is not None and not self._said:
            self._fail(overdue(self._overdue, tools_ran=self._tools_ran), out)
            return
        self._rest_of_calls(event.client_calls, out)
        out.append(self._finish(event.finish_reason))
        if self._include_usage:
            out += (self._head, b',"choices":[],"usage":', encoded(chat_usage(event.usage)), b"}\n\n")
        out.append(_DONE)

    def _fail(self, failure: ErrorReply, out: list[bytes]) -> None:
        self.failure = failure
        out += (b"data: ", failure.body, b"\n\n", _DONE)

    def _more_of_call(self, event: ClientCallDelta, out: list[bytes]) -> None:
        if event.call_id not in self._whole_calls:
            begins = event.call_id not in self._calls
            source = self._calls.setdefault(event.call_id, StepText())
            self._tell_call(event.call_id, event.tool, source.more(event.arguments), out, begins=begins)

    def _rest_of_calls(self, calls: Sequence[ToolCall], out: list[bytes]) -> None:
        """What was not sent of *calls*, which are complete."""
        for call in calls:
            if call.id not in self._whole_calls:
                self._whole_calls.add(call.id)
                begins = call.id not in self._calls
                source = self._calls.setdefault(call.id, StepText())
                self._tell_call(call.id, call.name, source.rest(call.arguments), out, begins=begins)

    def _tell_call(self, call_id: str, name: str, arguments: str, out: list[bytes], *, begins: bool) -> None:
        if self._conflict or not (arguments or begins):
            return
        index = list(self._calls).index(call_id)
        delta: _CallStart | _CallDelta
        if begins:
            # The steps of a turn that has the agent's tools may be hidden: see `SuspendedTurns`.
            hides = self._own_calls or self._has_tools
            own_id = client_id(self._turn_id, index) if hides else call_id
            delta = _CallStart(index, own_id, "function", FunctionCall(name, arguments))
        else:
            delta = _CallDelta(index, _MoreArguments(arguments))
        out.append(self._open + b'{"tool_calls":[' + encoded(delta) + b"]}" + self._close)

    def _finish(self, reason: FinishReason) -> bytes:
        finished = b'{},"logprobs":null,"finish_reason":"' + reason.encode() + b'"}]'
        return self._open + finished + self._usage + b"}\n\n"


def _without_images(event: Event) -> Event:
    """*event* without the images of a result, which may be megabytes: its text names them."""
    if isinstance(event, Nested):
        return Nested(event.parent_call_id, _without_images(event.event))
    if isinstance(event, ToolEnded) and event.images:
        return msgspec.structs.replace(event, images=())
    return event
