"""An endpoint's connections: closed with their stream, apart from each other, used again when they were read out."""

import asyncio
from contextlib import aclosing

import pytest

from gaia_core.events import TextDelta
from gaia_core.messages import UserMessage
from gaia_core.models import EndpointConfig, ModelError, ModelRequest


async def gone(asked) -> None:
    async with asyncio.timeout(5):
        await asked.gone.wait()


async def test_leaving_the_stream_closes_the_connection_at_once(endpoint, hi, wire):
    model, there = await endpoint(wire.says(wire.chunk("Hi"), wire.HANG))
    async with aclosing(model.stream(hi)) as stream:
        assert await anext(stream) == (TextDelta("Hi"),)
    await gone(there.asked[0])


async def test_cancelling_while_tokens_come_closes_the_connection(endpoint, ask, wire):
    model, there = await endpoint(wire.says(wire.chunk("Hi"), wire.HANG))
    task = asyncio.create_task(ask(model))
    await there.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(there.asked[0])


async def test_cancelling_before_the_head_closes_the_connection(endpoint, ask, wire):
    model, there = await endpoint(wire.says(wire.HANG, raw=True))
    task = asyncio.create_task(ask(model))
    await there.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(there.asked[0])


async def test_cancelling_a_wait_before_a_retry_sends_nothing_more(endpoint, hi, wire):
    model, there = await endpoint(wire.fails(429, retry_after="30"))
    stream = model.stream(hi)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(there.asked) == 1


async def test_fifty_streams_at_once_keep_apart(endpoint, ask, wire):
    together = asyncio.Barrier(50)

    def echo(asked) -> object:
        said = asked.body["messages"][0]["content"]
        words = [piece for _ in range(5) for piece in (wire.chunk(said), 0.002)]
        return wire.says(*words, wire.answer())

    async def one(model, number: int) -> str:
        await together.wait()
        return (await ask(model, ModelRequest((UserMessage(f"<{number}>"),)))).text

    model, there = await endpoint(echo)
    texts = await asyncio.gather(*(one(model, number) for number in range(50)))
    assert texts == [f"<{number}>" * 5 for number in range(50)]
    assert len({asked.peer for asked in there.asked}) == 50


async def test_one_that_leaves_disturbs_no_other(endpoint, ask, hi, wire):
    slow = wire.says(wire.chunk("a"), 0.1, wire.answer("b"))
    model, there = await endpoint(wire.says(wire.chunk("Hi"), wire.HANG), slow)
    leaving = model.stream(hi)
    await anext(leaving)
    staying = asyncio.create_task(ask(model))
    while len(there.asked) < 2:
        await asyncio.sleep(0)
    await leaving.aclose()
    assert (await staying).text == "ab"


@pytest.mark.parametrize("late", [0.0, 0.01])
async def test_a_connection_to_elsewhere_is_used_again_after_a_whole_answer(endpoint, ask, wire, monkeypatch, late):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(EndpointConfig, "is_loopback", False)
    model, there = await endpoint(wire.says(wire.answer("Hi"), late))
    for _ in range(3):
        await ask(model)
    assert len({asked.peer for asked in there.asked}) == 1


async def test_a_connection_on_this_machine_is_closed_after_its_answer(endpoint, ask, wire):
    model, there = await endpoint(wire.says(wire.answer("Hi")))
    for _ in range(2):
        await ask(model)
    assert [asked.headers["connection"] for asked in there.asked] == ["close", "close"]


@pytest.mark.parametrize("loopback", [True, False])
async def test_a_line_that_stays_open_after_done_is_not_waited_for(endpoint, ask, wire, monkeypatch, loopback):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(EndpointConfig, "is_loopback", loopback)
    model, there = await endpoint(wire.says(wire.answer("Hi"), wire.HANG))
    async with asyncio.timeout(5):
        assert (await ask(model)).text == "Hi"
    await gone(there.asked[0])


async def test_closing_ends_running_streams_and_closing_twice_is_fine(endpoint, hi, wire):
    model, there = await endpoint(wire.says(wire.chunk("Hi"), wire.HANG))
    stream = model.stream(hi)
    await anext(stream)
    await model.aclose()
    await model.aclose()
    with pytest.raises(ModelError) as caught:
        await anext(stream)
    assert caught.value.kind == "broken_stream"
    await gone(there.asked[0])


async def test_cookies_are_not_kept(endpoint, ask, wire):
    model, there = await endpoint(wire.says(wire.answer("Hi"), headers=(("set-cookie", "a=b"),)))
    await ask(model)
    await ask(model)
    assert "cookie" not in there.asked[1].headers


# What the endpoint has.


async def test_without_a_name_the_first_listed_model_is_used(endpoint, ask):
    model, there = await endpoint(model=None)
    await ask(model)
    await ask(model)
    assert [asked.body["model"] for asked in there.asked] == ["first", "first"]
    assert len(there.lists) == 1


async def test_a_model_that_went_is_looked_up_again(endpoint, ask, fails, wire):
    model, there = await endpoint(wire.answer(), wire.fails(404), wire.answer(), model=None)
    await ask(model)
    there.listed = wire.says(b'{"data": [{"id": "other"}]}')
    error, _ = await fails(model)
    assert error.kind == "not_found"
    await ask(model)
    assert [asked.body["model"] for asked in there.asked] == ["first", "first", "other"]


async def test_an_endpoint_that_lists_nothing_says_what_to_do(endpoint, fails, wire):
    model, there = await endpoint(model=None)
    there.listed = wire.says(b'{"data": []}')
    error, _ = await fails(model)
    assert error.kind == "not_found"
    assert "load one" in str(error)


async def test_a_list_may_come_in_pieces(endpoint, wire):
    model, there = await endpoint()
    there.listed = wire.says(b'{"data": [{"id": "a"}', 0.02, b', {"id": "b", "more": 1}]}')
    assert await model.models() == ("a", "b")


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"data": null}', b'{"data": [{"id": "\xff"}]}', b"[" * 100_000, b""]
)
async def test_something_else_than_a_list_is_an_error(endpoint, wire, body):
    model, there = await endpoint()
    there.listed = wire.says(body)
    with pytest.raises(ModelError) as caught:
        await model.models()
    assert caught.value.kind == "bad_request"
    assert not await model.alive()


async def test_a_list_that_is_refused_is_an_error(endpoint, wire):
    model, there = await endpoint()
    there.listed = wire.fails(401, {"message": "no key"})
    with pytest.raises(ModelError, match="no key") as caught:
        await model.models()
    assert caught.value.kind == "auth"


async def test_a_list_that_does_not_come_is_not_waited_for(endpoint, wire):
    model, there = await endpoint()
    assert await model.alive()
    there.listed = wire.says(wire.HANG)
    with pytest.raises(ModelError) as caught:
        await model.models(timeout=0.1)
    assert caught.value.kind == "connect"
    assert not await model.alive(timeout=0.1)
