"""How many connections a server takes, from whom, and how much of them waits in memory, all together."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner

from gaia_core import ConfigError
from gaia_http import Settings
from gaia_http.server._connections import Connections
from gaia_http.server.serve_command import serve as serve_command

EVERYONE = ("203.0.113.0/24",)
"""Proxies of a test in which this machine's own connections are counted."""


class Wire:
    """A transport as `Connections` sees it."""

    def __init__(self, unread: int = 0) -> None:
        self.unread = unread
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True


class Client:
    """A connection that notes what is done to it."""

    def __init__(self, unread: int = 0) -> None:
        self.transport = Wire(unread)
        self.evicted = False
        self.refused = ""

    def evict(self) -> None:
        self.evicted = True

    def refuse_body(self, message: str) -> None:
        self.refused = message


def seated(connections: Connections, host: str = "198.51.100.1", client: Client | None = None):
    seat = connections.take(client or Client(), host)
    assert not isinstance(seat, str), seat
    return seat


# Places.


def test_beyond_the_most_the_longest_idle_one_goes_first():
    connections = Connections(Settings(max_connections=2))
    first, second = Client(), Client()
    for client in (first, second):
        connections.idle(seated(connections, client=client))

    seated(connections)

    assert (first.evicted, second.evicted) == (True, False)
    assert len(connections) == 2


def test_a_busy_connection_is_never_evicted():
    connections = Connections(Settings(max_connections=1))
    client = Client()
    seat = seated(connections, client=client)
    connections.idle(seat)
    connections.busy(seat)

    refused = connections.take(Client(), "198.51.100.2")

    assert not client.evicted
    assert isinstance(refused, str)
    assert "max_connections" in refused
    connections.leave(seat)
    seated(connections)


def test_an_address_has_its_own_bound_and_costs_no_other():
    connections = Connections(Settings(max_connections_per_address=2))
    for _ in range(2):
        seated(connections, "198.51.100.1")

    refused = connections.take(Client(), "198.51.100.1")

    assert isinstance(refused, str)
    assert "--proxy-address" in refused
    seated(connections, "198.51.100.2")


def test_an_address_over_its_bound_loses_its_own_idle_connection():
    connections = Connections(Settings(max_connections_per_address=1))
    other, own = Client(), Client()
    connections.idle(seated(connections, "198.51.100.2", other))
    connections.idle(seated(connections, "198.51.100.1", own))

    seated(connections, "198.51.100.1")

    assert (other.evicted, own.evicted) == (False, True)


def test_a_network_of_ipv6_is_one_address_and_a_mapped_address_is_that_of_ipv4():
    connections = Connections(Settings(max_connections_per_address=1))
    seated(connections, "2001:db8::1")
    seated(connections, "198.51.100.1")

    assert isinstance(connections.take(Client(), "2001:db8::2"), str)
    assert isinstance(connections.take(Client(), "::ffff:198.51.100.1"), str)
    seated(connections, "2001:db8:0:1::1")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1", None, "10.1.2.3"])
def test_this_machine_and_a_named_proxy_are_many_clients(host):
    settings = Settings(max_connections_per_address=1, proxy_addresses=("127.0.0.0/8", "::1", "10.0.0.0/8"))
    connections = Connections(settings)

    for _ in range(5):
        seated(connections, host)


def test_this_machine_is_not_counted_by_default():
    connections = Connections(Settings(max_connections_per_address=1))
    for _ in range(5):
        seated(connections, "127.0.0.1")


def test_a_proxy_that_is_none_is_named():
    with pytest.raises(ConfigError, match=r"proxy_addresses must be addresses or networks .* not 'proxy'"):
        Settings(proxy_addresses=("proxy",))


# Request bodies.


def test_beyond_the_bound_the_largest_unfinished_body_is_refused():
    connections = Connections(Settings(max_unfinished_bytes=100))
    large, small = Client(), Client()
    one, two = seated(connections, client=large), seated(connections, client=small)
    connections.receiving(one, 80)
    connections.receiving(two, 30)

    assert "max_unfinished_bytes" in large.refused
    assert not small.refused
    connections.receiving(two, 60)
    assert not small.refused, "what was refused is not counted any more"


def test_a_whole_body_and_one_on_disk_are_not_counted():
    connections = Connections(Settings(max_unfinished_bytes=100))
    client = Client()
    seat = seated(connections, client=client)
    for _ in range(10):
        connections.receiving(seat, 90)
        connections.receiving(seat, -90)
    connections.receiving(seat, 90)
    connections.received(seat)
    connections.receiving(seat, 90)

    assert not client.refused


# Answers.


def test_of_slow_readers_those_that_read_nothing_go_first():
    connections = Connections(Settings(max_unread_bytes=100))
    idle, reading, new = Client(60), Client(90), Client(30)
    connections.slow(seated(connections, client=idle))
    reads = seated(connections, client=reading)
    connections.quick(reads)
    reading.transport.unread = 35
    connections.slow(reads)  # 95 in all
    reading.transport.unread = 34

    connections.slow(seated(connections, client=new))

    assert [each.transport.aborted for each in (idle, reading, new)] == [True, False, False]


