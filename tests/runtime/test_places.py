"""A session runs one turn at a time: others are refused, wait, or interrupt it."""

import asyncio

import pytest

from gaia_core import Agent, BusyError, Catalog, ClosedError, Runtime, ScriptedModel
from gaia_core.messages import text_of

AGENT = Agent("a")


class Gate:
    """A model that answers with what it was asked, one at a time, when the test opens it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = asyncio.Event()

    async def __call__(self, request) -> str:
        said = text_of(request.messages[-1].content)
        self.asked.append(said)
        await self.open.wait()
        return f"You said {said}"


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def runtime():
    gate = Gate()
    async with Runtime(Catalog.of(AGENT, models={"local": ScriptedModel(gate)})) as opened:
        yield opened, gate


async def test_queued_turns_run_in_their_order(runtime):
    opened, gate = runtime
    session = await opened.open(AGENT)
    first = await opened.start(session, "1")
    others = [asyncio.create_task(opened.start(session, str(n), when_busy="queue")) for n in (2, 3, 4)]
    await settled()
    assert gate.asked == ["1"]
    with pytest.raises(BusyError):
        await opened.start(session, "5")

    gate.open.set()
    turns = [first, *[await other for other in others]]

    assert [(await turn.result()).text for turn in turns] == [f"You said {n}" for n in (1, 2, 3, 4)]
    assert [text_of(message.content) for message in await opened.history(session)][::2] == ["1", "2", "3", "4"]


async def test_an_interrupting_turn_ends_the_running_one_and_goes_before_the_waiting(runtime):
    opened, gate = runtime
    session = await opened.open(AGENT)
    first = await opened.start(session, "1")
    await settled()
    waiting = asyncio.create_task(opened.start(session, "2", when_busy="queue"))
    await settled()

    urgent = await opened.start(session, "3", when_busy="interrupt")

    assert first.ended.status == "cancelled"
    gate.open.set()
    await urgent.result()
    await (await waiting).result()
    assert gate.asked == ["1", "3", "2"]


async def test_so_many_may_wait_and_no_more(runtime):
    opened, gate = runtime
    session = await opened.open(AGENT)
    await opened.start(session, "first")
    waiting = [asyncio.create_task(opened.start(session, "x", when_busy="queue")) for _ in range(16)]
    await settled()

    with pytest.raises(BusyError, match="16 turns waiting"):
        await opened.start(session, "x", when_busy="queue")

    gate.open.set()
    for turn in waiting:
        await (await turn).result()


async def test_whoever_gives_up_waiting_gives_its_place_to_the_next(runtime):
    opened, gate = runtime
    session = await opened.open(AGENT)
    first = await opened.start(session, "1")
    second = asyncio.create_task(opened.start(session, "2", when_busy="queue"))
    third = asyncio.create_task(opened.start(session, "3", when_busy="queue"))
    await settled()
    second.cancel()
    gate.open.set()
    await first.result()

    assert (await (await third).result()).status == "completed"
    assert gate.asked == ["1", "3"]
    await (await opened.start(session, "4")).result()
    assert opened.stats().sessions == 0


async def test_who_waits_when_the_runtime_stops_is_told(runtime):
    opened, gate = runtime
    session = await opened.open(AGENT)
    await opened.start(session, "1")
    waiting = asyncio.create_task(opened.start(session, "2", when_busy="queue"))
    await settled()
    draining = asyncio.create_task(opened.drain(5))
    await settled()
    gate.open.set()

    with pytest.raises(ClosedError):
        await waiting
    assert await draining
