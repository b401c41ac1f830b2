"""The other routes, and the door before all of them."""

import asyncio
import logging

import pytest

from gaia_core import Agent, ModelSpec, Toolset, call, scripted, tool
from gaia_core.journal import MemoryJournal
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.models import EndpointLoad
from gaia_http import Settings, create_app

AGENTS = (Agent("org/coder:7b"), Agent("a"), Agent("spaced name"))


async def get(server, path: str, **options: object):
    from yarl import URL

    async with server.http.get(URL(f"{server.url}{path}", encoded=True), **options) as response:
        return response.status, response.headers, await response.json()


# Models.


async def test_agents_are_models_the_default_one_first(serve):
    server = await serve(agents=AGENTS)

    async with server.sdk() as client:
        models = [model async for model in client.models.list()]

    assert [model.id for model in models] == ["org/coder:7b", "a", "spaced name"]
    assert {(model.object, model.owned_by) for model in models} == {("model", "gaia")}
    assert {model.created for model in models} == {server.runtime.catalog.created}


@pytest.mark.parametrize("id", ["org/coder:7b", "org%2Fcoder%3A7b", "org%2fcoder:7b"])
async def test_a_model_by_its_id_encoded_or_not(serve, id):
    server = await serve(agents=AGENTS)

    assert (await get(server, f"/v1/models/{id}"))[2]["id"] == "org/coder:7b"


async def test_a_model_by_the_official_sdk(serve):
    server = await serve(agents=AGENTS)

    async with server.sdk() as client:
        assert (await client.models.retrieve("org/coder:7b")).id == "org/coder:7b"
        assert (await client.models.retrieve("spaced name")).id == "spaced name"


@pytest.mark.parametrize("id", ["b", "..%2Fa", "a%00", "%FF", "a/b"])
async def test_an_unknown_model(serve, id):
    server = await serve(agents=AGENTS)

    status, _, answer = await get(server, f"/v1/models/{id}")

    assert (status, answer["error"]["code"]) == (404, "model_not_found")


# Routes that are not there.


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nope", "/v1/chat", "/v1/chat/completions/x/y"])
async def test_unknown_paths_below_v1_have_the_envelope(serve, path):
    server = await serve()

    status, _, answer = await get(server, path)

    assert (status, answer["error"]["code"]) == (404, "unknown_url")


