"""What the tests of the server need: a real server on a port of this machine, and clients that speak to it."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
import attrs
import openai
import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from gaia_core import Agent, Catalog, ModelSpec, Runtime, ScriptedModel, scripted
from gaia_core.events import TextDelta
from gaia_core.journal import TTL_SECONDS
from gaia_core.models import Finished
from gaia_http import Settings, create_app
from gaia_http.keys import Allowances, Keyring
from gaia_http.mcp._exposed_tools import ExposedTools
from gaia_http.server._connections import Connections
from gaia_http.server._http_protocol import BoundedProtocol
from gaia_http.server._websocket_protocol import BoundedSocket


class Upstream:
    """A model that says one word, and then streams until the test lets it end; it knows who is connected."""

    def __init__(self, *first: object) -> None:
        self.first = first or (TextDelta("partial"),)
        self.connected = 0
        self.began = asyncio.Event()
        self.closed = asyncio.Event()
        self.go = asyncio.Event()

    async def stream(self, request):
        self.connected += 1
        try:
            if self.first[0] is not None:
                yield self.first
            self.began.set()
            await self.go.wait()
            yield (Finished("stop"),)
        finally:
            self.connected -= 1
            self.closed.set()


@attrs.frozen
class Server:
    """A server that runs, and a client session to it."""

    url: str
    port: int
    runtime: Runtime
    model: object
    http: aiohttp.ClientSession
    stop: Callable[[], Awaitable[None]]
    """Stops it as a server stops; the fixture does that, too."""
    connections: Connections | None = None

    def sdk(self, **options: object) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0, **options)

    async def post(self, body: object = None, *, data: bytes | None = None, headers: dict | None = None):
        """The status, the headers and the decoded JSON of a chat completion that isn't streamed."""
        given = {"json": body} if data is None else {"data": data}
        if data is not None:
            headers = {"content-type": "application/json"} | (headers or {})
        async with self.http.post("/v1/chat/completions", headers=headers, **given) as response:
            return response.status, response.headers, await response.json()

    async def stream(self, headers: dict | None = None, **body: object) -> str:
        """The raw text of a streamed chat completion; ids and times of a run replaced."""
        async with self.http.post("/v1/chat/completions", json=chat(**body, stream=True), headers=headers) as response:
            text = await response.text()
            assert response.status == 200, text
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return normal(text)


def chat(say: str = "Hi", **fields: object) -> dict:
    """The body of a request."""
    return {"model": "a", "messages": [{"role": "user", "content": say}], **fields}


def normal(text: str) -> str:
    """*text* without what differs from run to run."""
    text = re.sub(r"chatcmpl-[0-9a-f]{32}", "chatcmpl-ID", text)
    text = re.sub(r"turn_[0-9a-f]{32}", "turn_ID", text)
    text = re.sub(r"call_[0-9a-f]{24}", "call_HEX", text)
    text = re.sub(r"a1:[0-9a-f]{64}", "a1:FINGERPRINT", text)
    text = re.sub(r'"created":\d+', '"created":0', text)
    return re.sub(r'"seconds":[0-9.e-]+', '"seconds":0', text)


async def run(
    settings: Settings,
    runtime: Runtime,
    allowances: Allowances | None,
    port: asyncio.Future,
    stop: asyncio.Event,
    head_seconds: float,
    telemetry: object = None,
    mcp: ExposedTools | None = None,
    connections: Connections | None = None,
) -> None:
    """A server on uvicorn's protocol, without its signal handlers and its waiting; sets *port* when it listens."""
    app = create_app(settings, runtime, allowances, telemetry=telemetry, mcp=mcp)
    ws = partial(BoundedSocket, settings=settings)
    config = Config(app, lifespan="off", log_config=None, access_log=False, server_header=False, ws=ws)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    bounds = {"settings": settings, "seconds": head_seconds, "connections": connections}
    async with app.lifespan():
        listening = await loop.create_server(lambda: BoundedProtocol(config, state, {}, **bounds), "127.0.0.1", 0)
        port.set_result(listening.sockets[0].getsockname()[1])
        await stop.wait()
        listening.close()
        for connection in tuple(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(tuple(state.tasks))


@asynccontextmanager
async def running(
    settings: Settings,
    runtime: Runtime,
    allowances: Allowances | None,
    head_seconds: float,
    telemetry: object = None,
    mcp: ExposedTools | None = None,
    connections: Connections | None = None,
) -> AsyncIterator[int]:
    """The port of a server that runs in a task of its own."""
    port, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
    task = asyncio.create_task(
        run(settings, runtime, allowances, port, stop, head_seconds, telemetry, mcp, connections)
    )
    await asyncio.wait((port, task), return_when=asyncio.FIRST_COMPLETED)
    try:
        yield port.result() if port.done() else task.result()
    finally:
        stop.set()
        await task


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Start a server for an agent `a` (or others) and a model: answers of a script, or an object; or a second one
    over the runtime of the one *beside* it, with the same keys or with none."""
    async with AsyncExitStack() as stack:

        async def serve(
            *answers: object,
            model: object = None,
            agents: tuple[Agent, ...] = (Agent("a"),),
            settings: Settings | None = None,
            slots: int = 64,
            queue: int = 256,
            head_seconds: float = 30.0,
            journal: object = None,
            keyring: Keyring | None = None,
            inputs: tuple[str, ...] = (),
            enforces_format: bool = False,
            models: dict | None = None,
            telemetry: object = None,
            mcp: ExposedTools | None = None,
            beside: Server | None = None,
            ttl: float = TTL_SECONDS,
        ) -> Server:
            if model is None:
                model = answers[0] if answers and isinstance(answers[0], ScriptedModel) else scripted(*answers)
            spec = ModelSpec(
                "local",
                open=lambda: model,
                slots=slots,
                queue=queue,
                inputs=frozenset(inputs),
                enforces_format=enforces_format,
            )
            if beside is not None:
                runtime, allowances = beside.runtime, beside.runtime.quota if keyring is not None else None
            else:
                catalog = Catalog.of(*agents, models={"local": spec, **(models or {})})
                allowances = Allowances(keyring) if keyring is not None else None
                runtime = Runtime(catalog, journal, observer=telemetry, quota=allowances, ttl=ttl)
            own = await stack.enter_async_context(AsyncExitStack())
            settings = settings or Settings()
            connections = Connections(settings)
            port = await own.enter_async_context(
                running(settings, runtime, allowances, head_seconds, telemetry, mcp, connections)
            )
            url = f"http://127.0.0.1:{port}"
            session = aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0))
            await own.enter_async_context(session)
            return Server(url, port, runtime, model, session, own.aclose, connections)

        yield serve


@pytest.fixture
def upstream() -> type[Upstream]:
    return Upstream


@pytest.fixture(name="normal")
def normal_() -> Callable[[str], str]:
    return normal


@pytest.fixture
def body() -> Callable[..., dict]:
    return chat
