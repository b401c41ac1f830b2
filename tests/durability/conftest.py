"""Real server processes on one port and one journal, and clients that put answers together over any number of them."""

import asyncio
import inspect
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gaia_core.facts import Ended, decode_fact
from gaia_core.journal.sqlite import SQLiteJournal

SCRIPT = Path(__file__).with_name("serving.py")
SECONDS = 30
"""More than anything here takes."""

DROPS = (aiohttp.ClientError, ConnectionError)
"""How it shows that a server has gone."""


@pytest.fixture(scope="session")
def nursery() -> Iterator[subprocess.Popen[bytes]]:
    """The process that servers are forked from: see `serving`."""
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,
    )
    yield process
    process.stdin.close()
    assert process.wait(SECONDS) == 0
    process.stdout.close()


class House:
    """A folder and a port where one server runs after the other."""

    def __init__(self, folder: Path, nursery: subprocess.Popen[bytes], said: asyncio.StreamReader, port: int) -> None:
        self.folder = folder
        self.port = port
        self.http = aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=aiohttp.TCPConnector(limit=0))
        self.pid = 0
        self.runs = 0
        self._nursery = nursery
        self._said = said

    # Processes.

    async def start(self, crash: str = "", *, hold: bool = False, **options: object) -> None:
        """A server; returns when it listens."""
        assert not self.pid
        self.runs += 1
        environ = {"CRASH": crash, "HOLD": str(int(hold)), "RUN": f"{self.runs}."}
        order = {"folder": str(self.folder), "port": self.port, "environ": environ, **options}
        self._nursery.stdin.write(json.dumps(order).encode() + b"\n")
        self._nursery.stdin.flush()
        pid = (await self._line()).split()
        assert pid[0] == "pid"
        self.pid = int(pid[1])
        while not (line := await self._line()).startswith("  curl "):
            assert not line.startswith("ended"), self.log

    async def ended(self) -> tuple[int, list[str]]:
        """Wait until the server has ended; its exit code, and what it said before."""
        said = []
        while not (line := await self._line()).startswith("ended "):
            said.append(line)
        self.pid = 0
        return int(line.split()[1]), said

    async def killed(self) -> None:
        """Wait until the server has died of its fault."""
        assert await self.ended() == (-signal.SIGKILL, []), self.log

    async def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        await self.ended()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    async def stop(self) -> list[str]:
        """SIGTERM, which a server obeys; what it said."""
        os.kill(self.pid, signal.SIGTERM)
        code, said = await self.ended()
        assert code == 0, self.log
        return said

    async def _line(self) -> str:
        async with asyncio.timeout(SECONDS):
            line = (await self._said.readline()).decode()
        assert line, "the nursery has died"
        return line.rstrip("\n")

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def open_gate(self, name: str) -> None:
        (self.folder / name).touch()

    def lines(self, name: str) -> list[str]:
        """What the tools noted."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    async def until(self, look: Callable[[], object], wanted: object = True) -> None:
        """Wait until *look* says what is *wanted*."""
        async with asyncio.timeout(SECONDS):
            while (await found if inspect.isawaitable(found := look()) else found) != wanted:
                await asyncio.sleep(0.005)

    # Requests.

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        async with self.http.request(method, path, json=body) as response:
            return response.status, await response.json()

    async def session(self, **fields: object) -> str:
        status, answer = await self.ask("POST", "/api/sessions", fields)
        assert status == 200, answer
        return answer["id"]

    async def messages(self, session: str) -> list[tuple[str, str]]:
        return [(each["role"], each["content"]) for each in await self.full_messages(session)]

    async def full_messages(self, session: str) -> list[dict]:
        status, answer = await self.ask("GET", f"/api/sessions/{session}/messages")
        assert status == 200, answer
        return answer["messages"]

    async def metric(self, name: str) -> float:
        """The value of a metric; the sum over its labels."""
        async with self.http.get("/metrics") as response:
            lines = (await response.text()).splitlines()
        values = [line.rpartition(" ")[2] for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        assert values, name
        return sum(map(float, values))

    async def check_record(self, *sessions: str, turns: int = 1) -> None:
        """Each session's record, in the file, is gapless; each of its *turns* ends once, and after nothing else."""
        assert not self.pid, "the server still writes"
        async with SQLiteJournal(self.folder / "journal.db") as journal:
            for session in sessions:
                info = await journal.get("", session)
                records = await journal.read("", session)
                assert [record.seq for record in records] == list(range(1, info.seq + 1))
                assert info.turn is None
                ends = [record for record in records if isinstance(decode_fact(record.body), Ended)]
                last = {record.turn: record for record in records}
                assert ends == list(last.values())
                assert len(ends) == turns