async def test_unknown_paths_elsewhere_have_plain_json(serve):
    server = await serve()

    status, _, answer = await get(server, "/nope")

    assert (status, answer) == (404, {"error": "there is no GET /nope", "code": "unknown_url"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/responses/compact", {"POST", "OPTIONS"}),
        ("DELETE", "/v1/chat/completions", {"GET", "POST", "OPTIONS"}),
        ("POST", "/v1/models", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_a_wrong_method_says_which_are_right(serve, method, path, allowed):
    server = await serve()

    async with server.http.request(method, path) as response:
        answer = await response.json()

    assert (response.status, answer["error"]["code"]) == (405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


async def test_options_says_what_a_route_takes(serve):
    server = await serve()

    async with server.http.options(f"{server.url}/v1/chat/completions") as response:
        assert (response.status, await response.read()) == (204, b"")
        assert set(response.headers["allow"].split(", ")) == {"GET", "POST", "OPTIONS"}


# Health, readiness, metrics.


async def test_health_reveals_nothing(serve):
    server = await serve(agents=AGENTS)

    assert (await get(server, "/health"))[2] == {"status": "ok"}
    async with server.http.head("/health") as response:
        assert response.status == 200


async def test_ready(serve):
    server = await serve()

    assert (await get(server, "/ready"))[2] == {"status": "ready"}


async def until(server, wanted: int, status: str = "") -> dict:
    """What /ready says as soon as its HTTP status is *wanted*, and its own *status*."""
    async with asyncio.timeout(60):
        while True:
            (code, _, found) = await get(server, "/ready")
            if code == wanted and status in found["status"]:
                return found
            await asyncio.sleep(0.005)


async def test_it_is_not_ready_while_its_journals_file_is_missing(serve, tmp_path, caplog):
    path = tmp_path / "gaia.db"
    server = await serve(journal=SQLiteJournal(path), ttl=0.1)
    assert await until(server, 200) == {"status": "ready"}
    path.rename(tmp_path / "kept.db")
    answer = await until(server, 503, "journal_lost")
    path.with_name("kept.db").rename(path)
    assert await until(server, 200) == {"status": "ready"}

    assert str(tmp_path) not in answer["reason"]
    said = [record.getMessage() for record in caplog.records]
    (lost, back) = [words for words in said if words.startswith("the journal's file")]
    assert f"the journal's file '{path}' was deleted or moved away while it was open" in lost
    assert back == "the journal's file is back in its place"


class BeatsLater(MemoryJournal):
    """Once `fails`, each heartbeat raises what nobody foresaw."""

    fails = False

    async def beat(self, *arguments, **options):
        if self.fails:
            raise RuntimeError("nobody foresaw this")
        return await super().beat(*arguments, **options)


async def test_it_is_not_ready_while_its_heartbeat_is_down(serve, caplog):
    journal = BeatsLater()
    server = await serve(journal=journal, ttl=0.1)
    assert await until(server, 200) == {"status": "ready"}
    journal.fails = True
    assert "gaia heartbeat failed and is restarted soon" in (await until(server, 503))["reason"]
    journal.fails = False
    assert await until(server, 200) == {"status": "ready"}

    logged = [record for record in caplog.records if "gaia heartbeat" in record.getMessage()]
    assert all("restarts in" in record.getMessage() and record.exc_info for record in logged)
    assert logged


async def test_metrics(serve, body):
    @tool(effects="read")
    async def now() -> str:
        """Tell the time."""
        return "noon"

    agent = Agent("a", tools=Toolset("t", (now,)))
    server = await serve(call("now"), "It is noon", agents=(agent,))
    await server.stream()
    await server.post(body() | {"model": "nope"})
    await get(server, "/v1/models/a")

    async with server.http.get("/metrics") as response:
        lines = (await response.text()).splitlines()

    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    for line in (
        'gaia_turns_total{status="completed"} 1.0',
        "gaia_turns_running 0.0",
        'gaia_model_slots{model="local"} 64.0',
        'gaia_model_slots_busy{model="local"} 0.0',
        'gaia_tool_calls_total{outcome="ok",tool="now"} 1.0',
        'gaia_http_requests_total{route="/v1/chat/completions",status="2xx"} 1.0',
        'gaia_http_requests_total{route="/v1/chat/completions",status="4xx"} 1.0',
        'gaia_http_requests_total{route="/v1/models/{model_id}",status="2xx"} 1.0',
        "gaia_http_streams_open 0.0",
        'gaia_turn_seconds_count{status="completed"} 1.0',
        'gaia_turn_seconds_bucket{le="+Inf",status="completed"} 1.0',
        'gaia_model_request_seconds_count{model="local"} 2.0',
        'gaia_first_token_seconds_count{model="local"} 1.0',
        'gaia_tool_seconds_count{tool="now"} 1.0',
        "gaia_journal_append_seconds_count 0.0",
    ):
        assert line in lines


async def test_metrics_know_what_the_journal_takes(serve, body):
    server = await serve("Hi.")
    async with server.http.post("/api/sessions", json={}) as response:
        session = (await response.json())["id"]
    async with server.http.post("/api/chat/send", json={"session_id": session, "message": "x"}) as response:
        await response.read()

    async with server.http.get("/metrics") as response:
        lines = (await response.text()).splitlines()

    counts = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
    assert counts["gaia_journal_records_total"] >= 2
    assert counts["gaia_journal_append_seconds_count"] >= 1
    assert counts['gaia_journal_append_seconds_bucket{le="0.1"}'] <= counts["gaia_journal_append_seconds_count"]


async def test_metrics_know_the_open_streams(serve, body, upstream):
    model = upstream()
    server = await serve(model=model)
    async with server.http.post("/v1/chat/completions", json=body(stream=True)) as stream:
        async with server.http.get("/metrics") as response:
            lines = (await response.text()).splitlines()
        model.go.set()
        await stream.read()

    assert "gaia_http_streams_open 1.0" in lines
    assert 'gaia_model_slots_busy{model="local"} 1.0' in lines


async def test_metrics_know_which_endpoints_are_left_alone(serve):
    model = scripted()
    model.endpoints = (EndpointLoad("http://127.0.0.1:1/v1"), EndpointLoad("http://127.0.0.1:2/v1", "open", 3))
    server = await serve(model=model)
    server.runtime.models.get("local")
    async with server.http.get("/metrics") as response:
        lines = (await response.text()).splitlines()

    assert 'gaia_model_endpoint_up{endpoint="http://127.0.0.1:1/v1",model="local"} 1.0' in lines
    assert 'gaia_model_endpoint_up{endpoint="http://127.0.0.1:2/v1",model="local"} 0.0' in lines


# The door.


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:4200", "127.0.0.1:1", "[::1]", "[::1]:4200", "localhost.:80"])
async def test_hosts_of_this_machine_may_enter(serve, host):
    server = await serve()

    assert (await get(server, "/health", headers={"host": host}))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:4200",
        "",
        "[::2]",
        "[::1].evil.example",
        "[::1]evil.example:80",
        "localhost:80@evil.example",
        "localhost:x",
        "localhost/x",
        "[::1",
    ],
)
async def test_other_hosts_may_not(serve, host):
    server = await serve()

    status, headers, answer = await get(server, "/v1/models", headers={"host": host})

    assert (status, answer["error"]["code"]) == (403, "host_not_allowed")
    assert repr(host) in answer["error"]["message"]
    assert "--allowed-host" in answer["error"]["message"]
    assert headers["x-request-id"]


async def test_hosts_can_be_allowed(serve):
    server = await serve(settings=Settings(allowed_hosts=("Gaia.Example",)))

    assert (await get(server, "/health", headers={"host": "gaia.example:443"}))[0] == 200
    assert (await get(server, "/health", headers={"host": "localhost"}))[0] == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1", 200),
        ("https://app.example", 200),
        ("https://evil.example", 403),
        ("https://localhost.evil.example", 403),
        ("null", 403),
    ],
)
async def test_pages_of_other_sites_may_not_call(serve, origin, status):
    server = await serve(settings=Settings(allowed_origins=("https://app.example",)))

    assert (await get(server, "/health", headers={"origin": origin}))[0] == status


