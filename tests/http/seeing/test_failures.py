"""Each failed request is one line of the log at the default level, with its cause; what can't work is named before."""

import asyncio
import logging
import re
from pathlib import Path

import pytest
from aiohttp import web

from gaia_core import Agent, Catalog, ModelSpec, Runtime, scripted
from gaia_core.catalog import faults_of
from gaia_core.models import EndpointConfig, OpenEndpoints
from gaia_files import files
from gaia_http import Settings, create_app
from gaia_http.operations._health import CatalogHealth
from gaia_http.server._banner import greet

DEAD = "http://127.0.0.1:9/v1"
HI = [{"role": "user", "content": "Hi"}]
ASKED = [
    ("/v1/chat/completions", {"model": "a", "messages": HI}),
    ("/v1/chat/completions", {"model": "a", "messages": HI, "stream": True}),
    ("/v1/responses", {"model": "a", "input": "Hi"}),
    ("/v1/responses", {"model": "a", "input": "Hi", "stream": True}),
    ("/v1/messages", {"model": "a", "messages": HI, "max_tokens": 9}),
    ("/v1/messages", {"model": "a", "messages": HI, "max_tokens": 9, "stream": True}),
    ("/ollama/api/chat", {"model": "a", "messages": HI}),
    ("/ollama/api/chat", {"model": "a", "messages": HI, "stream": False}),
]


