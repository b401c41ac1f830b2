"""Install a set of requirements into .venv, then become a command of it. `run` starts this; it needs Python alone.

    python -ESs requirements/install.py SET [COMMAND ARGUMENTS…]

| SET | what is installed | for |
|---|---|---|
| `tools` | `just` | `./run RECIPE` |
| `runtime` | what `gaia` needs, and the workspace, editable | `./run serve`, `chat`, `gaia` |
| `dev` | all of that, and what tests and checks need | the recipes |

It can be killed at any moment. `.venv/.installed` is the record of what is complete: it is removed before the first
change and put in place, by a rename, after the last one. pip itself takes a half-installed package for an installed
one, so a .venv without a record is never repaired: it is made anew. pip inherits the lock on `.venv.lock`, so that a
pip that outlives this process keeps the next one waiting.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NoReturn

from progress import FailedError, Step, advice, say

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
BIN = VENV / "bin"
RECORD = VENV / ".installed"
SCRATCH = VENV / ".tmp"  # pip's temporary files: an interrupted pip leaves them behind

COVERED_BY = {"tools": ("tools", "dev"), "runtime": ("runtime", "dev"), "dev": ("dev",)}
COMMANDS = {"tools": ("just",), "runtime": ("gaia",), "dev": ("just", "gaia")}
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal that ends this process arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: list[str]) -> None:
    """Install the set that *arguments* begin with, and become the command that follows, if one does."""
    set_, *command = arguments
    _on_signals()
    if not _complete(set_):
        with _locked() as lock:
            if not _complete(set_):  # it may have been installed while this process waited
                _install(set_, lock)
    if command:
        _become(*command)


# What is installed


def _state() -> tuple[dict[str, str], str]:
    """The digest of each part that is completely installed, and why .venv has to be made anew ("": it has not)."""
    if not os.path.lexists(VENV):
        return {}, "there is none"
    try:
        record: dict[str, str] = json.loads(RECORD.read_text())
    except (OSError, ValueError):
        return {}, "its installation was not finished"
    if record.get("root") != str(ROOT):
        return {}, f"it was made for {record.get('root')}"  # its scripts and the editable packages lead there
    python = os.path.realpath(BIN / "python")
    if record.get("python") != python or not os.access(python, os.X_OK):
        return {}, "its Python was replaced"
    if os.environ.get("PYTHON") and os.path.realpath(sys.executable) != python:
        return {}, f"PYTHON asks for {sys.executable}"
    commands = {command for set_ in COMMANDS if set_ in record for command in COMMANDS[set_]}
    missing = sorted(command for command in commands if not os.access(BIN / command, os.X_OK))
    return (record, "") if not missing else ({}, f"its command {missing[0]} is missing")


def _parts() -> dict[str, str]:
    """The digest of each part, as the checkout has it now."""
    projects = [ROOT / "pyproject.toml", *(folder / "pyproject.toml" for folder in _editable())]
    files = {set_: [ROOT / "requirements" / f"{set_}.txt"] for set_ in COVERED_BY} | {"workspace": projects}
    return {part: _digest(*paths) for part, paths in files.items()}


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(b"%s\0%s\0" % (os.fsencode(path.relative_to(ROOT)), path.read_bytes()))
    return digest.hexdigest()


def _editable() -> list[Path]:
    """The folders of the workspace's further distributions."""
    return [ROOT / "http", *sorted(path.parent for path in (ROOT / "toolsets").glob("*/pyproject.toml"))]


def _complete(set_: str) -> bool:
    record, parts = _state()[0], _parts()
    covered = any(record.get(part) == parts[part] for part in COVERED_BY[set_])
    return covered and (set_ == "tools" or record.get("workspace") == parts["workspace"])


# Installing


