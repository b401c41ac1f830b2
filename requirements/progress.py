"""A step of an installation: its program runs, standard error shows how far it is, and a failure says what to do.

On a terminal, a step is one line that changes; elsewhere a line when it starts, one every ten seconds, and one when it
ends. Nothing is written to standard output: that is the command's.
"""

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""

_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|Read timed out|Connection(?:Reset|Refused)?Error|ProxyError"
    r"|NameResolutionError|Temporary failure in name resolution|Connection broken|ProtocolError|IncompleteRead"
    r"|HTTP error 5\d\d|Network is unreachable"
)
_NOISE = re.compile(r"WARNING: Location|\[notice\]|\s*$")


class FailedError(Exception):
    """A step failed. The message is for the user: what failed, what its program said, what to do."""


def say(text: str) -> None:
    """Write a line for the user."""
    sys.stderr.write(f"run: {text}\n")
    sys.stderr.flush()


class Step:
    """One program of the installation, and what the user sees of it."""

    def __init__(self, title: str, *, silent: bool = False) -> None:
        self.title = title
        self._silent = silent
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._began = self._shown = time.monotonic()
        self._line = ""

    def run(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], lock: int | None) -> None:
        """Run *command*, which inherits *lock*. Raises FailedError when it can't be started or its status is not 0."""
        packages = _Packages(command, folder)
        if not self._terminal and not self._silent:
            say(self.title)
        try:
            child = subprocess.Popen(  # noqa: S603  # a fixed program
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=() if lock is None else (lock,),
            )
        except OSError as error:
            noexec = " (is its file system mounted noexec?)" if isinstance(error, PermissionError) else ""
            raise FailedError(f"run: {self.title} failed: {command[0]}: {error.strerror}{noexec}") from error
        try:
            output = self._follow(child, packages)
            status = child.wait()
        except BaseException:
            _stop(child)
            self._clear()
            raise
        self._clear()
        if status:
            raise FailedError(_failure(self.title, status, output, folder))
        if not self._silent:
            say(f"{self.title}: done, {packages.total}{self._seconds()} s")

    def _follow(self, child: "subprocess.Popen[bytes]", packages: "_Packages") -> list[str]:
        """Show progress until *child* closes its output; the lines that it wrote."""
        assert child.stdout is not None
        lines: list[str] = []
        rest = b""
        tick = 0.25 if self._terminal else 1.0
        while True:
            if select.select([child.stdout], [], [], tick)[0]:
                data = os.read(child.stdout.fileno(), 65536)
                if not data:
                    break
                *complete, rest = (rest + data).split(b"\n")
                for line in complete:
                    lines.append(line.decode(errors="replace"))
                    packages.read(lines[-1])
            self._show(packages)
        return [*lines, rest.decode(errors="replace")]

    def _show(self, packages: "_Packages") -> None:
        if self._silent:
            return
        text = f"{self.title}: {packages.state()}{self._seconds()} s"
        if self._terminal:
            line = f"run: {text}"[: shutil.get_terminal_size().columns - 1]
            if line != self._line:
                self._line = line
                sys.stderr.write(f"\r{line}\x1b[K")
                sys.stderr.flush()
        elif time.monotonic() - self._shown >= _EVERY:
            self._shown = time.monotonic()
            say(text)

    def _seconds(self) -> int:
        return round(time.monotonic() - self._began)

    def _clear(self) -> None:
        if self._terminal and not self._silent:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


class _Packages:
    """How far pip is, by its own lines: it names the requirement's line as it finds each package."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._wanted = 0
        if "-r" in command:
            text = (folder / command[-1]).read_text()
            self._wanted = len(re.findall(r"^[\w.-]+==", text, re.MULTILINE))
        self._found: set[str] = set()
        self._installing = 0.0
        self._site = next(iter((folder / ".venv").glob("lib/python*/site-packages")), None)
        self._waiting = ""

    def read(self, line: str) -> None:
        """Take notice of a line of pip's output."""
        self._waiting = "the package index does not answer, trying again, " if "Retrying (Retry(" in line else ""
        if line.startswith("Ignoring "):  # its marker excludes this machine
            self._wanted -= 1
        elif found := re.search(r"\(line (\d+)\)", line):
            self._found.add(found[1])
        elif line.startswith("Installing collected packages:"):
            self._installing = time.time()
            self._found = set(line.split(":", 1)[1].split(","))

    def state(self) -> str:
        """Where pip is, to be followed by the seconds."""
        if not self._wanted:
            return self._waiting
        if not self._installing:
            return f"{len(self._found)} of {self._wanted} found, {self._waiting}"
        return f"{self._written()} of {len(self._found)} installed, "

    @property
    def total(self) -> str:
        """How many there were, likewise."""
        if not self._wanted:
            return ""
        return f"{self._wanted} package{'s' if self._wanted > 1 else ''}, "

    def _written(self) -> int:
        if self._site is None:
            return 0
        infos = self._site.glob("*.dist-info")
        return sum(info.stat().st_mtime >= self._installing - 1 for info in infos if info.exists())


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """End *child* within five seconds."""
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _failure(title: str, status: int, output: Sequence[str], folder: Path) -> str:
    """What failed, what its program said, and what to do."""
    lines = [line for line in output if not _NOISE.match(line)]
    first = next((at for at, line in enumerate(lines) if re.match(r"error|.*Traceback", line, re.IGNORECASE)), 0)
    said = "".join(f"    {line[:300]}\n" for line in lines[first:][-12:])
    ended = f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"
    return f"run: {title} {ended}\n{said}run: {advice(chr(10).join(lines), folder) or 'see the lines above'}"


def advice(text: str, folder: Path) -> str:
    """What to do about an error with this *text*, or ""."""
    if re.search(r"No space left on device|Disk quota exceeded", text):
        free = shutil.disk_usage(folder).free // 1_000_000
        return f"the disk is full: {free} MB are free for {folder} (.venv needs 400 MB to serve, 1,100 MB to test)"
    if "Read-only file system" in text or "Permission denied" in text:
        return f"the installation has to write to {folder}/.venv and may not: use a checkout of your own"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "install ca-certificates, or name your organisation's certificate: PIP_CERT=/path/to/file.pem"
    if _NETWORK.search(text):
        return (
            "the package index can't be reached: check the network, HTTPS_PROXY and pip's settings"
            " (python3 -m pip config list). The same command then goes on with what has been downloaded"
        )
    if "DO NOT MATCH THE HASHES" in text:
        return (
            "a download is not the file that was pinned (a mirror or proxy may change it); nothing of it was installed"
        )
    if "No matching distribution found" in text:
        return (
            f"the package index has no such file for Python {sys.version.split()[0]} here; try PYTHON=/path/to/another"
        )
    if "ensurepip" in text:
        return f"{sys.executable} has no working ensurepip (Debian: apt-get install python3-venv)"
    return ""
