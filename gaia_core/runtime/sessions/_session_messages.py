"""Facts → messages: a user's from the record that began its turn, an answer from the one that ended it.

The ids of messages are the seqs of these records. A turn that still runs, or was left, has no answer yet.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from gaia_core.activity import detail_of
from gaia_core.errors import NotFoundError
from gaia_core.events import (
    ApprovalDecided,
    ApprovalRequested,
    ContextCompacted,
    Event,
    StepEnded,
    ToolCalled,
    ToolEnded,
    TurnEnded,
    TurnResumed,
)
from gaia_core.facts import Began, Damaged, Ended, Fact, events_of, is_message
from gaia_core.journal import Record, readable_fact
from gaia_core.messages import text_of
from gaia_core.runtime._answer_text import AnswerStats, AnswerText
from gaia_core.tool_output import Image

Json: TypeAlias = dict[str, Any]
Facts: TypeAlias = Sequence[tuple[Record, Fact]]


def iso(at: float) -> str:
    """A Unix time as the API writes it: `2025-01-31T12:00:00.000000+00:00`."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="microseconds")


def shown_images(images: tuple[Image, ...]) -> dict[str, Json]:
    """How a page shows a result's *images*: `render` says as what, `data` has them as `data:` URLs. Empty for none."""
    if not images:
        return {}
    shown = [{"url": image.url, "content_type": image.media_type, "size": len(image.data)} for image in images]
    return {"render": {"type": "images"}, "data": {"images": shown}}


class MessageStep(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Something that an agent did for an answer. *type* is `thinking`, `tool`, `status` or `error`."""

    id: int
    type: str
    label: str
    active: bool
    timestamp: str
    detail: str | None = None
    tool: str | None = None
    result: str | None = None
    success: bool | None = None
    planSteps: tuple[Json, ...] | None = None  # noqa: N815
    commandOutput: Json | None = None  # noqa: N815
    fileList: Json | None = None  # noqa: N815
    mcpServer: str | None = None  # noqa: N815
    latencyMs: int | None = None  # noqa: N815
    render: Json | None = None
    data: Json | None = None
    decision: str | None = None
    reason: str | None = None


class SessionMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of a conversation; an answer with what the agent did for it."""

    id: int
    session_id: str
    role: Literal["user", "assistant", "system"]
    content: str
    created_at: str
    rag_sources: tuple[Json, ...] | None = None
    agent_steps: tuple[MessageStep, ...] | None = None
    stats: AnswerStats | None = None


def messages_of(session_id: str, facts: Facts) -> tuple[SessionMessage, ...]:
    """The messages of a branch, oldest first."""
    messages: list[SessionMessage] = []
    turn, tally, steps = "", AnswerText(), Steps()
    for record, fact in facts:
        if record.turn != turn:
            turn, tally, steps = record.turn, AnswerText(), Steps()
        if isinstance(fact, Began):
            if fact.message is not None:
                content = text_of(fact.message.content)
                messages.append(SessionMessage(record.seq, session_id, "user", content, iso(record.at)))
            continue
        if isinstance(fact, Damaged):
            role: Literal["user", "assistant"] = "user" if fact.kind == "began" else "assistant"
            words = damaged_words(record, fact)
            messages.append(SessionMessage(record.seq, session_id, role, words, iso(record.at)))
            continue
        for event in events_of(fact, record.turn, session_id):
            tally.take(event)
            steps.take(record.at, event)
            if isinstance(event, TurnEnded):
                messages.append(
                    SessionMessage(
                        record.seq,
                        session_id,
                        "assistant",
                        tally.shown(event),
                        iso(record.at),
                        agent_steps=steps.all or None,
                        stats=tally.stats(event),
                    )
                )
    return tuple(messages)


def damaged_words(record: Record, fact: Damaged) -> str:
    """For people, what stands where *record* can't be read."""
    return f"(Record {record.seq} of this conversation, {fact.kind!r}, is damaged and can't be shown: {fact.problem})"


class Steps:
    """What an agent did for an answer. A fold over the recorded events of its turn."""

    def __init__(self) -> None:
        self._steps: list[MessageStep] = []
        self._of_call: dict[str, int] = {}
        self._decisions: dict[str, tuple[str, str]] = {}

    @property
    def all(self) -> tuple[MessageStep, ...]:
        """The steps so far."""
        return tuple(self._steps)

    def take(self, at: float, event: Event) -> None:
        """Add what *event* tells, recorded at the Unix time *at*."""
        match event:
            case StepEnded():
                if event.message.reasoning_content:
                    self._add(at, "thinking", "Thinking", detail=event.message.reasoning_content)
            case ToolCalled():
                self._of_call[event.call_id] = len(self._steps)
                label = detail_of(event)
                server = event.server or None
                self._add(at, "tool", label, tool=event.tool, detail=event.arguments, active=True, mcpServer=server)
            case ApprovalRequested():
                self._change(event.call_id, decision="asked", reason=event.reason)
            case ApprovalDecided():
                decision = "approved" if event.approved else "denied"
                self._change(event.call_id, decision=decision, reason=event.reason)
            case ToolEnded():
                milliseconds = round(event.seconds * 1_000)
                self._change(
                    event.call_id,
                    active=False,
                    result=event.content,
                    success=event.outcome == "ok",
                    latencyMs=milliseconds,
                    **shown_images(event.images),
                )
            case ContextCompacted():
                self._add(at, "status", "Earlier messages became a summary", detail=event.summary)
            case TurnResumed():
                self._add(at, "status", "The server was restarted; the turn went on")
            case TurnEnded():
                self._end(at, event)

    def _end(self, at: float, event: TurnEnded) -> None:
        for index, step in enumerate(self._steps):
            if step.active:
                self._steps[index] = msgspec.structs.replace(step, active=False, success=False)
        if event.error is not None:
            self._add(at, "error", event.error.message, success=False)
        elif event.status == "cancelled":
            self._add(at, "status", "The answer was stopped")

    def _add(self, at: float, kind: str, label: str, *, active: bool = False, **fields: object) -> None:
        step = MessageStep(len(self._steps) + 1, kind, label, active, iso(at))
        self._steps.append(msgspec.structs.replace(step, **fields) if fields else step)

    def _change(self, call_id: str, **fields: object) -> None:
        index = self._of_call.get(call_id)
        if index is not None:
            self._steps[index] = msgspec.structs.replace(self._steps[index], **fields)


# Where a conversation continues.


def end_of_turn(records: Iterable[Record], message_id: int) -> int:
    """The last record of the turn that the message belongs to: the conversation continues after it. 0 stays 0.

    Raises NotFoundError for an id that is no message of the session.
    """
    if not message_id:
        return 0
    records = tuple(records)
    record = next((each for each in records if each.seq == message_id), None)
    if record is None or not is_message(readable_fact(record)):
        raise NotFoundError(f"there is no message {message_id} in this session")
    return max(each.seq for each in records if each.turn == record.turn)


def before_turn(facts: Facts, message_id: int) -> int:
    """The record before the turn that the message belongs to. Raises NotFoundError when it isn't in the branch."""
    found = next((record for record, fact in facts if record.seq == message_id and is_message(fact)), None)
    if found is None:
        raise NotFoundError(f"there is no message {message_id} in this conversation")
    return next(record.parent for record, _ in facts if record.turn == found.turn)


def last_end(facts: Facts) -> int:
    """The record that ended the branch's last whole turn; 0 when there is none."""
    return next((record.seq for record, fact in reversed(facts) if isinstance(fact, Ended)), 0)
