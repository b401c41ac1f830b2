"""What the tests of deploy/ need: a model server that streams at the test's word, and a server by a file's command."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs
import pytest
from aiohttp import web

GAIA = Path(sys.executable).with_name("gaia")
KEY = "a-key-of-some-characters"


class GatedModel:
    """A model server: its answer's first word comes at once, the others when the test opens the gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.url = ""

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m"}]})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await self._say(response, {"content": "first "}, None)
        await self.gate.wait()
        await self._say(response, {"content": "last"}, None)
        await self._say(response, {}, "stop")
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _say(self, response: web.StreamResponse, delta: dict, reason: str | None) -> None:
        chunk = {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


@pytest.fixture
async def model() -> AsyncIterator[GatedModel]:
    made = GatedModel()
    app = web.Application()
    app.router.add_get("/v1/models", made.models)
    app.router.add_post("/v1/chat/completions", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield made
    made.gate.set()
    await runner.cleanup()


@attrs.frozen
class Started:
    """A server that a file's command started; *said* is what it wrote before it served."""

    process: asyncio.subprocess.Process
    url: str
    said: str
    http: aiohttp.ClientSession

    async def stop(self) -> tuple[int, str]:
        """Ask it to stop; its status, and what it wrote until then."""
        self.process.terminate()
        rest = (await self.process.stdout.read()).decode()
        return await self.process.wait(), rest


@pytest.fixture
def started(tmp_path):
    """Start *words*, a file's command, with this checkout's `gaia`, on a free port of this machine only."""

    @asynccontextmanager
    async def started(words: list[str], environ: dict[str, str]) -> AsyncIterator[Started]:
        assert Path(words[0]).name == "gaia", words
        base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
        process = await asyncio.create_subprocess_exec(
            GAIA, *words[1:], "--host", "127.0.0.1", "--port", "0",
            cwd=tmp_path, env=base | environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            said = ""
            while "/v1/chat/completions" not in said:  # the last of its words is a command to try
                line = (await process.stdout.readline()).decode()
                assert line, said
                said += line
            url = re.search(r"gaia serves (\S+)/v1", said)[1]
            async with aiohttp.ClientSession(url, headers={"authorization": f"Bearer {KEY}"}) as http:
                yield Started(process, url, said, http)
        finally:
            if process.returncode is None:
                process.kill()
            await process.stdout.read()
            await process.wait()

    return started


async def ask(http: aiohttp.ClientSession, model: GatedModel, **options) -> str:
    """A streamed answer, whose first word must come while the model holds back the last one."""
    body = {"model": "assistant", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with http.post("/v1/chat/completions", json=body, **options) as response:
        assert response.status == 200, await response.text()
        text = ""
        while "first " not in text:
            piece = await response.content.readany()
            assert piece, text
            text += piece.decode()
        assert "last" not in text
        model.gate.set()
        return text + (await response.content.read()).decode()


@pytest.fixture(name="ask")
def ask_():
    return ask
