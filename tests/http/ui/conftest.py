"""A client of the UI API: what it asks, and the frames of its streams."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest

Frame = tuple[str, dict]


@attrs.frozen
class Client:
    """Speaks to one server."""

    server: object

    async def ask(self, method: str, path: str, body: object = None, **options: object):
        """The status, the decoded JSON and the headers of an answer."""
        if body is not None:
            options["json"] = body
        async with self.server.http.request(method, path, **options) as response:
            return response.status, await response.json(), response.headers

    async def get(self, path: str):
        status, body, _ = await self.ask("GET", path)
        assert status == 200, body
        return body

    async def post(self, path: str, body: object = None):
        status, answer, _ = await self.ask("POST", path, body if body is not None else {})
        assert status == 200, answer
        return answer

    async def session(self, **fields: object) -> str:
        """The id of a new session."""
        return (await self.post("/api/sessions", fields))["id"]

    @asynccontextmanager
    async def stream(self, method: str, path: str, body: object = None, **options: object):
        """The frames of a stream, as they come."""
        if body is not None:
            options["json"] = body
        async with self.server.http.request(method, path, **options) as response:
            assert response.status == 200, await response.text()
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            yield frames_of(response.content)

    def sending(self, session_id: str, message: str = "Hi", **fields: object):
        return self.stream("POST", "/api/chat/send", {"session_id": session_id, "message": message, **fields})

    def attaching(self, session_id: str, last: str | None = None):
        headers = {"last-event-id": last} if last else {}
        return self.stream("GET", f"/api/chat/attach?session_id={session_id}", headers=headers)

    async def send(self, session_id: str, message: str = "Hi", **fields: object) -> list[Frame]:
        """All frames of a turn."""
        async with self.sending(session_id, message, **fields) as frames:
            return [frame async for frame in frames]

    async def attach(self, session_id: str, last: str | None = None) -> list[Frame]:
        async with self.attaching(session_id, last) as frames:
            return [frame async for frame in frames]

    async def messages(self, session_id: str) -> list[tuple[str, str]]:
        """Who said what."""
        found = (await self.get(f"/api/sessions/{session_id}/messages"))["messages"]
        return [(message["role"], message["content"]) for message in found]

    async def start(self, session_id: str, message: str = "Hi") -> None:
        """Begin a turn, and leave as soon as it runs."""
        async with self.sending(session_id, message) as frames:
            await anext(frames)


async def frames_of(content) -> AsyncIterator[Frame]:
    """The id and the value of each frame; comments left out."""
    rest = bytearray()
    async for piece in content.iter_any():
        rest += piece
        *blocks, rest = rest.split(b"\n\n") if b"\n\n" in piece or rest.endswith(b"\n\n") else (rest,)
        for block in blocks:
            if block.startswith(b":"):
                continue
            lines = dict(line.split(": ", 1) for line in block.decode().split("\n"))
            assert set(lines) <= {"id", "data"}
            yield lines.get("id", ""), json.loads(lines["data"])
    assert not rest


def text_of(frames: list[Frame]) -> str:
    """The answer as a client has it after *frames*: deltas, and what a `reset` makes void."""
    parts: list[tuple[int, str]] = []
    for frame_id, data in frames:
        if data["type"] == "reset":
            parts = [part for part in parts if part[0] < data["seq"]]
        elif data["type"] == "chunk":
            parts.append((int(frame_id.partition(":")[0]), data["content"]))
    return "".join(text for _, text in parts)


def normal(frames: list[Frame]) -> list[dict]:
    """*frames* without what differs from run to run: ids, times, and how text was cut into deltas."""
    whole: list[dict] = []
    for frame_id, data in frames:
        last = whole[-1] if whole else {}
        kind = data["type"] in ("chunk", "thinking") and data["type"]
        if kind and kind == last.get("type") and data.get("parent_call_id") == last.get("parent_call_id"):
            whole[-1] = last | {"id": frame_id, "content": last["content"] + data["content"]}
        else:
            whole.append({"id": frame_id} | data)
    return [_normal(each) for each in whole]


def _normal(value: object) -> object:
    if isinstance(value, dict):
        return {key: 0 if key in _TIMES else _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return re.sub(r"\b(appr|ask)_[0-9a-f]{32}", r"\1_ID", value) if isinstance(value, str) else value


_TIMES = ("elapsed", "ttft", "latency_ms", "tokens_per_second", "time_to_first_token")


@pytest.fixture
async def ui(serve) -> Callable:
    """Start a server as `serve` does; a client of its UI API."""

    async def ui(*answers: object, **options: object) -> Client:
        return Client(await serve(*answers, **options))

    return ui


@pytest.fixture(name="text_of")
def text_of_() -> Callable[[list[Frame]], str]:
    return text_of


@pytest.fixture(name="normal_frames")
def normal_frames_() -> Callable[[list[Frame]], list[dict]]:
    return normal


class Gate:
    """A model that answers with its script, the last of it only when the test opens the gate."""

    def __init__(self, *answers: object) -> None:
        from gaia_core import scripted

        self._inner = scripted(*answers)
        self._count = len(answers)
        self.asked = 0
        self.waiting = asyncio.Event()
        self.go = asyncio.Event()

    async def stream(self, request):
        self.asked += 1
        hold = self.asked == self._count
        async for batch in self._inner.stream(request):
            yield batch
            if hold:
                hold = False
                self.waiting.set()
                await self.go.wait()


@pytest.fixture
def gate() -> type[Gate]:
    return Gate
