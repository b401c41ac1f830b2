"""A turn's first model request goes out while its claim is recorded; nothing comes of it unless the claim stands."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from gaia_core import Agent, BusyError, Catalog, JournalError, ModelSpec, Runtime, Toolset, tool
from gaia_core.events import StepEnded, TextDelta
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import UserMessage
from gaia_core.models import Finished, ModelError, ToolCallDelta


class Gated(SQLiteJournal):
    """A journal whose claims wait at a gate; behind it, *fate* may raise or refuse."""

    def __init__(self, path) -> None:
        super().__init__(path)
        self.gate = asyncio.Event()
        self.gate.set()
        self.waits = asyncio.Event()
        self.fate = lambda: True

    async def claim(self, owner, id, replica, turn, records=()):
        self.waits.set()
        await self.gate.wait()
        return await super().claim(owner, id, replica, turn, records) if self.fate() else None


class Model:
    """Answers *deltas* (an event is waited for), and notes what it is asked, and when a stream is closed."""

    any_task = True

    def __init__(self, *deltas) -> None:
        self.deltas = deltas or (TextDelta("Hi"), Finished("stop"))
        self.asked = []
        self.arrived = asyncio.Event()
        self.closed = asyncio.Event()

    async def stream(self, request):
        self.asked.append(request)
        self.arrived.set()
        try:
            for delta in self.deltas:
                if isinstance(delta, Exception):
                    raise delta
                if isinstance(delta, asyncio.Event):
                    await delta.wait()
                else:
                    yield (delta,)
        except (GeneratorExit, asyncio.CancelledError):
            self.closed.set()
            raise


RAN = "the tool ran"


@asynccontextmanager
async def opened(path, model, *, slots=4, agent=None):
    agent = agent or Agent("a")
    journal = Gated(path / "j.db")
    catalog = Catalog.of(agent, models={"local": ModelSpec("local", open=lambda: model, slots=slots)})
    async with Runtime(catalog, journal) as runtime:
        yield runtime, journal


def busy(runtime) -> int:
    return runtime.stats().models[0].busy


async def started_at_the_gate(runtime, journal, session, words="Hello"):
    journal.gate.clear()
    journal.waits.clear()
    starting = asyncio.create_task(runtime.start(session, words))
    await journal.waits.wait()
    return starting


async def test_the_model_is_asked_while_the_claim_is_recorded_and_told_after_it(tmp_path):
    model = Model()
    async with opened(tmp_path, model) as (runtime, journal):
        session = await runtime.open("a")
        starting = await started_at_the_gate(runtime, journal, session)
        await model.arrived.wait()
        assert busy(runtime) == 1
        assert not starting.done()
        assert runtime.running("", session.id) is None

        journal.gate.set()
        turn = await starting
        assert (await turn.result()).text == "Hi"
        assert [event.step async for event in turn.events() if isinstance(event, StepEnded)] == [1]
        assert len(model.asked) == 1
        assert busy(runtime) == 0


async def test_later_turns_are_speculated_too_with_the_whole_conversation(tmp_path):
    model = Model()
    async with opened(tmp_path, model) as (runtime, journal):
        session = await runtime.open("a")
        await (await runtime.start(session, "one")).result()
        model.arrived.clear()
        starting = await started_at_the_gate(runtime, journal, session, "two")
        await model.arrived.wait()
        journal.gate.set()
        await (await starting).result()
        assert [len(request.messages) for request in model.asked] == [1, 3]
        assert len(await runtime.history(session)) == 4


@pytest.mark.parametrize(
    ("fate", "error"),
    [(lambda: False, BusyError), (lambda: (_ for _ in ()).throw(JournalError("the disk is full")), JournalError)],
    ids=["another has it", "it can't be recorded"],
)
async def test_when_the_claim_fails_the_request_is_closed_and_no_tool_runs(tmp_path, fate, error):
    ran = []

    @tool(effects="write")
    async def act() -> str:
        """Act."""
        ran.append(RAN)
        return "done"

    model = Model(ToolCallDelta(0, "c1", "act", "{}"), Finished("tool_calls"))
    async with opened(tmp_path, model, agent=Agent("a", tools=Toolset("t", (act,)))) as (runtime, journal):
        session = await runtime.open("a")
        starting = await started_at_the_gate(runtime, journal, session)
        await model.arrived.wait()
        journal.fate = fate
        journal.gate.set()
        with pytest.raises(error):
            await starting
        assert model.closed.is_set()
        assert busy(runtime) == 0
        assert ran == []
        assert await runtime.history(session) == ()


async def test_who_gives_up_before_the_claim_closes_the_request(tmp_path):
    model = Model()
    async with opened(tmp_path, model) as (runtime, journal):
        starting = await started_at_the_gate(runtime, journal, await runtime.open("a"))
        await model.arrived.wait()
        starting.cancel()
        await model.closed.wait()
        await asyncio.sleep(0)
        assert busy(runtime) == 0
        journal.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await starting


async def test_a_conversation_that_went_on_elsewhere_is_asked_for_anew(tmp_path):
    """What another process said meanwhile belongs to the request: one that lacks it is closed, and told to nobody."""
    model, theirs = Model(), Model(TextDelta("Theirs"), Finished("stop"))
    async with opened(tmp_path, model) as (runtime, journal), opened(tmp_path, theirs) as (other, _):
        session = await runtime.open("a")
        await (await runtime.start(session, "one")).result()
        model.arrived.clear()
        starting = await started_at_the_gate(runtime, journal, session, "three")
        await model.arrived.wait()
        await (await other.start(await other.sessions.open("", session.id), "two")).result()

        journal.gate.set()
        turn = await starting
        await turn.result()
        assert model.closed.is_set()
        assert len([event async for event in turn.events() if isinstance(event, TextDelta)]) == 1
        said = [message.content for message in model.asked[-1].messages if isinstance(message, UserMessage)]
        assert said == ["one", "two", "three"]
        assert busy(runtime) == 0


async def test_without_a_free_slot_the_request_waits_for_its_turn(tmp_path):
    model = Model()
    async with opened(tmp_path, model, slots=1) as (runtime, journal):
        first = await started_at_the_gate(runtime, journal, await runtime.open("a"))
        await model.arrived.wait()
        journal.waits.clear()
        second = asyncio.create_task(runtime.start(await runtime.open("a"), "Hello"))
        await journal.waits.wait()
        assert len(model.asked) == 1
        journal.gate.set()
        for starting in (first, second):
            assert (await (await starting).result()).text == "Hi"
        assert len(model.asked) == 2


async def test_a_speculative_request_that_fails_fails_the_turn(tmp_path):
    model = Model(ModelError("server", "no luck"))
    async with opened(tmp_path, model) as (runtime, journal):
        starting = await started_at_the_gate(runtime, journal, await runtime.open("a"))
        await model.arrived.wait()
        journal.gate.set()
        ended = await (await starting).result()
        assert (ended.status, ended.error.message) == ("failed", "no luck")
        assert busy(runtime) == 0


@pytest.mark.parametrize("deltas", [(asyncio.Event(),), (TextDelta("Hi"), asyncio.Event())], ids=["silent", "telling"])
async def test_a_turn_that_is_cancelled_closes_the_request(tmp_path, deltas):
    model = Model(*deltas)
    async with opened(tmp_path, model) as (runtime, journal):
        starting = await started_at_the_gate(runtime, journal, await runtime.open("a"))
        await model.arrived.wait()
        journal.gate.set()
        ended = await (await starting).cancel()
        assert ended.status == "cancelled"
        assert model.closed.is_set()
        assert busy(runtime) == 0


async def test_a_turn_that_is_cancelled_at_any_moment_ends(tmp_path):
    model = Model()
    async with opened(tmp_path, model) as (runtime, _):
        for moment in range(40):
            turn = await runtime.start(await runtime.open("a"), "Hello")
            for _ in range(moment):
                await asyncio.sleep(0)
            async with asyncio.timeout(60):
                ended = await turn.cancel()

            assert ended.status in ("completed", "cancelled")
        assert busy(runtime) == 0
        assert runtime.running_turns == ()
