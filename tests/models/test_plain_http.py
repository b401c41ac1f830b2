"""The plain client by itself: what it speaks, what it leaves to the other, and when it closes its connections."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from gaia_core.models import Endpoint, EndpointConfig
from gaia_core.models.endpoint._endpoint import client_for
from gaia_core.models.http._aiohttp_client import AiohttpClient
from gaia_core.models.http._client import ExchangeError, UnspokenError, body_of
from gaia_core.models.http._plain_client import PlainClient

OK = b"HTTP/1.1 200 OK\r\n"
MB = 1_000_000


@asynccontextmanager
async def serving(
    answer: Callable[[asyncio.StreamWriter, asyncio.StreamReader], Awaitable[object]], host: str = "127.0.0.1"
):
    """A server whose *answer* writes what comes after each request's head; the client, and how often it connected."""
    connected: list[asyncio.StreamWriter] = []
    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        served.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await answer(writer, reader)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, host, 0)
    port = server.sockets[0].getsockname()[1]
    client = PlainClient(f"http://{host}:{port}/v1", connect_timeout=60.0)
    try:
        yield client, connected
    finally:
        await client.aclose()
        await asyncio.gather(*served)
        server.close()
        await server.wait_closed()


def says(*pieces: bytes, end: bool = False) -> Callable[[asyncio.StreamWriter, asyncio.StreamReader], Awaitable[None]]:
    """Writes each of *pieces* by itself; *end*: then closes."""

    async def answer(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if end:
            writer.close()

    return answer


async def get(client: PlainClient) -> bytes:
    response = await client.send("GET", "/models", ())
    try:
        return await body_of(response, MB)
    finally:
        response.close()


WHOLE = [
    pytest.param(OK + b"content-length: 5\r\n\r\nhello", id="content-length"),
    pytest.param(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", id="chunked"),
    pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-late: yes\r\n\r\n", id="with a trailer"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 5\r\n\r\nhello", id="after a go-on"),
]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("answer", WHOLE)
async def test_an_answer_is_read_however_it_is_framed_and_split_and_its_connection_is_kept(answer, size):
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    async with serving(says(*pieces)) as (client, connected):
        assert [await get(client) for _ in range(3)] == [b"hello"] * 3
        assert len(connected) == 1


@pytest.mark.parametrize("head", [OK, b"HTTP/1.0 200 OK\r\n", OK + b"connection: close\r\n"])
async def test_a_body_may_end_with_its_connection(head):
    async with serving(says(head + b"\r\nhel", b"lo", end=True)) as (client, connected):
        assert [await get(client) for _ in range(2)] == [b"hello"] * 2
        assert len(connected) == 2


@pytest.mark.parametrize(
    "rest", [b"connection: close\r\ncontent-length: 2\r\n\r\nok", b"content-length: 2\r\n\r\nok" + OK + b"\r\n"]
)
async def test_a_connection_that_can_t_be_used_again_is_not(rest):
    async with serving(says(OK + rest)) as (client, connected):
        assert [await get(client) for _ in range(2)] == [b"ok"] * 2
        assert len(connected) == 2


async def test_what_nobody_asked_for_closes_a_kept_connection():
    async with serving(says(OK + b"content-length: 2\r\n\r\nok")) as (client, connected):
        await get(client)
        connected[0].write(OK + b"content-length: 4\r\n\r\nevil")
        await connected[0].wait_closed()
        assert await get(client) == b"ok"
        assert len(connected) == 2


async def test_who_is_closed_while_waiting_on_a_kept_connection_does_not_connect_again():
    asked = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        if asked.is_set():  # the second request is heard, and not answered
            asking.set_result(None)
        else:
            asked.set()
            writer.write(OK + b"content-length: 2\r\n\r\nok")

    asking = asyncio.get_running_loop().create_future()
    async with serving(answer) as (client, connected):
        await get(client)
        waiting = asyncio.create_task(get(client))
        await asking
        await client.aclose()
        with pytest.raises(ExchangeError):
            await waiting
        assert len(connected) == 1


async def test_a_connection_that_is_made_while_the_client_is_closed_is_closed_too():
    async with serving(says(OK + b"content-length: 2\r\n\r\nok")) as (client, _):
        waiting = asyncio.create_task(get(client))
        await asyncio.sleep(0)  # it has begun to connect
        await client.aclose()
        with pytest.raises(ExchangeError):
            await waiting


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"what?\r\n\r\n", id="no HTTP"),
        pytest.param(OK + b"content-length: 9\r\n\r\nhel", id="shorter than said"),
        pytest.param(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhel", id="half a chunk"),
        pytest.param(OK + b"content-length: 5\r\ncontent-length: 7\r\n\r\nhello!!", id="of two lengths"),
    ],
)
async def test_an_answer_that_breaks_off_is_an_error(answer):
    async with serving(says(answer, end=True)) as (client, _):
        with pytest.raises(ExchangeError):
            await get(client)


