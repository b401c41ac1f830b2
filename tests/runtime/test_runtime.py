"""A runtime owns what changes: turns, resources, slots. It is created, passed in, and closed."""

import asyncio

import pytest

from gaia_core import (
    Agent,
    BusyError,
    Catalog,
    ClosedError,
    Context,
    JournalError,
    ModelSpec,
    NotFoundError,
    Runtime,
    ScriptedModel,
    Toolset,
    TurnOptions,
    call,
    resource,
    scripted,
    tool,
)
from gaia_core.events import Queued, TextDelta, TurnEnded
from gaia_core.journal import MemoryJournal
from gaia_core.messages import AssistantMessage, ToolMessage, UserMessage
from gaia_core.models import Finished
from gaia_core.tools import define
from gaia_core.turn import TurnRequest


class Upstream:
    """A model that streams until the test lets it end, and knows who is connected."""

    def __init__(self) -> None:
        self.connected = 0
        self.most = 0
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    async def stream(self, request):
        self.connected += 1
        self.most = max(self.most, self.connected)
        try:
            yield (TextDelta("partial"),)
            self.began.set()
            await self.go.wait()
            yield (Finished("stop"),)
        finally:
            self.connected -= 1


AGENT = Agent("a")


def catalog(model, *agents: Agent, slots: int = 64, queue: int = 256) -> Catalog:
    spec = ModelSpec("local", open=lambda: model, slots=slots, queue=queue)
    return Catalog.of(*(agents or (AGENT,)), models={"local": spec})


# Sessions.


async def test_a_session_remembers_what_was_said():
    model = scripted("Hello Ann", "You are Ann")
    async with Runtime(catalog(model)) as runtime:
        session = await runtime.open("a", id="s1")
        await (await runtime.start(session, "I am Ann")).result()
        await (await runtime.start(await runtime.open("a", id="s1"), "Who am I?")).result()

        assert model.requests[1].messages == (
            UserMessage("I am Ann"), AssistantMessage("Hello Ann"), UserMessage("Who am I?"),
        )  # fmt: skip
        assert len(await runtime.history(session)) == 4


async def test_a_session_runs_one_turn_at_a_time():
    upstream = Upstream()
    async with Runtime(catalog(upstream)) as runtime:
        session = await runtime.open("a")
        turn = await runtime.start(session, "one")

        with pytest.raises(BusyError, match=f"session '{session.id}' runs a turn already"):
            await runtime.start(session, "two")

        upstream.go.set()
        await turn.result()
        await (await runtime.start(session, "two")).result()


async def test_the_next_turn_may_begin_as_soon_as_the_last_event_is_seen():
    async with Runtime(catalog(scripted("1", "2"))) as runtime:
        session = await runtime.open("a")
        for _ in range(2):
            turn = await runtime.start(session, "go")
            async for event in turn.events():
                if isinstance(event, TurnEnded):
                    break


async def test_another_owners_session_does_not_exist():
    async with Runtime(catalog(scripted("1", "2"))) as runtime:
        mine = await runtime.open("a", id="s", owner="me")
        await (await runtime.start(mine, "secret")).result()
        theirs = await runtime.open("a", id="s", owner="them")

        assert await runtime.history(theirs) == ()


async def test_a_deleted_session_is_gone_and_its_turn_with_it():
    upstream = Upstream()
    async with Runtime(catalog(upstream)) as runtime:
        session = await runtime.open("a")
        turn = await runtime.start(session, "x")
        await upstream.began.wait()

        await runtime.delete(session)

        assert turn.ended.status == "cancelled"
        with pytest.raises(NotFoundError):
            await runtime.history(session)
        with pytest.raises(NotFoundError):
            await runtime.start(session, "again")
        assert runtime.stats().sessions == 0


