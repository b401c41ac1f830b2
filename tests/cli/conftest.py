"""What the tests of the command line need: a terminal that can be read, a scripted endpoint, and packages."""

import asyncio
import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from aiohttp import web
from click.testing import CliRunner

from gaia_core import ModelSpec, Runtime, load_catalog, scripted
from gaia_core.cli import main
from gaia_core.events import ApprovalRequested
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.turn import Audience, TurnRequest

_MAIN = "from gaia_core.cli import main; main(prog_name='gaia')"
COMMAND = (sys.executable, "-c", _MAIN)
# The terminal becomes its own first, so that Ctrl-C reaches it as it does when a person presses it.
_IN_TERMINAL = (sys.executable, "-c", f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {_MAIN}")
_CONTROL = re.compile(r"\x1b\[([?>]?)([0-9;]*)([A-Za-z])|\x1b[=>()].?|\x1b\][^\x07]*\x07")
_WAIT = 30.0


class Emulator:
    """What a person sees in a terminal, lines that scrolled away first."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self.width, self.height = width, height
        self.rows: list[list[str]] = [[]]
        self.wrapped: set[int] = set()
        """The rows that continue the one above."""
        self.row = self.column = 0

    def resize(self, width: int) -> None:
        """Wrap what is shown anew, as most terminals do. The cursor has to be at the beginning of the last row."""
        assert (self.row, self.column) == (len(self.rows) - 1, 0)
        lines: list[list[str]] = []
        for number, row in enumerate(self.rows):
            lines[-1:] = [lines[-1] + row] if number in self.wrapped else [*lines[-1:], row]
        self.width, self.rows, self.wrapped = width, [], set()
        for line in lines:
            for start in range(0, max(1, len(line)), width):
                if start:
                    self.wrapped.add(len(self.rows))
                self.rows.append(line[start : start + width])
        self.row = len(self.rows) - 1

    @property
    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.rows).rstrip()

    def feed(self, text: str) -> "Emulator":
        while text:
            if text[0] == "\x1b":
                match = _CONTROL.match(text)
                assert match, f"an escape sequence that the emulator doesn't know: {text[:20]!r}"
                if match[3] and not match[1]:
                    self.control(match[3], int(match[2].split(";")[0] or 0))
                text = text[match.end() :]
                continue
            self.put(text[0])
            text = text[1:]
        return self

    def put(self, char: str) -> None:
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.down()
        elif char == "\b":
            self.column = max(0, self.column - 1)
        elif char != "\x07":
            if self.column == self.width:
                self.column = 0
                self.down()
                self.wrapped.add(self.row)
            row = self.rows[self.row]
            row += " " * (self.column + 1 - len(row))
            row[self.column] = char
            self.column += 1

    def down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append([])

    def control(self, kind: str, number: int) -> None:
        row = self.rows[self.row]
        if kind == "A":
            self.row = max(0, len(self.rows) - self.height, self.row - (number or 1))
        elif kind == "C":
            self.column = min(self.width - 1, self.column + (number or 1))
        elif kind == "D":
            self.column = max(0, self.column - (number or 1))
        elif kind == "K":
            self.rows[self.row] = [] if number == 2 else row[: self.column]
        elif kind == "J":
            assert number == 0
            self.rows[self.row] = row[: self.column]
            self.rows[self.row + 1 :] = [[] for _ in self.rows[self.row + 1 :]]
        else:
            assert kind in "mhl", f"a control that the emulator doesn't know: {kind!r}"


class Terminal:
    """`gaia` in a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str, height: int = 24) -> None:
        self.screen = Emulator(height=height)
        self.raw = ""
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, 80, 0, 0))
        self.process = subprocess.Popen(
            (*_IN_TERMINAL, *arguments),
            cwd=folder,
            env=clean_environ(folder) | {"TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._news = asyncio.Event()
        self._open = True
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # how Linux says that nobody has the terminal open any more
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
            self._open = False
        self.raw += data.decode(errors="replace")
        self.screen.feed(data.decode(errors="replace"))
        self._news.set()

    def resize(self, width: int, height: int = 24) -> None:
        """Give the terminal another size, as its window does; what is shown already stays as it is."""
        self.screen.width, self.screen.height = width, height  # as xterm: it doesn't wrap anew what is shown
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    async def until(self, seen: str | Callable[[str], bool]) -> str:
        """The screen's text, once it holds *seen*."""
        there = (lambda text: seen in text) if isinstance(seen, str) else seen
        try:
            async with asyncio.timeout(_WAIT):
                while not there(self.screen.text):
                    assert self._open, f"the program has ended; its screen:\n{self.screen.text}"
                    await self._news.wait()
                    self._news.clear()
        except TimeoutError:
            raise AssertionError(f"{seen!r} never came; the screen:\n{self.screen.text}") from None
        return self.screen.text

    async def prompt(self) -> str:
        """The screen's text, once it asks for a message."""
        return await self.until(lambda text: text.endswith("\n>"))

    async def ended(self) -> int:
        """The exit code."""
        async with asyncio.timeout(_WAIT):
            while self._open:
                await self._news.wait()
                self._news.clear()
        return await asyncio.to_thread(self.process.wait, _WAIT)

    def close(self) -> None:
        if self._open:
            asyncio.get_running_loop().remove_reader(self._master)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


class Endpoint:
    """A model server: each request gets the next of *answers* (the last one again and again).

    An answer is a list of deltas (texts are `content`), or a status. None among the deltas waits for `go`.
    """

    def __init__(self) -> None:
        self.answers: list[object] = [["Hello."]]
        self.asked: list[dict] = []
        self.waiting = asyncio.Event()
        self.go = asyncio.Event()
        self.gone = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, int):
            return web.json_response({"error": {"message": "the model is broken", "type": "x"}}, status=answer)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        reason = "stop"
        try:
            for delta in answer:
                if delta is None:
                    self.waiting.set()
                    await self.go.wait()
                    continue
                given = {"content": delta} if isinstance(delta, str) else delta
                reason = "tool_calls" if "tool_calls" in given else reason
                await self.say(response, given, None)
            await self.say(response, {}, reason)
            await response.write(b"data: [DONE]\n\n")
        finally:
            self.gone.set()
        return response

    async def say(self, response: web.StreamResponse, delta: dict, reason: str | None) -> None:
        chunk = {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    @staticmethod
    def call(tool: str, index: int = 0, **arguments: object) -> dict:
        """The delta of a tool call."""
        function = {"name": tool, "arguments": json.dumps(arguments)}
        return {"tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": function}]}


