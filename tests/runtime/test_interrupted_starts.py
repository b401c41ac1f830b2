"""Whatever interrupts a start, its session is usable afterwards, in this process and in others."""

import asyncio

import pytest

from gaia_core import Agent, BusyError, Catalog, Runtime, scripted
from gaia_core.errors import JournalError
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.turn import TurnRequest


class Gated(SQLiteJournal):
    """Claims and appends stop at gates: claims after they are recorded, so that only their result is late."""

    def __init__(self, path) -> None:
        super().__init__(path)
        self.claims = asyncio.Event()
        self.claimed = asyncio.Event()
        self.failures = 0
        self.read_failures = 0

    async def claim(self, *arguments):
        lease = await super().claim(*arguments)
        self.claimed.set()
        await self.claims.wait()
        return lease

    async def append(self, lease, records, *, done=False):
        if self.failures:
            self.failures -= 1
            raise JournalError("the disk is full")
        return await super().append(lease, records, done=done)

    async def read(self, *arguments, **options):
        if self.read_failures:
            self.read_failures -= 1
            raise JournalError("the database is out of reach")
        return await super().read(*arguments, **options)


@pytest.fixture
def runtime(tmp_path):
    return Runtime(Catalog.of(Agent("a"), models={"local": scripted(*["Hello"] * 5)}), Gated(tmp_path / "j.sqlite"))


async def test_a_start_that_is_cancelled_while_it_claims_leaves_the_session_free(runtime):
    async with runtime:
        session = await runtime.open("a")
        for _ in range(2):
            runtime.journal.claimed.clear()
            starting = asyncio.create_task(runtime.start(session, "x"))
            await runtime.journal.claimed.wait()
            starting.cancel()
            runtime.journal.claims.set()
            with pytest.raises(asyncio.CancelledError):
                await starting

        assert (await (await runtime.start(session, "y")).result()).text == "Hello"
        assert (await runtime.journal.get("", session.id)).turn is None


async def test_a_claim_that_cannot_be_given_back_is_given_back_later(runtime, loop_clock):
    journal = runtime.journal
    journal.claims.set()
    async with runtime:
        session = await runtime.open("a")
        await (await runtime.start(session, "x")).result()
        await runtime.forget("", session.id)
        journal.read_failures, journal.failures = 1, 2
        with pytest.raises(JournalError, match="out of reach"):
            await runtime.start(session, "y")
        with pytest.raises(BusyError):
            await runtime.start(session, "z")
        assert journal.failures == 1

        for _ in range(1_000):
            if (await journal.get("", session.id)).turn is None:
                break
            await loop_clock.sleep(10)

        assert (await (await runtime.start(session, "y")).result()).text == "Hello"


async def test_closing_waits_for_a_start_that_awaits_the_journal(runtime):
    async with runtime:
        session = await runtime.open("a")
        starting = asyncio.create_task(runtime.start(session, "x"))
        await runtime.journal.claimed.wait()
        closing = asyncio.create_task(runtime.aclose())
        await asyncio.wait((closing,), timeout=0.05)
        assert not closing.done()
        runtime.journal.claims.set()
        await closing

        assert starting.done()
        assert (await starting).suspended or (await starting).ended is not None
        assert not runtime.running_turns


async def test_a_turn_interrupts_one_that_is_still_being_claimed(runtime):
    async with runtime:
        session = await runtime.open("a")
        first = asyncio.create_task(runtime.start(session, "x"))
        await runtime.journal.claimed.wait()
        second = asyncio.create_task(runtime.start(session, "y", when_busy="interrupt"))
        await asyncio.sleep(0)
        runtime.journal.claims.set()

        assert (await (await first).result()).status == "cancelled"
        assert (await (await second).result()).text == "Hello"


async def test_a_callback_for_the_position_that_raises_harms_nobody(runtime, caplog):
    runtime.journal.claims.set()
    async with runtime:
        session = await runtime.open("a")

        def fails(_position: int) -> None:
            raise ValueError("x")

        first = await runtime.start(session, "x")
        second = asyncio.create_task(runtime.start(session, "y", when_busy="queue", queued=fails))
        await first.result()

        assert (await (await second).result()).text == "Hello"
    assert "position in a session's queue failed" in caplog.text


async def test_a_one_off_turn_is_awaited_by_closing_until_its_resources_are_closed(tmp_path):
    from gaia_core import Toolset, call, resource, tool
    from gaia_core.tools import Context

    closing, closed = asyncio.Event(), []

    @resource()
    async def connection():
        yield 1
        await closing.wait()
        closed.append(1)

    @tool(effects="read")
    async def use(ctx: Context[int]) -> str:
        """Use it."""
        return "used"

    agent = Agent("a", tools=Toolset("t", (use,), resource=connection()))
    async with Runtime(Catalog.of(agent, models={"local": scripted(call("use"), "ok")})) as runtime:
        turn = await runtime.once("a", TurnRequest("x", transcript=()))
        await turn.result()
        stopping = asyncio.create_task(runtime.aclose())
        await asyncio.wait((stopping,), timeout=0.05)
        assert not stopping.done()
        closing.set()
        await stopping
        assert closed == [1]
