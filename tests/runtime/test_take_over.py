"""Taking one turn over by name, in a runtime that takes none over by itself."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from gaia_core import (
    Agent,
    ApprovalPolicy,
    BusyError,
    Catalog,
    NotFoundError,
    Runtime,
    ScriptedModel,
    Toolset,
    call,
    tool,
)
from gaia_core.events import ApprovalRequested, TurnResumed
from gaia_core.journal import MemoryJournal
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import ToolMessage
from gaia_core.turn import Audience, TurnRequest


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def opened(tmp_path, log):
    """A runtime on one and the same file, which takes no turn over by itself."""

    @tool(effects="write")
    async def erase(path: str) -> str:
        """Erase."""
        log.append(path)
        return "erased"

    def answer(request):
        return "Done." if isinstance(request.messages[-1], ToolMessage) else call("erase", path="x")

    agent = Agent("a", tools=Toolset("t", (erase,)), approvals=ApprovalPolicy(effects={"write"}))

    @asynccontextmanager
    async def opened():
        catalog = Catalog.of(agent, models={"local": ScriptedModel(answer)})
        async with Runtime(catalog, SQLiteJournal(tmp_path / "j.db"), takes_over=False, ttl=0.2) as runtime:
            yield runtime

    return opened


async def waiting(runtime: Runtime, id: str) -> str:
    """The approval that the session's new turn waits for."""
    turn = await runtime.start(await runtime.open("a", id), TurnRequest("go", audience=Audience.INTERACTIVE))
    async for event in turn.events():
        if isinstance(event, ApprovalRequested):
            return event.approval_id
    raise AssertionError("it waits for nothing")


async def beat(runtime: Runtime) -> None:
    """Wait for the runtime's next heartbeat."""
    seen = await runtime._journal.replicas()
    async with asyncio.timeout(60):
        while await runtime._journal.replicas() == seen:
            await asyncio.sleep(0.005)


async def test_only_the_named_turn_goes_on(opened, log):
    async with opened() as runtime:
        asked = await waiting(runtime, "s")
        await waiting(runtime, "other")

    async with opened() as runtime:
        turn = await runtime.sessions.take_over("", "s")
        assert await runtime.sessions.take_over("", "s") is turn
        await turn.decide(asked, True)
        events = [event async for event in turn.events()]
        await beat(runtime)
        await beat(runtime)
        assert runtime.running("", "other") is None
        assert (await runtime.sessions.get("", "other")).turn is not None
        assert await runtime.sessions.take_over("", "s") is None

    assert events[-1].text == "Done."
    assert TurnResumed(0) in events
    assert log == ["x"]


async def test_who_asks_for_a_turn_that_is_just_being_resumed_waits_for_it(opened, log):
    async with opened() as first:
        approval_id = await waiting(first, "s")
    async with opened() as second:
        sessions = second.sessions
        taken = asyncio.create_task(sessions.take_over("", "s"))
        again, decided = await asyncio.gather(
            sessions.take_over("", "s"), sessions.decide("", "s", approval_id, approved=True)
        )
        assert again is await taken
        assert decided == approval_id
        assert (await again.result()).text == "Done."
    assert log == ["x"]


async def test_a_turn_of_a_living_process_stays_there(opened, log):
    async with opened() as runtime, opened() as second:
        await waiting(runtime, "s")
        with pytest.raises(BusyError, match="session 's' runs a turn in another process"):
            await second.sessions.take_over("", "s")

        assert runtime.running("", "s") is not None


async def test_where_there_is_none(opened):
    async with opened() as runtime:
        await runtime.open("a", "s")

        assert await runtime.sessions.take_over("", "s") is None
        with pytest.raises(NotFoundError):
            await runtime.sessions.take_over("", "gone")


class LostLater(MemoryJournal):
    """Its file is away while `lost`."""

    lost = False

    def __init__(self):
        super().__init__()
        self.did = []

    async def fault(self):
        return "the file was moved away" if self.lost else ""

    async def beat(self, *arguments, **options):
        self.did.append("beat")
        return await super().beat(*arguments, **options)

    async def orphans(self, *arguments, **options):
        self.did.append("orphans")
        return await super().orphans(*arguments, **options)


async def test_no_turn_is_taken_over_while_the_journal_is_lost():
    """It would leave no record."""
    journal = LostLater()

    async def until_done(wanted):
        del journal.did[:]
        async with asyncio.timeout(60):
            while wanted not in " ".join(journal.did):
                await asyncio.sleep(0.005)

    async with Runtime(
        Catalog.of(Agent("a"), models={"local": ScriptedModel(lambda _: "Hi.")}), journal, ttl=0.1
    ) as runtime:
        await until_done("beat orphans beat")
        journal.lost = True
        async with asyncio.timeout(60):
            while not runtime.journal_fault:
                await asyncio.sleep(0.005)
        await until_done("beat beat beat")
        journal.lost = False
        await until_done("beat orphans beat orphans")
