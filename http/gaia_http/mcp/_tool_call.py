"""A tools/call as a turn: its progress, the user's answers, its result.

An approval or a question of the turn is an elicitation, where the client can show one; else it is denied, as wherever
nobody is there. By the protocol up to 2025-11-25 it is a request to the client in the middle of the call. Since
2026-07-28 the call is answered by what is wanted (`input_required`) and comes again with it: the turn waits meanwhile,
known by a state that only its owner can use.
"""

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import mcp_types
from mcp.server.context import ServerRequestContext

from gaia_core import AnsweredError, NotFoundError, Turn
from gaia_core.activity import line_of
from gaia_core.events import ApprovalRequested, Event, InputRequested, Nested, ToolEnded, ToolProgress
from gaia_core.visible_text import visible, visible_json

_ANSWER, _APPROVE = "answer", "approve"


class Following:
    """A turn that a client follows, over several requests where it must. *owner*: whose it is."""

    def __init__(self, turn: Turn, owner: str) -> None:
        self.turn = turn
        self.owner = owner
        self.events: AsyncIterator[Event] = turn.events()
        self.asked: ApprovalRequested | InputRequested | None = None
        self.told = 0


class Waiting:
    """The turns that wait for their client to come again. Belongs to one server."""

    def __init__(self) -> None:
        self._by_state: dict[str, Following] = {}

    def park(self, following: Following) -> str:
        """The state by which it is found again; it is forgotten when its turn ends."""
        state = secrets.token_urlsafe(32)
        self._by_state[state] = following
        if following.turn.task is not None:
            following.turn.task.add_done_callback(lambda _task: self._by_state.pop(state, None))
        return state

    def take(self, state: str, owner: str) -> Following | None:
        """The turn of *state*, once, if it is *owner*'s and still runs."""
        found = self._by_state.get(state)
        if found is None or found.owner != owner:
            return None
        return self._by_state.pop(state)


def can_ask(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Whether the client can show its user a question."""
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and capabilities.elicitation is not None


async def follow(
    ctx: ServerRequestContext[Any, Any], following: Following, waiting: Waiting
) -> mcp_types.CallToolResult | mcp_types.InputRequiredResult:
    """The result of the turn; what is wanted first, where the client has to come again. Cancelled: so is the turn."""
    parked = False
    try:
        async for event in following.events:
            inner = event.event if isinstance(event, Nested) else event
            if isinstance(inner, ApprovalRequested | InputRequested):
                following.asked = inner
                if not ctx.session.can_send_request:
                    parked = True
                    return mcp_types.InputRequiredResult(
                        input_requests={_id(inner): _request(inner)}, request_state=waiting.park(following)
                    )
                answer = await ctx.session.send_request(_request(inner), mcp_types.ElicitResult)
                await answered(following, answer)
            elif isinstance(event, ToolEnded):
                return _result(event)
            elif (words := _words(event)) is not None:
                following.told += 1
                await ctx.session.report_progress(following.told, message=words)
        ended = await following.turn.result()
        said = ended.error.message if ended.error is not None else f"the call was {ended.status}"
        return mcp_types.CallToolResult(content=[mcp_types.TextContent(type="text", text=said)], is_error=True)
    finally:
        if not parked:
            with anyio.CancelScope(shield=True):
                await following.turn.cancel()


async def answered(following: Following, answer: mcp_types.ElicitResult) -> None:
    """Give the turn the user's *answer* to what it asked. Too late, and it is the turn's own to say so."""
    asked, content = following.asked, answer.content or {}
    accepted = answer.action == "accept"
    with suppress(AnsweredError, NotFoundError):
        if isinstance(asked, ApprovalRequested):
            approved = accepted and content.get(_APPROVE) is True
            reason = "" if approved else f"the user of the MCP client said no ({answer.action})"
            await following.turn.decide(asked.approval_id, approved, reason)
        elif isinstance(asked, InputRequested):
            await following.turn.answer(asked.request_id, str(content.get(_ANSWER, "")) if accepted else "")
    following.asked = None


def given(following: Following, responses: Any) -> mcp_types.ElicitResult:
    """The answer among a client's *responses*; a missing one counts as denied."""
    asked = following.asked
    found = (responses or {}).get(_id(asked)) if asked is not None else None
    return found if isinstance(found, mcp_types.ElicitResult) else mcp_types.ElicitResult(action="cancel")


def _result(event: ToolEnded) -> mcp_types.CallToolResult:
    images = [
        mcp_types.ImageContent(type="image", data=base64.b64encode(image.data).decode(), mime_type=image.media_type)
        for image in event.images
    ]
    text = mcp_types.TextContent(type="text", text=event.content)
    return mcp_types.CallToolResult(content=[text, *images], is_error=event.outcome != "ok")


def _id(asked: ApprovalRequested | InputRequested) -> str:
    return asked.approval_id if isinstance(asked, ApprovalRequested) else asked.request_id


def _request(asked: ApprovalRequested | InputRequested) -> mcp_types.ElicitRequest:
    if isinstance(asked, ApprovalRequested):
        message = visible(f"{asked.reason}. Approve {asked.tool} with {visible_json(asked.arguments)}?")
        field: dict[str, Any] = {"type": "boolean", "title": "Approve", "description": f"Run {asked.tool}"}
        name = _APPROVE
    else:
        message, name = visible(asked.question), _ANSWER
        field = {"type": "string", "title": "Answer"}
        if asked.options:
            field["enum"] = list(asked.options)
            shown = [visible(option) for option in asked.options]
            if shown != field["enum"]:
                field["enumNames"] = shown
    schema = {"type": "object", "properties": {name: field}, "required": [name]}
    params = mcp_types.ElicitRequestFormParams(message=message, requested_schema=schema)
    return mcp_types.ElicitRequest(params=params)


def _words(event: Event) -> str | None:
    """The progress text for *event*; None: no progress notification."""
    if isinstance(event, ToolProgress):
        return event.text
    if isinstance(event, Nested):
        if isinstance(event.event, ToolProgress):
            return event.event.text
        line = line_of(event.event)
        return line.strip() if line is not None else None
    return None
