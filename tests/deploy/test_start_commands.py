"""The start command of each deploy file, taken from the file and run: it serves, streams, and stops in time."""

import asyncio
import json
import os
import shlex
import socket
import subprocess
import sys

import pytest

from tests.deploy.commands import DEPLOY, compose, compose_environment, dockerfile, pod, proxied, unit
from tests.deploy.conftest import GAIA, KEY

_STOP_SECONDS = 15
"""What the end takes beside the drain, at most."""


def drain_of(words: list[str]) -> float:
    return float(words[words.index("--drain-seconds") + 1])


def container_command() -> list[str]:
    found = dockerfile()
    return [*json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"])]


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


async def test_the_containers_command(started, model, ask):
    words = container_command()
    assert "useradd --system --uid 10001" in dockerfile()["RUN"]
    assert dockerfile()["USER"] == "10001:10001"
    async with started(words, {"GAIA_API_KEY": KEY, "GAIA_MODEL_URL": model.url}) as server:
        assert "last" in await ask(server.http, model)
        async with server.http.get("/v1/models", headers={"authorization": "Bearer wrong"}) as response:
            assert response.status == 401
        check = json.loads(dockerfile()["HEALTHCHECK"].split("CMD", 1)[1])
        program = [sys.executable, *(word.replace("http://127.0.0.1:4200", server.url) for word in check[1:])]
        done = await asyncio.create_subprocess_exec(*program)
        assert await done.wait() == 0
        status, rest = await server.stop()
    assert status == 0
    lines_of(server.said + rest)  # each is JSON
    done = await asyncio.create_subprocess_exec(*program, stderr=asyncio.subprocess.DEVNULL)
    assert await done.wait() != 0


@pytest.mark.parametrize(
    "words", [container_command(), ["gaia", *compose()["command"]], ["gaia", *pod()["containers"][0]["args"]]]
)
def test_without_a_key_none_of_them_starts(words, tmp_path):
    words = [word.replace("/etc/gaia", str(DEPLOY / "kubernetes")) for word in words]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GAIA_JOURNAL": "memory"}
    done = subprocess.run(
        [GAIA, *words[1:]], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = lines_of(done.stderr)
    assert "gaia keys create" in line["message"]


async def test_the_command_of_compose_with_its_environment(started, model, ask, postgres):
    service = compose()
    given = {"GAIA_API_KEY": KEY, "GAIA_MODEL_URL": model.url, "POSTGRES_PASSWORD": "pass-word"}
    environ = compose_environment(given)
    environ["GAIA_JOURNAL"] = environ["GAIA_JOURNAL"].replace("@postgres/gaia", f"@127.0.0.1:{postgres.port}/postgres")
    words = ["gaia", *service["command"]]
    async with started(words, environ) as server:
        assert "last" in await ask(server.http, model)
        status, _ = await server.stop()
    assert status == 0
    assert int(service["stop_grace_period"].removesuffix("s")) >= drain_of(words) + _STOP_SECONDS
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


async def test_the_command_of_the_unit_and_what_it_tells_systemd(started, model, ask, tmp_path):
    found = unit()
    (words,) = (shlex.split(line) for line in found["ExecStart"])
    assert found["Type"] == ["notify"]
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        loop = asyncio.get_running_loop()
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
        environ |= {"GAIA_MODEL_URL": model.url, "GAIA_API_KEY": KEY}
        async with started(words, environ) as server:
            assert await loop.sock_recv(manager, 1_000) == b"READY=1"
            assert await loop.sock_recv(manager, 1_000) == b"WATCHDOG=1"
            assert await loop.sock_recv(manager, 1_000) == b"WATCHDOG=1"
            assert "last" in await ask(server.http, model)
            server.process.terminate()
            told = b"WATCHDOG=1"
            while told == b"WATCHDOG=1":
                told = await loop.sock_recv(manager, 1_000)
            assert told.splitlines()[0] == b"STOPPING=1"
            assert await server.process.wait() == 0
    assert int(found["TimeoutStopSec"][0]) >= drain_of(words) + _STOP_SECONDS
    assert float(found["WatchdogSec"][0]) >= 10


async def test_the_command_of_kubernetes_and_its_probes(started, model, ask, postgres, tmp_path):
    spec = pod()
    (container,) = spec["containers"]
    config = tmp_path / "gaia.toml"
    text = (DEPLOY / "kubernetes" / "gaia.toml").read_text()
    assert "http://model:8080/v1" in text
    config.write_text(text.replace("http://model:8080/v1", model.url))
    words = ["gaia", *(word.replace("/etc/gaia/gaia.toml", str(config)) for word in container["args"])]
    environ = {entry["name"]: entry.get("value", "") for entry in container["env"]}
    environ |= {"GAIA_API_KEY": KEY, "PGPASSWORD": "pass-word"}
    environ["GAIA_JOURNAL"] = environ["GAIA_JOURNAL"].replace("@postgres/gaia", f"@127.0.0.1:{postgres.port}/postgres")
    async with started(words, environ) as server:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            async with server.http.get(container[probe]["httpGet"]["path"], headers={"authorization": ""}) as response:
                assert response.status == 200
                assert "problems" not in await response.json()
        assert "last" in await ask(server.http, model)
        status, _ = await server.stop()
    assert status == 0
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert spec["terminationGracePeriodSeconds"] >= pause + drain_of(words) + _STOP_SECONDS
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60  # a database that is away for 30 s
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_start_commands_of_the_proxies_are_the_same():
    assert proxied("nginx/gaia.conf") == proxied("caddy/Caddyfile")
