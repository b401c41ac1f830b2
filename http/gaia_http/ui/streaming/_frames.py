"""Events → frames of `/api/chat/send` and `/api/chat/attach`. A fold: its own state and a batch of events give bytes.

A frame is `id: seq:epoch:i` and `data: {json}`. An event can make several frames, so i is the event's number times
eight, plus the frame's number in it: a reader that comes back by any frame's id gets the next one. The events
that a reader had before are folded without output (`Turn.told`), so that a resumed stream continues byte for byte.

Text comes as `chunk` deltas, with an empty line between the texts of two steps. What of a step's text was not told
live (a replay from the record) follows in one piece when the step ends; so the sum of the chunks is the answer. On
`reset` to a record a client drops the text whose ids begin with that record's seq or a later one.
A sub-agent's text comes as `thinking`: it is no part of the answer.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from gaia_core.errors import EventIdError
from gaia_core.events import (
    Event,
    Nested,
    ReasoningDelta,
    Reset,
    StepEnded,
    StepStarted,
    TextDelta,
    ToolCalled,
    TurnEnded,
)
from gaia_core.messages import text_of
from gaia_core.runtime import AnswerText
from gaia_core.turn import EventId, Frame
from gaia_http._errors import encoded
from gaia_http.streaming._json_text import encoded_text
from gaia_http.ui._response_bodies import Json
from gaia_http.ui.streaming._frame_text import words_of

_FRAMES = 8
"""More than an event makes frames."""

_BETWEEN = 10**12
"""Stands for an event that was sent before a record and isn't kept: no event has this number."""

_CHUNK = b'data: {"type":"chunk","content":'
_THINKING = b'data: {"type":"thinking","content":'
_END = b"}\n\n"


class FrameId(msgspec.Struct, frozen=True, gc=False):
    """Where a frame stands: its event, and its number among that event's frames."""

    event: EventId
    frame: int

    @classmethod
    def parse(cls, text: str) -> "FrameId":
        """The id that *text* says. Raises EventIdError, naming it."""
        try:
            given = EventId.parse(text.strip())
        except EventIdError:
            raise EventIdError(
                f"Last-Event-ID {text[:80]!r} is no event id; send the id of a frame as it was"
            ) from None
        index, frame = divmod(given.index, _FRAMES)
        return cls(EventId(given.seq, given.epoch, index), frame)

    @classmethod
    def whole(cls, event: EventId) -> "FrameId":
        """The last frame of *event*."""
        return cls(event, _FRAMES - 1)


def frame(data: Json, event_id: EventId | None = None, number: int = 0) -> bytes:
    """*data* as one frame."""
    return _head(event_id, number) + b"data: " + encoded(data) + b"\n\n"


def _head(event_id: EventId | None, number: int = 0) -> bytes:
    if event_id is None:
        return b"id: 0:0:0\n"
    return b"id: %d:%d:%d\n" % (event_id.seq, event_id.epoch, event_id.index * _FRAMES + number)


