"""What the tests of models need: an endpoint on a port of this machine that answers from a script, and a reader."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from socket import SO_LINGER, SOL_SOCKET

import attrs
import pytest
from aiohttp import web

from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import UserMessage
from gaia_core.models import Endpoint, EndpointConfig, Finished, Model, ModelError, ModelRequest
from gaia_core.models.endpoint._endpoint import client_for
from gaia_core.models.http._aiohttp_client import AiohttpClient
from gaia_core.models.http._client import HttpClient

RESET = "reset"
HANG = "hang"
HI = ModelRequest((UserMessage("Hi"),))


@attrs.frozen
class Says:
    """An answer: bytes to write, seconds or a function to wait for, RESET, or HANG (until the client goes)."""

    pieces: tuple[bytes | float | str | Callable[[], Awaitable[object]], ...]
    status: int = 200
    media: str = "text/event-stream"
    headers: tuple[tuple[str, str], ...] = ()
    raw: bool = False
    """The pieces are the whole response, its head included."""


class Wire:
    """Builds what endpoints answer."""

    RESET = RESET
    HANG = HANG
    DONE = b"data: [DONE]\n\n"

    @staticmethod
    def event(value: object) -> bytes:
        return b"data: " + json.dumps(value).encode() + b"\n\n"

    @classmethod
    def chunk(cls, text: str | None = None, finish: str | None = None, **delta: object) -> bytes:
        delta = delta if text is None else {"content": text, **delta}
        return cls.event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    @classmethod
    def usage(cls, asked: int, answered: int, **details: object) -> bytes:
        usage = {"prompt_tokens": asked, "completion_tokens": answered, **details}
        return cls.event({"choices": [], "usage": usage})

    @classmethod
    def answer(cls, *words: str) -> bytes:
        """A whole good answer."""
        return b"".join(map(cls.chunk, words)) + cls.chunk(finish="stop") + cls.DONE

    @staticmethod
    def says(*pieces: object, **options: object) -> Says:
        return Says(pieces, **options)

    @staticmethod
    def fails(status: int, error: object = "no", **headers: str) -> Says:
        body = error if isinstance(error, bytes) else json.dumps({"error": error}).encode()
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return Says((body,), status, "application/json", named)


@attrs.frozen(eq=False)
class Asked:
    """A request as the endpoint saw it; *peer* tells connections apart, *gone* is set when its client went early."""

    body: dict
    raw: bytes
    headers: dict[str, str]
    peer: object
    gone: asyncio.Event


@attrs.define(eq=False)
class Upstream:
    """An OpenAI-compatible endpoint. The answers of *script* are given in turn, the last one from then on."""

    script: tuple[Says | Callable[[Asked], Says], ...]
    url: str = ""
    listed: Says = Says((b'{"data": [{"id": "first"}, {"id": "second"}]}',), media="application/json")
    counts: Says | None = None
    """What it answers where tokens are counted; None: there is no such route."""
    below: dict[str, object] = attrs.field(factory=dict)
    """What it answers to GET at further paths, as JSON."""
    asked: list[Asked] = attrs.field(factory=list)
    lists: list[dict[str, str]] = attrs.field(factory=list)
    arrived: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        asked = Asked(
            json.loads(raw),
            raw,
            {name.lower(): value for name, value in request.headers.items()},
            request.transport.get_extra_info("peername"),
            asyncio.Event(),
        )
        answer = self.script[min(len(self.asked), len(self.script) - 1)]
        self.asked.append(asked)
        self.arrived.set()
        try:
            return await _told(request, answer if isinstance(answer, Says) else answer(asked))
        except (asyncio.CancelledError, ConnectionError):
            asked.gone.set()
            raise

    async def count(self, request: web.Request) -> web.StreamResponse:
        if self.counts is None:
            raise web.HTTPNotFound
        return await _told(request, self.counts)

    async def get(self, request: web.Request) -> web.StreamResponse:
        if request.path not in self.below:
            raise web.HTTPNotFound
        return web.json_response(self.below[request.path])

    async def models(self, request: web.Request) -> web.StreamResponse:
        self.lists.append({name.lower(): value for name, value in request.headers.items()})
        return await _told(request, self.listed)


async def _told(request: web.Request, answer: Says) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"content-type": answer.media, **dict(answer.headers)})
    if not answer.raw:
        await response.prepare(request)
    for piece in answer.pieces:
        if isinstance(piece, bytes) and answer.raw:
            request.transport.write(piece)
        elif isinstance(piece, bytes):
            await response.write(piece)
        elif piece == RESET:
            # Linger 0: the client gets a reset, and not an end.
            request.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
            return response
        elif piece == HANG:
            await asyncio.Event().wait()
        elif callable(piece):
            await piece()
        else:
            await asyncio.sleep(piece)
    if answer.raw:
        request.transport.close()
        return response
    await response.write_eof()
    return response


@pytest.fixture
async def upstream() -> AsyncIterator[Callable[..., Awaitable[Upstream]]]:
    """Start an endpoint that answers *script*."""
    async with AsyncExitStack() as stack:

        async def upstream(*script: object, **options: object) -> Upstream:
            answers = tuple(Says((item,)) if isinstance(item, bytes) else item for item in script)
            made = Upstream(answers or (Says((Wire.answer("Hello"),)),), **options)
            app = web.Application(client_max_size=2**26)
            app.router.add_post("/v1/chat/completions", made.complete)
            app.router.add_post("/v1/embeddings", made.complete)
            app.router.add_post("/v1/chat/completions/input_tokens", made.count)
            app.router.add_get("/v1/models", made.models)
            app.router.add_get("/{path:.*}", made.get)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            return made

        yield upstream


def any_client(config: EndpointConfig) -> AiohttpClient:
    return AiohttpClient(config.base, connect_timeout=config.connect_timeout, proxies=False)


@pytest.fixture(params=[client_for, any_client], ids=["plain", "aiohttp"])
def open_client(request) -> Callable[[EndpointConfig], HttpClient]:
    """Each client that an endpoint may have."""
    return request.param


@pytest.fixture
async def endpoint(upstream, open_client) -> AsyncIterator[Callable[..., Awaitable[tuple[Endpoint, Upstream]]]]:
    """An `Endpoint` that quickly tries again, to an endpoint that answers the script."""
    async with AsyncExitStack() as stack:

        async def endpoint(*script: object, **config: object) -> tuple[Endpoint, Upstream]:
            there = await upstream(*script)
            given = {"url": there.url, "model": "m", "backoff": 0.001, **config}
            made = Endpoint(EndpointConfig(**given), open_client)
            stack.push_async_callback(made.aclose)
            return made, there

        yield endpoint


@attrs.frozen
class Told:
    """What a model told."""

    batches: tuple[tuple, ...]

    @property
    def deltas(self) -> list:
        return [delta for batch in self.batches for delta in batch]

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, ReasoningDelta))

    @property
    def finished(self) -> Finished:
        assert isinstance(self.deltas[-1], Finished)
        assert sum(isinstance(delta, Finished) for delta in self.deltas) == 1
        return self.deltas[-1]

    def of(self, kind: type) -> list:
        return [delta for delta in self.deltas if isinstance(delta, kind)]


@pytest.fixture
def ask() -> Callable[..., Awaitable[Told]]:
    """Ask a model, and collect what it tells."""

    async def ask(model: Model, request: ModelRequest = HI) -> Told:
        async with aclosing(model.stream(request)) as stream:
            return Told(tuple([batch async for batch in stream]))

    return ask


@pytest.fixture
def fails() -> Callable[..., Awaitable[tuple[ModelError, list]]]:
    """Ask a model that fails: how, and what it told before."""

    async def fails(model: Model, request: ModelRequest = HI) -> tuple[ModelError, list]:
        told: list = []

        async def collect() -> None:
            async for batch in model.stream(request):
                told.extend(batch)

        with pytest.raises(ModelError) as caught:
            await collect()
        return caught.value, told

    return fails


@pytest.fixture
def hi() -> ModelRequest:
    return HI


@pytest.fixture
def wire() -> type[Wire]:
    return Wire
