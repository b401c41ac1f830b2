"""Tokens as an endpoint counts them: where it does, and where it doesn't."""

import json

import pytest

from gaia_core.messages import UserMessage
from gaia_core.models import EndpointConfig, Failover, ModelError, ModelRequest

HELLO = ModelRequest((UserMessage("Hello"),))


def says(wire, value: object, **options: object):
    return wire.says(json.dumps(value).encode(), media="application/json", **options)


async def test_an_endpoint_that_counts_is_asked(endpoint, wire):
    model, there = await endpoint()
    there.counts = says(wire, {"input_tokens": 12, "object": "response.input_tokens"})

    assert await model.count(HELLO) == 12
    assert there.asked == []


@pytest.mark.parametrize("answer", [None, 405, 501, b"<html>hello</html>", b'{"error": "no such thing"}'])
async def test_one_that_does_not_says_nothing(endpoint, wire, answer):
    model, there = await endpoint()
    if isinstance(answer, int):
        there.counts = says(wire, {}, status=answer)
    elif answer is not None:
        there.counts = wire.says(answer, media="application/json")

    assert await model.count(HELLO) is None


async def test_a_request_that_can_not_be_counted_is_an_error(endpoint, wire):
    model, there = await endpoint()
    there.counts = says(wire, {"error": {"message": "the template takes no images"}}, status=400)

    with pytest.raises(ModelError, match="takes no images"):
        await model.count(HELLO)


async def test_the_next_endpoint_counts_when_one_is_gone(upstream, wire):
    there = await upstream()
    there.counts = says(wire, {"input_tokens": 12})
    urls = ("http://127.0.0.1:9/v1", there.url)
    model = Failover([EndpointConfig(url=url, model="m", retries=0) for url in urls])

    assert [await model.count(HELLO) for _ in range(3)] == [12] * 3

    await model.aclose()
