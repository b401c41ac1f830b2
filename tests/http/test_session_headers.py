"""Which session a chat completion belongs to: by headers, within its caller's own, for resources and grants only."""

import asyncio

import pytest

from gaia_core import Agent, Context, Toolset, call, tool
from gaia_core.events import ApprovalRequested, TextDelta
from gaia_core.turn import Audience, TurnRequest
from gaia_http.request._session_headers import session_of

LONG = "c" * 200


def headers(**named: str) -> dict:
    return {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]}


@pytest.mark.parametrize(
    ("given", "cache_key", "session", "when_busy"),
    [
        (headers(x_session_id="mine"), None, "mine", "reject"),
        (headers(x_openwebui_chat_id="chat-1"), None, "chat-1", "queue"),
        (headers(session_id="codex-1"), None, "codex-1", "queue"),
        ({"headers": [(b"session_id", b"codex-1")]}, None, "codex-1", "queue"),
        (headers(originator="codex_cli_rs"), "cache-1", "cache-1", "queue"),
        (headers(user_agent="codex_exec/1.0"), "cache-1", "cache-1", "queue"),
        (headers(x_openwebui_chat_id="chat", x_session_id="mine", session_id="codex"), "cache", "mine", "reject"),
        (headers(session_id="codex", x_openwebui_chat_id="chat"), "cache", "chat", "queue"),
    ],
)
def test_the_first_that_is_present(given, cache_key, session, when_busy):
    named = session_of(given, cache_key)

    assert named is not None
    assert (named.id, named.when_busy) == (session, when_busy)


@pytest.mark.parametrize(
    ("given", "cache_key"),
    [(headers(), None), (headers(user_agent="OpenAI/Python"), "cache"), (headers(user="x"), None)],
)
def test_what_names_none(given, cache_key):
    assert session_of(given, cache_key) is None


@pytest.mark.parametrize("name", [LONG, "a b", "ü"])
def test_a_foreign_name_that_is_no_id_is_hashed(name):
    given = {"headers": [(b"x-openwebui-chat-id", name.encode())]}

    first, second = session_of(given), session_of(given)

    assert first == second
    assert first is not None
    assert first.id.startswith("h:")


@pytest.mark.parametrize("value", ["", "{{CHAT_ID}}", "None", "null"])
def test_a_placeholder_that_open_webui_did_not_fill_in_names_nothing(value):
    assert session_of({"headers": [(b"x-openwebui-chat-id", value.encode())]}) is None


@pytest.mark.parametrize(
    ("value", "offered"), [("", 1), ("{{TASK}}", 1), ("None", 1), ("title_generation", 0), ("tags_generation", 0)]
)
async def test_an_ordinary_message_is_no_task_although_it_has_the_header(serve, body, value, offered):
    """Its connection's headers are the same for all requests; on a message `{{TASK}}` is filled with nothing."""
    server = await serve("ok", agents=(Agent("a", tools=Toolset("t", (where,))),))

    await server.post(body(), headers={"X-OpenWebUI-Task": value})

    assert len(server.model.requests[0].tools) == offered


@tool(effects="read")
async def where(ctx: Context[None]) -> str:
    """Tell where."""
    return ctx.session_id


@pytest.mark.parametrize("name", ["X-Session-Id", "X-OpenWebUI-Chat-Id", "session-id"])
async def test_tools_run_in_that_session(serve, body, name):
    server = await serve(call("where"), "ok", agents=(Agent("a", tools=Toolset("t", (where,))),))

    _, given, answer = await server.post(body(), headers={name: "mine"})

    assert given["x-session-id"] == "mine"
    assert answer["x_gaia"]["tool_calls"][0]["outcome"] == "ok"
    assert server.model.requests[1].messages[-1].content == "mine"


@pytest.mark.parametrize(("name", "status"), [("X-Session-Id", 409), ("X-OpenWebUI-Chat-Id", 200)])
async def test_a_busy_session_refuses_or_lets_wait(serve, body, upstream, name, status):
    model = upstream(TextDelta("partial"))
    server = await serve(model=model)
    first = asyncio.create_task(server.post(body(), headers={name: "mine"}))
    await model.began.wait()

    second = asyncio.create_task(server.post(body(), headers={name: "mine"}))
    if status == 409:
        assert (await second)[2]["error"]["code"] == "session_busy"
    model.go.set()

    assert (await first)[0] == 200
    assert (await second)[0] == status


async def test_what_was_granted_for_the_session_is_granted_here(serve, body):
    ran: list[int] = []

    @tool(effects="read", approval=True)
    async def act() -> str:
        """Act."""
        ran.append(1)
        return "done"

    agent = Agent("a", tools=Toolset("t", (act,)))
    server = await serve(call("act"), "one", call("act"), "two", call("act"), "three", agents=(agent,))
    session = await server.runtime.open(agent, id="mine")
    turn = await server.runtime.start(session, TurnRequest("Act", audience=Audience.INTERACTIVE))
    async for event in turn.events():
        if isinstance(event, ApprovalRequested):
            await turn.decide(event.approval_id, True, scope="session")

    granted = await server.post(body(), headers={"X-Session-Id": "mine"})
    other = await server.post(body(), headers={"X-Session-Id": "other"})

    assert granted[2]["x_gaia"]["tool_calls"][0]["outcome"] == "ok"
    assert other[2]["x_gaia"]["tool_calls"][0]["outcome"] == "denied"
    assert ran == [1, 1]
