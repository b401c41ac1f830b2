"""What a connection may carry: offers of other protocols, trailers, requests in a row, handshakes that fail, pings."""

import asyncio
import json
import logging
from contextlib import suppress

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from gaia_core import ScriptedModel
from gaia_core.events import TextDelta
from gaia_http import Settings

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
DATA = json.dumps({"model": "a", "messages": [{"role": "user", "content": "Hi"}]}).encode()
LENGTH = b"content-length: %d\r\n\r\n" % len(DATA) + DATA
CHUNKED = b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(DATA) + DATA + b"\r\n0\r\n\r\n"
H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n"
CREATE = json.dumps({"type": "response.create", "model": "a", "input": "Hi"})
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
HANDSHAKE = (
    b"GET /v1/responses HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def said(server, *sent: bytes, until: bytes | None = None) -> bytes:
    """What comes back on one connection: all, or what there is when *until* is among it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    raw = b""
    try:
        async with asyncio.timeout(20):
            for data in sent:
                writer.write(data)
            while (until is None or until not in raw) and (part := await reader.read(65_536)):
                raw += part
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return raw


def statuses(raw: bytes) -> list[int]:
    return [int(rest[:3]) for rest in raw.split(b"HTTP/1.1 ")[1:]]


# Requests.


@pytest.mark.parametrize("hosts", [b"", b"host: localhost\r\nhost: localhost\r\n"], ids=["none", "two"])
async def test_a_request_names_one_host(serve, hosts):
    server = await serve()

    raw = await said(server, b"GET /v1/models HTTP/1.1\r\nconnection: close\r\n%b\r\n" % hosts)

    assert statuses(raw) == [400]
    assert b'"code":"invalid_host"' in raw


async def test_http_1_0_needs_no_host(serve):
    server = await serve()

    assert b" 200 " in await said(server, b"GET /health HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("body", [LENGTH, CHUNKED], ids=["length", "chunked"])
async def test_an_offer_of_http_2_is_passed_over_with_its_body_taken(serve, body):
    server = await serve("One", "Two", "Three")
    last = CHAT + b"connection: close\r\n" + body

    raw = await said(server, CHAT + H2C + body, CHAT + H2C + body, last)

    assert statuses(raw) == [200, 200, 200]
    assert [word in raw for word in (b"One", b"Two", b"Three")] == [True] * 3


async def test_an_offer_of_http_2_in_pieces(serve):
    server = await serve("One")
    whole = CHAT + H2C + LENGTH
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for start in range(0, len(whole), 40):
        writer.write(whole[start : start + 40])
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        answer = await reader.readuntil(b"One")
    writer.transport.abort()

    assert statuses(answer) == [200]


async def test_a_websocket_is_opened_by_get_only(serve):
    server = await serve("One")

    raw = await said(server, HANDSHAKE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\ncontent-length: 0\r\n\r\n"),
                     until=b"}")  # fmt: skip

    assert statuses(raw) == [400]
    assert b'"code":"invalid_json"' in raw


async def test_trailers_are_no_headers(serve):
    server = await serve("One")
    trailers = CHUNKED.removesuffix(b"\r\n") + b"x-session-id: theirs\r\nhost: evil.example\r\n\r\n"

    raw = await said(server, CHAT + b"connection: close\r\n" + trailers)

    assert statuses(raw) == [200]
    assert b"theirs" not in raw


@pytest.mark.parametrize(
    "more",
    [b"1;" + b"x" * 1_000_000, b"0\r\nx-a: " + b"x" * 1_000_000, b"0\r\n" + b"x-a: b\r\n" * 100_000],
    ids=["extension", "trailer", "trailers"],
)
async def test_what_is_around_a_body_is_bounded(serve, more):
    server = await serve()

    raw = await said(server, CHAT + b"transfer-encoding: chunked\r\n\r\n" + more)

    assert statuses(raw) in ([431], [])  # who writes on may lose the answer
    assert server.model.requests == []
    assert (await server.http.get("/health")).status == 200


async def test_a_body_in_chunks_of_a_byte_is_taken(serve):
    server = await serve("One")
    words = json.dumps({"model": "a", "messages": [{"role": "user", "content": "x" * 60_000}]}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in words)

    raw = await said(server, CHAT + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")

    assert statuses(raw) == [200]


async def test_requests_that_nobody_waits_for_are_not_piled_up(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(20):
        writer.write(CHAT + LENGTH)
        await model.began.wait()
        writer.write(HEALTH * 200)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        await model.closed.wait()
    writer.transport.abort()


async def test_a_client_that_goes_takes_what_runs_with_it_whatever_waits_behind(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(20):
        writer.write(CHAT + LENGTH + HEALTH)
        await model.began.wait()
        writer.transport.abort()
        await model.closed.wait()

    assert model.connected == 0


async def test_what_is_no_http_behind_a_good_request_breaks_no_answer(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    data = DATA.replace(b"{", b'{"stream": true, ', 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(CHAT + b"content-length: %d\r\n\r\n" % len(data) + data)
    async with asyncio.timeout(20):
        raw = await reader.readuntil(b"partial")
        writer.write(b"garbage\r\n\r\n")
        with suppress(ConnectionError):
            raw += await reader.read()
        await model.closed.wait()
    writer.transport.abort()

    assert statuses(raw) == [200]


# WebSockets.


@pytest.mark.parametrize("path", ["/v1/nope", "/v1/chat/completions", "/"])
async def test_a_websocket_where_there_is_none(serve, path, caplog):
    server = await serve()
    with caplog.at_level(logging.ERROR):
        raw = await said(server, HANDSHAKE.replace(b"/v1/responses", path.encode()))
        with pytest.raises(WSServerHandshakeError) as caught:
            await server.http.ws_connect(path)

    assert caught.value.status == 404
    assert statuses(raw) == [404]
    assert b"there is no WebSocket" in raw
    assert not caplog.records


async def test_a_websocket_that_is_refused_is_no_error_of_ours(serve, caplog):
    server = await serve()
    with caplog.at_level(logging.ERROR):
        raw = await said(server, HANDSHAKE.replace(b"localhost", b"evil.example"))

    assert statuses(raw) == [403]
    assert b'"code":"host_not_allowed"' in raw
    assert not caplog.records


@pytest.mark.parametrize(
    "header", [b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"sec-websocket-version: 13\r\n"]
)
async def test_a_handshake_that_is_none_gets_the_envelope(serve, header):
    server = await serve()

    raw = await said(server, HANDSHAKE.replace(header, b""))

    assert statuses(raw)[0] in (400, 426)
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_handshake"


async def test_pings_that_come_together_get_one_pong(serve):
    server = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(20):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"".join(b"\x89\x84\0\0\0\0%04d" % n for n in range(5_000)))
        pongs = await reader.readuntil(b"\x8a\x044999")
    writer.transport.abort()

    assert len(pongs) < 6 * 500


async def test_a_reader_of_a_websocket_that_stalls_loses_its_turn_and_its_connection(serve, caplog):
    closed = asyncio.Event()

    async def endless(request):
        try:
            while True:
                yield TextDelta("x" * 100_000)
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    server = await serve(ScriptedModel(endless), slots=1, settings=Settings(write_seconds=0.2))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1_024)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    data = CREATE.encode()
    writer.write(b"\x81" + bytes([0x80 | len(data)]) + b"\0\0\0\0" + data)
    writer.transport.pause_reading()
    async with asyncio.timeout(30):
        await closed.wait()
        while server.runtime.stats().models[0].busy:
            await asyncio.sleep(0.001)
        writer.transport.resume_reading()
        with suppress(ConnectionError):
            while await reader.read(1_000_000):
                pass
    writer.transport.abort()

    assert "loses its reader" in caplog.text


async def test_messages_that_wait_are_bounded_in_bytes(serve, upstream):
    model = upstream()
    server = await serve(model=model, settings=Settings(max_body_bytes=10_000))
    async with server.http.ws_connect("/v1/responses") as socket:
        await socket.send_str(CREATE)
        await model.began.wait()
        for _ in range(3):
            await socket.send_str("x" * 6_000)
        while (last := await socket.receive(timeout=20)).type == WSMsgType.TEXT:
            pass

    assert last.type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
    assert socket.close_code == 1008
    await model.closed.wait()
