"""The server itself: health, the machine, settings, agents, the OpenAPI document, what happens to sessions, live."""

import asyncio
import json
import re

import pytest
from aiohttp import web

from gaia_core import Agent, ApprovalPolicy, Catalog, ModelSpec, Runtime, Toolset, tool
from gaia_core.models import Endpoint, EndpointConfig, OpenEndpoints
from gaia_http import Settings, create_app
from gaia_http.door._envelope import OLLAMA
from gaia_http.ui._model_state import ModelState, state_of


@tool(effects="write")
async def save(name: str) -> str:
    """Save."""
    return name


CAREFUL = Agent(
    "a", description="Saves.", tools=Toolset("t", (save,)), approvals=ApprovalPolicy(effects={"write"}, timeout=1)
)


# What the server says of itself.


async def test_health_counts_what_there_is(ui):
    client = await ui("Hello")
    await client.send(await client.session())
    await client.session(private=True)

    health = await client.get("/api/health")

    assert (health["status"], health["stats"]) == ("ok", {"sessions": 2, "messages": 2, "documents": 0})
    assert re.fullmatch(r"\d+(\.\d+)*", health["version"])


async def test_the_status_of_a_machine_without_an_endpoint(ui):
    client = await ui(model=Endpoint(EndpointConfig(url="http://127.0.0.1:9/v1", model="m")))

    status = await client.get("/api/system/status")

    assert status["lemonade_running"] is False
    assert status["model_loaded"] is None
    assert status["lemonade_url"] == "http://127.0.0.1:9/v1"
    assert status["default_model_name"] == "m"
    assert status["disk_space_gb"] > 0
    assert status["gpu_name"] is None


