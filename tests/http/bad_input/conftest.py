"""Raw requests, and the one checker of all these tests: the server is as it was, and answers the next request."""

import asyncio
import json
import os
import re
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress

import attrs
import pytest

from gaia_core import ScriptedModel

USER = {"role": "user", "content": "Hi"}


@attrs.frozen
class Answer:
    """What came back; *body* is decoded where it is JSON."""

    status: int
    head: str
    body: object

    @property
    def is_refusal(self) -> bool:
        """Whether it is a client's fault, in the envelope of either API."""
        if not 400 <= self.status < 500 or not isinstance(self.body, dict):
            return False
        error = self.body.get("error")
        nested = isinstance(error, dict) and set(error) == {"message", "type", "param", "code"} and error["message"]
        return bool(nested or self.body.get("detail") or isinstance(error, str))


async def ask(
    server,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),),
    head: bytes | None = None,
) -> Answer:
    """One request on a connection of its own; *head*: all that comes before the body, as it is."""
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            if head is None:
                lines = [f"{method} {path} HTTP/1.1", "host: localhost", "connection: close"]
                lines += [f"{name}: {value}" for name, value in headers]
                lines += [f"content-length: {len(body)}"] if body is not None else []
                head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
            writer.write(head + (body or b""))
            raw = await _all(reader)
        finally:
            writer.close()
            with suppress(ConnectionError):  # the server closed it while we were writing
                await writer.wait_closed()
    top, _, rest = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in top.lower():
        rest = _joined(rest)
    try:
        decoded = json.loads(rest)
    except ValueError:
        decoded = rest.decode("utf-8", "replace")
    return Answer(int(top.split(b" ")[1]), top.decode("latin-1"), decoded)


async def _all(reader: asyncio.StreamReader) -> bytes:
    """What arrives until the end, or until the connection breaks."""
    parts = b""
    try:
        while part := await reader.read(65_536):
            parts += part
    except ConnectionError:
        pass
    return parts


def _joined(rest: bytes) -> bytes:
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


async def answers(server) -> None:
    """The next request is answered, by both APIs."""
    chat = json.dumps({"model": "a", "messages": [USER]}).encode()
    answer = await ask(server, "POST", "/v1/chat/completions", chat)
    assert (answer.status, answer.body["choices"][0]["message"]["content"]) == (200, "still well")
    assert (await ask(server, "GET", "/api/sessions")).status == 200


def picture(server) -> tuple[int, int, int, int, int]:
    """What must be as it was: descriptors, tasks, turns, slots, requests that wait."""
    stats = server.runtime.stats()
    descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    return (
        descriptors,
        tasks,
        stats.running_turns,
        sum(m.busy for m in stats.models),
        sum(m.queued for m in stats.models),
    )


@asynccontextmanager
async def as_it_was(server):
    """Whatever is done in this block leaves the server well."""
    await answers(server)
    before = picture(server)
    yield
    await answers(server)
    until = asyncio.get_running_loop().time() + 60
    while any(now > then for now, then in zip(picture(server), before, strict=True)):
        assert asyncio.get_running_loop().time() < until, f"{picture(server)} was {before}"
        await asyncio.sleep(0.01)


@pytest.fixture
async def server(serve):
    """A server that must be as well after a test as it was before."""
    server = await serve(ScriptedModel(lambda request: "still well"))
    async with as_it_was(server):
        yield server


@pytest.fixture
def routes() -> Callable:
    """Method and path of all routes that take a JSON body, as both documents tell them."""

    async def routes(server) -> list[tuple[str, str]]:
        found = []
        for document in ("/v1/openapi.json", "/api/openapi.json"):
            paths = (await ask(server, "GET", document)).body["paths"]
            found += [
                (method.upper(), re.sub(r"\{\w+\}", "x", path))
                for path, methods in paths.items()
                for method in methods
                if method in ("post", "put", "patch")
            ]
        assert ("POST", "/v1/chat/completions") in found
        assert ("POST", "/api/chat/send") in found
        return found

    return routes


@pytest.fixture(name="ask")
def ask_() -> Callable:
    return ask


@pytest.fixture(name="as_it_was")
def as_it_was_() -> Callable:
    return as_it_was
