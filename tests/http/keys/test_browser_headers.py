"""What browsers may do with answers: the headers on every answer of every route, and on every file of a page."""

import base64
import hashlib
import re

import pytest

from gaia_core import Agent
from gaia_http import Settings, create_app
from gaia_http.door._security_headers import page_policy
from gaia_http.mcp._exposed_tools import ExposedTools

INLINE = "document.documentElement.dataset.theme = 'dark' && '<b>'"
INDEX = (
    "<!doctype html><title>Page</title>"
    f'<script>{INLINE}</script><script type="module" src="/assets/index-B4x7Qz1k.js"></script>'
)
BROWSER = {"accept": "text/html,application/xhtml+xml"}
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
FILES = {
    "index.html": (INDEX, "text/html; charset=utf-8"),
    "help.html": ("<p>Help", "text/html; charset=utf-8"),
    "HELP.HTML": ("<p>Help", "text/html; charset=utf-8"),
    "assets/index-B4x7Qz1k.js": ("let a = 1", "text/javascript; charset=utf-8"),
    "assets/style.css": ("a {}", "text/css; charset=utf-8"),
    "assets/logo.svg": ("<svg onload='alert(1)'/>", "image/svg+xml"),
    "data.json": ("{}", "application/json"),
    "notes.txt": ("<script>alert(1)</script>", "text/plain; charset=utf-8"),
    "doc.pdf": ("%PDF", "application/pdf"),
    "page.xhtml": ("<html/>", "application/octet-stream"),
    "unknown": ("<html>", "application/octet-stream"),
}


@pytest.fixture
def dist(tmp_path):
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    for name, (text, _) in FILES.items():
        (folder / name).write_text(text)
    return folder


def check(headers, policy: str = DATA_POLICY) -> None:
    for name, value in (*ALWAYS.items(), ("content-security-policy", policy)):
        assert headers.getall(name) == [value], name


@pytest.mark.parametrize("name", FILES)
async def test_every_file_of_a_page(serve, dist, name):
    server = await serve(settings=Settings(ui_dist=dist))
    text, kind = FILES[name]
    policy = page_policy(text.encode() if kind.startswith("text/html") else b"").decode()

    async with server.http.get(f"/{name}") as response:
        assert (response.status, response.headers["content-type"]) == (200, kind)
        check(response.headers, policy)
    known = {"if-none-match": response.headers["etag"]}
    for method, headers in (("HEAD", {}), ("GET", known), ("HEAD", known)):
        async with server.http.request(method, f"/{name}", headers=headers) as again:
            check(again.headers, policy)


@pytest.mark.parametrize("path", ["/", "/index.html", "/chat", "/chat/5f1c/settings"])
async def test_every_address_of_the_page_is_its_document(serve, dist, path):
    server = await serve(settings=Settings(ui_dist=dist))

    async with server.http.get(path, headers=BROWSER) as response:
        assert response.headers["content-type"].startswith("text/html")
        check(response.headers, page_policy(INDEX.encode()).decode())


async def test_what_the_page_does_not_have(serve, dist):
    server = await serve(settings=Settings(ui_dist=dist))

    for method, path, status in (("GET", "/nope.js", 404), ("POST", "/chat", 405)):
        async with server.http.request(method, path) as response:
            assert response.status == status
            check(response.headers)


def test_a_page_may_run_the_inline_scripts_that_it_was_built_with_and_no_other():
    policy = page_policy(INDEX.encode()).decode()
    digest = base64.b64encode(hashlib.sha256(INLINE.encode()).digest()).decode()

    assert f"script-src 'self' 'wasm-unsafe-eval' 'sha256-{digest}'" in policy
    assert policy.count("sha256-") == 1
    script = policy.partition("script-src")[2]
    assert "unsafe-inline" not in script
    assert "'unsafe-eval'" not in script


def test_a_page_loads_nothing_from_elsewhere_and_is_framed_by_nobody():
    directives = dict(each.split(" ", 1) for each in page_policy().decode().split("; "))

    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == "'none'"
    assert directives["connect-src"] == "'self'"
    assert not re.search(r"https?:|\*", page_policy().decode())


@pytest.mark.parametrize("html", [b"<script>", b"<script", b"\xff<script>a</script>", b"<!--<script>a</script>"])
def test_broken_html_is_no_trouble(html):
    assert page_policy(html).startswith(b"default-src 'none'")


async def test_every_answer_of_every_route(serve):
    server = await serve("Hello", agents=(Agent("a"),), mcp=ExposedTools())
    app = create_app(Settings(), server.runtime, mcp=ExposedTools())
    asked = 0

    for route in app.routes:
        path = re.sub(r"\{[^}]+\}", "x", route.path)
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "BREW"):
            async with server.http.request(method, path, json={} if method == "POST" else None) as response:
                check(response.headers)
            asked += 1

    assert asked > 200


async def test_answers_of_any_kind(serve, room, bearer):
    server = await serve("Hello", keyring=room.ring(), settings=Settings(allowed_origins=("https://app.example",)))
    headers = bearer(room.make("mine"))
    preflight = {"origin": "https://app.example", "access-control-request-method": "POST"}
    asked = {"model": "a", "messages": [{"role": "user", "content": "Hi"}], "stream": True}

    for method, path, given, status in (
        ("GET", "/v1/models", {}, 401),
        ("GET", "/v1/models", {"origin": "https://evil.example"}, 403),
        ("GET", "/nope", headers, 404),
        ("OPTIONS", "/v1/models", preflight, 204),
        ("POST", "/v1/chat/completions", headers, 200),
    ):
        async with server.http.request(method, path, headers=given, json=asked if status == 200 else None) as response:
            assert response.status == status
            check(response.headers)


async def test_an_uploaded_page_is_a_download(serve, room, bearer):
    import aiohttp

    server = await serve()
    form = aiohttp.FormData({"purpose": "user_data"})
    form.add_field("file", b"<script>alert(1)</script>", filename="a.html", content_type="text/html")
    async with server.http.post("/v1/files", data=form) as response:
        file = await response.json()

    async with server.http.get(f"/v1/files/{file['id']}/content", headers=BROWSER) as response:
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["content-disposition"] == "attachment"
        check(response.headers)


async def test_a_refused_websocket(serve, room):
    import aiohttp

    room.make("mine")
    server = await serve(keyring=room.ring())

    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        await server.http.ws_connect("/v1/responses")

    assert raised.value.status == 401
    check(raised.value.headers)
