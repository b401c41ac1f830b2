"""Responses over a WebSocket: one connection, one response at a time, each event a message."""

import asyncio
import json

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from gaia_core import Agent, Context, Toolset, call, tool
from gaia_http import Settings


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


async def told(socket, input: object = "Hi", **fields: object) -> list[dict]:
    """The events of one `response.create`."""
    await socket.send_str(json.dumps({"type": "response.create", "model": "a", "input": input, **fields}))
    events = []
    while not events or events[-1]["type"] not in ("response.completed", "response.failed", "error"):
        message = await socket.receive()
        assert message.type == WSMsgType.TEXT, message
        events.append(json.loads(message.data))
    return events


def texts(request) -> list[str]:
    return [message.content for message in request.messages]


async def test_a_socket_tells_what_the_stream_tells(serve, stream, normal):
    agent = Agent("a", tools=Toolset("tools", (secret,)))
    server = await serve(call("secret"), "It is 42.", call("secret"), "It is 42.", agents=(agent,))

    async with server.http.ws_connect("/v1/responses") as socket:
        over_socket = await told(socket)

    assert normal(over_socket) == normal(await stream(server))


async def test_what_is_not_stored_goes_on_from_the_newest_response_of_its_connection_only(serve):
    server = await serve("One", "Two", "Three")
    async with server.http.ws_connect("/v1/responses") as socket, server.http.ws_connect("/v1/responses") as other:
        first = (await told(socket, "1", store=False))[-1]["response"]
        (refused,) = await told(other, "2", store=False, previous_response_id=first["id"])
        second = (await told(socket, "2", store=False, previous_response_id=first["id"]))[-1]["response"]
        (old,) = await told(socket, "3", store=False, previous_response_id=first["id"])
        third = (await told(socket, "3", store=False, previous_response_id=second["id"]))[-1]["response"]

    assert (refused["status"], refused["error"]["code"]) == (404, "previous_response_not_found")
    assert old["error"]["code"] == "previous_response_not_found"
    assert texts(server.model.requests[2]) == ["1", "One", "2", "Two", "3"]
    assert third["previous_response_id"] == second["id"]
    assert third["store"] is False


async def test_a_stored_response_goes_on_over_both(serve, ask):
    server = await serve("One", "Two", "Three")
    async with server.http.ws_connect("/v1/responses") as socket:
        first = (await told(socket, "1"))[-1]["response"]
        _, second = await ask(server, "2", previous_response_id=first["id"])
        await told(socket, "3", previous_response_id=second["id"])

    assert texts(server.model.requests[2]) == ["1", "One", "2", "Two", "3"]


async def test_input_may_be_brought_before_it_is_answered(serve, check):
    server = await serve("Done")
    async with server.http.ws_connect("/v1/responses") as socket:
        warm = await told(socket, "1", store=False, generate=False)
        await told(socket, "2", store=False, previous_response_id=warm[-1]["response"]["id"])

    check(warm)
    assert [event["type"] for event in warm] == ["response.created", "response.in_progress", "response.completed"]
    assert warm[-1]["response"]["output"] == []
    assert [texts(request) for request in server.model.requests] == [["1\n\n2"]]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("{bad", None),
        ("[]", None),
        ('{"type": "response.stop"}', "type"),
        ('{"type": "response.steer", "input": "x"}', None),
        ('{"type": "response.create", "model": "a", "input": "x", "stream_id": 5}', "stream_id"),
        ('{"type": "response.create", "model": "nobody", "input": "x"}', "model"),
        ('{"type": "response.create", "model": "a"}', "input"),
        ('{"type": "response.create", "model": "a", "input": "x", "background": true}', "background"),
        ('{"type": "response.create", "model": "a", "input": [{"role": "user", "content": 5}]}', "input[0].content"),
    ],
)
async def test_bad_messages_get_an_error_and_the_connection_stays(serve, message, param):
    server = await serve("ok")
    async with server.http.ws_connect("/v1/responses") as socket:
        await socket.send_str(message)
        error = await socket.receive_json()
        after = await told(socket)

    assert error["type"] == "error"
    assert error["error"]["param"] == param
    assert after[-1]["type"] == "response.completed"


async def test_a_client_that_goes_takes_its_response_with_it(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    async with server.http.ws_connect("/v1/responses") as socket:
        await socket.send_str(json.dumps({"type": "response.create", "model": "a", "input": "Hi"}))
        await model.began.wait()
    await model.closed.wait()

    assert model.connected == 0


async def test_messages_that_come_early_wait_within_a_bound(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    message = json.dumps({"type": "response.create", "model": "a", "input": "Hi"})
    async with server.http.ws_connect("/v1/responses") as socket:
        await socket.send_str(message)
        await model.began.wait()
        for _ in range(20):
            await socket.send_str(message)
        while (last := await socket.receive()).type == WSMsgType.TEXT:
            pass

    assert last.type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
    await model.closed.wait()


async def test_a_page_of_elsewhere_does_not_get_in(serve):
    server = await serve(settings=Settings(allowed_hosts=("localhost", "127.0.0.1")))

    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        with pytest.raises(WSServerHandshakeError) as refused:
            await server.http.ws_connect("/v1/responses", headers=headers)
        assert refused.value.status == 403


async def test_the_sdk_speaks_over_a_socket(serve):
    server = await serve("Hello there")
    async with server.sdk() as client, client.responses.connect() as connection:
        await connection.response.create(model="a", input="Hi")
        events = []
        async with asyncio.timeout(20):
            async for event in connection:
                events.append(event)
                if event.type == "response.completed":
                    break

    assert events[-1].response.output_text == "Hello there"
