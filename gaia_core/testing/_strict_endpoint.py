"""A model server that refuses what strict chat templates refuse, for tests of what an agent sends.

    async with StrictEndpoint("Hello", window=8_000) as server:
        model = Endpoint(EndpointConfig(url=server.url, model="m"))
        ...
    assert not server.refused

It answers as `QuirkyEndpoint("plain")` does, or by a function of the request's body. A request that a strict template
would refuse gets status 500 in llama.cpp's words, one that is larger than *window* status 400.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from aiohttp import web

from gaia_core.messages import is_json_object
from gaia_core.testing._loopback_server import LoopbackEndpoint
from gaia_core.testing._quirky_endpoint import Scripted, message_of, plain_pieces

Answering: TypeAlias = Callable[[dict[str, Any]], Scripted]
Ending: TypeAlias = Literal["whole", "silent", "broken"]

_CHARS_PER_TOKEN = 4


class StrictEndpoint(LoopbackEndpoint):
    """See the module's text. *answer*: a text, a call, several calls, a message, or a function of the decoded body.

    *window* is in tokens of four bytes of messages and tools; None: without a limit. *ending* says of a request's body
    how its answer ends: whole; silent, when half of it was sent, until the client disconnects; or broken off there.
    """

    def __init__(
        self,
        answer: Scripted | Answering = "Hello",
        *,
        window: int | None = None,
        ending: Callable[[dict[str, Any]], Ending] = lambda _body: "whole",
    ) -> None:
        super().__init__()
        self._answer: Answering = answer if callable(answer) else lambda _body: answer
        self._window = window
        self._ending = ending
        self.refused: list[str] = []
        """Why requests were refused, apart from their size."""

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        if words := template_refusal(body.get("messages") or ()):
            self.refused.append(words)
            return web.json_response({"error": {"code": 500, "message": words, "type": "server_error"}}, status=500)
        tokens = len(json.dumps((body["messages"], body.get("tools")))) // _CHARS_PER_TOKEN
        if self._window is not None and tokens > self._window:
            words = f"the request exceeds the available context size ({tokens} tokens, {self._window} available)"
            error = {"code": 400, "message": words, "type": "exceed_context_size_error"}
            error |= {"n_prompt_tokens": tokens, "n_ctx": self._window}
            return web.json_response({"error": error}, status=400)
        pieces = plain_pieces(message_of(self._answer(body)))
        ending = self._ending(body)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces if ending == "whole" else pieces[: len(pieces) // 2]:
            await response.write(piece)
        if ending == "silent":
            await asyncio.Event().wait()  # cancelled when the client disconnects
        await response.write_eof()
        return response


def template_refusal(messages: Sequence[dict[str, Any]]) -> str | None:
    """Why a strict chat template refuses *messages*; None: it takes them.

    As the templates of Gemma and Mistral do: a system message is the first, then user and assistant alternate; calls
    have arguments that are JSON objects, and one result each, right behind them; an assistant says something.
    """
    turns = list(messages)
    if turns and turns[0]["role"] == "system":
        turns.pop(0)
    if not turns:
        return "No user query found in messages."
    expected, pending = "user", set[str]()
    for message in turns:
        role = message["role"]
        if role == "tool":
            if message.get("tool_call_id") not in pending:
                return "a tool message must follow the call that it answers"
            pending.remove(message["tool_call_id"])
            continue
        if pending:
            return "not the same number of function calls and responses"
        if role not in ("user", "assistant"):
            return f"the role {role!r} is not supported here"
        if role != expected:
            return "Conversation roles must alternate user/assistant/user/assistant/..."
        expected = "assistant"
        if role == "assistant":
            if why := _call_refusal(message):
                return why
            pending = {call["id"] for call in message.get("tool_calls") or ()}
            expected = "assistant" if pending else "user"
    return "not the same number of function calls and responses" if pending else None


def _call_refusal(message: dict[str, Any]) -> str | None:
    calls = message.get("tool_calls") or ()
    if not calls and not message.get("content"):
        return "an assistant message must have either content or tool_calls"
    for call in calls:
        if not is_json_object(call["function"]["arguments"]):
            return "Failed to parse tool call arguments as JSON"
    return None
