"""Reload: fifty streams while the catalog changes ten times; and `gaia reload` with a server of its own."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from click.testing import CliRunner

from gaia_core import Agent, Catalog, ConfigError, Context, ScriptedModel, Toolset, call, tool
from gaia_core.messages import AssistantMessage, SystemMessage, ToolMessage
from gaia_http.operations._reloader import Reloader
from gaia_http.operations.reload_command import reload
from gaia_http.server._pid_file import present, running


async def test_fifty_streams_end_as_they_began_while_the_catalog_changes_ten_times(serve):
    go = asyncio.Event()

    @tool(effects="read")
    async def wait(ctx: Context[None]) -> str:
        """Wait."""
        await go.wait()
        return "waited"

    def answer(request):
        """The version that the instructions name, in both steps of a turn."""
        version = next(each.content for each in request.messages if isinstance(each, SystemMessage))
        return (
            version
            if isinstance(request.messages[-1], ToolMessage)
            else AssistantMessage(f"{version} ", (call("wait"),))
        )

    def agent(version: int) -> Agent:
        return Agent("a", instructions=f"v{version}", tools=Toolset("t", (wait,)))

    server = await serve(ScriptedModel(answer), agents=(agent(0),))
    spec = server.runtime.catalog.model("local")
    versions = iter((*range(1, 6), None, *range(6, 10)))
    ended: list[tuple[bool, str]] = []
    step = asyncio.Event()

    async def load() -> Catalog:
        version = next(versions)
        if version is None:
            raise ConfigError("agents.a.tools[0]: there is no toolset 'fils'. Did you mean 'files'?")
        return Catalog.of(agent(version), models={"local": spec})

    def told(ok: bool, said: str) -> None:
        ended.append((ok, said))
        step.set()

    reloader = Reloader(server.runtime, load, told)
    streams: list[tuple[int, asyncio.Task[str]]] = []
    present_version = 0
    for round_ in range(10):
        for _ in range(5):
            before = len(server.runtime.running_turns)
            streams.append((present_version, asyncio.create_task(server.stream())))
            async with asyncio.timeout(30):
                while len(server.runtime.running_turns) == before:
                    await asyncio.sleep(0)
        step.clear()
        reloader.ask()
        await step.wait()
        if ended[-1][0]:
            present_version = int(server.runtime.catalog.agent("a").instructions[1:])
        assert len(server.runtime.running_turns) == 5 * (round_ + 1)
    go.set()

    for version, stream in streams:
        text = await stream
        said = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        content = "".join(each["choices"][0]["delta"].get("content") or "" for each in said if each["choices"])
        assert content.split() == [f"v{version}", f"v{version}"]
        assert text.endswith("data: [DONE]\n\n")
    assert [ok for ok, _ in ended] == [True] * 5 + [False] + [True] * 4
    assert ended[5][1].startswith("the old configuration stays: agents.a.tools[0]: there is no toolset 'fils'")
    assert present_version == 9
    await reloader.close()


async def test_a_reload_that_is_asked_for_meanwhile_comes_after(serve):
    server = await serve("x")
    loads, go, ended = [], asyncio.Event(), []

    async def load() -> Catalog:
        loads.append(1)
        await go.wait()
        return server.runtime.catalog

    reloader = Reloader(server.runtime, load, lambda ok, said: ended.append(ok))
    reloader.ask()
    await asyncio.sleep(0)
    reloader.ask()
    reloader.ask()
    go.set()
    async with asyncio.timeout(60):
        while len(ended) < 2:
            await asyncio.sleep(0)

    assert (len(loads), ended) == (2, [True, True])
    await reloader.close()


COMMAND = (
    sys.executable,
    "-c",
    "from gaia_http.server.serve_command import serve; serve(prog_name='gaia serve')",
    "--port",
    "0",
)


@asynccontextmanager
async def process(folder):
    """A running `gaia serve`: the process, and its URL."""
    environ = os.environ | {"GAIA_DISCOVER": "0", "GAIA_KEYS": "", "GAIA_API_KEY": ""}
    running = await asyncio.create_subprocess_exec(
        *COMMAND, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said = ""
        while not said.rstrip().endswith("'"):  # the last of its words is a command to try
            line = (await running.stdout.readline()).decode()
            assert line, said
            said += line
        yield running, said.split()[2].removesuffix("/v1")
    finally:
        if running.returncode is None:
            running.kill()
        await running.stdout.read()
        await running.wait()


TOML = '[models.local]\nurl = "http://127.0.0.1:9/v1"\nmodel = "m"\n[agents.assistant]\n'


async def test_gaia_reload_finds_the_server_and_says_how_it_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    toml = tmp_path / "gaia.toml"
    toml.write_text(TOML)

    async def gaia_reload(*options: str):
        return await asyncio.to_thread(CliRunner().invoke, reload, options)

    async with process(tmp_path) as (server, url), aiohttp.ClientSession(url) as http:

        async def agents() -> set[str]:
            async with http.get("/v1/models") as response:
                return {each["id"] for each in (await response.json())["data"]}

        toml.write_text(TOML + "[agents.second]\n")
        done = await gaia_reload()
        assert done.exit_code == 0, done.output
        assert "reloaded. agents: assistant, second" in done.output
        assert await agents() == {"assistant", "second"}

        toml.write_text(TOML + "[agents.third]\ninstrctions = 1\n")
        done = await gaia_reload()
        assert done.exit_code == 1
        assert "the old configuration stays: agents.third.instrctions: unknown key" in done.output
        assert await agents() == {"assistant", "second"}

        (found,) = running(tmp_path / "data" / "gaia")
        assert (found.pid, found.reloads) == (server.pid, 2)
        server.send_signal(signal.SIGTERM)
        assert await server.wait() == 0

    assert running(tmp_path / "data" / "gaia") == ()
    assert "no server of yours runs here. Running: none" in (await gaia_reload()).output


def test_of_several_servers_one_has_to_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    data = tmp_path / "gaia"
    with present(data, 1, "http://one"), present(data, 2, "http://two"):
        several = CliRunner().invoke(reload, ())
        none = CliRunner().invoke(reload, ("--port", "3"))

    assert "several servers run here (http://one, http://two); name one by --port" in several.output
    assert "no server of yours runs here on port 3. Running: http://one, http://two" in none.output


def test_a_server_in_another_pid_namespace_is_not_signalled(tmp_path, monkeypatch):
    """Its number is some other process here, which SIGHUP would end."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(os, "kill", lambda *given: pytest.fail(f"signalled {given}"))
    with present(tmp_path / "gaia", 1, "http://one") as note:
        machine, rest = note._presence.process.split("/", 1)
        note._presence = msgspec.structs.replace(note._presence, process=f"{machine}7/{rest}")
        note.reloaded(ok=True, said="")

        done = CliRunner().invoke(reload, ())

    assert done.exit_code == 1
    assert f"http://one runs in another container, as process {os.getpid()} there" in done.output


def test_the_file_of_a_dead_server_is_nobodys(tmp_path):
    with present(tmp_path, 1, "http://one") as note:
        note.reloaded(ok=False, said="why")
        (found,) = running(tmp_path)
        assert (found.pid, found.ok, found.said) == (os.getpid(), False, "why")
        left = (tmp_path / "servers" / "1.json").read_bytes()
    (tmp_path / "servers" / "1.json").write_bytes(left)

    assert running(tmp_path) == ()
