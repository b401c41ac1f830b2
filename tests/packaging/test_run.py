"""`./run serve`: the shell becomes the server, so whoever started it ends it by the process id that it has."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent


@pytest.fixture
def workspace(tmp_path):
    """A workspace with the real `run` and recipes, whose .venv is this one's: there is nothing to install."""
    for name in ("run", "justfile"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "tools.txt").touch()
    (tmp_path / "requirements" / "install").write_text('echo "install $1" >&2\n')
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name in ("python", "just", "gaia"):
        (commands / name).symlink_to(COMMANDS / name)
    tools = subprocess.run(("cksum",), input=b"", capture_output=True, check=True).stdout
    (tmp_path / ".venv" / ".tools").write_bytes(tools)
    return tmp_path


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_its_process_ends_the_server(workspace, sent):
    environ = os.environ | {"GAIA_MODEL_URL": "http://127.0.0.1:9/v1", "GAIA_MODEL": "m", "GAIA_DISCOVER": "0"}
    environ |= {"XDG_DATA_HOME": str(workspace / "data"), "GAIA_KEYS": "", "GAIA_API_KEY": ""}
    running = await asyncio.create_subprocess_exec(
        "sh",
        workspace / "run",
        "serve",
        "--port",
        "0",
        env=environ,
        start_new_session=True,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said = ""
        while not said.rstrip().endswith("'"):  # the last of its words is a command to try
            line = (await running.stdout.readline()).decode()
            assert line, said
            said += line
        running.send_signal(sent)
        async with asyncio.timeout(60):
            rest = (await running.stdout.read()).decode()  # ends with the last process that has it

        assert (await running.wait(), rest) == (0, "stopped\n")
    finally:
        with suppress(ProcessLookupError):  # its group: also what it left behind
            os.killpg(running.pid, signal.SIGKILL)
        await running.wait()
    assert said.startswith("install runtime\n")
