"""A turn leaves nothing for the garbage collector, however it ends: what it held is free as soon as it is over.

What keeps itself alive (an error that is kept where its own traceback can see it, a callback that holds its owner) is
memory until the collector finds it, and a server that is told to look seldom finds it late.
"""

import asyncio
import gc
import json
from collections import Counter
from contextlib import contextmanager

import pytest

from gaia_core import Agent, Toolset, tool
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.models import EndpointConfig, Failover

TIMES = 3


@contextmanager
def nothing_left():
    """Nothing of ours is left in cycles by what happens in between."""
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = Counter(name for name in map(_name, gc.garbage) if "gaia_" in name)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert found == Counter()


def _name(each: object) -> str:
    match type(each).__name__:
        case "frame":
            return f"frame of {each.f_code.co_filename.rpartition('site-packages')[2]} {each.f_code.co_qualname}"
        case "function":
            return f"function {each.__module__}.{each.__qualname__}"
    return f"{type(each).__module__}.{type(each).__qualname__}"


@tool(effects="read")
async def look() -> str:
    """Look around."""
    return "nothing special"


class Endpoint:
    """A model's endpoint. The user's last word says how it behaves."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                messages = json.loads(await reader.readexactly(length))["messages"]
                how = [message["content"] for message in messages if message["role"] == "user"][-1]
                await self._answer(writer, "ok" if messages[-1]["role"] == "tool" else how)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, how: str) -> None:
        if how == "fails":
            writer.write(b"HTTP/1.1 500 no\r\ncontent-length: 2\r\n\r\nno")
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if how == "tool":
            call = {"index": 0, "id": "c", "function": {"name": "look", "arguments": "{}"}}
            _say(writer, {"tool_calls": [call]})
            _say(writer, {}, "tool_calls")
        else:
            _say(writer, {"content": "one "})
            if how == "resets":
                writer.transport.abort()
                return
            if how == "hangs":
                self.asked.set()
                await asyncio.Event().wait()
            _say(writer, {"content": "two"})
            _say(writer, {}, "stop")
        writer.write(b"0\r\n\r\n")


def _say(writer: asyncio.StreamWriter, delta: dict, finish: str | None = None) -> None:
    data = json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    event = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(event), event))


@pytest.fixture
async def endpoint():
    endpoint, tasks = Endpoint(), set()

    def accept(reader, writer):
        tasks.add(task := asyncio.ensure_future(endpoint.serve(reader, writer)))
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield endpoint
    server.close()
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def server(serve, endpoint, tmp_path):
    model = Failover([EndpointConfig(url=endpoint.url, model="m", retries=0)])
    agent = Agent("a", tools=Toolset("t", (look,)))
    return await serve(model=model, agents=(agent,), journal=SQLiteJournal(tmp_path / "journal.sqlite"))


WAYS = ("ok", "tool", "fails", "resets")
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


def asking(path: str, how: str, stream: bool) -> dict:
    body = {"model": "a", "stream": stream}
    return body | ({"messages": [{"role": "user", "content": how}]} if path == CHAT else {"input": how})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_a_turn_of_an_openai_client(server, path, how, stream):
    async def ask() -> None:
        async with server.http.post(path, json=asking(path, how, stream)) as response:
            await response.read()

    await ask()  # what is made at the first time stays
    with nothing_left():
        for _ in range(TIMES):
            await ask()
        await idle(server)


@pytest.mark.parametrize("how", WAYS)
async def test_a_turn_of_the_page(server, how):
    async def ask() -> None:
        async with server.http.post("/api/sessions", json={}) as response:
            session = (await response.json())["id"]
        async with server.http.post("/api/chat/send", json={"session_id": session, "message": how}) as response:
            await response.read()

    await ask()
    with nothing_left():
        for _ in range(TIMES):
            await ask()
        await idle(server)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_a_turn_whose_client_goes(server, endpoint, path, stream):
    async def ask() -> None:
        data = json.dumps(asking(path, "hangs", stream)).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(data))
        endpoint.asked.clear()
        writer.write(head + data)
        await endpoint.asked.wait()
        writer.transport.abort()

    await ask()
    await idle(server)
    with nothing_left():
        for _ in range(TIMES):
            await ask()
        await idle(server)


async def idle(server) -> None:
    """Until no turn runs, and the tasks of the last one are over."""
    while server.runtime.stats().running_turns:
        await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0.001)