def dead(name: str = "dead", **options) -> ModelSpec:
    return ModelSpec(name, OpenEndpoints((EndpointConfig(url=DEAD, retries=0, **options),)))


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(("path", "body"), ASKED, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_turn_that_fails_is_one_line_on_every_surface(serve, caplog, path, body):
    server = await serve(agents=(Agent("a", model="dead"),), models={"dead": dead()})

    async with server.http.post(path, json=body) as response:
        await response.read()

    (line,) = warnings(caplog)
    assert re.match(r"turn turn_[0-9a-f]+ failed: connect: ", line)
    assert DEAD in line


async def test_an_answer_of_5xx_without_a_turn_is_one_line(serve, caplog, body):
    server = await serve("never")
    await server.runtime.drain(0)

    assert (await server.post(body()))[0] == 503

    (line,) = warnings(caplog)
    assert re.match(r"POST /v1/chat/completions 503 [0-9.]+ ms: draining: ", line)


async def test_what_nobody_foresaw_is_one_record_with_its_trace(serve, caplog, body):
    def fail(_request):
        raise RuntimeError("the cause")

    from gaia_core import ScriptedModel

    server = await serve(ScriptedModel(fail))

    assert (await server.post(body()))[0] == 500

    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert "the cause" in str(record.exc_info[1])


async def test_a_refused_host_or_origin_is_a_warning_that_names_the_option(serve, caplog):
    server = await serve()

    for header, value, option in (
        ("host", "gaia.example", "--allowed-host"),
        ("origin", "https://x.example", "--allowed-origin"),
    ):
        caplog.clear()
        async with server.http.get("/health", headers={header: value}) as response:
            assert response.status == 403
            assert option in await response.text()
        (line,) = warnings(caplog)
        assert option in line


async def test_what_a_client_got_wrong_is_no_warning(serve, caplog, body):
    server = await serve()
    caplog.set_level(logging.INFO)

    assert (await server.post(body(model="nobody")))[0] == 404
    assert (await server.post(data=b"{"))[0] == 400

    assert warnings(caplog) == []
    lines = [record for record in caplog.records if record.name == "gaia_http.access"]
    assert [record.status for record in lines] == [404, 400]
    assert "nobody" in lines[0].cause
    assert all(record.cause in record.getMessage() for record in lines)


async def test_faults_of_endpoints_keys_and_folders(tmp_path, monkeypatch):
    monkeypatch.delenv("A_KEY", raising=False)
    there, missing = files(tmp_path), files(tmp_path / "missing")
    catalog = Catalog.of(
        Agent("well", tools=there), Agent("lost", tools=missing.prefixed("x_") | there),
        models={"local": scripted(), "dead": dead(), "keyless": dead("keyless", api_key_env="A_KEY")},
    )  # fmt: skip

    found = {fault.source: fault for fault in await faults_of(catalog)}

    assert set(found) == {"models.dead", "models.keyless", "agents.lost"}
    assert DEAD in found["models.dead"].message
    assert found["models.dead"].brief == "its endpoint can't be reached"
    assert "A_KEY" in found["models.keyless"].message
    assert str(tmp_path / "missing") in found["agents.lost"].message
    for fault in found.values():
        assert DEAD not in fault.brief
        assert str(tmp_path) not in fault.brief


@pytest.mark.parametrize(
    ("status", "body", "model", "brief"),
    [
        (200, {"data": [{"id": "m"}]}, None, None),
        (200, {"data": []}, None, "its endpoint lists no model"),
        (200, {"data": []}, "m", None),
        (401, {"error": {"message": "no"}}, "m", "its endpoint refuses the key"),
        (404, {}, "m", None),
        (404, {}, None, "its endpoint does not list its models"),
        (500, {}, "m", "its endpoint does not list its models"),
    ],
)
async def test_what_an_endpoint_answers(answering, status, body, model, brief):
    url, _ = await answering(lambda: web.json_response(body, status=status))
    spec = ModelSpec("x", OpenEndpoints((EndpointConfig(url=url, model=model),)))

    found = await faults_of(Catalog.of(Agent("a", model="x"), models={"x": spec}))

    assert [fault.brief for fault in found] == ([brief] if brief else [])


async def test_a_fault_is_in_ready_and_logged_when_it_begins_and_when_it_is_over(answering, caplog):
    well = {"data": [{"id": "m"}]}
    answers = [well]
    url, asked = await answering(lambda: web.json_response(answers[-1]))
    spec = ModelSpec("x", OpenEndpoints((EndpointConfig(url=url),)))
    runtime = Runtime(Catalog.of(Agent("a", model="x"), models={"x": spec}))
    health = CatalogHealth(runtime)
    app = create_app(Settings(), runtime, health=health)

    async def ready() -> dict:
        from litestar.testing import AsyncTestClient

        async with AsyncTestClient(app, base_url="http://127.0.0.1") as client:
            response = await client.get("/ready")
            assert response.status_code == 200
            return response.json()

    async def looked_again() -> None:
        for _ in range(2):  # the second one begins when the first one's words are logged
            asked.clear()
            await asked.wait()

    assert await health.look() == ()
    watching = asyncio.create_task(health.watch(0.001))
    await looked_again()
    assert warnings(caplog) == []
    answers.append({"data": []})
    await looked_again()
    await looked_again()
    assert warnings(caplog) == [f"models.x: {url} lists no model; load one there, or set model"]
    answers.append(well)
    await looked_again()
    await looked_again()
    assert warnings(caplog)[1:] == ["models.x: no longer: its endpoint lists no model"]
    answers.append({"data": []})
    await looked_again()
    watching.cancel()
    await asyncio.wait((watching,))
    await health.look()
    assert await ready() == {"status": "ready", "problems": ["models.x: its endpoint lists no model"]}


@pytest.fixture
async def answering():
    """A model server that answers all with what *answer* gives; its URL, and an event for each request."""
    runners = []

    async def answering(answer) -> tuple[str, asyncio.Event]:
        asked = asyncio.Event()

        async def handle(_request: web.Request) -> web.Response:
            asked.set()
            return answer()

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runners.append(web.AppRunner(app, shutdown_timeout=0.1))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runners[-1].addresses[0][1]}/v1", asked

    yield answering
    for runner in runners:
        await runner.cleanup()


def test_the_page_says_what_is_logged():
    text = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text()
    assert "`gaia_http.access`" in text
    assert "`gaia_core.turn._turn_end`" in text


async def test_a_dead_endpoint_is_said_at_the_start():
    dead = ModelSpec("x", open=OpenEndpoints((EndpointConfig(url="http://127.0.0.1:9/v1", model="m"),)))
    catalog = Catalog.of(Agent("a", model="x"), models={"x": dead})
    said: list[str] = []

    greet(catalog, await faults_of(catalog), "http://127.0.0.1:4200", None, said.append, at_mcp=False)

    (problem,) = (line for line in said if "problem:" in line)
    assert problem.startswith("  problem: models.x: the model's endpoint http://127.0.0.1:9/v1 can't be reached")
