"""The door with keys: who enters, how, and what those hear who do not."""

import base64
import io
import re

import aiohttp
import openai
import pytest
from click.testing import CliRunner

from gaia_core import ConfigError
from gaia_http import Settings, create_app
from gaia_http.keys import Allowances, Keyring
from gaia_http.server.serve_command import serve as serve_command

PLAIN = "a-plain-key-of-some-length"


def basic(secret: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(f'me:{secret}'.encode()).decode()}"}


async def ask(server, path: str, headers: dict | None = None, method: str = "GET", **options: object):
    async with server.http.request(method, path, headers=headers, **options) as response:
        return response.status, response.headers, await response.json()


async def test_the_official_sdk_with_a_key(serve, room):
    server = await serve("Hello", keyring=room.ring())
    secret = room.make("mine")

    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=secret, max_retries=0) as client:
        got = await client.chat.completions.create(model="a", messages=[{"role": "user", "content": "Hi"}])
    assert got.choices[0].message.content == "Hello"

    async with server.sdk() as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")


async def test_each_way_to_bring_a_key(serve, room, bearer):
    secret = room.make("mine")
    server = await serve(keyring=room.ring())

    ways = (
        bearer(secret),
        {"authorization": f"bearer   {secret} "},
        {"x-api-key": secret},
        basic(secret),
    )
    for headers in ways:
        assert (await ask(server, "/v1/models", headers))[0] == 200, headers
        assert (await ask(server, "/api/sessions", headers))[0] == 200, headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer wrong"},
        {"authorization": "Digest x"},
        {"authorization": "Basic !"},
        {"authorization": "Basic eA=="},
        {"authorization": "Bearer " + "x" * 10_000},
        {"authorization": "Bearer ünicode"},
        {"x-api-key": "wrong"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/api/sessions", "/metrics", "/api/openapi.json", "/nope", "/v1/nope"])
async def test_nothing_is_told_without_a_key(serve, room, headers, path):
    room.make("mine")
    server = await serve(keyring=room.ring())

    status, got, answer = await ask(server, path, headers)

    assert status == 401
    assert got["www-authenticate"].startswith('Bearer realm="gaia"')
    assert got["x-request-id"]
    text = str(answer)
    assert "gaia keys create" in text
    assert "wrong" not in text
    if path.startswith("/v1"):
        assert answer["error"]["code"] == "invalid_api_key"
        assert set(answer["error"]) == {"message", "type", "param", "code"}
    elif path.startswith("/api"):
        assert set(answer) == {"detail"}
    else:
        assert answer["code"] == "invalid_api_key"


async def test_a_wrong_key_before_a_right_one_is_wrong(serve, room, bearer):
    secret = room.make("mine")
    server = await serve(keyring=room.ring())

    assert (await ask(server, "/v1/models", bearer("wrong") | {"x-api-key": secret}))[0] == 401


async def test_browsers_are_asked_for_a_key_and_programs_are_not(serve, room, bearer):
    room.make("mine")
    server = await serve(keyring=room.ring())

    async def schemes(path: str, headers: dict | None = None) -> list[str]:
        _, got, _ = await ask(server, path, headers)
        return [each.split()[0] for each in got.getall("www-authenticate")]

    assert await schemes("/api/sessions") == ["Bearer", "Basic"]
    assert await schemes("/") == ["Bearer", "Basic"]
    assert await schemes("/api/sessions", basic("wrong")) == ["Bearer", "Basic"]
    assert await schemes("/api/sessions", bearer("wrong")) == ["Bearer"]
    assert await schemes("/v1/models") == ["Bearer"]


async def test_health_and_readiness_need_no_key(serve, room):
    room.make("mine")
    server = await serve(keyring=room.ring())

    assert (await ask(server, "/health"))[2] == {"status": "ok"}
    assert (await ask(server, "/ready"))[2] == {"status": "ready"}


async def test_the_page_needs_a_key_too(serve, room, tmp_path, bearer):
    secret = room.make("mine")
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("<p>The page</p>")
    server = await serve(keyring=room.ring(), settings=Settings(ui_dist=tmp_path / "dist"))

    assert (await ask(server, "/"))[0] == 401
    async with server.http.get("/", headers=basic(secret)) as response:
        assert await response.text() == "<p>The page</p>"


async def test_a_revoked_key_opens_nothing_more(serve, room, bearer):
    secret = room.make("mine")
    server = await serve(keyring=room.ring())
    assert (await ask(server, "/v1/models", bearer(secret)))[0] == 200

    room.revoke("mine")

    assert (await ask(server, "/v1/models", bearer(secret)))[0] == 401


async def test_a_stream_ends_when_its_key_is_revoked(serve, room, bearer, body, upstream):
    secret = room.make("mine")
    model = upstream()
    server = await serve(model=model, keyring=room.ring(), settings=Settings(heartbeat_seconds=0.01))
    request = server.http.post("/v1/chat/completions", json=body(stream=True), headers=bearer(secret))
    async with request as stream:
        await model.began.wait()
        room.revoke("mine")
        with pytest.raises(aiohttp.ClientPayloadError):  # no answer that was cut looks complete
            await stream.read()
    await model.closed.wait()


async def test_a_wrong_key_is_refused_before_the_body_is_read(serve, room):
    room.make("mine")
    server = await serve(keyring=room.ring())

    status, _, answer = await ask(server, "/v1/chat/completions", method="POST", data=io.BytesIO(b"x" * 3_000_000))

    assert (status, answer["error"]["code"]) == (401, "invalid_api_key")


async def test_as_long_as_there_is_no_key_none_is_asked_for(serve, room):
    server = await serve(keyring=room.ring())

    assert (await ask(server, "/v1/models"))[0] == 200
    assert (await ask(server, "/v1/models", {"authorization": "Bearer unused"}))[0] == 200
    room.make("mine")
    assert (await ask(server, "/v1/models"))[0] == 401


# Names of the server, and pages of others.


async def test_behind_keys_a_server_of_the_network_goes_by_any_name(serve, room, bearer):
    headers = bearer(room.make("mine")) | {"host": "gaia.lan:4200"}

    wide = await serve(keyring=room.ring(), settings=Settings(host="0.0.0.0"))
    named = await serve(keyring=room.ring(), settings=Settings(host="0.0.0.0", allowed_hosts=("gaia.example",)))
    narrow = await serve(keyring=room.ring())

    assert (await ask(wide, "/v1/models", headers))[0] == 200
    assert (await ask(wide, "/v1/models", {"host": "gaia.lan:4200"}))[0] == 401
    assert (await ask(named, "/v1/models", headers))[0] == 403
    assert (await ask(named, "/v1/models", headers | {"host": "gaia.example"}))[0] == 200
    assert (await ask(narrow, "/v1/models", headers))[0] == 403


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("gaia.lan:4200", "http://gaia.lan:4200", 200),
        ("Gaia.lan", "https://gaia.lan", 200),
        ("gaia.lan:443", "https://gaia.lan", 200),
        ("[::1]:4200", "http://[::1]:4200", 200),
        ("[::1]", "http://[::1]:80", 200),
        ("gaia.lan:4200", "http://gaia.lan:3000", 403),
        ("gaia.lan:4200", "http://evil.example", 403),
        ("gaia.lan:4200", "null", 403),
        ("gaia.lan:4200", "", 403),
        ("gaia.lan:4200", "https://app.example", 200),
    ],
)
async def test_with_keys_only_the_servers_own_pages_and_allowed_ones_may_call(
    serve, room, bearer, host, origin, status
):
    settings = Settings(host="0.0.0.0", allowed_origins=("https://app.example",))
    server = await serve(keyring=room.ring(), settings=settings)
    headers = bearer(room.make("mine")) | {"host": host, "origin": origin}

    assert (await ask(server, "/v1/models", headers))[0] == status
    assert (await ask(server, "/api/sessions", headers, method="POST", json={}))[0] == status


