"""The note: what is kept of a request beside its turn, so that its response can be told again as it was."""

from typing import Any

import msgspec

from gaia_core.journal import SessionInfo
from gaia_http.openai.responses._ids import Ref
from gaia_http.request._decoding import given

RESPONSES = "responses"
"""The surface of the sessions that responses make; the UI lists them only on request. They expire (`Retention`)."""

CONVERSATIONS = "conversations"
"""The surface of the conversations API's sessions, which are kept until they are deleted."""

_NO_ITEMS = msgspec.Raw(b"")


class RequestNote(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """*created*: Unix seconds. *echo*: the fields of the response that say what was asked for, a JSON object. *items*:
    the input as it was sent, a JSON array or text. *custom*: the client's tools that take free text.
    """

    created: int
    model: str
    echo: msgspec.Raw
    items: msgspec.Raw = _NO_ITEMS
    custom: tuple[str, ...] = ()
    background: bool = False
    store: bool = True
    previous: str | None = None
    conversation: str | None = None
    added: bool = False
    """It is no response: its items were added to a conversation."""
    reasoned: bool = False
    """The calls of the agent's own tools are shown as reasoning."""
    quiet: bool = False
    """The calls of the agent's own tools are not shown."""
    omitted: tuple[str, ...] = ()
    """The items that were deleted from its conversation, and are not shown to models from here on."""


_note_decoder = msgspec.json.Decoder(RequestNote)


def encode_note(note: RequestNote) -> bytes:
    """*note* for the record."""
    return msgspec.json.encode(note)


def decode_note(encoded: bytes) -> RequestNote | None:
    """The note that `encode_note` wrote; None for a turn of another surface."""
    try:
        return _note_decoder.decode(encoded) if encoded else None
    except msgspec.DecodeError:
        return None


def input_items(ref: Ref, note: RequestNote) -> list[dict[str, Any]]:
    """The input of a response as items with ids: the client's own, or ours."""
    if not given(note.items):
        return []
    sent = msgspec.json.decode(note.items)
    if isinstance(sent, str):
        sent = [{"type": "message", "role": "user", "content": sent}]
    return [_item(ref, n, item) for n, item in enumerate(sent)]


def _prefix(kind: str) -> str:
    match kind:
        case "message":
            return "msg"
        case "reasoning":
            return "rs"
        case "mcp_call" | "mcp_list_tools" | "mcp_approval_request" | "mcp_approval_response":
            return "mcp"
        case "function_call" | "function_call_output":
            return "fc"
        case "custom_tool_call" | "custom_tool_call_output":
            return "ctc"
        case _:
            return "item"


def _item(ref: Ref, n: int, sent: dict[str, Any]) -> dict[str, Any]:
    kind = sent.get("type") or "message"
    given_id = sent.get("id")
    own_id = given_id if isinstance(given_id, str) and given_id else ref.input_item(_prefix(kind), n)
    item = {**sent, "id": own_id, "type": kind}
    if kind == "message":
        role = sent.get("role")
        text = "output_text" if role == "assistant" else "input_text"
        if isinstance(sent.get("content"), str):
            part: dict[str, Any] = {"type": text, "text": sent["content"]}
            if role == "assistant":
                part["annotations"] = []
            item["content"] = [part]
        item.setdefault("status", "completed")
    elif kind in ("function_call", "function_call_output"):
        item.setdefault("status", "completed")
    return item


# What is kept of the responses of a session beside its record.


class SessionMetadata(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A session's metadata, as far as responses have it.

    *deleted* names (`Ref.name`) the responses that were deleted, *notes* those that went on with a turn after an
    approval.
    """

    deleted: tuple[str, ...] = ()
    notes: tuple[tuple[str, RequestNote], ...] = ()
    conversation: msgspec.Raw = _NO_ITEMS
    """The metadata that a client gave its conversation."""

    left_out: tuple[str, ...] = ()
    """The items of the conversation that were deleted."""

    since: int = 0
    """The record after which the session's own responses begin; what is before it has a fork of another's."""

    @property
    def is_conversation(self) -> bool:
        """Whether the session is a conversation of the conversations API."""
        return given(self.conversation)

    def note(self, name: str) -> RequestNote | None:
        """The note of the response of that name, if it is one that went on after an approval."""
        return next((note for key, note in self.notes if key == name), None)


_kept_decoder = msgspec.json.Decoder(SessionMetadata)


def kept_of(info: SessionInfo) -> SessionMetadata:
    """What is kept in the metadata of *info*."""
    try:
        return _kept_decoder.decode(info.metadata)
    except msgspec.DecodeError:
        return SessionMetadata()


def merged(info: SessionInfo, kept: SessionMetadata) -> bytes:
    """The metadata of *info* with *kept*; what other surfaces have there stays."""
    try:
        whole = msgspec.json.decode(info.metadata)
    except msgspec.DecodeError:
        whole = {}
    if not isinstance(whole, dict):
        whole = {}
    for name in SessionMetadata.__struct_fields__:
        whole.pop(name, None)
    return msgspec.json.encode({**whole, **msgspec.json.decode(msgspec.json.encode(kept))})
