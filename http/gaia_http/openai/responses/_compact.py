"""POST /v1/responses/compact: a conversation in short, as one `compaction` item that a later input gives back.

The agent's model makes the summary, without tools, in rounds that fit its window; nothing is stored.
"""

import time

from litestar.types import Receive

from gaia_core import Agent, Runtime
from gaia_core.session import new_id
from gaia_core.turn import TurnRequest
from gaia_http._errors import ApiError, cancelled
from gaia_http.door._caller import Caller
from gaia_http.openai.responses._create_response import ResponseCreation
from gaia_http.openai.responses.input._compaction_item import packed
from gaia_http.openai.responses.input._wire import CreateRequest
from gaia_http.openai.responses.output._response_object import failure_of, usage_of
from gaia_http.streaming._turn_result import ended


async def compacted(
    runtime: Runtime, creation: ResponseCreation, request: CreateRequest, caller: Caller, receive: Receive
) -> dict[str, object] | None:
    """The object of the summary; None when the client has gone. Raises ApiError."""
    agent, messages = await creation.conversation(request, caller)
    words = "\n\n".join(each for each in (agent.instructions.strip(), request.instructions or "") if each)
    alone = Agent(agent.name, instructions=words, model=agent.model, limits=agent.limits, context=agent.context)
    turn = await runtime.once(alone, TurnRequest(transcript=messages, summarize=True), key=caller.owner)
    if not await ended(turn, receive):
        return None
    result = await turn.result()
    if result.status == "failed" and result.error is not None:
        raise ApiError(failure_of(result.error, tools_ran=False))
    if result.status == "cancelled":
        raise ApiError(cancelled(tools_ran=False))
    item = {"id": f"cmp_{new_id()}", "type": "compaction", "encrypted_content": packed(result.text)}
    return {
        "id": f"resp_{new_id()}",
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [item],
        "usage": usage_of(result.usage),
    }