async def test_a_turn_that_was_interrupted_in_a_tool_leaves_a_history_that_endpoints_take():
    began = asyncio.Event()

    @tool
    async def hang() -> None:
        """Hang."""
        began.set()
        await asyncio.Event().wait()

    agent = Agent("a", tools=Toolset("t", (hang,)))
    model = scripted(call("hang"), "back again")
    async with Runtime(catalog(model, agent)) as runtime:
        session = await runtime.open(agent)
        turn = await runtime.start(session, "x")
        await began.wait()
        await turn.cancel()
        await (await runtime.start(session, "y")).result()

    (result,) = [message for message in model.requests[1].messages if isinstance(message, ToolMessage)]
    assert result.content == "The call was interrupted; whether it had an effect is unknown."


async def test_an_unknown_agent_is_named_with_the_nearest():
    async with Runtime(catalog(scripted(), Agent("coder"))) as runtime:
        with pytest.raises(NotFoundError, match=r"'codr'.*coder"):
            await runtime.open("codr")


# Cancelling.


async def test_cancel_returns_when_the_upstream_is_closed_and_the_slot_is_free():
    upstream = Upstream()
    async with Runtime(catalog(upstream)) as runtime:
        turn = await runtime.start(await runtime.open("a"), "x")
        await upstream.began.wait()

        ended = await turn.cancel()

        assert (ended.status, ended.text) == ("cancelled", "partial")
        assert upstream.connected == 0
        assert runtime.stats().models[0].busy == 0
        assert (await turn.cancel()) is ended


async def test_cancel_cancels_the_tools_before_it_returns():
    log: list[str] = []
    began = asyncio.Event()

    @tool
    async def hang() -> None:
        """Hang."""
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            log.append("tool ended")

    agent = Agent("a", tools=Toolset("t", (hang,)))
    async with Runtime(catalog(scripted((call("hang"), call("hang"))), agent)) as runtime:
        turn = await runtime.start(await runtime.open(agent), "x")
        await began.wait()
        await turn.cancel()
        log.append("cancel returned")

    assert log == ["tool ended", "tool ended", "cancel returned"]


async def test_leaving_a_one_off_turn_cancels_it():
    upstream = Upstream()
    async with Runtime(catalog(upstream)) as runtime:
        events = runtime.turn("a", "x")
        async for event in events:
            if isinstance(event, TextDelta):
                break
        await events.aclose()

        assert upstream.connected == 0
        assert runtime.stats().running_turns == 0


async def test_a_turn_cancelled_before_it_began_still_ends():
    async with Runtime(catalog(scripted("never"))) as runtime:
        turn = await runtime.start(await runtime.open("a"), "x")

        assert (await turn.cancel()).status == "cancelled"
        assert runtime.stats().running_turns == 0


# Slots.


async def test_a_model_never_gets_more_requests_than_it_has_slots():
    upstream = Upstream()
    async with Runtime(catalog(upstream, slots=2)) as runtime:
        turns = [await runtime.start(await runtime.open("a"), "x") for _ in range(5)]
        queued = [event async for event in _until(turns[4], Queued)]
        assert queued[-1].position == 3
        upstream.go.set()
        await asyncio.gather(*(turn.result() for turn in turns))

    assert upstream.most == 2


async def test_a_full_queue_fails_the_turn_and_says_when_to_come_back():
    upstream = Upstream()
    async with Runtime(catalog(upstream, slots=1, queue=1)) as runtime:
        first, second, third = [await runtime.start(await runtime.open("a"), "x") for _ in range(3)]

        error = (await third.result()).error

        assert (error.type, error.retryable) == ("queue_full", True)
        assert error.retry_after >= 1
        upstream.go.set()
        assert [(await turn.result()).status for turn in (first, second)] == ["completed"] * 2


async def test_a_turn_holds_no_slot_while_its_tools_run():
    began, go = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        began.set()
        await go.wait()
        return "ok"

    agent = Agent("a", tools=Toolset("t", (wait,)))
    model = ScriptedModel(lambda request: call("wait") if request.messages[-1] == UserMessage("use it") else "ok")
    async with Runtime(catalog(model, agent, slots=1)) as runtime:
        waiting = await runtime.start(await runtime.open(agent), "use it")
        await began.wait()
        other = await runtime.start(await runtime.open(agent), "just talk")

        assert (await other.result()).status == "completed"
        go.set()
        assert (await waiting.result()).status == "completed"