class Reader:
    """One client of one turn: it puts the answer together over any number of connections, as ui_api.md says."""

    def __init__(self, house: House, session: str) -> None:
        self.house = house
        self.session = session
        self.frames: list[tuple[str, dict]] = []
        """All that it was told."""
        self.last: str | None = None
        self._parts: list[tuple[int, str]] = []
        self._place = (0, -1)
        self._epoch = ""

    @property
    def text(self) -> str:
        return "".join(text for _, text in self._parts)

    @property
    def types(self) -> list[str]:
        return [data["type"] for _, data in self.frames]

    @property
    def done(self) -> bool:
        return "done" in self.types

    def first(self, kind: str) -> dict:
        return next(data for _, data in self.frames if data["type"] == kind)

    def copy(self, upto: int) -> "Reader":
        """A client that had *upto* of the frames and no more."""
        reader = Reader(self.house, self.session)
        for frame_id, data in self.frames[:upto]:
            reader.take(frame_id, data)
        return reader

    def take(self, frame_id: str, data: dict) -> None:
        """One frame. An id that does not grow is a frame that came twice; a new epoch begins with a `reset`."""
        if data["type"] == "outcome_unknown":  # it has no id: a client comes back after the frame before it
            assert not frame_id
            return
        seq, epoch, index = frame_id.split(":")
        place = int(seq), int(index)
        if data["type"] == "reset":
            self._parts = [part for part in self._parts if part[0] < data["seq"]]
            self._place, self._epoch = (data["seq"], -1), ""
        else:
            assert place > self._place, (self.frames[-3:], frame_id, data)
            assert self._epoch in ("", epoch), (self.frames[-3:], frame_id, data)
            self._place, self._epoch = place, epoch
        if data["type"] == "chunk":
            self._parts.append((int(seq), data["content"]))
        self.frames.append((frame_id, data))
        self.last = frame_id

    @property
    def story(self) -> tuple[str, ...]:
        """The types of what it was told, however its text was cut."""
        return tuple(kind for kind, _ in itertools.groupby(self.types))

    async def send(self, message: str, most: int | None = None, upto: str | None = None) -> int:
        """Send the message, and read *most* frames (None: all), or *upto* one of that type; the status.

        A server that dies ends the reading.
        """
        body = {"session_id": self.session, "message": message}
        return await self._read("POST", "/api/chat/send", most, upto, json=body)

    async def attach(self, most: int | None = None, attached: asyncio.Event | None = None) -> int:
        """Come back by the last id that it has."""
        headers = {"last-event-id": self.last} if self.last else {}
        path = f"/api/chat/attach?session_id={self.session}"
        return await self._read("GET", path, most, attached=attached, headers=headers)

    async def _read(
        self,
        method: str,
        path: str,
        most: int | None,
        upto: str | None = None,
        attached: asyncio.Event | None = None,
        **options: object,
    ) -> int:
        status, left = 0, most
        try:
            async with asyncio.timeout(SECONDS), self.house.http.request(method, path, **options) as response:
                status = response.status
                if attached is not None:
                    attached.set()
                if status != 200:
                    return status
                async for frame_id, data in frames_of(response.content):
                    self.take(frame_id, data)
                    left = left - 1 if left is not None else None
                    if left == 0 or data["type"] == upto:
                        break
        except DROPS:
            pass
        finally:
            if attached is not None:
                attached.set()
        return status

    def check(self, text: str) -> None:
        """The whole turn has come, once: its text, its end, each of its calls."""
        assert self.text == text
        assert self.types.count("done") == 1
        assert self.types[-1] == "done"
        assert self.frames[-1][1]["content"] == text
        told = [(data["type"], data["call_id"]) for _, data in self.frames if data["type"].startswith("tool_")]
        assert len(told) == len(set(told))


async def frames_of(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, dict]]:
    """The frames of a stream, each its id and its value. One that was cut off is none."""
    rest = b""
    async for piece in content.iter_any():
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            if not block.startswith(b":"):
                lines = dict(line.split(": ", 1) for line in block.decode().split("\n"))
                yield lines.get("id", ""), json.loads(lines["data"])


@asynccontextmanager
async def lines_of(process: subprocess.Popen[bytes]) -> AsyncIterator[asyncio.StreamReader]:
    """What *process* says, for the loop of one test."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(process.stdout.fileno()), "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        yield reader
    finally:
        transport.close()


@pytest.fixture
async def house(tmp_path, nursery) -> AsyncIterator[House]:
    with socket.socket() as kept:
        # Bound and never listening: nobody else is given this port while no server of ours has it.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        async with lines_of(nursery) as said:
            house = House(tmp_path, nursery, said, kept.getsockname()[1])
            async with house.http:
                yield house
                if house.pid:
                    await house.kill()


@pytest.fixture
def reader() -> type[Reader]:
    return Reader
