"""The bounds of a connection: who doesn't read an answer, or never ends a body, loses it; who is slow doesn't."""

import asyncio
import io
import socket
from contextlib import asynccontextmanager, suppress

import pytest

from gaia_core import ScriptedModel
from gaia_core.events import TextDelta
from gaia_core.turn._event_ring import RING_EVENTS
from gaia_http import Settings

LARGE = "word " * 2_000_000  # more than the sockets' buffers hold
DISPOSITION = b'--x\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'


@asynccontextmanager
async def connected(server):
    """A connection with small buffers."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1_024)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ask_for(server, what: str) -> bytes:
    """The request for something large: an answer, a file of the page, or a download."""
    if what == "an answer":
        body = b'{"model":"a","messages":[{"role":"user","content":"x"}]}'
        return b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )
    if what == "a page":
        return b"GET /large.txt HTTP/1.1\r\nhost: localhost\r\n\r\n"
    form = DISPOSITION % (b"purpose", b"", b"user_data") + DISPOSITION % (
        b"file",
        b'; filename="large.txt"',
        LARGE.encode(),
    )
    headers = {"content-type": "multipart/form-data; boundary=x"}
    async with server.http.post("/v1/files", data=io.BytesIO(form + b"--x--\r\n"), headers=headers) as response:
        assert response.status == 200, await response.text()
        path = f"/v1/files/{(await response.json())['id']}/content"
    return b"GET %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % path.encode()


async def rest(reader) -> int:
    """Read all that comes: its bytes."""
    got = 0
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            got += len(data)
    return got


async def send_chunks(writer) -> None:
    """Send a body of 65 MB, where 1 MB may come."""
    for _ in range(1_000):
        writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        await writer.drain()


async def say(_request):
    yield TextDelta(LARGE)


@pytest.fixture
async def large(serve, tmp_path):
    """A server whose answers, page and files are large."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("x")
    (tmp_path / "dist" / "large.txt").write_text(LARGE)

    async def large(seconds: float):
        settings = Settings(write_seconds=seconds, ui_dist=tmp_path / "dist", data=tmp_path / "data")
        return await serve(ScriptedModel(say), settings=settings)

    return large


@pytest.mark.parametrize("what", ["an answer", "a page", "a download"])
async def test_a_client_that_stalls_is_dropped(large, caplog, what):
    server = await large(0.2)
    async with connected(server) as (reader, writer), asyncio.timeout(60):
        writer.write(await ask_for(server, what))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
        while "its client has read nothing for 0.2 s" not in caplog.text:
            await asyncio.sleep(0.01)
        assert await rest(reader) < len(LARGE)  # aborted with bytes that nobody took

    stats = server.runtime.stats()
    assert stats.running_turns == sum(load.busy for load in stats.models) == 0


async def test_a_client_that_is_slow_has_it_all(large):
    """It reads 4 KB at a time: the system asks for more of an answer only when a third of its own buffer is free."""
    server = await large(2.0)
    async with connected(server) as (reader, writer), asyncio.timeout(120):
        writer.write(await ask_for(server, "a download"))
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        began = asyncio.get_running_loop().time()
        got = 0
        while got < size:
            data = await reader.read(65_536)
            assert data, "the client was dropped"
            got += len(data)
            if asyncio.get_running_loop().time() - began < 4.0:  # longer than it may read nothing
                await asyncio.sleep(0.05)

    assert size >= len(LARGE)


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/nowhere", "/v1/responses/none"])
async def test_an_endless_body_that_nobody_reads_is_ended(serve, path):
    server = await serve("ok", settings=Settings(max_body_bytes=1_000, max_file_bytes=1_000))
    async with connected(server) as (reader, writer), asyncio.timeout(60):
        head = f"GET {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 ")
        with pytest.raises(ConnectionError):
            await send_chunks(writer)


async def test_a_body_that_trickles_after_its_answer_is_ended(serve):
    server = await serve("ok", settings=Settings(body_seconds=0.05))
    async with connected(server) as (reader, writer), asyncio.timeout(60):
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nx")

        answer = await reader.read()

    assert answer.endswith(b'{"status":"ok"}')


async def test_a_connection_whose_body_was_not_read_goes_on(serve):
    server = await serve("ok")
    async with connected(server) as (reader, writer), asyncio.timeout(60):
        for _ in range(2):
            writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc")
            await reader.readuntil(b'{"status":"ok"}')


async def test_an_answer_of_more_events_than_the_ring_holds_is_whole(serve, body):
    async def say_many(_request):
        for n in range(2 * RING_EVENTS):
            yield TextDelta(f"{n} ")
            if n % 50 == 0:
                await asyncio.sleep(0)

    server = await serve(ScriptedModel(say_many))

    status, _, answer = await server.post(body())

    assert status == 200
    assert answer["choices"][0]["message"]["content"] == "".join(f"{n} " for n in range(2 * RING_EVENTS))