async def test_one_slot_is_enough_for_an_agent_with_sub_agents():
    worker = Agent("worker", instructions="Work.")
    boss = Agent("boss", tools=Toolset("t", (worker.as_tool(),)))

    def model(request):
        if any(isinstance(message, ToolMessage) for message in request.messages):
            return "done"
        return "dug" if request.messages[0].content == "Work." else call("worker", task="dig")

    async with Runtime(catalog(ScriptedModel(model), boss, worker, slots=1)) as runtime:
        assert (await (await runtime.start(await runtime.open(boss), "x")).result()).text == "done"


# A client's own tools.


async def test_a_clients_tool_ends_the_turn_and_the_transcript_goes_on():
    lookup = define("lookup", "Look up.", b'{"type":"object","properties":{}}')
    model = scripted(call("lookup", q="x"), "It is 7.")
    async with Runtime(catalog(model)) as runtime:
        user = UserMessage("What is x?")
        ended = await (
            await runtime.once("a", TurnRequest(transcript=(user,), options=TurnOptions(client_tools=(lookup,))))
        ).result()

        assert (ended.status, ended.finish_reason) == ("tool_calls", "tool_calls")
        (wanted,) = ended.client_calls
        transcript = (user, AssistantMessage(None, ended.client_calls), ToolMessage("7", wanted.id))
        assert (await (await runtime.once("a", TurnRequest(transcript=transcript))).result()).text == "It is 7."

    assert model.requests[1].messages == transcript


async def test_beside_a_clients_tool_the_agents_own_are_run():
    @tool
    async def mine() -> str:
        """Mine."""
        return "mine"

    agent = Agent("a", tools=Toolset("t", (mine,)))
    theirs = define("theirs", "Theirs.", b'{"type":"object","properties":{}}')
    async with Runtime(catalog(scripted((call("mine"), call("theirs"))), agent)) as runtime:
        turn = await runtime.once(
            agent, TurnRequest(transcript=(UserMessage("x"),), options=TurnOptions(client_tools=(theirs,)))
        )
        ended = await turn.result()

    assert [wanted.name for wanted in ended.client_calls] == ["theirs"]
    assert [message.content for message in turn.messages if isinstance(message, ToolMessage)] == ["mine"]


# Resources.


@pytest.fixture
def counted():
    """A session's and a process's resource, a tool that uses either, and what happened to them."""
    log: list[str] = []

    @resource(scope="session")
    async def own():
        log.append("open own")
        yield len(log)
        log.append("close own")

    @resource(scope="process")
    async def shared():
        log.append("open shared")
        yield len(log)
        log.append("close shared")

    @tool
    async def use(ctx: Context[int]) -> int:
        """Use it."""
        return ctx.resource

    tools = Toolset("own", (use,), resource=own()).prefixed("own_") | Toolset(
        "shared", (use,), resource=shared()
    ).prefixed("shared_")
    return Agent("a", tools=tools), log


def use_both(request):
    return "ok" if isinstance(request.messages[-1], ToolMessage) else (call("own_use"), call("shared_use"))


async def test_a_sessions_resource_is_its_own_and_a_processs_is_everybodys(counted):
    agent, log = counted
    async with Runtime(catalog(ScriptedModel(use_both), agent)) as runtime:
        for _ in range(2):
            session = await runtime.open(agent)
            for _ in range(2):
                await (await runtime.start(session, "x")).result()
        assert sorted(log) == ["open own", "open own", "open shared"]

    assert sorted(log[3:]) == ["close own", "close own", "close shared"]
    assert log[-1] == "close shared"


async def test_a_one_off_turns_resources_close_with_it(counted):
    agent, log = counted
    async with Runtime(catalog(ScriptedModel(use_both), agent)) as runtime:
        turn = await runtime.once(agent, TurnRequest(transcript=(UserMessage("x"),)))
        await turn.result()
        await turn.task

        assert "close own" in log
        assert "close shared" not in log


