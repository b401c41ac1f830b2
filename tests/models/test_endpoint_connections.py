"""An endpoint's connections: closed with their stream, apart from each other, used again when they were read out."""

import asyncio
import contextlib
import re
from contextlib import aclosing

import pytest

from gaia_core.events import TextDelta
from gaia_core.messages import UserMessage
from gaia_core.models import EmbeddingRequest, Endpoint, EndpointConfig, ModelError, ModelRequest


async def gone(asked) -> None:
    async with asyncio.timeout(60):
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
async def test_a_connection_is_used_again_after_a_whole_answer(endpoint, ask, wire, late, monkeypatch):
    monkeypatch.setattr("gaia_core.models.endpoint._endpoint._DRAIN_SECONDS", 60.0)
    model, there = await endpoint(wire.says(wire.answer("Hi"), late))
    for _ in range(3):
        await ask(model)
    assert len({asked.peer for asked in there.asked}) == 1


async def test_a_kept_connection_that_breaks_at_its_next_use_is_no_failure(open_client):
    """As llama.cpp does it: keep-alive is promised, and the connection is closed when the next request arrives."""
    asked: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(asked)
        asked.append(0)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(re.search(rb"(?i)content-length: *(\d+)", head)[1]))
                asked[number] += 1
                if asked[number] == 2:
                    break
                body = b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: keep-alive\r\n"
                    b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
                )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    model = Endpoint(EndpointConfig(url=f"http://127.0.0.1:{port}/v1", model="m", retries=0), open_client)
    async with server:
        for _ in range(3):
            deltas = [delta async for batch in model.stream(ModelRequest((UserMessage("Hi"),))) for delta in batch]
            assert deltas[0] == TextDelta("Hi")
        await model.aclose()
    assert asked == [2, 2, 1]


async def test_a_new_connection_that_breaks_is_a_failure(endpoint, ask, wire):
    model, _ = await endpoint(wire.says(wire.RESET, raw=True), retries=0)
    with pytest.raises(ModelError, match="can't be reached"):
        await ask(model)


async def test_a_line_that_stays_open_after_done_is_not_waited_for(endpoint, ask, wire):
    model, there = await endpoint(wire.says(wire.answer("Hi"), wire.HANG))
    async with asyncio.timeout(60):
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


EMBEDDING_FIRST = b'{"data": [{"id": "nomic-embed-text"}, {"id": "qwen3"}]}'


async def test_a_conversation_never_asks_an_embedding_model(endpoint, ask, wire):
    model, there = await endpoint(model=None)
    there.listed = wire.says(EMBEDDING_FIRST)
    await ask(model)

    assert [asked.body["model"] for asked in there.asked] == ["qwen3"]


async def test_an_endpoint_that_lists_no_chat_model_says_what_it_lists(endpoint, fails, wire):
    model, there = await endpoint(model=None)
    there.listed = wire.says(b'{"data": [{"id": "nomic-embed-text"}]}')
    error, _ = await fails(model)

    assert error.kind == "not_found"
    assert "lists no model but nomic-embed-text, which can't chat; load one there" in str(error)
    assert there.asked == []


async def test_vectors_are_made_by_an_embedding_model(endpoint, wire):
    vectors = b'{"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1}}'
    model, there = await endpoint(wire.says(vectors), model=None)
    there.listed = wire.says(b'{"data": [{"id": "qwen3"}, {"id": "nomic-embed-text"}]}')
    await model.embed(EmbeddingRequest(b'["a"]', 1))

    assert [asked.body["model"] for asked in there.asked] == ["nomic-embed-text"]


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
