"""`gaia serve` and its journal: where sessions are kept, and what a killed or stopped server leaves."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager, nullcontext

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner

from gaia_core import ConfigError
from gaia_core.journal import MemoryJournal
from gaia_core.journal.from_url import data_folder, journal_from_url
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_http.server.serve_command import serve

COMMAND = (
    sys.executable,
    "-c",
    "from gaia_http.server.serve_command import serve; serve(prog_name='gaia serve')",
    "--port",
    "0",
)


@pytest.fixture
async def endpoint():
    """A model server that says `Hello ` and goes on with `there` when it may."""
    go, asked = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for text, reason in (("Hello ", None), ("there", None), (None, "stop")):
            delta = {"content": text} if text else {}
            chunk = {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            asked.set()
            await go.wait()
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", go, asked
    go.set()
    await runner.cleanup()


@asynccontextmanager
async def serving(folder, url: str, *options: str):
    """A running `gaia serve` and a client session to it."""
    environ = os.environ | {"GAIA_MODEL_URL": url, "GAIA_MODEL": "m", "GAIA_DISCOVER": "0"}
    environ |= {"XDG_DATA_HOME": str(folder / "data")}
    running = await asyncio.create_subprocess_exec(
        *COMMAND, *options, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        first = (await running.stdout.readline()).decode()
        async with aiohttp.ClientSession(first.split()[2].removesuffix("/v1")) as http:
            yield running, http
    finally:
        if running.returncode is None:
            running.kill()
        await running.stdout.read()
        await running.wait()


async def post(http, path: str, **body: object) -> dict:
    async with http.post(path, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_turn_outlives_its_server(tmp_path, endpoint, how):
    url, go, asked = endpoint
    drain = ("--drain-seconds", "0")
    async with serving(tmp_path, url, *drain) as (running, http):
        session = (await post(http, "/api/sessions"))["id"]
        async with http.post("/api/chat/send", json={"session_id": session, "message": "Hi"}) as response:
            seen = b""
            while b'"chunk"' not in seen:
                seen += await response.content.readany()
            running.send_signal(how)
            with pytest.raises(aiohttp.ClientError) if how == signal.SIGKILL else nullcontext():
                assert b'"done"' not in await response.read()
        rest = (await running.stdout.read()).decode()
        await running.wait()
    last = seen.decode().rpartition("id: ")[2].partition("\n")[0]
    go.set()

    async with serving(tmp_path, url, *drain) as (_, http):
        path = f"/api/chat/attach?session_id={session}"
        async with http.get(path, headers={"last-event-id": last}) as response:
            text = await response.text()
        async with http.get(f"/api/sessions/{session}/messages") as response:
            messages = (await response.json())["messages"]

    assert '"type":"reset"' in text
    assert text.count('"type":"done"') == text.count('"type":"resumed"') == 1
    assert [message["content"] for message in messages] == ["Hi", "Hello there"]
    if how == signal.SIGTERM:
        assert "1 turns are left for the next start" in rest
    assert (tmp_path / "data" / "gaia" / "journal.sqlite").exists()
    assert asked.is_set()


async def test_a_page_that_watches_does_not_hold_up_the_end(tmp_path, endpoint):
    async with serving(tmp_path, endpoint[0], "--journal", "memory") as (running, http):
        async with http.get("/api/sessions/events") as response:
            began = asyncio.get_running_loop().time()
            running.send_signal(signal.SIGTERM)
            await response.read()
        assert await running.wait() == 0
        assert asyncio.get_running_loop().time() - began < 4  # uvicorn's own patience is 5 s
    assert not (tmp_path / "data" / "gaia" / "journal.sqlite").exists()


async def test_a_built_page_is_served(tmp_path, endpoint):
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("<title>Page</title>")
    async with (
        serving(tmp_path, endpoint[0], "--ui-dist", "dist") as (_, http),
        http.get("/chat", headers={"accept": "text/html"}) as response,
    ):
        assert await response.text() == "<title>Page</title>"


def test_a_page_without_an_index(tmp_path):
    result = CliRunner(env={"GAIA_JOURNAL": "memory", "XDG_DATA_HOME": str(tmp_path)}).invoke(
        serve, ["--port", "0", "--ui-dist", str(tmp_path)]
    )

    assert result.exit_code == 1
    assert "index.html" in result.output
    assert "Traceback" not in result.output


# Where the journal is.


def test_the_place_of_the_journal(tmp_path):
    assert isinstance(journal_from_url("memory", {}), MemoryJournal)
    assert isinstance(journal_from_url(None, {"GAIA_JOURNAL": "memory"}), MemoryJournal)
    assert isinstance(journal_from_url(str(tmp_path / "new" / "j.db"), {"GAIA_JOURNAL": "memory"}), SQLiteJournal)
    assert (tmp_path / "new").is_dir()
    assert isinstance(journal_from_url(None, {"XDG_DATA_HOME": str(tmp_path)}), SQLiteJournal)
    assert (tmp_path / "gaia").stat().st_mode & 0o777 == 0o700


def test_the_users_data(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert data_folder({"HOME": str(tmp_path)}) == tmp_path / ".local" / "share" / "gaia"
    assert data_folder({"HOME": str(tmp_path), "XDG_DATA_HOME": "relative"}) == tmp_path / ".local" / "share" / "gaia"
    assert data_folder({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "gaia"


def test_a_place_that_is_none(tmp_path):
    with pytest.raises(ConfigError, match="mysql://"):
        journal_from_url("mysql://user:hunter2@host/db", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be made"):
        journal_from_url(str(tmp_path / "file" / "j.db"), {})


def test_a_password_in_a_wrong_place_is_not_repeated():
    with pytest.raises(ConfigError) as caught:
        journal_from_url("mysql://user:hunter2@host/db", {})

    assert "hunter2" not in str(caught.value)
