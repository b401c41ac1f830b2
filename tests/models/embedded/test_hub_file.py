"""A file of a hub that is known by its name only: the hub says its hash, and the bytes come from somewhere else."""

import hashlib

import attrs
import pytest
from aiohttp import web
from click.testing import CliRunner

from gaia_core.cli import main
from gaia_core.models.embedded import Hub, SourceError, hub_file, hub_weights
from tests.models.embedded.broken_downloads import send_from

DATA = b"GGUF" + bytes(range(256)) * 4_000
DIGEST = hashlib.sha256(DATA).hexdigest()
COMMIT = "5" * 40


@attrs.define
class FakeHub:
    """A hub as huggingface_hub's client sees it, and the store that its large files are in."""

    data: bytes = DATA
    etag: str = f'"{DIGEST}"'
    status: int = 302
    breaks: list[int] = attrs.field(factory=list)  # after how many bytes each answer of the store breaks off
    asked: list[tuple[str, str, str]] = attrs.field(factory=list)  # method, path, range
    url: str = ""
    store: str = ""

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, ""))
        if self.status >= 400:
            return web.Response(status=self.status)
        headers = {
            "location": f"{self.store}/blob?signature=x",
            "x-linked-etag": self.etag,
            "x-linked-size": str(len(self.data)),
            "x-repo-commit": COMMIT,
        }
        return web.Response(status=302, headers=headers)

    async def renamed(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"location": request.path.replace("/old/", "/some/")})

    async def blob(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, request.headers.get("range", "")))
        return await send_from(request, self.data, request.http_range.start or 0, self.breaks)


@pytest.fixture
async def hub():
    made = FakeHub()
    runners = []
    for path, handler, attribute in (
        ("/some/models/resolve/{revision}/{file:.*}", made.resolve, "url"),
        ("/blob", made.blob, "store"),
    ):
        app = web.Application()
        app.router.add_route("*", path, handler)
        app.router.add_route("*", "/old/models/resolve/{revision}/{file:.*}", made.renamed)
        runners.append(web.AppRunner(app, shutdown_timeout=0.1))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        setattr(made, attribute, f"http://127.0.0.1:{runners[-1].addresses[0][1]}")
    yield made
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def pull(tmp_path, runtime):
    """Run `gaia model pull` with a cache of its own: its exit code and output."""
    runtime("")

    async def run(*arguments: str, **environ: str) -> tuple[int, str]:
        import asyncio

        given = {"GAIA_CACHE": str(tmp_path / "cache")} | environ
        result = await asyncio.to_thread(CliRunner().invoke, main, ("model", "pull", *arguments), env=given)
        return result.exit_code, result.output

    return run


def test_names():
    assert hub_file("hf:some/models/q4/model.gguf") == Hub("some/models", "q4/model.gguf")
    assert hub_file("hf:some/models/m.gguf@v1", "http://mirror") == Hub(
        "some/models", "m.gguf", endpoint="http://mirror", revision="v1"
    )
    assert hub_file("hf:models/m.gguf") is None
    assert hub_file("some/models/m.gguf") is None


async def test_the_hub_says_what_the_file_is_and_it_is_fetched_at_that_commit(hub, pull, tmp_path):
    code, said = await pull("hf:some/models/q4/model.gguf", HF_ENDPOINT=hub.url)

    assert code == 0, said
    path = tmp_path / "cache" / "weights" / f"{DIGEST}.gguf"
    assert path.read_bytes() == DATA
    assert f"gaia model use {path}" in said
    assert [path for _, path, _ in hub.asked] == [
        "/some/models/resolve/main/q4/model.gguf",
        f"/some/models/resolve/{COMMIT}/q4/model.gguf",
        "/blob",
    ]


async def test_what_breaks_off_is_resumed_from_the_store(hub, pull):
    hub.breaks = [500_000]
    code, said = await pull("hf:some/models/model.gguf", "--mirror", hub.url)

    assert code == 0, said
    ranges = [asked for method, path, asked in hub.asked if path == "/blob"]
    assert ranges[0] == ""
    assert ranges[1].startswith("bytes=")
    assert int(ranges[1].removeprefix("bytes=").removesuffix("-")) > 0


async def test_other_bytes_than_the_hub_says_are_refused(hub, pull, tmp_path):
    hub.etag = f'"{"0" * 64}"'
    code, said = await pull("hf:some/models/model.gguf", "--mirror", hub.url)

    assert code == 1
    assert "sent other bytes" in said
    assert not list((tmp_path / "cache").rglob("*.gguf"))


async def test_a_file_from_elsewhere_has_to_be_the_one_that_the_hub_means(hub, pull, tmp_path):
    (tmp_path / "right").write_bytes(DATA)
    (tmp_path / "wrong").write_bytes(DATA[:-1] + b"!")
    wrong = await pull("hf:some/models/model.gguf", "--mirror", hub.url, "--path", str(tmp_path / "wrong"))
    right = await pull("hf:some/models/model.gguf", "--mirror", hub.url, "--path", str(tmp_path / "right"))

    assert (wrong[0], right[0]) == (1, 0)
    assert all(path != "/blob" for _, path, _ in hub.asked)


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "there is no such file or revision"), (401, "asks for a login"), (403, "consent to its licence")],
)
async def test_what_the_hub_refuses_is_said(hub, status, words):
    hub.status = status

    with pytest.raises(SourceError, match=words):
        await hub_weights(Hub("some/models", "m.gguf", endpoint=hub.url))


async def test_a_file_without_a_hash_is_refused(hub):
    hub.etag = '"d41d8cd98f00b204e9800998ecf8427e00000000"'  # a small file's: the hash of git

    with pytest.raises(SourceError, match="can't be verified"):
        await hub_weights(Hub("some/models", "m.gguf", endpoint=hub.url))


async def test_a_renamed_repository_is_followed(hub):
    weights = await hub_weights(Hub("old/models", "m.gguf", endpoint=hub.url))

    assert (weights.sha256, weights.size) == (DIGEST, len(DATA))


async def test_a_hub_that_is_not_there(pull):
    code, said = await pull("hf:some/models/model.gguf", "--mirror", "http://127.0.0.1:9")

    assert code == 1
    assert "can't be reached" in said


async def test_an_unknown_name_says_what_there_is(pull):
    code, said = await pull("coder-7")

    assert code == 1
    assert "Did you mean 'coder-7b'" in said
    assert "hf:REPOSITORY/FILE" in said
