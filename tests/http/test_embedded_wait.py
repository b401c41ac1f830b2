"""A request that comes while the embedded model is fetched: it waits, its stream stays open, and it is answered."""

import asyncio
import hashlib

import attrs
import pytest

from gaia_core import Agent, ModelSpec
from gaia_core.models.embedded import EmbeddedModel, Weights
from gaia_http import Settings

ASKED = {"model": "a", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "seed": 1}


@attrs.define(eq=False)
class HalfThere:
    """A source that brings half, and the rest when the test lets it."""

    data: bytes
    go: asyncio.Event = attrs.field(factory=asyncio.Event)
    label: str = "half there"

    async def fetch(self, part, size, told) -> None:
        told(size // 2, size)
        await self.go.wait()
        part.write_bytes(self.data)


@pytest.fixture
async def fetching(serve, noise, tmp_path):
    """A server whose embedded model is being fetched, and the source that holds it back."""
    data = noise.read_bytes()
    source = HalfThere(data)
    weights = Weights("Noise", hashlib.sha256(data).hexdigest(), len(data), "nobody's", ())
    model = EmbeddedModel(slots=2, default=weights, sources=(source,), environ={"GAIA_CACHE": str(tmp_path)})
    spec = ModelSpec("own", open=lambda: model, kind="embedded")
    settings = Settings(heartbeat_seconds=0.02)
    return await serve(agents=(Agent("a", model="own"),), models={"own": spec}, settings=settings), source


async def test_a_stream_stays_open_and_is_answered(fetching):
    server, source = fetching
    async with server.http.post("/v1/chat/completions", json=ASKED | {"stream": True}) as response:
        first = await response.content.readline()  # the response has begun, before the model has anything to say
        source.go.set()
        rest = (await response.content.read()).decode()

    assert response.status == 200
    assert first.startswith(b": ")
    assert rest.endswith("data: [DONE]\n\n")
    assert '"finish_reason":' in rest


async def test_an_answer_that_is_not_streamed_waits(fetching):
    server, source = fetching
    asked = asyncio.create_task(server.post(ASKED))
    async with server.http.post("/v1/chat/completions", json=ASKED | {"stream": True}) as response:
        await response.content.readline()  # by now the other one waits, too
        assert not asked.done()
        source.go.set()
        status, _, answer = await asked

    assert status == 200, answer
    assert answer["choices"][0]["message"]["role"] == "assistant"
