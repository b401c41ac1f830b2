"""The journal fails in the middle of a turn, and works again: a disk that was full, a database that was out of reach.

A turn ends once. Until that is recorded nobody learns of an end; what was told as an end never acts again; and the
session is usable as soon as the journal is.
"""

import asyncio
from contextlib import asynccontextmanager

import pytest

from gaia_core import (
    Agent,
    BusyError,
    Catalog,
    JournalError,
    Limits,
    OutcomeUnknownError,
    Runtime,
    ScriptedModel,
    Toolset,
    call,
    scripted,
    tool,
)
from gaia_core.events import RecordDelayed, TurnEnded, TurnResumed
from gaia_core.journal import JournalHealth, MemoryJournal
from gaia_core.journal._journal_health import SETTLED_SECONDS, SLOW_SECONDS
from gaia_core.messages import ToolMessage

LONG = "x" * 20_000
"""What needs a further page of the file."""


class World:
    """An agent with a tool that must not run twice, and a model before whose answers the outage may begin."""

    def __init__(self, outage) -> None:
        self.outage = outage
        self.ran: list[int] = []
        self.fails_before = ""
        """`call`: before the model asks for the tool. `answer`: before it answers."""

        @tool(effects="write")
        async def erase(path: str) -> str:
            """Erase."""
            self.ran.append(len(path))
            return "erased"

        self.agent = Agent("a", tools=Toolset("t", (erase,)), limits=Limits(seconds=60))

    async def answer(self, request):
        begun = isinstance(request.messages[-1], ToolMessage)
        kind = "answer" if begun else "call"
        if self.fails_before == kind:
            self.fails_before = ""
            await self.outage.begin()
        return f"Done. {LONG}" if begun else call("erase", path=LONG)

    @asynccontextmanager
    async def runtime(self):
        catalog = Catalog.of(self.agent, models={"local": ScriptedModel(self.answer)})
        async with Runtime(catalog, await self.outage.journal()) as runtime:
            yield runtime


@pytest.fixture
def world(outage) -> World:
    return World(outage)


async def until_delayed(turn):
    """The turn's events until the journal fails."""
    events = []
    async for event in turn.events():
        events.append(event)
        if isinstance(event, RecordDelayed):
            return events
    raise AssertionError("the turn ended")


async def test_a_call_that_cannot_be_recorded_runs_once_the_journal_is_back(world):
    world.fails_before = "call"
    async with world.runtime() as runtime:
        session = await runtime.open("a")
        other = await runtime.open("a")
        turn = await runtime.start(session, "go")
        events = await until_delayed(turn)

        assert not world.ran
        assert runtime.journal_trouble is not None
        with pytest.raises(JournalError, match="no turn can begin"):
            await runtime.start(other, "go")
        with pytest.raises(BusyError):
            await runtime.start(session, "go")
        assert turn.ended is None

        await world.outage.end()
        events = [event async for event in turn.events()]
        assert [type(event) for event in events].count(TurnEnded) == 1
        assert events[-1].status == "completed"
        assert world.ran == [len(LONG)]
        assert runtime.journal_trouble is None
        for each in (session, other):
            assert (await (await runtime.start(each, "go")).result()).status == "completed"


async def test_an_end_that_cannot_be_recorded_is_no_end(world, loop_clock):
    world.fails_before = "answer"
    async with world.runtime() as runtime:
        session = await runtime.open("a")
        turn = await runtime.start(session, "go")
        await until_delayed(turn)
        reader = asyncio.create_task(collected(turn))
        waiter = asyncio.create_task(turn.result())

        await loop_clock.sleep(59)
        assert not reader.done()
        for _ in range(3):
            await loop_clock.sleep(6)
        with pytest.raises(OutcomeUnknownError, match=f"attach to session '{session.id}' again"):
            await waiter
        assert TurnEnded not in [type(event) for event in await reader]
        assert turn.ended is None

        again = asyncio.create_task(collected(turn))
        await world.outage.end()
        events = await again
        assert [type(event) for event in events].count(TurnEnded) == 1
        assert events[-1].text == f"Done. {LONG}"
        assert (await runtime.sessions.attach("", session.id)).ended.status == "completed"
        assert (await (await runtime.start(session, "go")).result()).status == "completed"


async def collected(turn):
    return [event async for event in turn.events()]


@pytest.mark.parametrize("when", ["call", "answer"])
async def test_a_turn_that_is_cancelled_meanwhile_says_so_when_it_is_recorded(world, loop_clock, when):
    world.fails_before = when
    async with world.runtime() as runtime:
        session = await runtime.open("a")
        turn = await runtime.start(session, "go")
        await until_delayed(turn)
        reader = asyncio.create_task(collected(turn))
        cancelling = asyncio.create_task(runtime.sessions.cancel("", session.id))
        deleting = asyncio.create_task(runtime.delete(session))
        for _ in range(3):
            await loop_clock.sleep(6)
        for refused in (cancelling, deleting):
            with pytest.raises(JournalError, match=r"can't record its end|was unreachable"):
                await refused
        assert TurnEnded not in [type(event) for event in await reader]

        ran = list(world.ran)
        await world.outage.end()
        ended = await turn.result()
        assert ended.status == ("cancelled" if when == "call" else "completed")
        assert world.ran == ran
        assert (await runtime.sessions.attach("", session.id)).ended.status == ended.status
        assert (await (await runtime.start(session, "go")).result()).status == "completed"


