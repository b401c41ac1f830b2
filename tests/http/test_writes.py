"""What a response is written in: its head together with what comes first, and never less than a client waits for."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from gaia_http import Settings
from gaia_http.server._http_protocol import BoundedProtocol

TEXT = [(b"content-type", b"text/plain")]


class Wire(asyncio.Transport):
    """A transport that keeps each write by itself."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def app(scope, receive, send) -> None:
    """Answers as the path says."""
    await receive()
    if scope["path"] == "/fails":
        raise RuntimeError
    status = 204 if scope["path"] == "/nothing" else 200
    await send({"type": "http.response.start", "status": status, "headers": TEXT})
    if scope["path"] == "/breaks":
        raise RuntimeError
    if scope["path"] == "/watch":
        await asyncio.get_running_loop().create_future()
    if scope["path"] == "/stream":
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture
async def connection() -> AsyncIterator[tuple[BoundedProtocol, Wire, Callable]]:
    """A connection, its wire, and what answers all that was asked on it."""
    config = Config(app, lifespan="off", log_config=None, access_log=False)
    config.load()
    state, wire = ServerState(), Wire()
    protocol = BoundedProtocol(config, state, {}, settings=Settings())
    protocol.connection_made(wire)

    async def ask(*requests: str) -> list[bytes]:
        protocol.data_received(b"".join(f"{each} HTTP/1.1\r\nhost: a\r\n\r\n".encode() for each in requests))
        while state.tasks:
            await asyncio.wait(tuple(state.tasks))
        return wire.writes

    yield protocol, wire, ask
    protocol.connection_lost(None)


async def test_the_head_is_written_with_the_first_piece(connection):
    _, _, ask = connection

    first, second, end = await ask("GET /stream")

    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"\r\n\r\n3\r\none\r\n")
    assert (second, end) == (b"3\r\ntwo\r\n", b"0\r\n\r\n")


async def test_an_answer_in_one_piece_is_one_write(connection):
    _, _, ask = connection

    (written,) = await ask("GET /")

    assert written.endswith(b"\r\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("request_line", ["HEAD /stream", "GET /nothing"])
async def test_a_head_without_a_body_is_written(connection, request_line):
    _, _, ask = connection

    written = b"".join(await ask(request_line))

    assert written.startswith(b"HTTP/1.1 20")
    assert written.endswith(b"\r\n\r\n")
    assert b"one" not in written


async def test_a_head_that_nothing_follows_is_written_at_once(connection):
    protocol, wire, _ = connection
    protocol.data_received(b"GET /watch HTTP/1.1\r\nhost: a\r\n\r\n")

    for _ in range(3):
        await asyncio.sleep(0)

    (written,) = wire.writes
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    for task in protocol.tasks:
        task.cancel()


async def test_each_of_several_requests_at_once_has_its_head(connection):
    _, _, ask = connection

    written = b"".join(await ask("HEAD /stream", "HEAD /", "GET /stream", "GET /nothing"))

    assert written.count(b"HTTP/1.1 20") == 4
    assert written.count(b"one") == 1


async def test_a_client_that_waits_to_be_told_may_go_on_and_then_has_its_answer(connection):
    protocol, wire, ask = connection
    protocol.data_received(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n")
    await asyncio.sleep(0)
    assert wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]

    protocol.data_received(b"x")

    assert (await ask())[1].startswith(b"HTTP/1.1 200 OK\r\n")


async def test_what_fails_before_its_head_is_a_500(connection, caplog):
    _, _, ask = connection

    (written,) = await ask("GET /fails")

    assert written.startswith(b"HTTP/1.1 500 ")
    assert written.endswith(b"Internal Server Error")
    assert "Exception in ASGI application" in caplog.text


async def test_what_fails_after_its_head_is_told_and_closed(connection, caplog):
    _, wire, ask = connection

    (written,) = await ask("GET /breaks")

    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.closed
    assert "Exception in ASGI application" in caplog.text
