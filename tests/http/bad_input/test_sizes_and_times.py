"""Heads and bodies that are too large or too slow; and what a model says that can't be sent."""

import asyncio
import json

import pytest

from gaia_core import Agent, ScriptedModel, Toolset, tool
from gaia_http import Settings
from gaia_http.mcp._exposed_tools import ExposedTools

CHAT = "/v1/chat/completions"
BOTH = (CHAT, "/api/chat/send")
REQUEST = json.dumps({"model": "a", "messages": [{"role": "user", "content": "Hi"}]}).encode()


def well(request):
    return "still well"


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize(
    "headers",
    [
        (("x-long", "x" * 66_000),),
        tuple((f"x-{n}", "1") for n in range(1_000)),
        tuple((f"x-{n}", "x" * 1_000) for n in range(300)),
    ],
    ids=["64 KB", "1,000", "300 KB"],
)
async def test_heads_that_are_too_large(server, ask, path, headers):
    answer = await ask(server, "POST", path, REQUEST, headers=headers)

    assert answer.status == 431
    assert "too_large" in str(answer.body) or "headers" in str(answer.body)


@pytest.mark.parametrize("path", BOTH)
async def test_a_body_of_more_than_20_mb(server, ask, path):
    data = b'{"model": "a", "x": "' + b"x" * 20_100_000 + b'"}'
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(data[n : n + 2**20]), data[n : n + 2**20]) for n in range(0, len(data), 2**20)
    )
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    )

    told = await ask(server, "POST", path, data)
    chunked = await ask(server, "POST", path, chunks + b"0\r\n\r\n", head=head)

    assert (told.status, chunked.status) == (413, 413)
    assert told.is_refusal
    assert chunked.is_refusal


@pytest.mark.parametrize("path", BOTH)
async def test_a_body_that_trickles(serve, ask, as_it_was, path):
    server = await serve(ScriptedModel(well), settings=Settings(body_seconds=1.0))
    async with as_it_was(server):
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n".encode()

        answer = await ask(server, "POST", path, b"{", head=head)

        assert (answer.status, answer.is_refusal) == (408, True)


async def test_a_body_that_trickles_to_a_route_that_keeps_no_time(serve, ask, as_it_was, monkeypatch):
    monkeypatch.setattr("gaia_http.server._http_protocol._GRACE_SECONDS", 0.1)
    server = await serve(ScriptedModel(well), settings=Settings(body_seconds=0.5), mcp=ExposedTools())
    async with as_it_was(server):
        head = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n"

        answer = await ask(server, "POST", "/mcp", b"{", head=head)

        assert answer.status == 408


async def test_a_head_that_trickles(serve, ask, as_it_was):
    server = await serve(ScriptedModel(well), head_seconds=1.0)
    async with as_it_was(server):
        answer = await ask(server, "POST", CHAT, head=b"POST /v1/chat/completions HTTP/1.1\r\nhost: loc")

        assert answer.status == 408


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, identity\r\n\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding : chunked\r\n\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\nx-a: 1\n\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\nx-a: 1\r\n 2\r\n\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\nx-a: \0\r\n\r\n{}",
        b"CONNECT localhost:22 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"CONNECT [::1]:22 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /v1/\u00e9 HTTP/1.1\r\nhost: localhost\r\n\r\n".encode(),
    ],
)
async def test_what_is_no_http(server, ask, head):
    answer = await ask(server, "POST", CHAT, head=head)

    assert answer.is_refusal, answer


async def test_surrogates_out_of_a_model_are_mended_in_all_answers(serve, ask, as_it_was):
    broken = "a\ud800b"

    def say(request):
        return broken if "break" in str(request.messages[-1].content) else "still well"

    server = await serve(ScriptedModel(say))
    async with as_it_was(server):
        for stream in (False, True):
            body = {"model": "a", "messages": [{"role": "user", "content": "break"}], "stream": stream}
            answer = await ask(server, "POST", CHAT, json.dumps(body).encode())

            assert answer.status == 200
            assert "\ufffd" in str(answer.body)
        session = (await ask(server, "POST", "/api/sessions", b"{}")).body["id"]
        sent = json.dumps({"session_id": session, "message": "break"}).encode()
        answer = await ask(server, "POST", "/api/chat/send", sent)

        assert '"type":"done"' in answer.body
        assert "\ufffd" in answer.body


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "object", "properties": {"x": {"$ref": "http://169.254.169.254/latest"}}},
        {"type": "nonsense"},
    ],
)
async def test_schemas_that_explode_take_no_time(serve, ask, as_it_was, schema):
    hard = json.dumps({"x": "a" * 5_000 + "!"})

    def say(request):
        return hard if request.response_format is not None else "still well"

    server = await serve(ScriptedModel(say))
    async with as_it_was(server), asyncio.timeout(20):
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        body = {"model": "a", "messages": [{"role": "user", "content": "Hi"}], "response_format": form}

        answer = await ask(server, "POST", CHAT, json.dumps(body).encode())

        assert answer.status in (200, 400, 422, 424, 502), answer


async def test_two_writers_on_one_session(serve, ask, as_it_was):
    server = await serve(ScriptedModel(well))
    async with as_it_was(server):
        session = (await ask(server, "POST", "/api/sessions", b"{}")).body["id"]
        sent = json.dumps({"session_id": session, "message": "Hi"}).encode()
        headers = (("content-type", "application/json"), ("x-session-id", "s1"))

        pages = await asyncio.gather(*(ask(server, "POST", "/api/chat/send", sent) for _ in range(10)))
        chats = await asyncio.gather(*(ask(server, "POST", CHAT, REQUEST, headers=headers) for _ in range(10)))

        assert {answer.status for answer in (*pages, *chats)} <= {200, 409}
        assert 200 in {answer.status for answer in pages}
        assert 200 in {answer.status for answer in chats}


async def test_a_client_that_goes_in_the_middle_of_a_tool_and_retries(serve, ask, as_it_was):
    from gaia_core import call

    began: list[asyncio.Event] = [asyncio.Event(), asyncio.Event()]
    count = 0

    @tool(effects="write")
    async def work() -> str:
        """Work."""
        nonlocal count
        count += 1
        began[count - 1].set()
        if count == 1:
            await asyncio.Event().wait()
        return "worked"

    def say(request):
        if "work" not in str(request.messages[0].content):
            return "still well"
        return "done" if request.messages[-1].__class__.__name__ == "ToolMessage" else call("work")

    server = await serve(ScriptedModel(say), agents=(Agent("a", tools=Toolset("t", (work,))),))
    body = json.dumps({"model": "a", "messages": [{"role": "user", "content": "work"}]}).encode()
    async with as_it_was(server):
        first = asyncio.create_task(ask(server, "POST", CHAT, body))
        await began[0].wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

        again = await ask(server, "POST", CHAT, body)

        assert again.status == 200
    assert ("work", "cancelled", 1) in server.runtime.stats().tool_calls
