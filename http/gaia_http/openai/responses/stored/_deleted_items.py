"""Items that were deleted from a conversation: what has to go, so that no model is shown them any more.

The record keeps what was said (law 10). The conversation's next turn begins with edits of the transcript: the messages
that those items were, changed or gone. A call goes with its result; a result alone leaves its call, which endpoints
want answered. What a summary of the conversation has taken in already stays there.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from gaia_core import Runtime
from gaia_core.facts import Answered, Began, Edit, Fact
from gaia_core.journal import Record, SessionInfo
from gaia_core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from gaia_core.turn import Transcript
from gaia_http._settings import Settings
from gaia_http.openai.responses._ids import Ref
from gaia_http.openai.responses._request_state import Base
from gaia_http.openai.responses.input._input_items import read_items
from gaia_http.openai.responses.input._wire import decode_items
from gaia_http.openai.responses.stored._request_note import (
    RequestNote,
    SessionMetadata,
    decode_note,
    input_items,
    kept_of,
)
from gaia_http.openai.responses.stored._stored_responses import folded
from gaia_http.request._content_parts import PartPaths

_CALLS = ("function_call", "custom_tool_call")
_RESULTS = ("function_call_output", "custom_tool_call_output")
_REMOVED = "This result was removed from the conversation."


async def conversation_base(runtime: Runtime, info: SessionInfo, settings: Settings) -> Base:
    """What the next response of the conversation continues from."""
    sessions, owner = runtime.sessions, info.owner
    transcript = await sessions.transcript_at(owner, info.id, info.head)
    facts = await sessions.facts(owner, info.id, strict=True) if kept_of(info).left_out else ()
    edits, omitted = edits_of(info, facts, transcript, settings)
    messages = tuple([entry.message for entry in transcript.edited(edits).entries])
    return Base(info.id, info.head, messages, edits, omitted)


@attrs.define
class _DeletedItems:
    """What the deleted items were."""

    answers: set[int] = attrs.field(factory=set)
    """Records of answers whose text is gone."""
    calls: set[str] = attrs.field(factory=set)
    results: set[str] = attrs.field(factory=set)
    inputs: dict[tuple[int, Message, int], Message | None] = attrs.field(factory=dict)
    """Messages of a request by their record and which of its equal ones it is, and what is left of each."""


def edits_of(
    info: SessionInfo, facts: Sequence[tuple[Record, Fact]], transcript: Transcript, settings: Settings
) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """The edits that let the conversation *info* go on without its deleted items, and the ids of these items."""
    kept = kept_of(info)
    turns = _by_turn(facts)
    notes = {turn: decode_note(began.note) for turn, (_, began, _) in turns.items()}
    done = {item_id for note in notes.values() if note is not None for item_id in note.omitted}
    deleted = tuple([item_id for item_id in kept.left_out if item_id not in done])
    if not deleted:
        return (), ()
    gone = _DeletedItems()
    for turn, (seq, began, told) in turns.items():
        if (note := notes[turn]) is not None:
            _inputs(gone, (set(deleted), done), input_items(Ref(info.id, turn), note), note, (seq, began), settings)
            _outputs(gone, set(deleted), Ref(info.id, turn), (note, kept), told)
    return _edits(gone, transcript), deleted


def _by_turn(
    facts: Sequence[tuple[Record, Fact]],
) -> dict[str, tuple[int, Began, list[tuple[Record, Fact]]]]:
    turns: dict[str, tuple[int, Began, list[tuple[Record, Fact]]]] = {}
    for record, fact in facts:
        if record.turn in turns:
            turns[record.turn][2].append((record, fact))
        elif isinstance(fact, Began):
            turns[record.turn] = (record.seq, fact, [(record, fact)])
    return turns


def _inputs(
    gone: _DeletedItems,
    ids: tuple[set[str], set[str]],
    items: list[dict[str, Any]],
    note: RequestNote,
    place: tuple[int, Began],
    settings: Settings,
) -> None:
    """The deleted items of what a request brought. *ids*: those, and others that are not shown any more already."""
    deleted = {f"input[{n}]" for n, item in enumerate(items) if item["id"] in ids[0]}
    before = {f"input[{n}]" for n, item in enumerate(items) if item["id"] in ids[1]}
    if not deleted:
        return
    for item in items:
        if item["id"] in ids[0]:
            _call_or_result(gone, item)
    seq, began = place
    called = {item.get("call_id") for item in items if item["type"] in _CALLS}
    waiting = [item["call_id"] for item in items if item["type"] in _RESULTS and item["call_id"] not in called]
    read = read_items(decode_items(note.items), settings, waiting)
    seen: dict[Message, int] = {}
    for index, message in enumerate((*began.input, *((began.message,) if began.message is not None else ()))):
        source = read.items[index]
        if source in before:
            continue
        nth = seen[message] = seen.get(message, -1) + 1
        if source is None and isinstance(message, UserMessage):
            left = _unattached(message, deleted, read.paths[index])
            if left != message:
                gone.inputs[seq, message, nth] = left
        elif source in deleted and not isinstance(message, ToolMessage):
            calls = isinstance(message, AssistantMessage) and bool(message.tool_calls)
            gone.inputs[seq, message, nth] = msgspec.structs.replace(message, content=None) if calls else None


def _unattached(message: UserMessage, deleted: set[str], paths: tuple[PartPaths, ...]) -> UserMessage | None:
    """What is left of the images and files that results had."""
    parts = zip(message.content, paths, strict=True)
    left = [part for part, at in parts if at.path.partition(".")[0] not in deleted]
    return UserMessage(tuple(left)) if left else None  # type: ignore[arg-type]  # parts, not a text


def _outputs(
    gone: _DeletedItems,
    deleted: set[str],
    ref: Ref,
    notes: tuple[RequestNote, SessionMetadata],
    facts: list[tuple[Record, Fact]],
) -> None:
    """The deleted items of what a turn's responses said."""
    note: RequestNote | None
    note, kept = notes
    steps = {fact.step: record.seq for record, fact in facts if isinstance(fact, Answered)}
    part = 0
    while note is not None:
        output, _, _ = folded(Ref(ref.session, ref.turn, part), note, facts)
        for item in output.items:
            if item["id"] not in deleted:
                continue
            origin = output.origins.get(item["id"])
            if item["type"] == "message" and isinstance(origin, int):
                gone.answers.add(steps[origin])
            elif item["type"] == "mcp_call" and isinstance(origin, str):
                gone.calls.add(origin)
            else:
                _call_or_result(gone, item)
        part += 1
        note = kept.note(Ref(ref.session, ref.turn, part).name)


