"""Over 500 clients go at 20 points of a turn, plain, streamed and over a WebSocket: the model is closed within a
second, and nothing is left running.
"""

import asyncio
import json
import random

import pytest
from websockets.asyncio.client import connect

from gaia_core import Agent, ScriptedModel, Toolset, tool
from gaia_core.events import TextDelta
from gaia_core.models import ToolCallDelta
from gaia_http import Settings

POINTS, AT_ONCE = 20, 25
CLIENTS = 9 * POINTS
"""Of each way."""
CHAT, RESPONSES = PATHS = ("/v1/chat/completions", "/v1/responses")


class Turns:
    """A model and a tool that stop at the point of a turn that its client chose, and know when they were stopped.

    A turn: ten points of an answer that ends with a call, two of the tool, eight of the answer that follows.
    """

    def __init__(self) -> None:
        self.reached: dict[str, asyncio.Event] = {}
        self.left: dict[str, asyncio.Event] = {}
        self.running = 0

    async def answer(self, request):
        said = [str(message.content) for message in request.messages if type(message).__name__ == "UserMessage"]
        name, hold = said[-1].split()
        second = type(request.messages[-1]).__name__ == "ToolMessage"
        self.running += 1
        try:
            for point in range(12, POINTS) if second else range(10):
                await self.point(name, int(hold), point)
                yield TextDelta("word ")
            if not second:
                yield ToolCallDelta(0, "c1", "work", json.dumps({"name": name, "hold": int(hold)}))
        finally:
            self.running -= 1

    async def point(self, name: str, hold: int, point: int) -> None:
        await asyncio.sleep(0)
        if point != hold:
            return
        self.reached[name].set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left[name].set()

    def tool(self):
        @tool(effects="read")
        async def work(name: str, hold: int) -> str:
            """Work."""
            await self.point(name, hold, 10)
            await self.point(name, hold, 11)
            return "done"

        return work


async def over_http(server, turns: Turns, name: str, point: int, chance: random.Random, path: str) -> float:
    """A client that goes when its turn is at *point*; how long until that was noticed there."""
    said = f"{name} {point}"
    body = {"model": "a", "stream": chance.random() < 0.5}
    body |= {"messages": [{"role": "user", "content": said}]} if path == CHAT else {"input": said}
    data = json.dumps(body).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(data)) + data
    )
    await turns.reached[name].wait()
    gone_at = now()
    if chance.random() < 0.5:
        writer.transport.abort()
    else:
        writer.close()
    await turns.left[name].wait()
    return now() - gone_at


async def over_a_websocket(server, turns: Turns, name: str, point: int, chance: random.Random) -> float:
    """The same: with a close frame, or with none."""
    socket = await connect(f"ws://127.0.0.1:{server.port}{RESPONSES}", proxy=None, max_queue=None)
    store = chance.random() < 0.5
    await socket.send(json.dumps({"type": "response.create", "model": "a", "input": f"{name} {point}", "store": store}))
    await turns.reached[name].wait()
    gone_at = now()
    if chance.random() < 0.5:
        socket.transport.abort()
        await socket.wait_closed()
    else:
        await socket.close()
    await turns.left[name].wait()
    return now() - gone_at


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("way", [*PATHS, "websocket"])
async def test_clients_that_go_at_any_point_of_a_turn(serve, way):
    turns, chance = Turns(), random.Random(4)
    agent = Agent("a", tools=Toolset("t", (turns.tool(),)))
    server = await serve(ScriptedModel(turns.answer), agents=(agent,), slots=AT_ONCE)
    before = len(asyncio.all_tasks())
    points = [n % POINTS for n in range(CLIENTS)]
    chance.shuffle(points)

    async def client(name: str, point: int) -> float:
        turns.reached[name], turns.left[name] = asyncio.Event(), asyncio.Event()
        if way == "websocket":
            return await over_a_websocket(server, turns, name, point, chance)
        return await over_http(server, turns, name, point, chance, way)

    delays: list[float] = []
    async with asyncio.timeout(120):
        for start in range(0, CLIENTS, AT_ONCE):
            some = enumerate(points[start : start + AT_ONCE], start)
            delays += await asyncio.gather(*(client(f"c{n}", point) for n, point in some))
        while server.runtime.stats().running_turns or len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.001)

    stats = server.runtime.stats()
    assert max(delays) < 10
    assert stats.turns == (("cancelled", CLIENTS),)
    assert [(load.busy, load.queued) for load in stats.models] == [(0, 0)]
    assert turns.running == 0


async def test_a_reader_that_stalls_holds_no_slot(serve, body):
    async def endless(request):
        if "short" in str(request.messages[-1].content):
            yield TextDelta("served")
            return
        while True:
            yield TextDelta("x" * 100_000)
            await asyncio.sleep(0)

    server = await serve(ScriptedModel(endless), slots=1, settings=Settings(write_seconds=0.1))
    data = json.dumps(body(stream=True)).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (CHAT.encode(), len(data)) + data
    )
    while not server.runtime.stats().models or not server.runtime.stats().models[0].busy:
        await asyncio.sleep(0)

    async with asyncio.timeout(30):
        status, _, answer = await server.post(body("short"))

    assert (status, answer["choices"][0]["message"]["content"]) == (200, "served")
    writer.transport.abort()
