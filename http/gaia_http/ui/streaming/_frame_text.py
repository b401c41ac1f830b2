"""Events → what their frames say, for all events that need no more than the turn's calls to be told."""

from collections.abc import Mapping

import msgspec

from gaia_core.activity import detail_of
from gaia_core.events import (
    AgentChanged,
    ApprovalDecided,
    ApprovalRequested,
    ContextCompacted,
    Event,
    InputAnswered,
    InputRequested,
    LimitReached,
    ModelRetried,
    Queued,
    RecordDelayed,
    ToolCalled,
    ToolEnded,
    ToolProgress,
    TurnResumed,
    TurnStarted,
)
from gaia_core.nesting import decode_json
from gaia_core.runtime import shown_images
from gaia_core.visible_text import visible, visible_value
from gaia_http.ui._response_bodies import Json

SUMMARY_CHARS = 2_000
"""Of a tool's result in a frame; the whole one is in the message's steps."""

Calls = Mapping[str, ToolCalled]


def words_of(event: Event, calls: Calls) -> list[Json]:
    """The values of *event*'s frames; none for one that a client needs not know."""
    match event:
        case TurnStarted():
            return [_status("working", f"{event.agent} is at work.")]
        case Queued(position):
            return [{"type": "queued", "position": position}]
        case ModelRetried(kind="not_ready"):
            return [_status("working", f"The model is not ready yet; the server waits for it ({event.reason}).")]
        case ModelRetried(kind="context_length"):
            return [_status("warning", f"{event.reason[:1].upper()}{event.reason[1:]}.")]
        case ModelRetried():
            return [_status("warning", f"The model did not answer ({event.reason}); it is asked again.")]
        case ToolProgress(call_id, text):
            return [_status("working", text) | {"channel": "tool", "call_id": call_id}]
        case ContextCompacted():
            return [{"type": "compacted", "message": f"About {event.tokens_before} tokens became a summary."}]
        case RecordDelayed():
            return [_status("warning", "The server can't record the answer; it waits until it can.")]
        case TurnResumed():
            return [{"type": "resumed", "message": "The server was restarted; the turn continues."}]
        case AgentChanged():
            return [_status("info", f"The session continues with {event.agent}.")]
        case LimitReached():
            return [{"type": "agent_error", "content": event.message, "recoverable": True}]
    return _of_tool(event, calls)


def _of_tool(event: Event, calls: Calls) -> list[Json]:
    match event:
        case ToolCalled(call_id, tool, arguments):
            named = {"tool": tool, "detail": detail_of(event), "call_id": call_id}
            start = {"type": "tool_start"} | named | ({"mcp_server": event.server} if event.server else {})
            return [start, {"type": "tool_args", "args": arguments_of(arguments)} | named]
        case ToolEnded():
            ok = event.outcome == "ok"
            result: Json = {"type": "tool_result", "title": event.tool, "summary": _summary(event.content)}
            result |= {"success": ok, "latency_ms": round(event.seconds * 1_000), "call_id": event.call_id}
            result |= shown_images(event.images)
            return [
                result | ({} if ok else {"outcome": event.outcome}),
                {"type": "tool_end", "success": ok, "call_id": event.call_id},
            ]
        case ApprovalRequested():
            shown = visible_value(arguments_of(event.arguments))  # `tool_args` has them as they are
            asked: Json = {"type": "permission_request", "tool": event.tool, "args": shown}
            asked |= {"confirm_id": event.approval_id, "timeout_seconds": event.timeout_seconds}
            asked |= {"reason": visible(event.reason), "call_id": event.call_id}
            return [asked | ({"always_scope": visible(event.scope)} if event.scope else {})]
        case ApprovalDecided():
            return [_decided(event, calls)]
        case InputRequested():
            options = [{"value": option, "label": visible(option), "description": ""} for option in event.options]
            message = visible(event.question)
            question: Json = {"type": "user_input_request", "request_id": event.request_id, "message": message}
            question |= {"options": options, "allow_free_text": True, "sensitive": False}
            return [question | {"timeout_seconds": event.timeout_seconds, "call_id": event.call_id}]
        case InputAnswered():
            said = "The question was answered." if event.value is not None else "Nobody answered the question."
            return [_status("info", said) | {"request_id": event.request_id, "call_id": event.call_id}]
    return []


def _decided(event: ApprovalDecided, calls: Calls) -> Json:
    """A person's decision by the prompt's id; the policy's own as an alert."""
    called = calls.get(event.call_id)
    tool = called.tool if called is not None else ""
    if not event.approval_id:
        decision = "allow" if event.approved else "deny"
        alert: Json = {"type": "policy_alert", "tool": tool, "decision": decision, "reason": event.reason}
        return alert | {"rule_ids": [], "call_id": event.call_id}
    answered = {"call_id": event.call_id, "confirm_id": event.approval_id}
    if event.approved:
        return _status("info", f"{tool} was approved.") | answered
    message = f"{tool} was not run: {event.reason or 'the user said no'}"
    return {"type": "tool_confirm_denied", "tool": tool, "reason": event.reason, "message": message} | answered


def _status(status: str, message: str) -> Json:
    return {"type": "status", "status": status, "message": message}


def arguments_of(text: str) -> object:
    """The arguments of a call; their text where that is no JSON."""
    try:
        return decode_json(text or "{}")
    except (msgspec.DecodeError, UnicodeError):
        return text


def _summary(content: str) -> str:
    return content if len(content) <= SUMMARY_CHARS else f"{content[:SUMMARY_CHARS]}…"
