"""The clients: many streams at once on raw asyncio callbacks, so that the load weighs little."""

import asyncio
import functools
import json
import re
import time

import attrs

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TOKEN = b'"content":" token'


def body_of(plan: str, *, model: str = "bench", stream: bool = True) -> bytes:
    message = {"role": "user", "content": plan}
    return json.dumps({"model": model, "stream": stream, "messages": [message]}).encode()


def plan(first_ms: int = 0, tokens: int = 1, interval_ms: float = 0, per_write: int = 1) -> str:
    """What the endpoint is to answer."""
    return f"{first_ms},{tokens},{interval_ms},{per_write}"


class Client(asyncio.Protocol):
    """One connection that asks one thing after the other."""

    def __init__(self, *, plain: bool = False, path: str = "/v1/chat/completions") -> None:
        self.plain = plain
        self.path = path.encode()
        self.waiting: asyncio.Future[None] | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def ask(self, body: bytes) -> "asyncio.Future[None]":
        self.tokens, self.first, self.tail = 0, 0.0, b""
        self.arrivals: list[float] = []
        self.waiting = asyncio.get_running_loop().create_future()
        self.began = time.perf_counter()
        self.transport.write(
            b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % (self.path, len(body)) + body
        )
        return self.waiting

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        text = self.tail + data
        # Merged deltas hold several tokens; each says " token".
        count = text.count(b" token")
        keep = text.rfind(b" token")
        self.tail = text[max(keep + 6, len(text) - 8) :]
        if count:
            self.first = self.first or now
            self.tokens += count
            self.arrivals.append(now)
        if self.waiting is not None and data.endswith(b"}" if self.plain else b"0\r\n\r\n"):
            done, self.waiting = self.waiting, None
            if not done.done():
                done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError(f"the server hung up: {error}"))


@attrs.frozen
class Outcome:
    """What the clients saw; times in seconds."""

    seconds: float
    requests: int
    tokens: int
    firsts: tuple[float, ...]
    lateness: tuple[float, ...]


async def run(
    port: int, plan: str, streams: int, rounds: int, *, interval: float = 0.0, plain: bool = False
) -> Outcome:
    """*streams* connections, each asking *rounds* times. *interval*: when each token was due after the first.

    *plain*: answers are not streamed.
    """
    loop = asyncio.get_running_loop()
    make = functools.partial(Client, plain=plain)
    clients = [(await loop.create_connection(make, "127.0.0.1", port))[1] for _ in range(streams)]
    body = body_of(plan, stream=not plain)
    firsts: list[float] = []
    late: list[float] = []
    tokens = 0

    async def one(client: Client, delay: float) -> None:
        nonlocal tokens
        await asyncio.sleep(delay)
        for _ in range(rounds):
            await client.ask(body)
            if not client.tokens:
                raise RuntimeError("an answer without a token")
            tokens += client.tokens
            firsts.append(client.first - client.began)
            if interval:
                begin = client.arrivals[0]
                late.extend(max(0.0, at - begin - n * interval) for n, at in enumerate(client.arrivals))

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n, client in enumerate(clients):
            group.create_task(one(client, n * interval / len(clients)))
    seconds = time.perf_counter() - began
    for client in clients:
        client.transport.close()
    return Outcome(seconds, streams * rounds, tokens, tuple(firsts), tuple(late))


async def worst_health(port: int, stop: asyncio.Event) -> float:
    """The longest that GET /health took until *stop*, asked every 20 ms; in seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    worst = 0.0
    while not stop.is_set():
        began = time.perf_counter()
        writer.write(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b'"ok"}')
        worst = max(worst, time.perf_counter() - began)
        await asyncio.sleep(0.02)
    writer.close()
    return worst


async def sessions(port: int, count: int) -> list[str]:
    """The ids of *count* new sessions of the UI API."""
    found = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(
            b"POST /api/sessions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"content-length: 2\r\n\r\n{}"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(_LENGTH.search(head)[1]))
        found.append(json.loads(body)["id"])
    writer.close()
    return found


async def talk(port: int, plan: str, ids: list[str], rounds: int) -> Outcome:
    """Recorded turns: one connection for each session, which sends *rounds* messages, one after the other."""
    loop = asyncio.get_running_loop()
    make = functools.partial(Client, path="/api/chat/send")
    clients = [(await loop.create_connection(make, "127.0.0.1", port))[1] for _ in ids]
    firsts: list[float] = []
    tokens = 0

    async def one(client: Client, session: str) -> None:
        nonlocal tokens
        body = json.dumps({"session_id": session, "message": plan}).encode()
        for _ in range(rounds):
            await client.ask(body)
            tokens += client.tokens
            firsts.append(client.first - client.began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for client, session in zip(clients, ids, strict=True):
            group.create_task(one(client, session))
    seconds = time.perf_counter() - began
    for client in clients:
        client.transport.close()
    return Outcome(seconds, len(ids) * rounds, tokens, tuple(firsts), ())
