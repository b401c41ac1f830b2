"""Events of a turn → events of a response. A fold whose result depends on what the journal keeps, and not on timing.

    created → in_progress → for each item: added → its parts and deltas → done → completed, incomplete or failed

So the stream of a running response, the one that is resumed by `starting_after`, and the one that is sent after a
restart are the same, byte for byte: text is cut by its words (`_chunked`), times are the note's and the record's own,
and what is live only (a tool's progress, a sub-agent's steps) is not sent.

A step that another process had to ask for again has another text. The numbers that the interrupted step may have used
are retired: the step that is asked again continues `RETIRED` numbers later, and a reader that resumes from a retired
number gets an `error` event and no text. So no reader puts two texts together.

A turn that waits for approval has several responses: one ends where nothing of the turn runs any more but an approval
is open, and the next begins with the answer. Which of them an `ResponseEvents` tells is its reference's `part`.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from gaia_core.activity import line_of
from gaia_core.events import (
    ApprovalDecided,
    ApprovalRequested,
    ClientCallDelta,
    Event,
    ReasoningDelta,
    Reset,
    StepEnded,
    TextDelta,
    ToolCalled,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnResumed,
)
from gaia_core.messages import ToolCall, Usage, text_of
from gaia_core.runtime import rest_of
from gaia_core.visible_text import visible_json
from gaia_http._errors import SERVER, ErrorReply, cancelled, encoded
from gaia_http.openai.responses._ids import CallPlace, Ref, approval_item
from gaia_http.openai.responses.output._client_calls import ClientCalls
from gaia_http.openai.responses.output._output_items import (
    McpCallItem,
    MessageItem,
    ReasoningItem,
    activity_item,
)
from gaia_http.openai.responses.output._response_object import error_of, failure_of, incomplete_reason, response_object
from gaia_http.openai.responses.stored._request_note import RequestNote

Told: TypeAlias = tuple[str, bytes]
"""An event of a response: its type, and its JSON."""

_RELEVANT = frozenset(
    (
        ReasoningDelta,
        TextDelta,
        ClientCallDelta,
        StepEnded,
        ToolCalled,
        ToolStarted,
        ToolEnded,
        ApprovalRequested,
        ApprovalDecided,
        TurnResumed,
        TurnEnded,
    )
)
_NO_USAGE = Usage()

RETIRED = 10_000_000
"""Sequence numbers that are retired when a step is interrupted: more than the events of one step can be, whose text has
16 Mi characters at most, and two or more in each delta."""


class ResponseEvents:
    """The events of the response *ref*. *after*: those up to that sequence number are not given again.

    It belongs to one stream or one answer: only the task that writes it calls it. A `Reset` of the turn's events folds
    the turn again from its beginning, and what was given is not given twice.
    """

    def __init__(self, ref: Ref, note: RequestNote, *, after: int = -1) -> None:
        self._ref = ref
        self._note = note
        self._given = after + 1
        self._restart()

    def _restart(self) -> None:
        self._seq = 0
        """The next event's sequence number; those below `_given` were given before."""
        self._part = 0
        """The part of the turn that the events are in: each wait for approval ends one, and a response is one part."""
        self._told: list[Told] = []
        """What the current batch tells; handed over and emptied by `take`, `begin`, `complete` and `fail`."""
        self._items: list[dict[str, Any]] = []
        self._open: MessageItem | ReasoningItem | None = None
        """The item that still gets text; at most one, and the last of `_items`."""
        self._text_begun = False
        """The step has told text or a call, so reasoning that follows is not told."""
        self._client_calls = ClientCalls(self._ref, self._items, self._note.custom)
        """Those that the step has begun to tell."""
        self._text_before = ""
        """The step's text that was sent before its calls."""
        self._calls_done = False
        """The client's calls, by which the turn ends, are told."""
        self._steps = 0
        """The last step that has ended."""
        self._arguments: dict[str, tuple[str, str]] = {}
        """By call: the tool and its arguments."""
        self._places: dict[str, CallPlace] = {}
        """By call: where the model made it. For the items' ids."""
        self._unended: set[str] = set()
        """The calls that have not ended. While there are some, no model is asked."""
        self._asked: dict[str, tuple[ApprovalRequested, int]] = {}
        """By call: the approval that it waits for, and in which part of the turn that was requested."""
        self._approved: dict[str, str] = {}
        """By call: the id of the item that requested the approval which it was given."""
        self._running: dict[str, McpCallItem | None] = {}
        """By call: the item of a tool that runs; None where it has none."""
        self._before = self._usage = _NO_USAGE
        """The usage of earlier parts, and of this one."""
        self._seconds = 0.0
        self._begun = False
        """`response.created` was told."""
        self.tools_ran = False
        self.parked = False
        """It ended because the turn waits for approval."""
        self.done = False
        self.failure: ErrorReply | None = None
        """How the turn failed."""
        self.final: dict[str, Any] | None = None
        """The response, once it is done."""
        self.origins: dict[str, int | str] = {}
        """Where items come from, once recorded: the step of a message, the call's id of an mcp_call."""

    @property
    def response(self) -> dict[str, Any]:
        """The response as it stands."""
        return self.final if self.final is not None else self._object("in_progress")

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items so far."""
        return self._items

    @property
    def queued(self) -> dict[str, Any]:
        """The response before anything happened."""
        return self._object("queued")

    @property
    def last(self) -> int:
        """The number of the last event so far."""
        return self._seq - 1

    @property
    def asked(self) -> tuple[str, ...]:
        """The approvals that the turn waits for."""
        return tuple(event.approval_id for event, _ in self._asked.values())

    # Folding.

    def take(self, batch: Sequence[Event]) -> list[Told]:
        """What *batch* tells of the response. Events after its end are not looked at."""
        events: list[Event] = []
        for event in batch:
            if type(event) is Reset:
                events = []
                self._restart()
            elif type(event) in _RELEVANT:
                events.append(event)
        for index, event in enumerate(events):
            if self.done:
                break
            self.step(event, events[index + 1] if index + 1 < len(events) else None)
        if self.done and self._given > self._seq:
            self._refuse_number()
        told, self._told = self._told, []
        return told

    def step(self, event: Event, following: Event | None) -> None:
        """Take *event*. *following*: what is known to come next."""
        if self._ours and not self._begun:
            self._begin()
        self._take(event)
        if isinstance(event, TurnEnded):
            if self._ours:
                self._end(event)
            return
        if self._waits and (following is None or _answers(following)):
            if self._ours:
                self._park()
                return
            self._part += 1
            self._before += self._usage
            self._usage, self._seconds = _NO_USAGE, 0.0

    def forget(self) -> None:
        """Nothing was sent: a caller that folds for the response alone has no client whose events could become void."""
        self._given = 0

    def begin(self) -> list[Told]:
        """The events that are sent before anything happened."""
        if self._ours and not self._begun:
            self._begin()
        told, self._told = self._told, []
        return told

    def complete(self) -> list[Told]:
        """End it as it is."""
        self._finished("completed", None)
        told, self._told = self._told, []
        return told

    def fail(self, reply: ErrorReply) -> list[Told]:
        """End it because nothing more will be known of its turn here."""
        self._stop_client_calls()
        self._close_open("incomplete")
        self._failed(reply, "failed")
        told, self._told = self._told, []
        return told

    def unknown(self, message: str) -> list[Told]:
        """Its stream closes, and it has no end yet. The number is the last event's: none is used up."""
        error: dict[str, Any] = {"code": "outcome_unknown", "message": message, "param": None}
        nested = {"type": SERVER, **error}
        fields = {"type": "error", **error, "error": nested, "sequence_number": max(self._given - 1, 0)}
        return [("error", encoded(fields))]

    @property
    def _ours(self) -> bool:
        return self._part == self._ref.part

    @property
    def _waits(self) -> bool:
        # One that was asked in an earlier part has its answer on the way: all of a part are answered together.
        return bool(self._asked) and not self._running and all(part == self._part for _, part in self._asked.values())

    def _take(self, event: Event) -> None:
        match event:
            case TextDelta():
                self._text(event.text)
            case ReasoningDelta():
                self._reason(event.text)
            case ClientCallDelta():
                self._more_of_client_call(event)
            case StepEnded():
                self._step_ended(event)
            case ToolCalled():
                self._arguments[event.call_id] = (event.tool, event.arguments)
                self._unended.add(event.call_id)
            case ApprovalRequested():
                self._asked[event.call_id] = (event, self._part)
                if self._ours:
                    self._ask(event)
            case ApprovalDecided():
                if self._asked.pop(event.call_id, None) is not None:
                    self._approved[event.call_id] = approval_item(self._ref, event.approval_id)
            case ToolStarted():
                self.tools_ran = True
                self._running[event.call_id] = self._call(event.call_id) if self._ours else None
            case ToolEnded():
                self._tool_ended(event)
            case TurnResumed():
                if self._ours and not self._unended:
                    self._retire()

    # Text.

    def _text(self, text: str) -> None:
        if not self._ours or not text or self._client_calls:
            return
        self._text_begun = True
        if not isinstance(self._open, MessageItem):
            self._close_open("completed")
            self._open = MessageItem(self._emit, self._ref, len(self._items))
            self._items.append(self._open.item)
        self._open.feed(text)

    def _reason(self, text: str) -> None:
        if not self._ours or not text or self._text_begun:
            return
        if not isinstance(self._open, ReasoningItem):
            self._open = ReasoningItem(self._emit, self._ref, len(self._items))
            self._items.append(self._open.item)
        self._open.feed(text)

    def _untold(self, text: str, kind: type[MessageItem | ReasoningItem]) -> str:
        """What is left to tell of a step's whole *text*, when the open item may be of this *kind* already."""
        return rest_of(text, self._open.text if isinstance(self._open, kind) else "")

    def _close_open(self, status: str) -> None:
        item, self._open = self._open, None
        if item is not None:
            item.close(status)

    def _step_ended(self, event: StepEnded) -> None:
        self._usage += event.usage
        self._seconds += event.seconds
        self._steps = event.step
        for index, call in enumerate(event.message.tool_calls):
            self._places[call.id] = CallPlace(event.step, index, call.id)
        if not self._ours:
            return
        message = event.message
        theirs = [call for call in message.tool_calls if call.id in event.client_calls]
        if self._client_calls:
            self._text_after_calls(event, theirs)
            return
        if reasoning := (message.reasoning_content or "")[: event.reasoned_before]:
            self._reason(self._untold(reasoning, ReasoningItem))
        if not event.objection:
            self._text(self._untold(text_of(message.content), MessageItem))
        if not message.tool_calls and not event.objection and not isinstance(self._open, MessageItem):
            self._close_open("completed")
            self._open = MessageItem(self._emit, self._ref, len(self._items))
            self._items.append(self._open.item)
        if isinstance(self._open, MessageItem):
            self.origins[self._open.item["id"]] = event.step
            self._open.phase = "commentary" if message.tool_calls else "final_answer"
        whole = incomplete_reason(event.finish_reason) is None
        self._close_open("completed" if whole else "incomplete")
        self._end_client_calls(theirs)
        self._text_begun = False

    def _text_after_calls(self, event: StepEnded, theirs: list[ToolCall]) -> None:
        """End a step whose calls were told as they came, and tell what the model has said since they began."""
        rest = rest_of(text_of(event.message.content), self._text_before)
        self._end_client_calls(theirs)
        self._text(rest)
        self._close_as_commentary(event.step)
        self._text_begun = False

    def _close_as_commentary(self, step: int) -> None:
        """Close what was said before or beside calls."""
        if isinstance(self._open, MessageItem):
            self.origins[self._open.item["id"]] = step
            self._open.phase = "commentary"
        self._close_open("completed")

    # The client's calls.

    def _more_of_client_call(self, event: ClientCallDelta) -> None:
        if self._ours:
            self._begin_client_calls()
            self._client_calls.more(self._emit, self._steps + 1, event.call_id, event.tool, event.arguments)

    def _begin_client_calls(self) -> None:
        """What was said before them is a comment on them."""
        if not self._client_calls:
            self._text_before = self._open.text if isinstance(self._open, MessageItem) else ""
            self._close_as_commentary(self._steps + 1)
            self._text_begun = True

    def _end_client_calls(self, calls: Sequence[ToolCall]) -> None:
        self._client_calls.complete(self._emit, calls, self._places)
        self._calls_done = bool(calls)

    def _stop_client_calls(self, partial: Sequence[ToolCall] = ()) -> None:
        if partial:
            self._begin_client_calls()
        self._client_calls.stop(self._emit, partial, self._steps + 1)

    # Tools.

    def _ask(self, event: ApprovalRequested) -> None:
        n = len(self._items)
        item = {
            "id": approval_item(self._ref, event.approval_id),
            "type": "mcp_approval_request",
            "server_label": self._note.model,
            "name": event.tool,
            "arguments": visible_json(event.arguments),
        }
        self._items.append(item)
        self._emit("response.output_item.added", {"output_index": n, "item": item})
        self._emit("response.output_item.done", {"output_index": n, "item": item})

    def _call(self, call_id: str) -> McpCallItem | None:
        """The item of a call of the agent's own, begun; None where these are not told as such."""
        if self._note.reasoned or self._note.quiet:
            return None
        tool, arguments = self._arguments.get(call_id, ("", ""))
        call = McpCallItem(
            self._emit,
            self._ref.call_item("mcp", len(self._items), self._places.get(call_id, CallPlace(0, 0, call_id))),
            len(self._items),
            label=self._note.model,
            name=tool,
            arguments=arguments,
            approval=self._approved.get(call_id),
        )
        self._items.append(call.item)
        self.origins[call.item["id"]] = call_id
        call.begin()
        return call

    def _tool_ended(self, event: ToolEnded) -> None:
        if event.outcome == "cancelled":  # live only: the end of the turn says it
            return
        self._unended.discard(event.call_id)
        self._seconds += event.seconds
        begun = event.call_id in self._running
        call = self._running.pop(event.call_id, None)
        self._asked.pop(event.call_id, None)
        if not self._ours:
            return
        if self._note.reasoned:
            self._activity(event)
            return
        if not begun or call is None:
            call = self._call(event.call_id)
        if call is not None:
            call.end(event)

    def _activity(self, event: ToolEnded) -> None:
        """A line of reasoning for a call and its result."""
        tool, arguments = self._arguments.get(event.call_id, (event.tool, ""))
        lines = (line_of(ToolCalled(event.call_id, tool, arguments)), line_of(event))
        n = len(self._items)
        self._items.append(activity_item(self._emit, self._ref, n, "".join(line or "" for line in lines)))

    # Numbers that are no longer valid.

    def _retire(self) -> None:
        """Another process asks the model again. What the one before it sent of that step is in no record; a reader that
        has some of it can't continue."""
        valid, self._seq = self._seq - 1, self._seq + RETIRED
        if valid + 1 < self._given < self._seq:
            words = (
                f"the server stopped while it sent this response, and its last step was asked again: the events after "
                f"number {valid} are void. Stream the response without starting_after; or drop the events after "
                f"{valid} and continue with starting_after={self._seq - 1}"
            )
            self._error("step_interrupted", words, self._seq - 1)
            self.done = True

    def _refuse_number(self) -> None:
        words = f"starting_after {self._given - 1} is beyond the last event of this response, number {self._seq - 1}"
        self._error("invalid_value", words, self._seq)
        self._given = self._seq

    def _error(self, code: str, words: str, number: int) -> None:
        """Tell an `error` event that ends the stream and is no part of the response."""
        reply = self.failure = ErrorReply(status=400, message=words, param="starting_after", code=code)
        self._told.append(("error", encoded({"type": "error", **error_fields(reply), "sequence_number": number})))

    # Ends.

    def _begin(self) -> None:
        self._begun = True
        if self._note.background:
            self._emit("response.created", {"response": self._object("queued")})
            self._emit("response.queued", {"response": self._object("queued")})
        else:
            self._emit("response.created", {"response": self._object("in_progress")})
        self._emit("response.in_progress", {"response": self._object("in_progress")})

    def _park(self) -> None:
        self.parked = True
        self._finished("completed", None)

    def _end(self, event: TurnEnded) -> None:
        if reasoning := event.reasoning[: event.reasoned_before]:  # of a step that was cut short, as the text is
            self._reason(self._untold(reasoning, ReasoningItem))
        if event.text and self._steps < event.steps:
            self._text(self._untold(event.text, MessageItem))
        self._stop_client_calls(event.partial_calls)
        self._close_open("incomplete")
        self._usage = _less(event.usage, self._before)
        for call in self._running.values():
            if call is not None:
                call.stop()
        self._running.clear()
        if event.status in ("failed", "cancelled"):
            stopped = event.status == "cancelled" and event.error is None
            if stopped and self._note.background:
                self._failed(None, "cancelled")
                return
            failure = (
                failure_of(event.error, tools_ran=self.tools_ran)
                if event.error is not None
                else cancelled(tools_ran=self.tools_ran)
            )
            self._failed(failure, "failed")
            return
        if not self._calls_done:
            for wanted in event.client_calls:  # each is whole before the next begins
                self._end_client_calls((wanted,))
        self._finished("completed", incomplete_reason(event.finish_reason))

    def _finished(self, status: str, incomplete: str | None) -> None:
        status = "incomplete" if incomplete is not None else status
        self.final = self._object(status, incomplete=incomplete)
        self._emit(f"response.{status}", {"response": self.final})
        self.done = True

    def _failed(self, failure: ErrorReply | None, status: str) -> None:
        self.failure = failure
        error = error_of(failure) if failure is not None else None
        self.final = self._object(status, error=error)
        self._emit("response.failed", {"response": self.final})
        if failure is not None:
            self._emit("error", error_fields(failure))
        self.done = True

    def _object(self, status: str, *, error: Any = None, incomplete: str | None = None) -> dict[str, Any]:
        ended = status not in ("queued", "in_progress")
        return response_object(
            self._ref,
            self._note,
            status,
            self._items if ended else (),
            usage=self._usage if ended else None,
            error=error,
            incomplete=incomplete,
            completed_at=self._note.created + round(self._seconds) if status == "completed" else None,
        )

    def _emit(self, kind: str, fields: dict[str, Any] | tuple[bytes, bytes]) -> None:
        """Tell an event; *fields* are its own, or its JSON before and after the sequence number."""
        number, self._seq = self._seq, self._seq + 1
        if number < self._given:
            return
        self._given = number + 1
        if isinstance(fields, tuple):
            before, after = fields
            self._told.append((kind, b'%b"sequence_number":%d%b' % (before, number, after)))
            return
        self._told.append((kind, encoded({"type": kind, **fields, "sequence_number": number})))


def error_fields(reply: ErrorReply) -> dict[str, Any]:
    """The fields of an `error` event: flat as in OpenAI's API, and nested, by which the SDKs raise an APIError."""
    nested = {"type": reply.type, "code": reply.code, "message": reply.message, "param": reply.param}
    return {"code": reply.code, "message": reply.message, "param": reply.param, "error": nested}


def _less(usage: Usage, before: Usage) -> Usage:
    """*usage* without what the turn's earlier responses took."""
    return Usage(
        max(0, usage.input_tokens - before.input_tokens),
        max(0, usage.output_tokens - before.output_tokens),
        max(0, usage.cached_tokens - before.cached_tokens),
        max(0, usage.reasoning_tokens - before.reasoning_tokens),
    )


def _answers(event: Event) -> bool:
    """Whether *event* follows on a turn that waited, and not on its asking."""
    return isinstance(event, TurnEnded | TurnResumed) or (
        isinstance(event, ApprovalDecided) and bool(event.approval_id)
    )
