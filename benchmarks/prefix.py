"""The prefix: how much of a model request's bytes the next one begins with, over 20 requests, for each API.

A model server keeps what it computed for a prompt's beginning; what is sent differently is computed again. Counted, not
timed, so the figures are the same on each machine. Of each request the bytes of its tools and messages are taken; one
of four turns makes four calls, every second one beside another.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from benchmarks.size import FULL, Size
from benchmarks.table import Row, show
from gaia_core import Agent, Catalog, Runtime, ScriptedModel, Toolset, tool
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall, UserMessage
from gaia_core.models import ModelRequest
from gaia_http import Settings, create_app

CALLS = 4
TURNS = 4
_SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
_FUNCTION = {"name": "look", "description": "Look.", "parameters": _SCHEMA}
_CHAT_TOOLS = [{"type": "function", "function": _FUNCTION}]
_TOOLS = [{"type": "function", "strict": False, **_FUNCTION}]


@tool(effects="read")
async def read(path: str) -> str:
    """Read a file."""
    return f"what stands in {path}, " * 20


OWN = Agent("own", instructions="Be exact.", tools=Toolset("files", (read,)))
PLAIN = Agent("plain", instructions="Be exact.")


class CallingModel:
    """Calls *name* four times a turn, then answers; counts the requests' bytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0
        self.scripted = ScriptedModel(self._answer)

    def _answer(self, request: ModelRequest) -> AssistantMessage:
        steps = 0
        for message in reversed(request.messages):
            if isinstance(message, UserMessage):
                break
            steps += isinstance(message, AssistantMessage)
        if steps >= CALLS:
            return AssistantMessage("That is all.")
        calls = []
        for _ in range(1 + steps % 2):
            self._number += 1
            arguments = json.dumps({"path": f"{self._number}.txt"})
            calls.append(ToolCall(f"call_{self._number}", FunctionCall(self._name, arguments)))
        return AssistantMessage("I look." if steps % 2 else None, tuple(calls))

    def shares(self) -> list[float]:
        """For each request but the first: which share of the one before it begins with."""
        sent = [_bytes_of(request) for request in self.scripted.requests]
        return [_common(last, now) / len(last) for last, now in itertools.pairwise(sent)]


def _bytes_of(request: ModelRequest) -> bytes:
    return b",".join([*(definition.encoded for definition in request.tools), *request.encoded])


def _common(one: bytes, other: bytes) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@asynccontextmanager
async def _served(model: CallingModel, agent: Agent) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    catalog = Catalog.of(agent, models={"local": model.scripted})
    app = create_app(Settings(), Runtime(catalog))
    async with app.lifespan():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as client:
            yield client, app


async def _json(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    reply = await client.post(path, json=body)
    if reply.is_error:
        raise RuntimeError(reply.text)
    return reply.json()


async def library() -> CallingModel:
    """The agent's own loop, through `Runtime`."""
    model = CallingModel("read")
    async with Runtime(Catalog.of(OWN, models={"local": model.scripted})) as runtime:
        session = await runtime.open("own")
        for turn in range(TURNS):
            await (await runtime.start(session, f"question {turn}")).result()
    return model


async def ui() -> CallingModel:
    """The UI API: a session's turns, with the agent's own tools."""
    model = CallingModel("read")
    async with _served(model, OWN) as (client, _):
        session = (await _json(client, "/api/sessions", {"title": "t"}))["id"]
        for turn in range(TURNS):
            body = {"session_id": session, "message": f"question {turn}", "stream": False}
            await _json(client, "/api/chat/send", body)
    return model


async def chat() -> CallingModel:
    """Chat completions: the client runs the tools and sends the whole conversation."""
    model = CallingModel("look")
    async with _served(model, PLAIN) as (client, _):
        messages: list[dict[str, Any]] = [{"role": "system", "content": "You are in a shell."}]
        for turn in range(TURNS):
            messages.append({"role": "user", "content": f"question {turn}"})
            while True:
                body = {"model": "plain", "messages": messages, "tools": _CHAT_TOOLS}
                said = (await _json(client, "/v1/chat/completions", body))["choices"][0]["message"]
                messages.append(said)
                if not said.get("tool_calls"):
                    break
                messages += [
                    {"role": "tool", "tool_call_id": call["id"], "content": f"result of {call['id']}"}
                    for call in said["tool_calls"]
                ]
    return model


Create = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def _responses(create: Create, *, resend: bool) -> None:
    """Turns of a client that runs the tools. *resend*: it sends the whole conversation, as Codex does."""
    items: list[dict[str, Any]] = []
    previous: dict[str, Any] = {}
    for turn in range(TURNS):
        new = [{"type": "message", "role": "developer", "content": f"It is day {turn}."}] if resend else []
        new += [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"question {turn}"}]}]
        while new:
            items += new
            body = {"model": "plain", "tools": _TOOLS, "input": items if resend else new}
            response = await create(body if resend else body | previous)
            previous = {"previous_response_id": response["id"]}
            output = response["output"]
            items += [{key: value for key, value in item.items() if key not in ("id", "status")} for item in output]
            new = [
                {"type": "function_call_output", "call_id": item["call_id"], "output": f"result of {item['call_id']}"}
                for item in output
                if item["type"] == "function_call"
            ]


async def responses_stored() -> CallingModel:
    """Responses: each request goes on from the last response."""
    model = CallingModel("look")
    async with _served(model, PLAIN) as (client, _):
        await _responses(lambda body: _json(client, "/v1/responses", body), resend=False)
    return model


async def responses_not_stored() -> CallingModel:
    """Responses with `store: false`, as Codex sends them: all items each time, without ids."""
    model = CallingModel("look")
    async with _served(model, PLAIN) as (client, _):
        await _responses(lambda body: _json(client, "/v1/responses", body | {"store": False}), resend=True)
    return model


async def responses_socket() -> CallingModel:
    """Responses over a WebSocket with `store: false`: what the connection remembers."""
    model = CallingModel("look")
    async with _served(model, PLAIN) as (_, app):
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        inbox.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/v1/responses",
            "raw_path": b"/v1/responses",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "subprotocols": [],
            "state": {},
            "extensions": {},
        }
        socket = asyncio.create_task(app(scope, inbox.get, outbox.put))

        async def create(body: dict[str, Any]) -> dict[str, Any]:
            event = {"type": "response.create", "store": False, **body}
            inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(event)})
            while True:
                message = await outbox.get()
                if message["type"] == "websocket.accept":
                    continue
                told = json.loads(message.get("text") or message.get("bytes") or b"{}")
                if told.get("type") == "response.completed":
                    response: dict[str, Any] = told["response"]
                    return response
                if told.get("type") in ("error", "response.failed"):
                    raise RuntimeError(json.dumps(told))

        try:
            await _responses(create, resend=False)
        finally:
            inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
            await socket
    return model


APIS: tuple[tuple[str, Callable[[], Awaitable[CallingModel]]], ...] = (
    ("the agent's own loop", library),
    ("UI API", ui),
    ("chat completions, client's tools", chat),
    ("Responses, stored", responses_stored),
    ("Responses, store: false (Codex)", responses_not_stored),
    ("Responses, WebSocket, store: false", responses_socket),
)


def main(_size: Size = FULL) -> None:
    """Print the table: the mean over the requests."""
    rows = []
    for name, ask in APIS:
        shares = asyncio.run(ask()).shares()
        rows.append(Row(f"{name}: {len(shares) + 1} requests", 100 * sum(shares) / len(shares), "%", None, 100, True))
    show("The share of a model request's bytes that the next one begins with", rows)