async def test_a_head_of_no_end_is_not_read_for_ever():
    async def answer(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        writer.write(OK + b"x: ")
        while not writer.is_closing():
            writer.write(b"y" * 10_000)
            await writer.drain()

    async with serving(answer) as (client, _):
        with pytest.raises(ExchangeError, match="no end"):
            await get(client)


async def test_a_reader_that_takes_its_time_holds_up_the_sender():
    """What nobody reads waits at the sender, and not in this process."""
    sent = 0

    async def answer(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        nonlocal sent
        writer.write(OK + b"content-length: %d\r\n\r\n" % (100 * MB))
        for _ in range(100):
            writer.write(b"x" * MB)
            await writer.drain()
            sent += 1

    async with serving(answer) as (client, _):
        response = await client.send("GET", "/", ())
        before = -1
        while before != sent:  # until the sender makes no more progress
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < 50
        size = 0
        while part := await response.arriving():
            size += len(part)
        assert size == 100 * MB


async def test_closing_reaches_the_sender_within_5_ms():
    for _ in range(50):  # a busy machine may be late, but not each time
        gone = asyncio.Event()

        async def answer(
            writer: asyncio.StreamWriter, reader: asyncio.StreamReader, gone: asyncio.Event = gone
        ) -> None:
            writer.write(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
            with suppress(ConnectionError):
                await reader.read()
            gone.set()

        async with serving(answer) as (client, _):
            response = await client.send("GET", "/", ())
            assert await response.arriving() == b"hi"
            began = time.perf_counter()
            response.close()
            async with asyncio.timeout(60):
                await gone.wait()
            if time.perf_counter() - began <= 0.005:
                return
    pytest.fail("it took longer each time")


async def test_cancelling_a_request_closes_its_connection():
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def answer(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        arrived.set()
        with suppress(ConnectionError):
            await reader.read()
        gone.set()

    async with serving(answer) as (client, _):
        task = asyncio.create_task(client.send("GET", "/", ()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(60):
            await gone.wait()


async def test_a_response_that_was_closed_takes_no_later_request_s_connection():
    async with serving(says(OK + b"content-length: 2\r\n\r\nok")) as (client, connected):
        first = await client.send("GET", "/", ())
        assert await body_of(first, MB) == b"ok"
        second = await client.send("GET", "/", ())
        first.close()
        assert await body_of(second, MB) == b"ok"
        assert len(connected) == 1


async def test_a_host_may_be_a_name_with_several_addresses():
    async with serving(says(OK + b"content-length: 2\r\n\r\nok"), host="localhost") as (client, _):
        assert await get(client) == b"ok"


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 307 Elsewhere\r\nlocation: /x\r\n", OK + b"content-encoding: gzip\r\n"],
    ids=["redirect", "gzip"],
)
async def test_what_it_does_not_speak_it_leaves_to_another(head):
    async with serving(says(head + b"content-length: 0\r\n\r\n")) as (client, _):
        with pytest.raises(UnspokenError):
            await client.send("GET", "/", ())


async def test_an_endpoint_that_redirects_or_compresses_is_asked_by_the_client_that_speaks_that(upstream, wire, ask):
    there = await upstream(wire.says(status=307, headers=(("location", "/v1/chat/completions"),)), wire.answer("Hi"))
    packed = gzip.compress(wire.answer("packed"))
    there.script = (there.script[0], wire.says(packed, headers=(("content-encoding", "gzip"),)))
    model = Endpoint(EndpointConfig(url=there.url, model="m"))
    for _ in range(2):
        assert (await ask(model)).text == "packed"
    await model.aclose()


@pytest.mark.parametrize(
    ("url", "proxy", "expected"),
    [
        ("http://127.0.0.1:1/v1", "", PlainClient),
        ("http://127.0.0.1:1/v1", "http://proxy:3128", PlainClient),
        ("http://models.lan/v1", "", PlainClient),
        ("http://models.lan/v1", "http://proxy:3128", AiohttpClient),
        ("http://direct.lan/v1", "http://proxy:3128", PlainClient),
        ("http://mödels.lan/v1", "", AiohttpClient),
        ("https://models.lan/v1", "", AiohttpClient),
    ],
)
def test_the_plain_client_serves_plain_hosts_that_no_proxy_is_for(monkeypatch, url, proxy, expected):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "direct.lan")
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
    assert type(client_for(EndpointConfig(url=url))) is expected
