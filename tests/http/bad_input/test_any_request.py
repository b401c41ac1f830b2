"""schemathesis over both OpenAPI documents: any request that they allow, and many that they don't, without a 500.

The seed is fixed and the number of requests bounded, so that it is the same everywhere and takes seconds.
"""

import asyncio
import concurrent.futures
import json
import threading
import urllib.request
from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from schemathesis.generation import GenerationMode
from uvicorn import Config
from uvicorn.server import ServerState

from gaia_core import Agent, Catalog, Runtime, ScriptedModel
from gaia_http import Settings, create_app
from gaia_http.server._http_protocol import BoundedProtocol

DOCUMENTS = ("/v1/openapi.json", "/api/openapi.json")
ENDLESS = frozenset(("/api/sessions/events",))
EXAMPLES = 2
SECONDS = 20


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server in a thread of its own, because schemathesis is synchronous."""
    port: concurrent.futures.Future[int] = concurrent.futures.Future()
    stop: concurrent.futures.Future[asyncio.Event] = concurrent.futures.Future()

    async def run() -> None:
        model = ScriptedModel(lambda request: "fine")
        settings = Settings(body_seconds=5)
        app = create_app(settings, Runtime(Catalog.of(Agent("a"), models={"local": model})))
        config = Config(app, lifespan="off", log_config=None, access_log=False)
        config.load()
        state, ended = ServerState(), asyncio.Event()
        async with app.lifespan():
            make = lambda: BoundedProtocol(config, state, {}, settings=settings)  # noqa: E731
            listening = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
            stop.set_result(ended)
            port.set_result(listening.sockets[0].getsockname()[1])
            await ended.wait()
            listening.close()
            for connection in tuple(state.connections):
                connection.transport.abort()
            if state.tasks:
                await asyncio.wait(tuple(state.tasks))

    loops: list[asyncio.AbstractEventLoop] = []

    def serve() -> None:
        with asyncio.Runner() as runner:
            loops.append(runner.get_loop())
            runner.run(run())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port.result(SECONDS)}"
    loops[0].call_soon_threadsafe(stop.result().set)
    thread.join(SECONDS)
    assert not thread.is_alive()


def document(url: str, path: str) -> dict:
    with urllib.request.urlopen(url + path, timeout=SECONDS) as response:
        return json.load(response)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not allowed"])
@pytest.mark.parametrize("path", DOCUMENTS)
def test_no_request_gets_a_500(url, path, mode):
    schema = schemathesis.openapi.from_dict(document(url, path))
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in ENDLESS:
            continue

        @hypothesis.settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=(hypothesis.Phase.generate,),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def holds(case):
            nonlocal asked
            asked += 1
            response = case.call(base_url=url, timeout=SECONDS)
            assert response.status_code < 500, (case.as_curl_command(), response.text)
            if response.status_code >= 400 and case.method != "HEAD":
                assert {"error", "detail"} & set(json.loads(response.text)), (case.as_curl_command(), response.text)

        try:
            holds()
        except hypothesis.errors.Unsatisfiable:  # nothing that it takes could be wrong
            continue
    assert asked > 5 * EXAMPLES