@pytest.fixture
async def endpoint():
    """The configuration of a model server that answers."""

    async def models(request):
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield EndpointConfig(url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1", model="m")
    await runner.cleanup()


async def test_the_status_of_a_machine_whose_endpoint_answers(ui, endpoint):
    client = await ui(model=Endpoint(endpoint))

    status = await client.get("/api/system/status")
    settings = await client.get("/api/settings")

    assert (status["lemonade_running"], status["model_loaded"]) == (True, "m")
    assert settings["model_status"] == {"found": True, "downloaded": True, "loaded": True}


async def test_a_model_with_several_endpoints_answers_when_one_does(endpoint):
    dead = EndpointConfig(url="http://127.0.0.1:9/v1", model="d")

    async def state(*configs: EndpointConfig) -> ModelState:
        spec = ModelSpec("local", OpenEndpoints(configs))
        return await state_of(Runtime(Catalog.of(Agent("a"), models={"local": spec})), spec)

    assert await state(dead, endpoint) == ModelState(True, "m", endpoint.base, downloaded=True)
    assert await state(dead) == ModelState(False, "d", dead.base)


async def test_an_embedded_model_says_how_far_it_is(tmp_path):
    from gaia_core.models.embedded import EmbeddedModel

    model = EmbeddedModel(tmp_path / "missing.gguf", environ={"XDG_CACHE_HOME": str(tmp_path)})
    spec = ModelSpec("local", open=lambda: model, kind="embedded")
    async with Runtime(Catalog.of(Agent("a"), models={"local": spec})) as runtime:
        runtime.models.get("local")
        async with asyncio.timeout(60):
            async for each in model.states():
                if each.phase == "failed":
                    break
        state = await state_of(runtime, spec)

    assert (state.answers, state.downloaded, state.task.status) == (False, False, "failed")
    assert "missing.gguf" in state.task.error


async def test_start_up_jobs(ui):
    client = await ui()

    assert await client.get("/api/system/tasks") == {
        "tasks": [{"id": "start", "name": "Start the server", "status": "completed", "error": None}]
    }


async def test_what_this_version_does_not_have_is_said_honestly(ui):
    client = await ui()

    assert (await client.get("/api/tunnel/status"))["active"] is False
    assert await client.get("/api/mcp/servers") == []
    assert await client.get("/api/mcp/status") == {"servers": []}


# Settings.


async def test_settings_are_kept_where_there_is_a_folder(ui, tmp_path):
    folder = tmp_path / "data"
    client = await ui(settings=Settings(data=folder))
    before = await client.get("/api/onboarding/status")
    await client.ask("PUT", "/api/settings", {"custom_model": "big", "agent_mode": "x"})
    await client.post("/api/onboarding/complete")
    await client.ask("PUT", "/api/settings", {"agent_mode": None})

    again = await ui(settings=Settings(data=folder))
    settings, after = await again.get("/api/settings"), await again.get("/api/onboarding/status")

    assert before == {"initialized": False, "skipped": False, "completed_at": None}
    assert (settings["custom_model"], settings["agent_mode"]) == ("big", None)
    assert settings["model_status"] == {"found": False, "downloaded": None, "loaded": False}
    assert (after["initialized"], "T" in after["completed_at"]) == (True, True)
    assert [path.name for path in folder.iterdir()] == ["ui.json"]


async def test_settings_of_two_applications_are_apart(ui):
    one, two = await ui(), await ui()
    await one.ask("PUT", "/api/settings", {"context_size": 4096})

    assert (await two.get("/api/settings"))["context_size"] is None


async def test_settings_that_can_not_be_read_are_not_used(ui, tmp_path, caplog):
    (tmp_path / "ui.json").write_text("{")
    client = await ui(settings=Settings(data=tmp_path))

    assert (await client.get("/api/settings"))["custom_model"] is None
    assert "ui.json" in caplog.text


@pytest.mark.parametrize("body", [{"context_size": 0}, {"custom_model": 5}, {"dynamic_tools": "no"}])
async def test_a_setting_that_does_not_fit(ui, body):
    client = await ui()

    status, answer, _ = await client.ask("PUT", "/api/settings", body)

    assert status == 422
    assert next(iter(body)) in answer["detail"]


# Agents.


async def test_agents_with_their_tools(ui):
    client = await ui(agents=(CAREFUL, Agent("b")))

    listed = await client.get("/api/agents")
    one = await client.get("/api/agents/a")

    assert ([agent["id"] for agent in listed["agents"]], listed["total"]) == (["a", "b"], 2)
    assert one == listed["agents"][0]
    assert one["fingerprint"] == CAREFUL.fingerprint
    assert one["tools"] == [
        {"name": "save", "description": "Save.", "effects": ["write"], "approval": "save may write"}
    ]
    assert (one["tools_count"], one["models"], one["description"]) == (1, ["local"], "Saves.")


async def test_an_unknown_agent_is_answered_with_the_nearest(ui):
    client = await ui(agents=(Agent("writer"),))

    status, answer, _ = await client.ask("GET", "/api/agents/writter")

    assert status == 404
    assert "'writer'" in answer["detail"]


# Paths.


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nope", "/api/documents", "/api/files/browse", "/api/chat/nope"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_is_a_404_with_its_detail(ui, method, path):
    client = await ui()

    status, answer, headers = await client.ask(method, path)

    assert status == 404
    assert list(answer) == ["detail"]
    assert headers["content-type"] == "application/json"


async def test_a_method_that_a_path_does_not_take(ui):
    client = await ui()

    status, answer, headers = await client.ask("DELETE", "/api/health")

    assert (status, list(answer)) == (405, ["detail"])
    assert "GET" in headers["allow"]


async def test_head_is_get_without_a_body(ui):
    client = await ui()

    async with client.server.http.head("/api/health") as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_a_page_of_another_site_may_not_call(ui):
    client = await ui()

    status, answer, _ = await client.ask("POST", "/api/sessions", {}, headers={"origin": "https://evil.example"})

    assert status == 403
    assert list(answer) == ["detail"]


# The document.


CONTRACT = """
GET /api/health · GET /api/system/status · GET /api/system/tasks · GET /api/settings · PUT /api/settings
GET /api/onboarding/status · POST /api/onboarding/complete · GET /api/tunnel/status
GET /api/agents · GET /api/agents/{id} · GET /api/mcp/servers · GET /api/mcp/status
GET /api/sessions · POST /api/sessions · GET /api/sessions/{id} · PUT /api/sessions/{id} · DELETE /api/sessions/{id}
PATCH /api/sessions/{id}/private · GET /api/sessions/{id}/messages · DELETE /api/sessions/{id}/messages/{mid}
DELETE /api/sessions/{id}/messages/{mid}/and-below · POST /api/sessions/{id}/head · POST /api/sessions/{id}/fork
GET /api/sessions/{id}/export · POST /api/sessions/import · GET /api/sessions/events
POST /api/sessions/{id}/activate · POST /api/chat/send · POST /api/chat/confirm-tool · POST /api/chat/user-input
POST /api/chat/cancel · GET /api/chat/active · GET /api/chat/attach
"""


async def test_the_document_describes_every_route_and_nothing_else(ui):
    client = await ui()
    document = await client.get("/api/openapi.json")

    described = {f"{method.upper()} {path}" for path, each in document["paths"].items() for method in each}
    served = {
        f"{method} {route.path_format.replace(':str', '')}"
        for route in create_app(Settings(), client.server.runtime).routes
        for method in route.methods - {"HEAD", "OPTIONS"}
        if route.path.startswith("/api/") and route.path.removeprefix("/api/") not in OLLAMA
    }

    assert described == {each.strip() for each in re.split("·|\n", CONTRACT) if each.strip()}
    assert described | {"GET /api/openapi.json"} == served


async def test_the_document_is_one(ui):
    document = await (await ui()).get("/api/openapi.json")
    text = json.dumps(document)

    assert document["openapi"].startswith("3.1")
    references = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert references <= set(document["components"]["schemas"])
    operations = [operation for each in document["paths"].values() for operation in each.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)
    example = document["paths"]["/api/chat/send"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert set(example) >= {"session_id", "message"}


async def test_the_documents_examples_fit_their_schemas(ui):
    import msgspec

    from gaia_http.operations._metrics import HttpCounts
    from gaia_http.ui import ui_routes

    client = await ui()
    for route in ui_routes(Settings(), client.server.runtime, HttpCounts()):
        if route.example is not None:
            encoded = msgspec.json.encode(route.example)
            assert msgspec.json.decode(encoded, type=route.body) == route.example


# What happens to sessions.


async def test_what_happens_to_sessions_is_told(ui):
    client = await ui("Hello")
    async with client.stream("GET", "/api/sessions/events") as frames:
        session = await client.session()
        await client.send(session)
        await client.post(f"/api/sessions/{session}/activate")
        await client.ask("DELETE", f"/api/sessions/{session}")
        told = []
        async for _, data in frames:
            assert data["session_id"] == session
            told.append(data["type"])
            if data["type"] == "session_deleted":
                break

    kinds = [kind for kind in told if kind != "session_updated"]
    assert kinds == ["turn_started", "turn_ended", "set_active_session", "session_deleted"]
    assert told[0] == "session_updated"


async def test_an_idle_watcher_gets_comments_and_ends_with_the_server(ui):
    client = await ui(settings=Settings(heartbeat_seconds=0.02))
    async with client.server.http.get("/api/sessions/events") as response:
        assert (await response.content.readuntil(b"\n\n")).startswith(b": ")
        await client.server.runtime.aclose()
        async with asyncio.timeout(60):
            await response.read()


async def test_a_watcher_that_goes_is_forgotten(ui):
    client = await ui()
    async with client.stream("GET", "/api/sessions/events"):
        assert len(client.server.runtime.feed._watchers) == 1
    async with asyncio.timeout(60):
        while client.server.runtime.feed._watchers:
            await asyncio.sleep(0.01)
