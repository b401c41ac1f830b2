"""POST /v1/responses/compact: the summary is made in rounds, each of which fits the model's window."""

import pytest

from gaia_core import Agent, ModelSpec
from gaia_core.models import Endpoint, EndpointConfig
from gaia_core.testing import StrictEndpoint

WINDOW = 6_000
LONG = [
    {"role": role, "content": f"{n}: " + "words of a long conversation " * 150}
    for n in range(40)
    for role in ("user", "assistant")
]  # about 90,000 tokens


async def compacted(serve, window: int | None, **fields: object):
    """The status and the answer, and what the model was sent."""
    async with StrictEndpoint(lambda body: f"Notes {len(body['messages'][-1]['content'])}.", window=WINDOW) as upstream:
        config = EndpointConfig(url=upstream.url, model="m", retries=0)
        spec = ModelSpec("small", open=lambda: Endpoint(config), window=window)
        server = await serve("x", agents=(Agent("a", model="small"),), models={"small": spec})
        body = {"model": "a", "input": LONG, **fields}
        async with server.http.post("/v1/responses/compact", json=body) as reply:
            answer = await reply.json()
        assert not upstream.refused
        return reply.status, answer, upstream.requests


@pytest.mark.parametrize("window", [WINDOW, None], ids=["configured", "learnt"])
async def test_a_conversation_of_many_windows_is_summarized_in_rounds(serve, window):
    status, answer, requests = await compacted(serve, window)

    assert status == 200, answer
    assert [item["type"] for item in answer["output"]] == ["compaction"]
    rounds = requests if window is not None else requests[1:]  # the first one is refused, which says the window
    assert len(rounds) == 8
    assert max(len(str(body["messages"])) for body in rounds) < WINDOW * 4
    assert "Notes on what came before:\nNotes " in rounds[-1]["messages"][-1]["content"]
    assert rounds[-1]["messages"][-1]["content"].count("39: ") == 2
    assert "characters are left out" in "".join(body["messages"][-1]["content"] for body in rounds)


async def test_instructions_are_cut_to_their_share(serve):
    status, answer, requests = await compacted(serve, WINDOW, instructions="Keep numbers. " * 5_000)

    assert status == 200, answer
    assert all(body["messages"][0]["content"].startswith("Keep numbers. ") for body in requests)


async def test_a_model_that_says_nothing_is_an_error(serve):
    server = await serve("")
    async with server.http.post("/v1/responses/compact", json={"model": "a", "input": "Hi"}) as reply:
        answer = await reply.json()

    assert reply.status >= 500
    assert "no summary" in answer["error"]["message"]
