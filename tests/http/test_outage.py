"""What clients see while the journal fails in the middle of a turn, and when another process continues it."""

import asyncio

import pytest

from gaia_core import Agent, Limits, Runtime, ScriptedModel
from gaia_core.events import RecordDelayed

LONG = "x" * 20_000
"""What needs a further page of the journal's file."""


class FailingModel:
    """Answers at length; before it does, an outage of the journal begins where the test says so."""

    def __init__(self, outage) -> None:
        self.outage = outage
        self.fails = True
        self.model = ScriptedModel(self.answer)

    async def answer(self, request):
        if self.fails:
            self.fails = False
            await self.outage.begin()
        return f"Hello {LONG}"


@pytest.fixture
async def server(outage, serve):
    agent = Agent("a", limits=Limits(seconds=60))
    return await serve(FailingModel(outage).model, agents=(agent,), journal=await outage.journal())


async def session_of(server) -> str:
    async with server.http.post("/api/sessions", json={}) as response:
        return (await response.json())["id"]


def sending(server, session):
    return server.http.post("/api/chat/send", json={"session_id": session, "message": "Hi"})


async def until(response, text: str) -> str:
    """What *response* streams until *text* is in it, or all of it."""
    read = ""
    async for line in response.content:
        read += line.decode()
        if text in read:
            break
    return read


async def ready(server) -> int:
    async with server.http.get("/ready") as response:
        return response.status


async def test_a_ui_stream_waits_with_a_warning_and_ends_once(server, outage):
    session, other = await session_of(server), await session_of(server)
    assert await ready(server) == 200
    async with sending(server, session) as response:
        read = await until(response, '"status":"warning"')
        assert "can't record the answer" in read
        assert '"type":"done"' not in read
        assert await ready(server) == 503
        async with sending(server, other) as refused:
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) > 0
            assert "the journal can't be written" in (await refused.json())["detail"]

        await outage.end()
        read = (await response.read()).decode()
        assert read.count('"type":"done"') == 1
        assert '"type":"error"' not in read
    assert await ready(server) == 200
    async with sending(server, other) as response:
        assert response.status == 200
        assert '"type":"done"' in (await response.read()).decode()


async def test_streams_close_with_outcome_unknown_and_an_attach_has_the_end(server, outage, loop_clock):
    session = await session_of(server)
    async with sending(server, session) as response:
        await until(response, '"status":"warning"')
        whole = asyncio.create_task(whole_text(response))
        cancel = asyncio.create_task(answer(server, "/api/chat/cancel", {"session_id": session}))
        while not (turn := server.runtime.running("", session)).task.cancelling():
            await asyncio.sleep(0)
        for _ in range(3):
            await loop_clock.sleep(6)
        read = await whole
        assert read.rstrip().endswith('Attach to the session again."}')
        assert '"type":"outcome_unknown"' in read
        assert '"type":"done"' not in read
        status, headers, body = await cancel
        assert (status, "try again later" in body["detail"]) == (503, True)
        assert int(headers["retry-after"]) > 0

    async with server.http.get("/api/chat/attach", params={"session_id": session}) as again:
        await outage.end()
        read = (await again.read()).decode()
        assert read.count('"type":"done"') == 1
        assert "outcome_unknown" not in read
    assert turn.ended is not None


async def whole_text(response) -> str:
    return (await response.read()).decode()


async def answer(server, path, body):
    async with server.http.post(path, json=body) as response:
        return response.status, response.headers, await response.json()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_response_whose_end_is_not_recorded_did_not_fail(server, outage, loop_clock, stream):
    body = {"model": "a", "input": "Hi", "stream": stream}
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(server.http.post("/v1/responses", json=body))
        while not (running := server.runtime.running_turns):
            await asyncio.sleep(0)
        ((_, turn),) = running
        async for event in turn.events():
            if isinstance(event, RecordDelayed):
                break
        for _ in range(20):
            await loop_clock.sleep(6)
        async with await asking as response:
            if stream:
                read = (await response.read()).decode()
                assert '"code":"outcome_unknown"' in read
                assert "response.failed" not in read
                assert "response.completed" not in read
            else:
                assert response.status == 504
                assert (await response.json())["error"]["code"] == "outcome_unknown"
                assert response.headers["x-should-retry"] == "false"
    await outage.end()
    assert (await turn.result()).text == f"Hello {LONG}"


async def test_a_ui_stream_goes_over_to_the_process_that_took_its_turn(serve, outage):
    """The first process can't reach the journal, and the second one takes its turn over: one text, one end."""
    agent = Agent("a", limits=Limits(seconds=60))
    model = FailingModel(outage)
    server = await serve(model.model, agents=(agent,), journal=await outage.journal())
    session = await session_of(server)
    async with Runtime(server.runtime.catalog, await outage.journal()) as second, sending(server, session) as response:
        read = await until(response, '"status":"warning"')
        await second.journal.adopt((server.runtime.replica,))
        taken = await second.sessions.take_over("", session)
        assert taken is not None
        await outage.end()
        read += (await response.read()).decode()
    assert read.count('"type":"done"') == 1
    assert '"type":"error"' not in read
    assert read.index('"type":"reset"') < read.index('"type":"resumed"') < read.index('"type":"done"')
