"""The configuration of the tests makes a failure of what a test leaves unclosed, on every version of Python."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LEAKS = {
    "a file": "open(__file__)",
    "a file in a cycle": "cycle = [open(__file__)]; cycle.append(cycle)",
    "a socket": "import socket; socket.socket()",
    "a socket in a cycle": "import socket; cycle = [socket.socket()]; cycle.append(cycle)",
    "an event loop": "import asyncio; asyncio.new_event_loop()",
    "a process": "import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', ''])",
    "a coroutine": "async def work(): ...\n    work()",
}
if sys.version_info >= (3, 13):  # before, sqlite3 said nothing
    LEAKS["a database"] = "import sqlite3; sqlite3.connect(':memory:')"


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    """pytest's, by this workspace's configuration: a module for each leak, each followed by one that leaves nothing."""
    folder = tmp_path_factory.mktemp("leaks")
    for number, leak in enumerate(LEAKS.values()):
        (folder / f"test_{number}_leak.py").write_text(f"def test_it():\n    {leak}\n")
        (folder / f"test_{number}_next.py").write_text("def test_it():\n    open(__file__).close()\n")
    command = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", folder, folder]
    command += ["-p", "tests.plugins.unclosed_resources", "-p", "no:cacheprovider", "-p", "no:random_order"]
    command += ["-o", "addopts=--import-mode=importlib -rA --tb=no"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)
    return ended.stdout


@pytest.mark.parametrize("leak", LEAKS)
def test_what_is_left_unclosed_fails_its_module_and_no_other(report, leak):
    number = list(LEAKS).index(leak)

    (said,) = re.findall(rf"^(?:FAILED|ERROR) test_{number}_leak.py::test_it - (.*)", report, re.MULTILINE)
    assert "unraisable" in said.casefold(), report
    assert re.findall(rf"^([A-Z]+) test_{number}_next.py::test_it", report, re.MULTILINE) == ["PASSED"], report