def _call_or_result(gone: _DeletedItems, item: dict[str, Any]) -> None:
    kind, call_id = item["type"], item.get("call_id")
    if kind in _CALLS:
        gone.calls.add(str(call_id))
    elif kind in _RESULTS:
        gone.results.add(str(call_id))
    elif kind == "mcp_call":
        gone.calls.add(str(item["id"]))


def _edits(gone: _DeletedItems, transcript: Transcript) -> tuple[Edit, ...]:
    edits: list[Edit] = []
    seen: dict[tuple[int, str], int] = {}
    for entry in transcript.entries:
        place = (entry.seq, entry.digest)
        nth = seen[place] = seen.get(place, -1) + 1
        message = gone.inputs.get((entry.seq, entry.message, nth), entry.message)
        left = _left(gone, entry.seq, message) if message is not None else None
        if left != entry.message:
            edits.append(Edit(entry.seq, entry.digest, nth, left))
    return tuple(edits)


def _left(gone: _DeletedItems, seq: int, message: Message) -> Message | None:
    """What is left of a message without its calls, its result or its text."""
    if isinstance(message, ToolMessage):
        if message.tool_call_id in gone.calls:
            return None
        if message.tool_call_id not in gone.results:
            return message
        return msgspec.structs.replace(message, content=_REMOVED)
    if not isinstance(message, AssistantMessage):
        return message
    calls = tuple([call for call in message.tool_calls if call.id not in gone.calls])
    content = None if seq in gone.answers else message.content
    if not (content or calls or message.refusal):
        return None
    return msgspec.structs.replace(message, content=content, tool_calls=calls)
