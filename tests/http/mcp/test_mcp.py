"""Our agents and tools at /mcp through the official client, of both protocols; with and without keys."""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types
import msgspec
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from gaia_core import Agent, ApprovalPolicy, Context, Toolset, call, scripted, tool
from gaia_core.nesting import MAX_NESTING
from gaia_http.keys import Key, KeyLimits, Keyring
from gaia_http.keys._key import digest_of, new_id, new_secret
from gaia_http.keys._key_file import change
from gaia_http.mcp._exposed_tools import ExposedTools

MODES = ("legacy", "auto")


@tool(effects="read", idempotent=True)
async def shout(ctx: Context[None], text: str) -> str:
    """Say it louder."""
    ctx.progress("breathing in")
    return text.upper()


@tool(effects=())
async def keep(value: Any) -> str:
    """Keep it."""
    return "kept"


@tool(effects="write")
async def delete(name: str) -> str:
    """Delete it."""
    return f"{name} is gone"


@tool(effects=())
async def which(ctx: Context[None]) -> str:
    """Ask which one."""
    return await ctx.ask("Which one?", ("a", "b"))


class Held:
    """A tool that waits, and notes what becomes of it."""

    def __init__(self) -> None:
        self.began, self.cancelled = asyncio.Event(), asyncio.Event()

    def tool(self):
        @tool(effects=())
        async def wait() -> str:
            """Wait."""
            self.began.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return ""

        return wait


TOOLS = Toolset("t", (shout, delete, which))
CODER = Agent("coder", tools=TOOLS, approvals=ApprovalPolicy(effects={"write"}))


