"""500 clients go at 20 points of a turn: the model's stream is closed within a second, and nothing is left running."""

import asyncio
import json
import random

import pytest

from gaia_core import Agent, ScriptedModel, Toolset, tool
from gaia_core.events import TextDelta
from gaia_core.models import ToolCallDelta
from gaia_http import Settings

POINTS, CLIENTS, AT_ONCE = 20, 500, 25
PATHS = ("/v1/chat/completions", "/v1/responses")


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


async def one(server, turns: Turns, name: str, point: int, *, path: str, stream: bool, reset: bool) -> float:
    """A client that goes when its turn is at *point*; how long until that was noticed there."""
    turns.reached[name], turns.left[name] = asyncio.Event(), asyncio.Event()
    said = f"{name} {point}"
    body = {"model": "a", "stream": stream}
    body |= {"messages": [{"role": "user", "content": said}]} if path == PATHS[0] else {"input": said}
    data = json.dumps(body).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(data)) + data
    )
    await turns.reached[name].wait()
    loop = asyncio.get_running_loop()
    gone_at = loop.time()
    if reset:
        writer.transport.abort()
    else:
        writer.close()
    await turns.left[name].wait()
    return loop.time() - gone_at


@pytest.mark.parametrize("path", PATHS)
async def test_clients_that_go_at_any_point_of_a_turn(serve, path):
    turns, chance = Turns(), random.Random(4)
    agent = Agent("a", tools=Toolset("t", (turns.tool(),)))
    server = await serve(ScriptedModel(turns.answer), agents=(agent,), slots=AT_ONCE)
    before = len(asyncio.all_tasks())
    points = [n % POINTS for n in range(CLIENTS // len(PATHS))]
    chance.shuffle(points)
    delays: list[float] = []

    async with asyncio.timeout(60):
        for start in range(0, len(points), AT_ONCE):
            delays += await asyncio.gather(
                *(
                    one(
                        server,
                        turns,
                        f"{path[-1]}{start + n}",
                        point,
                        path=path,
                        stream=chance.random() < 0.5,
                        reset=chance.random() < 0.5,
                    )
                    for n, point in enumerate(points[start : start + AT_ONCE])
                )
            )
        while server.runtime.stats().running_turns or len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.001)

    stats = server.runtime.stats()
    assert max(delays) < 1
    assert stats.turns == (("cancelled", len(points)),)
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
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(data) + data
    )
    while not server.runtime.stats().models or not server.runtime.stats().models[0].busy:
        await asyncio.sleep(0)

    async with asyncio.timeout(30):
        status, _, answer = await server.post(body("short"))

    assert (status, answer["choices"][0]["message"]["content"]) == (200, "served")
    writer.transport.abort()