# CORS.

PAGE = {"origin": "https://app.example"}
ASKS = PAGE | {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
ALLOWING = Settings(allowed_origins=("https://app.example",))


async def test_a_browser_that_asks_first_is_answered_without_a_key(serve, room):
    room.make("mine")
    server = await serve(keyring=room.ring(), settings=ALLOWING)

    async with server.http.options("/v1/chat/completions", headers=ASKS) as response:
        assert (response.status, await response.read()) == (204, b"")
    assert response.headers["access-control-allow-origin"] == "https://app.example"
    assert response.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in response.headers["access-control-allow-methods"].split(", ")
    assert response.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in response.headers


async def test_an_allowed_page_can_read_answers_and_errors(serve, room, bearer):
    secret = room.make("mine")
    server = await serve(keyring=room.ring(), settings=ALLOWING)

    for headers, status in ((bearer(secret), 200), ({}, 401)):
        got, seen, _ = await ask(server, "/v1/models", PAGE | headers)
        assert (got, seen["access-control-allow-origin"]) == (status, "https://app.example")
        assert "retry-after" in seen["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil.example", "null"])
async def test_other_pages_are_told_nothing(serve, origin):
    server = await serve(settings=ALLOWING)

    async with server.http.options("/v1/chat/completions", headers=ASKS | {"origin": origin}) as response:
        assert response.status == 403
    assert "access-control-allow-origin" not in response.headers


