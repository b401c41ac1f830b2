"""The page at /: files of one folder and no other, the client's own addresses, caches."""

import asyncio
import os

import pytest

from gaia_core import Agent, Catalog, ConfigError, Runtime, scripted
from gaia_http import Settings, create_app

INDEX = "<!doctype html><title>Page</title>"
BROWSER = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def dist(tmp_path):
    """A built page, and what lies beside it."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "assets" / "index-B4x7Qz1k.js").write_text("let a = 1")
    (folder / "assets" / "logo.svg").write_text("<svg/>")
    (folder / "favicon.ico").write_bytes(b"\0\1")
    (folder / ".env").write_text("SECRET=1")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to(tmp_path)
    (folder / "in.txt").symlink_to(folder / "favicon.ico")
    return folder


@pytest.fixture
async def get(serve, dist):
    """Ask a server with that page: the status, the headers, the body."""
    server = await serve("Hello", settings=Settings(ui_dist=dist))

    async def get(path: str, method: str = "GET", **headers: str):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with server.http.request(method, path, headers=given) as response:
            return response.status, response.headers, await response.read()

    get.server = server
    return get


async def test_the_index(get):
    status, headers, body = await get("/", **BROWSER)

    assert (status, body) == (200, INDEX.encode())
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/chat", "/chat/5f1c/settings", "/apiary", "/v1x", "/index.html"])
async def test_the_clients_own_addresses_are_the_index(get, path):
    status, headers, body = await get(path, **BROWSER)

    assert (status, body) == (200, INDEX.encode())
    assert headers["cache-control"] == "no-cache"


async def test_who_wants_no_document_gets_a_404(get):
    assert (await get("/chat", accept="application/json"))[0] == 404
    assert (await get("/missing.js", accept="*/*"))[0] == 404


async def test_assets(get):
    status, headers, body = await get("/assets/index-B4x7Qz1k.js")
    assert (status, body) == (200, b"let a = 1")
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in headers["cache-control"]

    _, headers, _ = await get("/assets/logo.svg")
    assert (headers["content-type"], headers["cache-control"]) == ("image/svg+xml", "no-cache")


async def test_a_missing_asset_is_a_real_404(get):
    status, headers, _ = await get("/assets/index-old.js", **BROWSER)

    assert (status, headers["content-type"]) == (404, "application/json")


async def test_head(get):
    status, headers, body = await get("/assets/index-B4x7Qz1k.js", "HEAD")

    assert (status, headers["content-length"], body) == (200, "9", b"")


async def test_what_a_browser_has_already_is_not_sent_again(get, dist):
    _, headers, _ = await get("/", **BROWSER)

    status, again, body = await get("/", **BROWSER, if_none_match=f'"other", W/{headers["etag"]}')
    assert (status, body, again["etag"]) == (304, b"", headers["etag"])

    (dist / "index.html").write_text("<title>new</title>")
    status, changed, _ = await get("/", **BROWSER, if_none_match=headers["etag"])
    assert status == 200
    assert changed["etag"] != headers["etag"]


ESCAPES = (
    "/../secret.txt",
    "/assets/../../secret.txt",
    "/%2e%2e/secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e%2fsecret.txt",
    "/%252e%252e/secret.txt",
    "/assets/..%5c..%5csecret.txt",
    "/out.txt",
    "/up/secret.txt",
    "/.env",
    "/%2eenv",
    "/assets/%00.js",
    "//secret.txt",
    "/assets/",
    "/assets",
)


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_nothing_outside_the_folder_can_be_had(get, path, accept):
    reader, writer = await asyncio.open_connection("127.0.0.1", get.server.port)
    request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    if answer.startswith(b"HTTP/1.1 200"):  # an address of the client's own
        assert (accept, answer.partition(b"\r\n\r\n")[2]) == ("text/html", INDEX.encode())
    else:
        assert answer.startswith(b"HTTP/1.1 404")


async def test_a_symlink_inside_the_folder_is_followed(get):
    assert (await get("/in.txt"))[2] == b"\0\1"


async def test_a_pipe_in_the_folder_holds_nobody_up(get, dist):
    os.mkfifo(dist / "pipe")

    assert (await get("/pipe"))[0] == 404


@pytest.mark.parametrize("path", ["/v1/models", "/api/health", "/health", "/ready", "/metrics", "/api/openapi.json"])
async def test_the_servers_own_paths_stay_its_own(get, path):
    status, _, body = await get(path, **BROWSER)

    assert status == 200
    assert INDEX.encode() not in body


@pytest.mark.parametrize("path", ["/v1/nope", "/api/nope", "/health/nope", "/metrics/x"])
async def test_unknown_paths_below_the_servers_own_are_no_page(get, path):
    status, headers, _ = await get(path, **BROWSER)

    assert (status, headers["content-type"]) == (404, "application/json")


async def test_a_page_takes_no_post(get):
    status, headers, _ = await get("/chat", "POST")

    assert (status, headers["allow"]) == (405, "GET, HEAD")


async def test_a_large_file_comes_whole(get, dist):
    data = os.urandom(1_500_000)
    (dist / "big.bin").write_bytes(data)

    status, headers, body = await get("/big.bin")

    assert (status, headers["content-type"], body) == (200, "application/octet-stream", data)


async def test_without_a_page_there_is_nothing_at_the_root(serve):
    server = await serve()

    async with server.http.get("/", headers=BROWSER) as response:
        assert response.status == 404


def test_a_folder_without_an_index_is_refused(tmp_path):
    runtime = Runtime(Catalog.of(Agent("a"), models={"local": scripted()}))

    with pytest.raises(ConfigError, match=r"index\.html"):
        create_app(Settings(ui_dist=tmp_path), runtime)
