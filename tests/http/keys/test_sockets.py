"""Keys on a WebSocket: its messages count like requests, and a key that is revoked ends it."""

import asyncio
import json
import logging

from aiohttp import WSMsgType

from gaia_core import LimitError
from gaia_core.events import TextDelta
from gaia_http import Settings
from gaia_http.door._middleware import DoorMiddleware
from gaia_http.keys import KeyLimits
from gaia_http.operations._metrics import HttpCounts

PATH = "/v1/responses"
CREATE = json.dumps({"type": "response.create", "model": "a", "input": "Hi"})


async def told(socket) -> dict:
    """The last event of one response."""
    await socket.send_str(CREATE)
    while True:
        event = json.loads(await socket.receive_str(timeout=20))
        if event["type"] in ("response.completed", "response.failed", "error"):
            return event


async def closed(socket) -> tuple[int | None, str]:
    """The code and the reason with which the server closes it, whatever it says before."""
    while (message := await socket.receive(timeout=20)).type == WSMsgType.TEXT:
        pass
    return socket.close_code, message.extra or ""


async def test_its_messages_count_as_requests(serve, room, bearer, body):
    limited, free = bearer(room.make("ci", limits=KeyLimits(requests_per_minute=2))), bearer(room.make("free"))
    server = await serve(*["ok"] * 3, keyring=room.ring())
    async with server.http.ws_connect(PATH, headers=limited) as socket:
        events = [await told(socket) for _ in range(2)]

    status, headers, answer = await server.post(body(), headers=limited)

    assert [event["type"] for event in events] == ["response.completed"] * 2
    assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
    assert headers["retry-after"]
    assert (await server.post(body(), headers=free))[0] == 200


async def test_tokens_that_are_used_up_refuse_a_message_and_the_connection_stays(serve, room, bearer):
    limited, free = bearer(room.make("ci", limits=KeyLimits(tokens_per_minute=2))), bearer(room.make("free"))
    server = await serve("one two three four", "ok", keyring=room.ring())
    async with server.http.ws_connect(PATH, headers=limited) as socket:
        first, *others = [await told(socket) for _ in range(3)]
    async with server.http.ws_connect(PATH, headers=free) as socket:
        after = await told(socket)

    assert (first["type"], after["type"]) == ("response.completed", "response.completed")
    for refused in others:
        assert (refused["type"], refused["status"]) == ("error", 429)
        assert refused["error"]["code"] == "rate_limit_exceeded"
        assert "tokens a minute" in refused["error"]["message"]
        assert int(refused["error"]["headers"]["retry-after"]) > 0


async def test_a_turn_over_http_counts_for_a_socket_of_the_same_key(serve, room, bearer, body, upstream):
    model = upstream()
    headers = bearer(room.make("ci", limits=KeyLimits(running_turns=1)))
    server = await serve(model=model, keyring=room.ring())
    async with server.http.post("/v1/chat/completions", json=body(stream=True), headers=headers) as stream:
        await model.began.wait()
        async with server.http.ws_connect(PATH, headers=headers) as socket:
            refused = await told(socket)
            model.go.set()
            await stream.read()
            while server.runtime.running_turns:
                await asyncio.sleep(0.001)
            after = await told(socket)

    assert (refused["type"], refused["status"]) == ("error", 429)
    assert "1 concurrent turns" in refused["error"]["message"]
    assert after["type"] == "response.completed"


async def test_the_next_message_of_a_revoked_key_closes_it(serve, room, bearer):
    mine, other = room.make("mine"), room.make("other")
    server = await serve("one", "two", keyring=room.ring())
    async with (
        server.http.ws_connect(PATH, headers=bearer(mine)) as socket,
        server.http.ws_connect(PATH, headers=bearer(other)) as others,
    ):
        assert (await told(socket))["type"] == "response.completed"
        room.revoke("mine")
        await socket.send_str(CREATE)

        assert await closed(socket) == (1008, "the key was revoked")
        assert (await told(others))["type"] == "response.completed"
    assert len(server.model.requests) == 2


async def test_what_runs_for_a_revoked_key_ends_with_its_next_word(serve, room, bearer, caplog):
    model = Words()
    server = await serve(model=model, keyring=room.ring(), settings=Settings())
    async with server.http.ws_connect(PATH, headers=bearer(room.make("mine"))) as socket:
        await socket.send_str(CREATE)
        while json.loads(await socket.receive_str(timeout=20))["type"] != "response.output_text.delta":
            pass
        room.revoke("mine")

        assert await closed(socket) == (1008, "the key was revoked")
    while server.runtime.running_turns or model.open:
        await asyncio.sleep(0.001)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_client_that_goes_while_its_message_waits_is_seen(serve, room, bearer, upstream):
    model = upstream()
    server = await serve(model=model, keyring=room.ring())
    limited = bearer(room.make("ci", limits=KeyLimits(requests_per_minute=1)))
    async with server.http.ws_connect(PATH, headers=limited) as socket:
        await socket.send_str(CREATE)
        await model.began.wait()
        await socket.send_str(CREATE)  # for a minute
    async with asyncio.timeout(20):
        await model.closed.wait()
        while server.runtime.running_turns:
            await asyncio.sleep(0.001)


async def test_messages_that_wait_for_their_key_are_bounded(serve, room, bearer):
    server = await serve("ok", keyring=room.ring())
    limited = bearer(room.make("ci", limits=KeyLimits(requests_per_minute=1)))
    async with server.http.ws_connect(PATH, headers=limited) as socket:
        assert (await told(socket))["type"] == "response.completed"
        for _ in range(20):
            await socket.send_str(CREATE)

        code, reason = await closed(socket)

    assert (code, reason.partition(":")[0]) == (1008, "too many messages at once")
    assert len(server.model.requests) == 1


class Words:
    """A model that never stops talking."""

    def __init__(self) -> None:
        self.open = 0

    async def stream(self, request):
        self.open += 1
        try:
            while True:
                yield (TextDelta("word "),)
                await asyncio.sleep(0.001)
        finally:
            self.open -= 1


class Waits:
    """Allowances under which a message must wait once, while its key is revoked."""

    def __init__(self, room) -> None:
        self._room = room
        self.keyring = room.ring()
        self.asked = 0

    def request(self, key, *, tokens: bool = True) -> None:
        self.asked += 1
        if self.asked == 1:
            self._room.revoke(key.name)
            raise LimitError("not now", 0.0)


async def test_a_message_that_waited_until_its_key_was_revoked_is_not_taken(room, bearer):
    secret = room.make("mine")
    allowances, taken, sent = Waits(room), [], []

    async def app(scope, receive, send):
        taken.append(await receive())

    async def receive():
        return {"type": "websocket.receive", "text": CREATE}

    async def send(message):
        sent.append(message)

    door = DoorMiddleware(app, Settings(), HttpCounts(), allowances)
    headers = [(b"authorization", f"Bearer {secret}".encode())]
    await door({"type": "websocket", "path": PATH, "headers": headers, "state": {}}, receive, send)

    assert [message["type"] for message in taken] == ["websocket.disconnect"]
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