class FrameTranslator:
    """The translator of one stream. *steps*: the most that the turn may have; *message_id* says its answer's id."""

    def __init__(self, message_id: Callable[[], int] = int, *, steps: int | None = None) -> None:
        self._message_id = message_id
        self.steps = steps
        self._tally = AnswerText()
        self._step_reasoning = False
        self._nested: dict[str, FrameTranslator] = {}
        self.done = False
        """The turn has ended, and its end is in the frames."""

    def fold(self, events: Iterable[Event]) -> None:
        """Take *events* that the reader has seen."""
        for event in events:
            self._data_of(event)

    def rest(self, seen: FrameId, event: Event) -> bytes:
        """The frames of *event* that follow the *seen* one."""
        made = self._data_of(event)
        return b"".join(frame(data, _place(data, seen.event), n) for n, data in enumerate(made) if n > seen.frame)

    def take(self, batch: Sequence[Frame]) -> bytes:
        """The frames of *batch*; adjacent pieces of text are one."""
        out: list[bytes] = []
        run: list[str] = []
        run_kind: type | None = None
        run_id: EventId | None = None
        for event_id, event in batch:
            kind = type(event)
            if kind is TextDelta or kind is ReasoningDelta:
                if run and kind is not run_kind:
                    out += self._run(run_kind, run, run_id)
                    run = []
                run_kind, run_id = kind, event_id
                run.append(event.text)  # type: ignore[union-attr]
                continue
            if run:
                out += self._run(run_kind, run, run_id)
                run = []
            # A reset has the id of the event before it, whose frames were all told: its own number is the last.
            first = _FRAMES - 1 if kind is Reset else 0
            out += [frame(data, _place(data, event_id), n) for n, data in enumerate(self._data_of(event), first)]
        if run:
            out += self._run(run_kind, run, run_id)
        return b"".join(out)

    def _run(self, kind: type | None, run: list[str], event_id: EventId | None) -> tuple[bytes, ...]:
        text = "".join(run)
        if not text:
            return ()
        if kind is ReasoningDelta:
            self._step_reasoning = True
            return (_head(event_id), _THINKING, encoded_text(text), _END)
        return (_head(event_id), _CHUNK, encoded_text(self._tally.tell(text)), _END)

    def _data_of(self, event: Event) -> list[Json]:
        """What *event* says, a value for each frame."""
        match event:
            case TextDelta(text):
                return [{"type": "chunk", "content": self._tally.tell(text)}] if text else []
            case ReasoningDelta(text):
                self._step_reasoning = True
                return [{"type": "thinking", "content": text}] if text else []
            case Nested(parent, inner):
                nested = self._nested.setdefault(parent, FrameTranslator())
                return [_of_nested(data, parent) for data in nested._data_of(inner)]  # noqa: SLF001  # one of its own
            case Reset(seq):
                self._begin_step()
                return [{"type": "reset", "seq": seq}]
            case StepStarted(step):
                self._begin_step()
                return [{"type": "step", "step": step, "total": self.steps, "status": "started"}]
            case StepEnded():
                return self._step_ended(event)
            case TurnEnded():
                return self._turn_ended(event)
            case ToolCalled():
                self._tally.take(event)
        return words_of(event, self._tally.calls)

    def _begin_step(self) -> None:
        self._tally.begin_step()
        self._step_reasoning = False

    def _step_ended(self, event: StepEnded) -> list[Json]:
        data: list[Json] = []
        reasoning = event.message.reasoning_content
        if reasoning and not self._step_reasoning:
            data.append({"type": "thinking", "content": reasoning})
        if not event.objection and (text := self._tally.untold(text_of(event.message.content))):
            data.append({"type": "chunk", "content": text})
        self._tally.take(event)
        self._step_reasoning = False
        return data

    def _turn_ended(self, event: TurnEnded) -> list[Json]:
        self.done = True
        tally = self._tally
        data: list[Json] = []
        if text := tally.untold(tally.unrecorded(event)):
            data.append({"type": "chunk", "content": text})
        if text := tally.instead(event):
            data.append({"type": "chunk", "content": text})
        content, stats = tally.shown(event), tally.stats(event)
        if event.status == "failed":
            words = event.error.message if event.error is not None else "the turn failed"
            data.append({"type": "error", "content": words} | ({"code": event.error.type} if event.error else {}))
        elif event.status == "cancelled":
            data.append({"type": "status", "status": "complete", "message": "The answer was stopped."})
        else:
            answer: Json = {"type": "answer", "content": content, "elapsed": round(event.seconds, 3)}
            answer |= {"steps": event.steps, "tools_used": len(tally.calls), "tokens": event.usage.total_tokens}
            if tally.first_seconds is not None:
                answer["ttft"] = round(tally.first_seconds, 4)
            data.append(answer)
        message_id = self._message_id() or None
        reason = event.finish_reason if event.status not in ("failed", "cancelled") else None
        done: Json = {"type": "done", "message_id": message_id, "content": content, "finish_reason": reason}
        data.append(done | {"stats": stats})
        return data


def _place(data: Json, event_id: EventId) -> EventId:
    """Where a frame of a record stands. Text stands before it, as it does live: after a `reset` to the record before,
    a client drops what has this id, and gets it again."""
    if data["type"] in ("chunk", "thinking") and "parent_call_id" not in data:
        return EventId(event_id.seq - 1, event_id.epoch, _BETWEEN)
    return event_id


def _of_nested(data: Json, parent: str) -> Json:
    if data["type"] == "chunk":
        data = data | {"type": "thinking"}
    return {"parent_call_id": parent} | data if "parent_call_id" in data else data | {"parent_call_id": parent}