def test_a_single_large_answer_is_left_to_its_reader():
    connections = Connections(Settings(max_unread_bytes=100))
    client = Client(1_000)
    connections.slow(seated(connections, client=client))

    assert not client.transport.aborted


# A whole server.


@asynccontextmanager
async def connected(server, *parts: bytes):
    """A raw connection that has sent *parts*."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()


GET = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def test_an_address_beyond_its_bound_gets_503_and_no_other_one(serve, body):
    settings = Settings(max_connections_per_address=2, proxy_addresses=EVERYONE)
    server = await serve("Hello", settings=settings)
    unfinished = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"
    async with connected(server, unfinished) as one, connected(server, unfinished):
        assert await wait_for_connections(server, 2)
        async with connected(server, GET) as (reader, _):
            refused = await reader.read()
        one[1].close()
        await one[1].wait_closed()
        assert await wait_for_connections(server, 1)
        assert (await server.post(body()))[0] == 200

    assert refused.startswith(b"HTTP/1.1 503")
    assert b"too_many_connections" in refused


async def wait_for_connections(server, number: int) -> bool:
    """Whether so many connections have a request that has begun, once what was sent was read."""
    connections = server.connections
    async with asyncio.timeout(20):
        while len(connections._open) != number or len(connections._idle):
            await asyncio.sleep(0)
    return True


async def test_an_idle_connection_makes_room(serve, body):
    server = await serve("Hello", settings=Settings(max_connections=1))
    async with connected(server, GET) as (reader, _):
        await reader.readuntil(b"ok")
        assert (await server.post(body()))[0] == 200
        assert await reader.read() in (b'"}', b"")


async def test_unfinished_bodies_are_bounded_together_and_whole_ones_pass(serve, body):
    server = await serve("Hello", settings=Settings(max_unfinished_bytes=3_000_000))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 19000000\r\n\r\n"
    async with connected(server, head, b" " * 2_000_000) as large, connected(server, head, b" " * 1_900_000) as other:
        replies = await asyncio.wait(
            [asyncio.create_task(each[0].read()) for each in (large, other)], return_when=asyncio.FIRST_COMPLETED
        )
        (done,) = replies[0]
        assert (await server.post(body()))[0] == 200
        for each in replies[1]:
            each.cancel()

    assert done.result().startswith(b"HTTP/1.1 503")
    assert b"too_many_unfinished_requests" in done.result()
    assert b"retry-after" in done.result()


async def test_uploads_go_to_the_disk_and_are_not_counted(serve, tmp_path):
    server = await serve("Hello", settings=Settings(data=tmp_path, max_unfinished_bytes=1_000_000))
    async with server.sdk() as client:
        made = await client.files.create(file=("a.bin", b"x" * 8_000_000), purpose="user_data")
        content = await client.files.content(made.id)

    assert content.content == b"x" * 8_000_000
    assert [path.name for path in (tmp_path / "files").iterdir() if not path.is_dir()] == []


@pytest.mark.parametrize("kept", ["folder", "memory"])
async def test_a_download_that_nobody_reads_takes_no_more_than_a_piece(serve, tmp_path, kept):
    server = await serve("Hello", settings=Settings(data=tmp_path if kept == "folder" else None))
    async with server.sdk() as client:
        made = await client.files.create(file=("a.bin", b"x" * 20_000_000), purpose="user_data")
    with socket.socket() as unread:
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        unread.setblocking(False)
        await asyncio.get_running_loop().sock_connect(unread, ("127.0.0.1", server.port))
        head = f"GET /v1/files/{made.id}/content HTTP/1.1\r\nhost: localhost\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(unread, head.encode())
        async with asyncio.timeout(20):
            while not server.connections._slow:
                await asyncio.sleep(0)
        (seat,) = server.connections._slow

        assert seat.connection.transport.get_write_buffer_size() < 1_000_000


async def test_messages_of_websockets_that_are_not_whole_are_bounded_together(serve):
    server = await serve("Hello", settings=Settings(max_unfinished_bytes=3_000_000))
    handshake = (
        b"GET /v1/responses HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    frame = b"\x81\xff" + (19_000_000).to_bytes(8) + bytes(4)

    async def begun(reader, writer, size: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame + b" " * size)
        await writer.drain()

    async with connected(server, handshake) as large, connected(server, handshake) as other:
        await begun(*large, 2_000_000)
        await begun(*other, 1_900_000)
        done, left = await asyncio.wait(
            [asyncio.create_task(each[0].read()) for each in (large, other)], return_when=asyncio.FIRST_COMPLETED
        )
        assert len(done) == 1
        assert next(iter(done)).exception() is None or isinstance(next(iter(done)).exception(), ConnectionError)
        async with server.http.ws_connect("/v1/responses") as socket:
            await socket.send_str('{"type": "response.create", "model": "a", "input": "Hi"}')
            assert "response" in (await socket.receive_str(timeout=20))
        for each in left:
            each.cancel()


def test_an_option_that_names_no_address_is_refused():
    result = CliRunner().invoke(serve_command, ("--proxy-address", "proxy.example"))

    assert result.exit_code == 1
    assert "proxy_addresses must be addresses or networks" in result.output