def clean_environ(folder: Path) -> dict[str, str]:
    """This process's environment without what would choose another model, or another look; its journal in *folder*."""
    foreign = ("GAIA_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_", "INPUTRC")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    ours = {"GAIA_DISCOVER": "0", "GAIA_JOURNAL": str(folder / "journal.sqlite"), "PYTHONDONTWRITEBYTECODE": "1"}
    return kept | ours | {"XDG_DATA_HOME": str(folder / "data")}


@pytest.fixture(scope="session")  # a class, which hypothesis' examples may share
def emulator() -> type[Emulator]:
    return Emulator


@pytest.fixture
async def endpoint(tmp_path):
    """A scripted endpoint, which the `gaia.toml` of *tmp_path* names."""
    made = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", made.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    (tmp_path / "gaia.toml").write_text(f'[models.local]\nurl = "{url}"\nmodel = "m"\nretries = 0\n')
    yield made
    made.go.set()
    await runner.cleanup()


@pytest.fixture
async def terminal(tmp_path):
    """Start `gaia` with arguments in a terminal, in the folder of the endpoint's configuration."""
    started: list[Terminal] = []

    def start(*arguments: str, height: int = 24) -> Terminal:
        started.append(Terminal(tmp_path, *arguments, height=height))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def gaia(tmp_path):
    """Run `gaia` to its end without a terminal: its exit code, stdout and stderr."""

    async def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            cwd=tmp_path,
            env=clean_environ(tmp_path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_WAIT):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, out.decode(), err.decode()

    return run


@pytest.fixture
def commands(install, tmp_path, monkeypatch):
    """The commands on sessions are there, here and in other processes, whatever the installed metadata says."""
    install(
        "ours", "gaia.commands", {name: f"gaia_core.cli.{name}:{name}" for name in ("journal", "replay", "sessions")}
    )
    path = os.pathsep.join((str(tmp_path / "ours-site"), *filter(None, (os.environ.get("PYTHONPATH"),))))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("GAIA_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def invoke(commands):
    """Run `gaia` in this process: its stdout. *err* is in stderr, *code* the exit code."""

    def invoke(*arguments: str, code: int = 0, err: str = "", stdin: str | None = None) -> str:
        result = CliRunner().invoke(main, arguments, input=stdin)
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert err in result.stderr
        return result.stdout

    return invoke


@pytest.fixture
def record(tmp_path):
    """Record a session, in a process that then stops: what is asked, and what the model answers.

    A turn that waits for an approval is left so.
    """

    def record(*answers: object, id: str, says: tuple[str, ...] = ("Hi",), config: str = "", agent: str | None = None):
        asyncio.run(_record(tmp_path, answers, id, says, config, agent))

    return record


async def _record(folder: Path, answers: tuple, id: str, says: tuple[str, ...], config: str, agent: str | None) -> None:
    (folder / "gaia.toml").write_text(f'[models.local]\nurl = "http://127.0.0.1:9/v1"\n{config}')
    catalog = load_catalog(folder / "gaia.toml", environ={}, cwd=folder)
    model = scripted(*answers)
    catalog = attrs.evolve(catalog, models=(ModelSpec("local", open=lambda: model),))
    async with Runtime(catalog, SQLiteJournal(folder / "journal.sqlite")) as runtime:
        session = await runtime.open(agent or catalog.default_agent, id)
        for words in says:
            turn = await runtime.start(session, TurnRequest(words, audience=Audience.INTERACTIVE))
            async for event in turn.events():
                if isinstance(event, ApprovalRequested):
                    return


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package with entry points of one group, and modules by their source."""

    def install(package: str, group: str, points: dict[str, str], **modules: str) -> None:
        folder = tmp_path / f"{package}-site"
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
        for name, source in modules.items():
            (folder / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))
        for name in modules:
            monkeypatch.delitem(sys.modules, name, raising=False)

    return install
