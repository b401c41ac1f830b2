"""`gaia serve`: a process of its own, with its signals; and what it refuses."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from gaia_http.keys.cli import keys
from gaia_http.server.serve_command import serve

COMMAND = (
    sys.executable,
    "-c",
    "from gaia_http.server.serve_command import serve; serve(prog_name='gaia serve')",
    "--port",
    "0",
)


class Endpoint:
    """A real model server that says one word, and ends its answer when the test lets it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.gone = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self.say(response, {"content": "partial "}, None)
            self.asked.set()
            await self.go.wait()
            await self.say(response, {"content": "answer"}, None)
            await self.say(response, {}, "stop")
            await response.write(b"data: [DONE]\n\n")
        finally:
            self.gone.set()
        return response

    async def say(self, response: web.StreamResponse, delta: dict, reason: str | None) -> None:
        chunk = {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


@pytest.fixture
async def endpoint():
    """An endpoint and its URL."""
    made = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", made.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield made
    made.go.set()
    await runner.cleanup()


@asynccontextmanager
async def process(folder, endpoint, *options: str):
    """A running `gaia serve`: the process, a client session to it, and what it said at its start."""
    environ = os.environ | {"GAIA_MODEL_URL": endpoint.url, "GAIA_MODEL": "m", "GAIA_DISCOVER": "0"}
    environ |= {"XDG_DATA_HOME": str(folder / "data"), "GAIA_KEYS": "", "GAIA_API_KEY": ""}
    running = await asyncio.create_subprocess_exec(
        *COMMAND,
        *options,
        cwd=folder,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said = ""
        while not said.rstrip().endswith("'"):  # the last of its words is a command to try
            line = (await running.stdout.readline()).decode()
            assert line, said
            said += line
        url = said.split()[2].removesuffix("/v1")
        async with aiohttp.ClientSession(url) as http:
            yield running, http, said
    finally:
        if running.returncode is None:
            running.kill()
        await running.stdout.read()
        await running.wait()


ASK = {"model": "assistant", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


async def test_it_says_what_answers_and_ends_when_asked(tmp_path, endpoint):
    async with process(tmp_path, endpoint) as (running, http, said):
        async with http.get("/health") as response:
            assert response.status == 200
            assert "server" not in response.headers
        running.send_signal(signal.SIGTERM)
        rest = (await running.stdout.read()).decode()

        assert await running.wait() == 0

    assert f"model local: m at {endpoint.url}" in said
    assert "agent assistant: tools" in said
    assert "read_file" in said
    assert rest == "stopped\n"


async def test_it_lets_running_turns_end(tmp_path, endpoint):
    async with process(tmp_path, endpoint) as (running, http, _):
        async with http.post("/v1/chat/completions", json=ASK) as stream:
            await endpoint.asked.wait()
            running.send_signal(signal.SIGTERM)
            assert b"stopping: 1 turns" in await running.stdout.readline()

            async with http.get("/ready") as response:
                assert response.status == 503
            async with http.post("/v1/chat/completions", json=ASK) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (503, "draining")
            endpoint.go.set()
            text = await stream.text()

        assert await running.wait() == 0
    assert '"content":"answer"' in text
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("by", ["time", "a second signal"])
async def test_it_cancels_turns_that_take_too_long(tmp_path, endpoint, by):
    seconds = "0.1" if by == "time" else "60"
    async with process(tmp_path, endpoint, "--drain-seconds", seconds) as (running, http, _):
        async with http.post("/v1/chat/completions", json=ASK) as stream:
            await endpoint.asked.wait()
            running.send_signal(signal.SIGINT)
            await running.stdout.readline()
            if by != "time":
                running.send_signal(signal.SIGINT)
            text = await stream.text()
        rest = (await running.stdout.read()).decode()

        assert await running.wait() == 0
    assert '"code":"draining"' in text
    assert "1 turns are cancelled" in rest
    await endpoint.gone.wait()


async def test_with_keys_it_serves_the_network(tmp_path, endpoint):
    """Bound to all addresses; asked on the loopback one. A key that is made or revoked meanwhile counts at once."""
    file = ("--keys", str(tmp_path / "keys.json"))
    first = said_by(CliRunner().invoke(keys, ("create", "first", *file)))
    async with process(tmp_path, endpoint, "--host", "0.0.0.0", *file) as (running, _, said):
        port = re.search(r"http://0\.0\.0\.0:(\d+)/v1", said)[1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:

            async def status(key: str | None, host: str = "gaia.lan") -> int:
                headers = {"host": host} | ({"authorization": f"Bearer {key}"} if key else {})
                async with http.get("/v1/models", headers=headers) as response:
                    return response.status

            assert [await status(key) for key in (None, "sk-gaia-wrong", first)] == [401, 401, 200]
            second = said_by(CliRunner().invoke(keys, ("create", "second", *file)))
            endpoint.go.set()
            async with http.post(
                "/v1/chat/completions", json=ASK | {"stream": False}, headers={"x-api-key": second}
            ) as response:
                answer = await response.json()
            said_by(CliRunner().invoke(keys, ("revoke", "first", *file)))
            assert [await status(key) for key in (first, second)] == [401, 200]
        running.send_signal(signal.SIGTERM)
        rest = (await running.stdout.read()).decode()

        assert await running.wait() == 0
    assert answer["choices"][0]["message"]["content"] == "partial answer"
    assert "keys: first" in said
    assert first not in said + rest
    assert second not in said + rest


def said_by(result: Result) -> str:
    """What `gaia keys` says on stdout."""
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


@pytest.mark.parametrize("by", ["time", "a second signal"])
async def test_open_connections_do_not_hold_up_the_end(tmp_path, endpoint, by):
    seconds = "0.1" if by == "time" else "600"
    async with (
        process(tmp_path, endpoint, "--drain-seconds", seconds) as (running, http, _),
        http.ws_connect("/v1/responses") as idle,
        http.ws_connect("/v1/responses") as socket,
        http.post("/v1/chat/completions", json=ASK) as stream,
        http.get("/api/sessions/events") as watching,
    ):
        await socket.send_json({"type": "response.create", "model": "assistant", "input": "Hi"})
        while "partial" not in await socket.receive_str():
            pass
        await endpoint.asked.wait()
        running.send_signal(signal.SIGTERM)
        assert b"stopping: 2 turns" in await running.stdout.readline()
        if by != "time":
            running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            text, _ = await stream.text(), await watching.read()
            ends = [message async for message in socket][-1:], [message async for message in idle]
            said = (await running.stdout.read()).decode()
            code = await running.wait()

    assert code == 0
    # "Service restart"; a client that reads the close after the connection is gone sees only that (1006).
    assert {idle.close_code, socket.close_code} <= {1012, 1006}, ends
    assert '"code":"draining"' in text
    assert said.endswith("stopped\n")
    assert "Cancel" not in said  # uvicorn's word, where a connection outlasts its limit


def refused(*options: str) -> str:
    nowhere = {"GAIA_JOURNAL": "memory", "GAIA_API_KEY": None, "GAIA_KEYS": None, "XDG_DATA_HOME": "/nowhere"}
    result = CliRunner(env=nowhere).invoke(serve, options)
    assert result.exit_code == 1
    return result.output


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])
def test_without_keys_it_serves_this_machine_only(host):
    said = refused("--host", host)

    assert "there are no keys, so only this machine is served" in said
    assert "gaia keys create" in said


def test_a_port_that_is_taken(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--port", str(port))

    assert f"can't listen on 127.0.0.1:{port}" in said
    assert "--port" in said


def test_a_configuration_that_is_wrong(tmp_path):
    path = tmp_path / "gaia.toml"
    path.write_text("[agents.a]\nmodle = 'x'\n")

    assert "modle" in refused("--config", str(path), "--port", "0")
