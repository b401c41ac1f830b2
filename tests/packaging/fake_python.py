"""Stands in for Python where `./run` is tested: fast, and it can be stopped at a moment of the installation.

    python fake_python.py EXECUTABLE WORDS…

It is real for `install.py` and for `-c`. `-m venv` makes a few files; `-m pip install` installs as pip does: the
metadata first, the commands last, and a package that has metadata counts as installed. Variables of the environment,
which the installer passes on because pip's own begin so:

| variable | what it says |
|---|---|
| `PIP_FAKE_LOG` | a file that gets a line for each venv and pip |
| `PIP_FAKE_STOP` | the moment to stop at: it writes its id to the FIFO of `…_REACHED` and reads that of `…_GO` |
| `PIP_FAKE_ENVIRON` | a file that gets the names of pip's variables |
| `PIP_FAKE_SAYS` | what pip says before it fails |
| `PIP_FAKE_WITHOUT` | a module of the standard library that this Python lacks |
| `PIP_FAKE_LOCK_ERROR` | the number of the error with which the lock can't be opened |
| `PIP_FAKE_JUST` | the real `just` |
"""
# ruff: noqa: T201  # a program

import io
import os
import re
import runpy
import sys
from functools import partial
from pathlib import Path


def main(executable: str, *words: str) -> None:
    sys.executable = os.path.abspath(executable)
    options = [word for word in words if word not in ("-I", "-ESs")]
    match options:
        case ["-c", code]:
            exec(code, {})
        case ["-m", "venv", folder]:
            log("venv")
            make_venv(Path(folder))
        case ["-m", "pip", "install", *arguments]:
            what = "workspace" if "--editable" in arguments else Path(arguments[-1]).stem
            log(f"pip {what}")
            log_environ()
            install(what, arguments)
        case ["-m", *command]:
            print(*command, sep="|")
        case [program, *arguments]:
            if without := os.environ.get("PIP_FAKE_WITHOUT"):
                sys.modules[without] = None
            if number := os.environ.get("PIP_FAKE_LOCK_ERROR"):
                io.open = partial(fail_to_open, io.open, int(number))
            sys.argv = [program, *arguments]
            sys.path[0] = str(Path(program).parent)
            runpy.run_path(program, run_name="__main__")


def log_environ() -> None:
    if path := os.environ.get("PIP_FAKE_ENVIRON"):
        Path(path).write_text("\n".join(sorted(os.environ)))


def fail_to_open(real_open, number: int, path: Path, *arguments):
    if path.name == ".venv.lock":
        raise OSError(number, os.strerror(number), str(path))
    return real_open(path, *arguments)


def make_venv(folder: Path) -> None:
    moment("venv begins")
    (folder / "bin").mkdir()
    (folder / "pyvenv.cfg").write_text(f"home = /nowhere\nexecutable = {os.path.realpath(sys.executable)}\n")
    (folder / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    moment("venv has python")
    (folder / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    moment("venv ends")


def install(what: str, arguments: list[str]) -> None:
    moment(f"{what} begins")
    sys.stdin.read()  # what pip asks, nobody answers
    if says := os.environ.get("PIP_FAKE_SAYS"):
        sys.exit(says)
    names = ["gaia"] if what == "workspace" else re.findall(r"^(\w+)==", Path(arguments[-1]).read_text(), re.MULTILINE)
    for number, name in enumerate(names):
        print(f"Collecting {name} (from -r requirements/{what}.txt (line {number}))", flush=True)
    if "gaia" not in names:
        print(f"Installing collected packages: {', '.join(names)}", flush=True)
    for name in names:
        install_package(name)
    moment(f"{what} ends")


def install_package(name: str) -> None:
    folder = Path(sys.executable).parents[1]
    metadata = next(folder.glob("lib/python*/site-packages")) / f"{name}.dist-info"
    if metadata.exists():
        return
    metadata.mkdir()
    moment(f"{name} has metadata")
    command = folder / "bin" / name
    command.write_text("#!/bin/sh\nexit 3\n")
    moment(f"{name} is half there")
    runs = f'exec "{os.environ["PIP_FAKE_JUST"]}" "$@"' if name == "just" else COMMAND.format(name)
    command.write_text(f"#!/bin/sh\n{runs}\n")
    command.chmod(0o755)


COMMAND = """\
if [ "${{1:-}}" = stdin ]; then cat; exit; fi
if [ "${{1:-}}" = signals ]; then grep SigIgn /proc/self/status; exit; fi
printf '%s|' {} "$@" "$PWD" $$"""


def moment(name: str) -> None:
    if os.environ.get("PIP_FAKE_STOP") == name:
        Path(os.environ["PIP_FAKE_REACHED"]).write_text(f"{os.getpid()}\n")
        Path(os.environ["PIP_FAKE_GO"]).read_text()


def log(line: str) -> None:
    with open(os.environ["PIP_FAKE_LOG"], "a") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
