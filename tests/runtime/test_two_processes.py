"""Two runtimes on one journal, as two servers on one file: one runs a session's turn, the other has a say in it."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from gaia_core import Agent, ApprovalPolicy, BusyError, Catalog, Runtime, ScriptedModel, Toolset, call, tool
from gaia_core.events import ApprovalRequested, TextDelta
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import ToolMessage
from gaia_core.turn import Audience, TurnRequest


@tool(effects="write")
async def erase(path: str) -> str:
    """Erase."""
    return f"{path} is gone"


AGENT = Agent("a", tools=Toolset("t", (erase,)), approvals=ApprovalPolicy(effects={"write"}))


@pytest.fixture
def opened(tmp_path):
    @asynccontextmanager
    async def opened(answer):
        catalog = Catalog.of(AGENT, models={"local": ScriptedModel(answer)})
        async with Runtime(catalog, SQLiteJournal(tmp_path / "j.db"), ttl=0.2) as runtime:
            yield runtime

    return opened


async def endless(_request):
    yield TextDelta("on and on")
    await asyncio.Event().wait()


def erasing(request):
    return "Done." if isinstance(request.messages[-1], ToolMessage) else call("erase", path="x")


async def told(turn, kind):
    async for event in turn.events():
        if isinstance(event, kind):
            return event
    raise AssertionError(f"the turn ended without {kind.__name__}")


async def test_a_session_that_another_process_runs_is_busy_and_can_be_cancelled_from_here(opened):
    async with opened(endless) as theirs, opened(endless) as ours:
        turn = await theirs.start(await theirs.open("a", id="s"), "go")
        await told(turn, TextDelta)
        with pytest.raises(BusyError, match="in another process"):
            await ours.start(await ours.open("a", id="s"), "me too")

        assert await ours.sessions.cancel("", "s")

        async with asyncio.timeout(60):
            assert (await turn.result()).status == "cancelled"
        assert not await ours.sessions.cancel("", "s")


async def test_an_approval_that_another_process_waits_for_can_be_given_from_here(opened):
    async with opened(erasing) as theirs, opened(erasing) as ours:
        turn = await theirs.start(await theirs.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        asked = await told(turn, ApprovalRequested)

        await ours.sessions.decide("", "s", asked.approval_id, True)

        async with asyncio.timeout(60):
            assert (await turn.result()).text == "Done."


async def test_a_conversation_goes_on_in_whichever_process(opened):
    def counted(request):
        return f"{len(request.messages)} messages"

    async with opened(counted) as one, opened(counted) as other:
        for n, runtime in enumerate((one, one, other, one, other, other, one)):
            turn = await runtime.start(await runtime.open("a", id="s"), "go")
            assert (await turn.result()).text == f"{2 * n + 1} messages"