async def test_without_allowed_origins_there_is_no_cors(serve):
    server = await serve()

    for headers in ({}, {"origin": "http://localhost:3000"}):
        _, seen, _ = await ask(server, "/v1/models", headers)
        assert not [name for name in seen if name.lower().startswith("access-control")]


# WebSockets, as a server of ASGI brings them.


async def knock(keyring: Keyring, headers: list, *, extensions: dict | None = None, path: str = "/v1/responses"):
    """What the door says to a handshake."""
    from gaia_core import Agent, Catalog, Runtime, scripted

    allowances = Allowances(keyring)
    runtime = Runtime(Catalog.of(Agent("a"), models={"local": scripted()}), quota=allowances)
    app = create_app(Settings(), runtime, allowances)
    sent = []
    waiting = [{"type": "websocket.connect"}]

    async def receive():
        return waiting.pop(0) if waiting else {"type": "websocket.disconnect", "code": 1000}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": path, "headers": headers, "extensions": extensions, "state": {}}
    scope |= {"query_string": b"", "raw_path": path.encode(), "root_path": "", "scheme": "ws", "subprotocols": []}
    await app.asgi_handler(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([(b"authorization", b"Bearer wrong")], 401),
        ([(b"host", b"evil.example")], 403),
        ([(b"host", b"localhost"), (b"origin", b"https://evil.example")], 403),
    ],
)
async def test_a_websocket_is_refused_as_a_request_is(room, headers, status):
    room.make("mine")

    start, answer = await knock(room.ring(), headers, extensions={"websocket.http.response": {}})
    (closed,) = await knock(room.ring(), headers)

    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert answer["type"] == "websocket.http.response.body"
    assert b'"error":{' in answer["body"]
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("*", "would let every web page call this server; name each origin"),
        ("null", "is the origin of every sandboxed frame and local file"),
        ("NULL", "is the origin of every sandboxed frame and local file"),
        ("https://*.example", "is no origin"),
        ("https://*", "is no origin"),
        ("app.example", "is no origin: give a scheme, a name and a port only, such as https://app.example:8443"),
        ("https://app.example/", "is no origin"),
        ("https://me@app.example", "is no origin"),
        ("https://app.example https://b.example", "is no origin"),
        ("file://", "is no origin"),
        ("", "is no origin"),
    ],
)
def test_an_origin_that_would_let_others_in_is_refused(origin, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as raised:
        Settings(allowed_origins=("https://fine.example", origin))
    assert f"allowed_origins (--allowed-origin): {origin.lower()!r}" in str(raised.value)

    result = CliRunner().invoke(serve_command, ["--allowed-origin", origin])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: allowed_origins (--allowed-origin)")


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example",
        "http://localhost:3000",
        "http://[::1]:3000",
        "chrome-extension://abcdef",
        "tauri://localhost",
    ],
)
def test_an_origin_is_accepted(origin):
    assert Settings(allowed_origins=(origin,)).allowed_origins == (origin,)