async def test_resources_of_an_idle_session_close_and_reopen_on_use(counted):
    agent, log = counted
    async with Runtime(catalog(ScriptedModel(use_both), agent), idle_seconds=0.02) as runtime:
        session = await runtime.open(agent)
        await (await runtime.start(session, "x")).result()
        async with asyncio.timeout(60):
            while "close own" not in log:
                await asyncio.sleep(0.005)
        assert runtime.stats().sessions == 0

        await (await runtime.start(session, "x")).result()

    assert log.count("open own") == 2
    assert log.count("close own") == 2


# Life.


async def test_a_runtime_that_is_not_open_takes_no_turns():
    runtime = Runtime(catalog(scripted("1")))
    session = await runtime.open("a")

    with pytest.raises(ClosedError):
        await runtime.start(session, "x")


async def test_draining_lets_running_turns_end_and_takes_no_new_ones():
    upstream = Upstream()
    async with Runtime(catalog(upstream)) as runtime:
        turn = await runtime.start(await runtime.open("a"), "x")
        await upstream.began.wait()
        draining = asyncio.create_task(runtime.drain(10))
        await asyncio.sleep(0)

        with pytest.raises(ClosedError):
            await runtime.start(await runtime.open("a"), "y")
        upstream.go.set()
        assert await draining is True
        assert (await turn.result()).status == "completed"


async def test_draining_gives_up_after_its_time():
    upstream = Upstream()
    async with Runtime(catalog(upstream)) as runtime:
        await runtime.start(await runtime.open("a"), "x")

        assert await runtime.drain(0.01) is False


async def test_closing_cancels_turns_and_closes_models_once():
    class Closing(Upstream):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    upstream = Closing()
    runtime = Runtime(catalog(upstream))
    async with runtime:
        turn = await runtime.start(await runtime.open("a"), "x")
        await upstream.began.wait()
    await runtime.aclose()

    assert turn.ended.status == "cancelled"
    assert (upstream.connected, upstream.closed) == (0, 1)


async def test_counts_are_kept_for_the_operator():
    @tool
    async def ok() -> str:
        """Ok."""
        return "ok"

    agent = Agent("a", tools=Toolset("t", (ok,)))
    async with Runtime(catalog(scripted(call("ok"), call("nope"), "done"), agent)) as runtime:
        await (await runtime.start(await runtime.open(agent), "x")).result()
        stats = runtime.stats()

    assert stats.turns == (("completed", 1),)
    assert stats.tool_calls == (("(unknown)", "unknown_tool", 1), ("ok", "ok", 1))
    assert stats.usage.total_tokens > 0


async def _until(turn, kind):
    async for event in turn.events():
        if isinstance(event, kind):
            yield event
            return


async def test_who_enters_second_finds_it_open_and_the_last_to_leave_closes_it():
    class Slow(MemoryJournal):
        opened = closed = 0

        async def open(self) -> None:
            await asyncio.sleep(0)
            self.opened += 1
            await super().open()

        async def aclose(self) -> None:
            self.closed += 1
            await super().aclose()

    journal = Slow()
    runtime = Runtime(catalog(scripted("one", "two")), journal)
    entered, leave = [], [asyncio.Event(), asyncio.Event()]

    async def inside(index: int) -> None:
        async with runtime:
            entered.append((index, journal.opened, runtime.accepting))
            await leave[index].wait()

    one, two = (asyncio.create_task(inside(index)) for index in range(2))
    while len(entered) < 2:
        await asyncio.sleep(0)
    assert entered == [(0, 1, True), (1, 1, True)]
    leave[0].set()
    await one
    assert (runtime.accepting, journal.closed) == (True, 0)
    turn = await runtime.start(await runtime.open("a"), "x")
    assert (await turn.result()).text == "one"

    leave[1].set()
    await two
    assert (runtime.accepting, journal.closed) == (False, 1)


async def test_what_fails_to_open_can_be_opened_again():
    class Broken(MemoryJournal):
        broken = True

        async def open(self) -> None:
            if self.broken:
                raise JournalError("no")
            await super().open()

    journal = Broken()
    runtime = Runtime(catalog(scripted("one")), journal)
    with pytest.raises(JournalError):
        async with runtime:
            pass
    journal.broken = False

    async with runtime:
        assert runtime.accepting
    assert not runtime.accepting