async def test_a_process_that_stops_meanwhile_leaves_the_turn_to_the_next(world):
    world.fails_before = "answer"
    async with world.runtime() as runtime:
        session = await runtime.open("a")
        turn = await runtime.start(session, "go")
        await until_delayed(turn)
        async with asyncio.timeout(60):
            await runtime.aclose()
    assert turn.handed_over
    assert TurnEnded not in [type(event) for event in await collected(turn)]

    stopped = runtime.replica
    await world.outage.end()
    async with world.runtime() as runtime:
        await runtime.journal.adopt((stopped,))
        taken = await runtime.sessions.take_over("", session.id)
        # What was on its way in a frozen link may arrive after its process has ended: then the end is in the record.
        turn = taken or await runtime.sessions.attach("", session.id)
        assert (await turn.result()).status == "completed"
        events = [type(event) for event in await collected(turn)]
        assert (events.count(TurnEnded), TurnResumed in events) == (1, taken is not None)
    assert world.ran == [len(LONG)]


async def test_a_turn_whose_lease_was_lost_ends_without_an_event(world):
    """Another process took it over: a reader here has no end, and the one there has it."""
    world.fails_before = "answer"
    async with world.runtime() as first, world.runtime() as second:
        session = await first.open("a")
        turn = await first.start(session, "go")
        await until_delayed(turn)
        await second.journal.adopt((first.replica,))
        await second.sessions.take_over("", session.id)
        taken = second.running("", session.id)
        assert taken is not None
        await world.outage.end()

        assert TurnEnded not in [type(event) for event in await collected(turn)]
        ended = await turn.result()
        assert (ended.status, ended.error.type) == ("failed", "outcome_unknown")
        assert (await taken.result()).status == "completed"
        assert first.running("", session.id) is None
    assert world.ran == [len(LONG)]


class UpdatesLater(MemoryJournal):
    """Fails to update a session until `works`."""

    def __init__(self) -> None:
        super().__init__()
        self.works = False
        self.tried = asyncio.Event()

    async def update(self, *arguments, **options):
        self.tried.set()
        if not self.works:
            raise JournalError("the disk is full")
        return await super().update(*arguments, **options)


async def test_a_title_that_cannot_be_recorded_is_given_later_and_the_log_has_one_line(loop_clock, caplog):
    journal = UpdatesLater()
    async with Runtime(Catalog.of(Agent("a"), models={"local": scripted("Of mice")}), journal) as runtime:
        session = await runtime.open("a")
        await (await runtime.start(session, "go")).result()
        await journal.tried.wait()
        await loop_clock.sleep(1)
        assert runtime.journal_trouble == "the disk is full"

        journal.works = True
        await loop_clock.sleep(1)
        assert await runtime.background.settle(10)
        assert (await runtime.sessions.get("", session.id)).title == "Of mice"
        assert runtime.journal_trouble is None
        await loop_clock.sleep(SETTLED_SECONDS)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def test_a_fault_with_a_success_in_between_is_one_fault_in_the_log(loop_clock, caplog):
    health = JournalHealth()
    for _ in range(2):
        with health.writing() as writing:
            writing.failed("the disk is full")
            assert health.trouble == "the disk is full"
        assert health.trouble is None
        await loop_clock.sleep(SETTLED_SECONDS - 1)
    assert [record.levelname for record in caplog.records] == ["ERROR"]

    await loop_clock.sleep(1)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    with health.writing() as writing:
        writing.failed("the disk is full")
    assert len(caplog.records) == 3


async def test_a_write_that_does_not_answer_counts_as_failing(loop_clock):
    """A database out of reach raises nothing for long."""
    health, told = JournalHealth(), []
    with health.writing(told.append):
        for _ in range(100):  # while the process itself stands still, it looks once more
            if health.trouble is not None:
                break
            await loop_clock.sleep(SLOW_SECONDS)
        assert health.trouble == f"it has not answered for {SLOW_SECONDS:g} s"
    assert told == [f"it has not answered for {SLOW_SECONDS:g} s"]
    assert health.trouble is None


class SignalsLater(MemoryJournal):
    """Fails to say which turns others left, until `works`."""

    def __init__(self) -> None:
        super().__init__()
        self.works = False
        self.tried = asyncio.Event()
        self.done = asyncio.Event()

    async def orphans(self, *arguments, **options):
        self.tried.set()
        if not self.works:
            raise JournalError("the disk is full")
        self.done.set()
        return await super().orphans(*arguments, **options)


async def test_what_fails_behind_a_heartbeat_is_the_same_fault(loop_clock, caplog):
    journal = SignalsLater()
    async with Runtime(Catalog.of(Agent("a"), models={"local": scripted()}), journal) as runtime:
        for _ in range(3):
            await journal.tried.wait()
            journal.tried.clear()
            assert runtime.journal_trouble == "the disk is full"
            await loop_clock.sleep(1)
        journal.works = True
        await loop_clock.sleep(1)
        await journal.done.wait()
        await loop_clock.sleep(SETTLED_SECONDS)
        assert runtime.journal_trouble is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