@pytest.mark.parametrize("headers", [{f"x-{n}": "y" for n in range(1_000)}, {f"x-{n}": "y" * 7_000 for n in range(10)}])
async def test_headers_are_bounded(serve, headers):
    server = await serve()

    status, _, answer = await get(server, "/v1/models", headers=headers)

    assert (status, answer["error"]["code"]) == (431, "headers_too_large")
    assert (await get(server, "/health"))[0] == 200


async def raw(server, data: bytes) -> bytes:
    """What comes back on a connection that says *data* and no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


async def test_headers_without_end_are_cut_off(serve):
    server = await serve(settings=Settings(max_header_bytes=5_000))

    answer = await raw(server, b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 10_000)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"headers_too_large"' in answer


async def test_headers_that_trickle_are_cut_off(serve):
    server = await serve(head_seconds=0.02)

    answer = await raw(server, b"GET /health HTTP/1.1\r\nhost: loc")

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert await raw(server, b"") == b""


async def test_the_time_of_a_head_is_for_each_request(serve, loop_clock):
    server = await serve(head_seconds=60.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(3):
        writer.write(b"GET /health HTTP/1.1\r\n")
        await asyncio.sleep(0)
        loop_clock.advance(40.0)
        writer.write(b"host: localhost\r\n\r\n")
        assert (await reader.readuntil(b'{"status":"ok"}')).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_the_size_of_a_head_is_for_each_request(serve):
    server = await serve("one", settings=Settings(max_header_bytes=1_000))
    long = b"POST /v1/nope HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000\r\n\r\n" + b"x" * 4_000
    last = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"

    answer = await raw(server, long * 3 + last)

    assert answer.count(b"HTTP/1.1 404 ") == 3
    assert answer.count(b"HTTP/1.1 200 ") == 1


async def test_every_response_has_a_request_id(serve, body):
    server = await serve("one", "two")

    ids = set()
    for path in ("/health", "/v1/models", "/v1/nope", "/nope"):
        ids.add((await get(server, path))[1]["x-request-id"])
    ids.add((await server.post(body()))[1]["x-request-id"])
    async with server.http.post("/v1/chat/completions", json=body(stream=True)) as response:
        ids.add(response.headers["x-request-id"])
        await response.read()

    assert len(ids) == 6


@pytest.mark.parametrize(("given", "kept"), [("my-id.1", True), ("x" * 129, False), ("a b", False)])
async def test_a_clients_request_id_is_kept_when_it_is_valid(serve, given, kept):
    server = await serve()

    _, headers, _ = await get(server, "/health", headers={"x-request-id": given})

    assert (headers["x-request-id"] == given) is kept


async def test_requests_are_logged_in_a_line_without_their_query(serve, caplog):
    server = await serve()
    with caplog.at_level(logging.INFO, logger="gaia_http.access"):
        await get(server, "/health?key=secret")

    assert "GET /health 200" in caplog.text
    assert "secret" not in caplog.text


async def test_what_nobody_foresaw_is_an_envelope_and_a_trace_in_the_log(serve, caplog, monkeypatch):
    server = await serve()

    def fails() -> None:
        raise ZeroDivisionError("the password is hunter2")

    monkeypatch.setattr(server.runtime, "stats", fails)
    async with server.http.get("/metrics") as response:
        text = await response.text()

    assert response.status == 500
    assert "hunter2" not in text
    assert "hunter2" in caplog.text


# Applications.


async def test_two_applications_in_one_process_share_nothing(serve, body):
    one = await serve("one", agents=(Agent("a"), Agent("only-one")))
    two = await serve("two")

    first, second = await asyncio.gather(one.post(body()), two.post(body()))

    assert first[2]["choices"][0]["message"]["content"] == "one"
    assert second[2]["choices"][0]["message"]["content"] == "two"
    assert (await get(two, "/v1/models/only-one"))[0] == 404
    for server in (one, two):
        async with server.http.get("/metrics") as response:
            assert 'gaia_turns_total{status="completed"} 1.0' in await response.text()


async def test_making_an_application_starts_nothing():
    from gaia_core import Catalog, ModelSpec, Runtime

    opened = []
    spec = ModelSpec("local", open=lambda: opened.append(1))
    runtime = Runtime(Catalog.of(Agent("a"), models={"local": spec}))

    create_app(Settings(), runtime)

    assert not opened
    assert not runtime.accepting


def test_the_application_starts_without_what_few_requests_need():
    """Each takes 40 to 400 ms to import."""
    import subprocess
    import sys

    few = ("aiohttp", "jsonschema_rs", "pypdf")
    loaded = "import sys, gaia_http.server.serve_command, gaia_http._app"
    code = f"{loaded}; print([name for name in {few} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert out.stdout.strip() == "[]"


async def test_it_is_not_ready_while_its_embedded_model_is_not(serve, tmp_path):
    from gaia_core.models.embedded import EmbeddedModel

    model = EmbeddedModel(tmp_path / "missing.gguf", environ={"XDG_CACHE_HOME": str(tmp_path)})
    spec = ModelSpec("own", open=lambda: model, kind="embedded")
    server = await serve(agents=(Agent("a", model="own"),), models={"own": spec})

    async with server.http.get("/ready") as response:
        answer = await response.json()

    assert (response.status, answer["status"]) == (503, "model_not_ready")
    assert answer["reason"].startswith("the embedded model is ")
    assert "missing.gguf" not in str(answer)  # whoever asks has shown no key


async def test_what_its_embedded_model_lacks_is_said_wherever_somebody_asks(serve, runtime, noise, tmp_path):
    from gaia_core.models.embedded import EmbeddedModel

    missing = "libgomp.so.1: cannot open shared object file: No such file or directory"
    runtime(f"raise ImportError({missing!r})")
    model = EmbeddedModel(noise, libraries=(), environ={"GAIA_CACHE": str(tmp_path)})
    spec = ModelSpec("own", open=lambda: model, kind="embedded")
    server = await serve(agents=(Agent("a", model="own"),), models={"own": spec})
    asked = {"model": "a", "messages": [{"role": "user", "content": "Hi"}]}

    await server.post(asked)  # which begins to start it
    async with asyncio.timeout(30):
        async for state in model.states():
            if state.phase == "failed":
                break
    answers = [await server.post(asked | {"stream": stream}) for stream in (False, True)]
    async with server.http.post("/v1/responses", json={"model": "a", "input": "Hi"}) as response:
        answers.append((response.status, response.headers, await response.json()))
    async with server.http.get("/ready") as response:
        ready = await response.json()
    async with server.http.get("/api/system/status") as response:
        status = await response.json()

    for code, headers, answer in answers:
        assert code == 503, answer
        assert headers["x-should-retry"] == "false"
        assert answer["error"]["code"] == "model_not_ready"
        assert "libgomp.so.1 is missing on this system" in answer["error"]["message"]
    assert ready["status"] == "model_not_ready"
    assert (status["lemonade_running"], status["init_tasks"][1]["status"]) == (False, "failed")
    for said in (answers[0][2]["error"]["message"], ready["reason"], status["model_error"]):
        assert "apt-get install libgomp1" in said
        assert str(tmp_path) not in said