@asynccontextmanager
async def client(url: str, mode: str = "auto", key: str = "", **options: object):
    """The official client, connected to /mcp."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode, cache=None, **options) as made,
    ):
        yield made


def text_of(result: mcp_types.CallToolResult) -> str:
    (block,) = result.content
    return block.text


@pytest.mark.parametrize("mode", MODES)
async def test_tools_are_listed_as_a_model_is_told_of_them(serve, mode):
    server = await serve("x", agents=(CODER,), mcp=ExposedTools(agents=(), tools_of=("coder",)))
    async with client(server.url, mode) as found:
        tools = {each.name: each for each in (await found.list_tools()).tools}

    assert set(tools) == {"shout", "delete", "which"}
    assert tools["shout"].input_schema == msgspec.json.decode(shout.parameters.schema)
    assert tools["shout"].description == "Say it louder."
    hints = tools["shout"].annotations
    assert (hints.read_only_hint, hints.idempotent_hint, hints.open_world_hint) == (True, True, False)
    assert tools["delete"].annotations.destructive_hint is True


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_is_made_with_its_progress(serve, mode):
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    server = await serve("x", agents=(CODER,), mcp=ExposedTools(agents=(), tools_of=("coder",)))
    async with client(server.url, mode) as found:
        result = await found.call_tool("shout", {"text": "hello"}, progress_callback=hear)

    assert (text_of(result), result.is_error) == ("HELLO", False)
    assert told == ["breathing in"]


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_is_a_tool_that_takes_a_task(serve, mode):
    helper = Agent("helper", description="It helps.", tools=Toolset("t", (shout,)))
    server = await serve(scripted(call("shout", text="help"), "I helped."), agents=(helper,), mcp=ExposedTools())
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    async with client(server.url, mode) as found:
        (listed,) = (await found.list_tools()).tools
        result = await found.call_tool("helper", {"task": "Help me."}, progress_callback=hear)

    assert (listed.name, listed.description) == ("helper", "It helps.")
    assert text_of(result) == "I helped."
    assert told == ['→ shout(text="help")', "breathing in", "← HELP"]


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_wrong_with_a_call_is_said(serve, mode):
    server = await serve("x", agents=(CODER,), mcp=ExposedTools(agents=(), tools_of=("coder",)))
    async with client(server.url, mode) as found:
        result = await found.call_tool("shout", {"text": 3})
        with pytest.raises(MCPError, match="Unknown tool: shoot"):
            await found.call_tool("shoot", {})

    assert result.is_error
    assert "text: " in text_of(result)


@pytest.mark.parametrize("mode", MODES)
async def test_without_an_approver_a_call_is_denied(serve, mode):
    server = await serve("x", agents=(CODER,), mcp=ExposedTools(agents=(), tools_of=("coder",)))
    async with client(server.url, mode) as found:
        result = await found.call_tool("delete", {"name": "x"})

    assert result.is_error
    assert "delete may write, and nobody is here to give it" in text_of(result)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("answer", "text", "is_error"),
    [
        (mcp_types.ElicitResult(action="accept", content={"approve": True}), "x is gone", False),
        (mcp_types.ElicitResult(action="accept", content={"approve": False}), "Denied: the user of the MCP", True),
        (mcp_types.ElicitResult(action="decline"), "Denied: the user of the MCP client said no (decline)", True),
    ],
)
async def test_the_clients_user_approves_or_not(serve, mode, answer, text, is_error):
    asked: list[str] = []

    async def ask(context, params):
        asked.append(params.message)
        return answer

    server = await serve("x", agents=(CODER,), mcp=ExposedTools(agents=(), tools_of=("coder",)))
    async with client(server.url, mode, elicitation_callback=ask) as found:
        result = await found.call_tool("delete", {"name": "x"})

    assert asked == ['delete may write. Approve delete with {"name":"x"}?']
    assert text_of(result).startswith(text)
    assert result.is_error is is_error


async def test_what_can_not_be_seen_of_a_call_is_written_out(serve):
    asked: list[str] = []

    async def ask(context, params):
        asked.append(params.message)
        return mcp_types.ElicitResult(action="accept", content={"approve": True})

    server = await serve("x", agents=(CODER,), mcp=ExposedTools(agents=(), tools_of=("coder",)))
    async with client(server.url, MODES[0], elicitation_callback=ask) as found:
        result = await found.call_tool("delete", {"name": "x\u200b\u202e"})

    assert asked == ['delete may write. Approve delete with {"name":"x\\u200b\\u202e"}?']
    assert text_of(result) == "x\u200b\u202e is gone"


@pytest.mark.parametrize("mode", MODES)
async def test_a_tools_question_is_the_clients_users(serve, mode):
    async def ask(context, params):
        schema = params.requested_schema
        assert (schema if isinstance(schema, dict) else schema.model_dump(by_alias=True))["properties"]["answer"][
            "enum"
        ] == ["a", "b"]
        return mcp_types.ElicitResult(action="accept", content={"answer": "b"})

    server = await serve("x", agents=(CODER,), mcp=ExposedTools(agents=(), tools_of=("coder",)))
    async with client(server.url, mode, elicitation_callback=ask) as found:
        assert text_of(await found.call_tool("which", {})) == "b"


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_is_cancelled_is_cancelled_here(serve, mode):
    held = Held()
    agent = Agent("a", tools=Toolset("t", (held.tool(), shout)))
    server = await serve("x", agents=(agent,), mcp=ExposedTools(agents=(), tools_of=("a",)))
    async with client(server.url, mode) as found, asyncio.timeout(30):
        running = asyncio.create_task(found.call_tool("wait", {}))
        await held.began.wait()
        running.cancel()
        await held.cancelled.wait()
        while server.runtime.running_turns:
            await asyncio.sleep(0)
        assert text_of(await found.call_tool("shout", {"text": "still"})) == "STILL"


async def test_many_calls_at_once_get_their_own_answers(serve):
    server = await serve("x", agents=(CODER,), mcp=ExposedTools(agents=(), tools_of=("coder",)))
    async with client(server.url) as found:
        results = await asyncio.gather(*(found.call_tool("shout", {"text": f"n{n}"}) for n in range(30)))

    assert [text_of(result) for result in results] == [f"N{n}" for n in range(30)]


async def test_a_reload_shows_at_once(serve):
    server = await serve("x", agents=(CODER,), mcp=ExposedTools())
    async with client(server.url) as found:
        before = [each.name for each in (await found.list_tools()).tools]
        catalog = server.runtime.catalog
        await server.runtime.reload(type(catalog).of(Agent("other"), models={"local": catalog.model("local")}))
        after = [each.name for each in (await found.list_tools()).tools]

    assert (before, after) == (["coder"], ["other"])


# Who may.


@pytest.fixture
def keys(tmp_path):
    """A key file, and what makes a key in it."""
    path = tmp_path / "keys.json"

    def make(name: str, **rights: object) -> str:
        secret = new_secret()

        def add(file):
            key = Key(new_id(), name, digest_of(file.salt, secret.encode()), 0, **rights)
            return msgspec.structs.replace(file, keys=(*file.keys, key))

        change(path, add)
        return secret

    make.ring = lambda: Keyring(path)
    return make


async def test_without_a_key_nobody_enters(serve, keys):
    secret = keys("one")
    server = await serve("x", agents=(CODER,), mcp=ExposedTools(), keyring=keys.ring())
    async with server.http.post("/mcp", json={}) as response:
        assert response.status == 401
        assert "www-authenticate" in response.headers
    with pytest.raises((MCPError, ExceptionGroup)):
        async with client(server.url):
            pass
    async with client(server.url, key=secret) as found:
        assert [each.name for each in (await found.list_tools()).tools] == ["coder"]


async def test_a_key_of_some_agents_gets_these_and_no_bare_toolset(serve, keys):
    some = keys("some", agents=("other",))
    offer = ExposedTools(toolsets=(Toolset("t", (shout,)),))
    server = await serve("x", agents=(CODER, Agent("other")), mcp=offer, keyring=keys.ring())
    async with client(server.url, key=some) as found:
        assert [each.name for each in (await found.list_tools()).tools] == ["other"]
        with pytest.raises(MCPError, match="Unknown tool"):
            await found.call_tool("shout", {"text": "x"})


async def test_calls_count_as_requests_and_listing_does_not(serve, keys):
    limited = keys("ci", limits=KeyLimits(requests_per_minute=1))
    server = await serve("one", agents=(CODER,), mcp=ExposedTools(), keyring=keys.ring())
    async with client(server.url, key=limited) as found:
        for _ in range(3):
            await found.list_tools()
        first = await found.call_tool("coder", {"task": "Hi"})
        with pytest.raises(MCPError, match="1 requests a minute"):
            await found.call_tool("coder", {"task": "Hi"})

    assert not first.is_error


async def test_turns_at_once_are_counted(serve, keys, upstream):
    model = upstream()
    limited = keys("ci", limits=KeyLimits(running_turns=1))
    server = await serve(model=model, agents=(CODER,), mcp=ExposedTools(), keyring=keys.ring())
    async with client(server.url, key=limited) as found:
        first = asyncio.create_task(found.call_tool("coder", {"task": "Hi"}))
        await model.began.wait()
        with pytest.raises(MCPError, match="1 concurrent turns"):
            await found.call_tool("coder", {"task": "Hi"})
        model.go.set()
        assert not (await first).is_error


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
async def test_host_and_origin_are_checked(serve, headers):
    server = await serve("x", agents=(CODER,), mcp=ExposedTools())
    async with server.http.post("/mcp", json={}, headers=headers) as response:
        assert response.status == 403


async def test_a_session_of_another_key_is_not_there(serve, keys):
    one, two = keys("one"), keys("two")
    server = await serve("x", agents=(CODER,), mcp=ExposedTools(), keyring=keys.ring())
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    accept = {"accept": "application/json, text/event-stream"}
    async with server.http.post("/mcp", json=hello, headers={**accept, "authorization": f"Bearer {one}"}) as response:
        session = response.headers["mcp-session-id"]
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    statuses = []
    # Neither spoken to, nor listened to, nor ended: and the one whose it is still has it after that.
    for key, method in ((two, "POST"), (two, "GET"), (two, "DELETE"), (one, "POST"), (one, "DELETE"), (one, "POST")):
        headers = {**accept, "authorization": f"Bearer {key}", "mcp-session-id": session}
        body = listing if method == "POST" else None
        async with server.http.request(method, "/mcp", json=body, headers=headers) as response:
            statuses.append(response.status)

    assert statuses == [404, 404, 404, 200, 200, 404]


async def test_a_state_of_another_key_is_none(serve, keys):
    """What a call waits for, by which its client comes again, opens nothing with another key."""
    one, two = keys("one"), keys("two")
    offer = ExposedTools(agents=(), tools_of=("coder",))
    server = await serve("x", agents=(CODER,), mcp=offer, keyring=keys.ring())

    async def call(key: str, **more: object) -> dict:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
        }
        params = {"name": "delete", "arguments": {"name": "x"}, "_meta": meta, **more}
        headers = {
            "accept": "application/json, text/event-stream",
            "authorization": f"Bearer {key}",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "delete",
        }
        sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        async with server.http.post("/mcp", json=sent, headers=headers) as response:
            text = await response.text()
        data = next((line[5:] for line in text.splitlines() if line.startswith("data:")), text)
        return json.loads(data)

    wanted = (await call(one))["result"]
    (request_id,) = wanted["inputRequests"]
    again = {
        "requestState": wanted["requestState"],
        "inputResponses": {request_id: {"action": "accept", "content": {"approve": True}}},
    }
    theirs = await call(two, **again)
    own = await call(one, **again)

    assert "this call has ended" in theirs["error"]["message"]
    assert own["result"]["content"][0]["text"] == "x is gone"


async def test_without_an_offer_there_is_no_such_route(serve):
    server = await serve("x")
    async with server.http.post("/mcp", json={}) as response:
        assert response.status == 404


def nested(levels: int) -> object:
    value: object = []
    for _ in range(levels - 1):
        value = {"a": value}
    return value


_AROUND = 3
"""Levels of a message around an argument: itself, `params`, `arguments`."""


@pytest.mark.parametrize("mode", MODES)
async def test_a_message_that_is_nested_too_deep_fails_its_call_only(serve, mode):
    offer = ExposedTools(toolsets=(Toolset("t", (keep,)),))
    server = await serve("x", mcp=offer)
    async with client(server.url, mode) as found:
        kept = await found.call_tool("keep", {"value": nested(MAX_NESTING - _AROUND)})
        with pytest.raises(MCPError, match=r"nested deeper than 128 levels, in params\.arguments\.value\.a"):
            await found.call_tool("keep", {"value": nested(MAX_NESTING - _AROUND + 1)})
        again = await found.call_tool("keep", {"value": 1})

    assert [text_of(result) for result in (kept, again)] == ["kept", "kept"]


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 1_000, 100_000])
async def test_the_refusal_is_an_error_of_the_protocol(serve, version, levels):
    server = await serve("x", mcp=ExposedTools())
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    sent = b'{"jsonrpc":"2.0","id":7,"method":"tools/list","params":' + b'{"a":' * levels

    async def in_pieces():
        for begin in range(0, len(sent), 100_000):
            yield sent[begin : begin + 100_000]

    for body in (sent, in_pieces()):
        named = headers | {"mcp-protocol-version": version}
        async with server.http.post("/mcp", data=body, headers=named) as answer:
            assert (answer.status, answer.content_type) == (400, "application/json")
            error = json.loads(await answer.text())

        assert (error["jsonrpc"], error["id"], error["error"]["code"]) == ("2.0", None, mcp_types.INVALID_REQUEST)
        assert error["error"]["message"] == (
            "the message is nested deeper than 128 levels, in params.a.a.a; "
            "make it flatter, or send the inner part as a string"
        )