def _install(set_: str, lock: int | None) -> None:
    parts, (record, reason) = _parts(), _state()
    # Requirements that have changed since are no longer what is installed, once others are installed over them.
    record = {part: digest for part, digest in record.items() if parts.get(part) == digest}
    if reason:
        _make_venv(reason, lock)
    RECORD.unlink(missing_ok=True)
    SCRATCH.mkdir(exist_ok=True)
    if not any(part in record for part in COVERED_BY[set_]):
        _pip(f"installing requirements/{set_}.txt", lock, "--require-hashes", "-r", f"requirements/{set_}.txt")
        record[set_] = parts[set_]
    if set_ != "tools" and "workspace" not in record:
        folders = [word for folder in (ROOT, *_editable()) for word in ("--editable", str(folder))]
        _pip("installing the workspace", lock, "--no-deps", "--no-build-isolation", *folders)
        record["workspace"] = parts["workspace"]
    for command in COMMANDS[set_]:
        Step(f"checking {command}", silent=True).run([str(BIN / command), "--version"], ROOT, _environment(), lock)
    shutil.rmtree(SCRATCH, ignore_errors=True)
    _write_record(record)


def _make_venv(reason: str, lock: int | None) -> None:
    if not find_spec("venv") or not find_spec("ensurepip"):
        message = f"run: {sys.executable} has no venv or no ensurepip (Debian: apt-get install python3-venv)"
        raise FailedError(f"{message}, or set PYTHON=/path/to/python")
    python = sys.executable if Path(sys.executable).parent != BIN else os.path.realpath(sys.executable)
    if os.path.lexists(VENV):
        say(f"making .venv anew: {reason}")
    if VENV.is_dir() and not VENV.is_symlink():
        RECORD.unlink(missing_ok=True)
        shutil.rmtree(VENV)
    else:  # what a link leads to may be somebody else's
        VENV.unlink(missing_ok=True)
    SCRATCH.mkdir(parents=True)
    version = ".".join(map(str, sys.version_info[:3]))
    command = [python, "-I", "-m", "venv", str(VENV)]
    Step(f"making .venv with Python {version}").run(command, ROOT, _environment(), lock)


def _pip(title: str, lock: int | None, *arguments: str) -> None:
    options = ("--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar=off")
    command = [str(BIN / "python"), "-I", "-m", "pip", "install", *options, *arguments]
    Step(title).run(command, ROOT, _environment(), lock)


def _environment() -> dict[str, str]:
    """The environment for Python and pip: no secret of a server's, and nothing that would have them install into
    another place. The allow-list is the core's, which can't be imported yet: it is loaded by its path."""
    spec = spec_from_file_location("child_environ", ROOT / "gaia_core" / "child_environ.py")
    assert spec is not None
    assert spec.loader is not None
    core = module_from_spec(spec)
    spec.loader.exec_module(core)
    ours = {"PIP_USER": "0", "TMPDIR": str(SCRATCH), "PYTHONUNBUFFERED": "1"}
    return dict(core.child_environ(os.environ, *core.PIP, *core.BUILDING, given=ours))


def _write_record(record: dict[str, str]) -> None:
    beside = RECORD.with_suffix(".new")
    beside.write_text(json.dumps(record | {"root": str(ROOT), "python": os.path.realpath(BIN / "python")}))
    beside.replace(RECORD)


@contextmanager
def _locked() -> Iterator[int | None]:
    """The descriptor of the lock on this checkout's .venv, or None where the file system has no locks."""
    with (ROOT / ".venv.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another ./run, which is installing here")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield None
            return
        yield file.fileno()


# The process


def _on_signals() -> None:
    """Have a signal that ends this process end pip first. Signals that the caller ignores stay ignored."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the command would inherit that

    def stop(number: int, _frame: object) -> None:
        for other in STOPS:
            signal.signal(other, signal.SIG_IGN)  # pip is being stopped, within a bounded time
        raise Stopped(number)

    for number in STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def _become(command: str, *arguments: str) -> NoReturn:
    if command == "just":
        os.chdir(ROOT)
        if "PYTHON" in os.environ:
            os.environ["PYTHON"] = sys.executable  # it may have been relative to the caller's folder
    os.execv(BIN / command, [str(BIN / command), *arguments])  # noqa: S606  # no shell: that is the point


def _die_by(number: int) -> NoReturn:
    """End as the signal *number* ends a process, for the shell that waits for this one."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Stopped as stopped:
        with suppress(OSError):
            say("interrupted; the same command starts the installation again")
        _die_by(stopped.number)
    except FailedError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"run: {error}\nrun: {advice(str(error), ROOT) or 'the installation cannot go on'}")
