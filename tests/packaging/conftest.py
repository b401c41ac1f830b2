"""A checkout in which `./run` installs by a fake Python: see fake_python.py."""

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]
CHILD_ENVIRON = "gaia_core/child_environ.py"
SETS = {"tools": "just==1\n", "runtime": "lib==1\n", "dev": "just==1\nlib==1\ntester==1\n"}


@attrs.frozen
class Checkout:
    """A checkout with the real `run`, `justfile` and installer. Its runs know no other Python than the fake one."""

    root: Path
    environ: dict[str, str]

    @property
    def reached(self) -> Path:
        return Path(self.environ["PIP_FAKE_REACHED"])

    @property
    def log(self) -> list[str]:
        """What was run to install: `venv`, `pip SET`, `pip workspace`."""
        path = Path(self.environ["PIP_FAKE_LOG"])
        return path.read_text().splitlines() if path.exists() else []

    def start(self, *words: str, stop: str = "", by: tuple[str, ...] = (), **options) -> "subprocess.Popen[str]":
        """`./run WORDS` as the leader of a process group; *stop*: the moment to stop at; *by*: what to start it by."""
        environ = options.pop("env", self.environ) | {"PIP_FAKE_STOP": stop}
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen(
            [*by, self.root / "run", *words], text=True, env=environ, start_new_session=True, **given
        )

    def run(self, *words: str, status: int = 0, **options) -> "subprocess.CompletedProcess[str]":
        """`./run WORDS`, to its end."""
        given = {"input": "", "env": self.environ} | options
        command = [self.root / "run", *words]
        ran = subprocess.run(command, check=False, text=True, capture_output=True, timeout=300, **given)
        assert ran.returncode == status, ran
        return ran

    def until_stopped(self) -> int:
        """The process id of the fake Python that has stopped at the moment asked for."""
        # Open for writing, too: a fake of the moment before, killed and still ending, is not the end of the FIFO then.
        descriptor = os.open(self.reached, os.O_RDWR)
        try:
            assert select.select([descriptor], [], [], 300)[0]
            return int(os.read(descriptor, 100))
        finally:
            os.close(descriptor)

    def go_on(self) -> None:
        """Let the fake Python go on."""
        Path(self.environ["PIP_FAKE_GO"]).write_text("")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What a test starts can be interrupted, even where the tests run in the background and ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def checkout(tmp_path, interruptible) -> Checkout:
    root = tmp_path / "a checkout"
    (root / "requirements").mkdir(parents=True)
    (root / "gaia_core").mkdir()
    for name in ("run", "justfile", "requirements/install.py", "requirements/progress.py", CHILD_ENVIRON):
        shutil.copy(ROOT / name, root / name)
    for name, text in SETS.items():
        (root / "requirements" / f"{name}.txt").write_text(text)
    for folder in (".", "http", "toolsets/files"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "pyproject.toml").touch()

    python = tmp_path / "python"
    fake = Path(__file__).with_name("fake_python.py")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -ESs "{fake}" "$0" "$@"\n')
    python.chmod(0o755)
    for name in ("reached", "go"):
        os.mkfifo(tmp_path / name)
    environ = {"PATH": os.environ["PATH"], "PYTHON": str(python), "PIP_FAKE_LOG": str(tmp_path / "log")}
    environ |= {"PIP_FAKE_REACHED": str(tmp_path / "reached"), "PIP_FAKE_GO": str(tmp_path / "go")}
    return Checkout(root, environ | {"PIP_FAKE_JUST": str(Path(sys.executable).with_name("just"))})


@pytest.fixture
def started(checkout):
    """`checkout.start`; what it starts is ended, with all that it started."""
    processes = []

    def start(*words, **options):
        processes.append(checkout.start(*words, **options))
        return processes[-1]

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
