"""A client that goes takes its turn with it, at once: the model's stream is closed, the slot is free."""

import asyncio
import json

import pytest

from gaia_core import Agent, Context, ScriptedModel, Toolset, call, tool
from gaia_core.events import TextDelta
from gaia_http import Settings


async def connect(server, **fields: object):
    """A raw connection that has asked."""
    body = json.dumps({"model": "a", "messages": [{"role": "user", "content": "x"}], **fields}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body))
    writer.write(body)
    return reader, writer


async def hang_up(writer) -> None:
    writer.close()
    await writer.wait_closed()


async def settled(server) -> None:
    """Wait until no turn runs."""
    while server.runtime.stats().running_turns:
        await asyncio.sleep(0)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_goes_while_the_model_speaks(serve, upstream, streamed):
    model = upstream()
    server = await serve(model=model)
    _, writer = await connect(server, stream=streamed)
    await model.began.wait()
    loop = asyncio.get_running_loop()

    gone_at = loop.time()
    await hang_up(writer)
    await model.closed.wait()

    assert loop.time() - gone_at < 0.25  # 5 ms on a quiet machine
    await settled(server)
    stats = server.runtime.stats()
    assert [load.busy for load in stats.models] == [0]
    assert stats.turns == (("cancelled", 1),)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_closes_its_half_has_gone(serve, upstream, streamed):
    model = upstream()
    server = await serve(model=model)
    _, writer = await connect(server, stream=streamed)
    await model.began.wait()

    writer.write_eof()
    await model.closed.wait()
    await hang_up(writer)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_goes_before_the_model_has_said_anything(serve, upstream, streamed):
    model = upstream(None)
    server = await serve(model=model)
    _, writer = await connect(server, stream=streamed)
    await model.began.wait()

    await hang_up(writer)

    await model.closed.wait()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_goes_while_it_waits_for_a_slot(serve, upstream, streamed):
    model = upstream()
    server = await serve(model=model, slots=1)
    first = asyncio.create_task(server.post({"model": "a", "messages": [{"role": "user", "content": "x"}]}))
    await model.began.wait()
    _, writer = await connect(server, stream=streamed)
    while not server.runtime.stats().models[0].queued:
        await asyncio.sleep(0)

    await hang_up(writer)

    while server.runtime.stats().models[0].queued:
        await asyncio.sleep(0)
    model.go.set()
    assert (await first)[0] == 200


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_goes_in_the_middle_of_a_tool(serve, streamed):
    began, cancelled = asyncio.Event(), asyncio.Event()

    @tool(effects="read")
    async def hang(ctx: Context[None]) -> None:
        """Hang."""
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server = await serve(call("hang"), agents=(Agent("a", tools=Toolset("t", (hang,))),))
    _, writer = await connect(server, stream=streamed)
    await began.wait()

    await hang_up(writer)

    await cancelled.wait()
    await settled(server)
    assert server.runtime.stats().turns == (("cancelled", 1),)


async def test_a_client_that_goes_before_its_body_has_come(serve):
    server = await serve("ok")
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
    await writer.drain()

    await hang_up(writer)

    assert (await server.post({"model": "a", "messages": [{"role": "user", "content": "x"}]}))[0] == 200


async def test_a_client_that_reads_nothing_loses_its_turn(serve, caplog):
    closed = asyncio.Event()

    async def endless(request):
        try:
            while True:
                # Below the bound of an answer (16 MB) for longer than a write may take.
                yield TextDelta("x" * 10_000)
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    server = await serve(ScriptedModel(endless), settings=Settings(write_seconds=0.05))
    reader, writer = await connect(server, stream=True)

    await closed.wait()

    await settled(server)
    assert "read nothing for 0.05 s" in caplog.text
    assert server.runtime.stats().turns == (("cancelled", 1),)
    told = await reader.read()
    assert not told.endswith(b"\r\n")  # what was left to write is dropped, in the middle of a chunk
    await hang_up(writer)


async def test_health_answers_while_turns_run(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    asking = [
        asyncio.create_task(
            server.post({"model": "a", "stream": n % 2 == 0, "messages": [{"role": "user", "content": "x"}]})
            if n % 2
            else server.stream()
        )
        for n in range(10)
    ]
    while model.connected < 10:
        await asyncio.sleep(0)

    async with server.http.get("/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})

    model.go.set()
    await asyncio.gather(*asking)
