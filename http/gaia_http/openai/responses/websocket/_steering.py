"""Steering over a WebSocket: what a user says while a response runs goes into the one that follows it.

    response.steer → response.steer.accepted … the response ends → the next one, with what was said, by itself
                                             … it waits for the client → response.steer.pending: with its answer
                   → response.steer.failed, and what was said comes back

A response is never cut short for it: it ends as it would, and the next has its settings (source: the events' texts in
the official SDK, `ResponseSteerEvent` and what it names).
"""

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from gaia_core.session import new_id
from gaia_http._errors import ApiError
from gaia_http.openai.responses.input._wire import CreateRequest, WireItem, decode_items

MOST_PENDING = 8
_PARTS = frozenset(("input_text", "input_image", "input_file"))


class Steer(msgspec.Struct, frozen=True, gc=False):
    """A `response.steer` message."""

    previous_response_id: str
    input: msgspec.Raw


@attrs.frozen
class QueuedSteer:
    """What was said to the response *target*, and has its place."""

    id: str
    target: str
    input: msgspec.Raw

    @classmethod
    def of(cls, steer: Steer) -> "QueuedSteer":
        """*steer*, accepted."""
        return cls(f"steer_{new_id()}", steer.previous_response_id, steer.input)


def why_not(steer: Steer) -> str:
    """What is wrong with the input of *steer*; "": nothing."""
    try:
        items = decode_items(steer.input)
    except ApiError as error:
        return error.reply.message
    if not items:
        return "input is empty; send a text or a user's messages"
    return next((f"input[{n}]: {words}" for n, item in enumerate(items) if (words := _wrong(item))), "")


def _wrong(item: WireItem) -> str:
    if item.type not in (None, "message") or item.role != "user":
        return "only messages of the user steer a response"
    try:
        parts = msgspec.json.decode(item.content, type=str | tuple[dict[str, Any], ...])
    except msgspec.ValidationError:
        return "content is neither a text nor parts"
    if not isinstance(parts, str) and any(part.get("type") not in _PARTS for part in parts):
        return f"its parts may be {', '.join(sorted(_PARTS))}"
    return ""


def with_steers(request: CreateRequest, steers: Sequence[QueuedSteer]) -> CreateRequest:
    """*request* with what was said before its own input."""
    said = [item for steer in steers for item in _raw_items(steer.input)]
    own = _raw_items(request.input)
    return msgspec.structs.replace(request, input=msgspec.Raw(msgspec.json.encode([*said, *own])))


def following(request: CreateRequest, ended: str, steers: Sequence[QueuedSteer]) -> CreateRequest:
    """The request that continues the response *ended* with the steers that arrived meanwhile; *request*'s options."""
    nothing = msgspec.structs.replace(request, input=msgspec.Raw(b"[]"), previous_response_id=ended)
    return with_steers(nothing, steers)


def _raw_items(raw: msgspec.Raw) -> list[Any]:
    if not bytes(raw) or bytes(raw) == b"null":
        return []
    items: Any = msgspec.json.decode(raw)
    return items if isinstance(items, list) else [{"type": "message", "role": "user", "content": items}]


# Its events, without their sequence numbers.


def accepted(steer: QueuedSteer) -> dict[str, Any]:
    """It has its place."""
    return {"type": "response.steer.accepted", "steer": _shape(steer)}


def pending(steer: QueuedSteer, required: list[dict[str, Any]]) -> dict[str, Any]:
    """It waits with the response for the client."""
    reason = "waiting_for_required_input"
    return {"type": "response.steer.pending", "steer": _shape(steer), "reason": reason, "required_input": required}


def failed(steer: Steer | QueuedSteer, code: str, message: str) -> dict[str, Any]:
    """It has no place; what was said comes back."""
    target = steer.target if isinstance(steer, QueuedSteer) else steer.previous_response_id
    shape: dict[str, Any] = {"input": steer.input, "previous_response_id": target}
    if isinstance(steer, QueuedSteer):
        shape["id"] = steer.id
    error = {"type": "invalid_request_error", "code": code, "message": message}
    return {"type": "response.steer.failed", "steer": shape, "error": error}


def _shape(steer: QueuedSteer) -> dict[str, Any]:
    return {"id": steer.id, "previous_response_id": steer.target}


def required_input(output: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a response with the items *output* waits for: stubs of the items that answer it."""
    stubs: list[dict[str, Any]] = []
    for item in output:
        match item["type"]:
            case "function_call":
                stubs.append({"type": "function_call_output", "call_id": item["call_id"], "name": item["name"]})
            case "custom_tool_call":
                stubs.append({"type": "custom_tool_call_output", "call_id": item["call_id"]})
            case "mcp_approval_request":
                stubs.append({"type": "mcp_approval_response", "approval_request_id": item["id"]})
    return stubs
