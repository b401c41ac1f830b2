"""Slow readers: one that stalls is dropped, one that lags is sent on from the record; the turn minds neither."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

from gaia_core import ScriptedModel
from gaia_core.events import TextDelta
from gaia_http import Settings

WORDS, TIMES = "word " * 60, 20_000  # more than the sockets' buffers and the ring hold


class Talker:
    """A model that says a lot, and ends when it may."""

    def __init__(self) -> None:
        self.said = asyncio.Event()
        self.go = asyncio.Event()

    def __call__(self, request):
        return self.talk()

    async def talk(self):
        for n in range(TIMES):
            yield TextDelta(f"{n} {WORDS}")
            if n % 20 == 0:
                await asyncio.sleep(0)
        self.said.set()
        await self.go.wait()


@asynccontextmanager
async def connected(client, session: str):
    """A connection with small buffers that has asked, and read the head of the answer."""
    body = json.dumps({"session_id": session, "message": "x"}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", client.server.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1_024)
    head = b"POST /api/chat/send HTTP/1.0\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader
    finally:
        writer.transport.abort()


async def open_streams(client) -> bool:
    async with client.server.http.get("/metrics") as response:
        return "gaia_http_streams_open 0.0" not in await response.text()


async def test_a_reader_that_stalls_is_dropped_and_comes_back_by_its_id(ui, text_of):
    talker = Talker()
    talker.go.set()
    client = await ui(ScriptedModel(talker), settings=Settings(write_seconds=1.0))
    session = await client.session()
    async with connected(client, session), asyncio.timeout(60):
        while not (messages := await client.messages(session))[1:] or await open_streams(client):
            await asyncio.sleep(0.02)

    frames = await client.attach(session, "1:1:16")

    assert text_of(frames) == messages[1][1] == "".join(f"{n} {WORDS}" for n in range(TIMES))


async def test_a_reader_that_lags_behind_the_ring_has_the_whole_text_all_the_same(ui, text_of):
    talker = Talker()
    client = await ui(ScriptedModel(talker))
    session = await client.session()
    async with connected(client, session) as reader:
        async with asyncio.timeout(60):
            await talker.said.wait()
        talker.go.set()
        raw = await reader.read()

    blocks = [block for block in decoded(raw).split("\n\n") if block and not block.startswith(":")]
    frames = [(block.split("\n")[0].removeprefix("id: "), json.loads(block.partition("data: ")[2])) for block in blocks]
    kinds = [data["type"] for _, data in frames]
    assert "reset" in kinds
    assert (kinds.count("done"), kinds[-1]) == (1, "done")
    assert text_of(frames) == frames[-1][1]["content"] == "".join(f"{n} {WORDS}" for n in range(TIMES))


def decoded(raw: bytes) -> str:
    """The text of a chunked body."""
    parts = []
    at = 0
    while at < len(raw):
        line = raw.index(b"\r\n", at)
        size = int(raw[at:line], 16)
        parts.append(raw[line + 2 : line + 2 + size])
        at = line + 4 + size
    return b"".join(parts).decode()
