"""What a runtime that stops leaves in a durable journal, and how the next one goes on with it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from gaia_core import (
    Agent,
    AnsweredError,
    ApprovalPolicy,
    Catalog,
    Context,
    NotFoundError,
    Runtime,
    ScriptedModel,
    Toolset,
    call,
    scripted,
    tool,
)
from gaia_core.agent import ToolSearch
from gaia_core.events import (
    AgentChanged,
    ApprovalRequested,
    InputRequested,
    ModelRetried,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnResumed,
)
from gaia_core.facts import Answered
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import ToolMessage, text_of
from gaia_core.models import EmbeddingRequest, Embeddings, ModelError
from gaia_core.runtime import read_facts
from gaia_core.runtime._process_identity import is_dead
from gaia_core.turn import Audience, TurnRequest


@pytest.fixture
def opened(tmp_path: Path):
    """A runtime on one and the same file, which is stopped as a server stops at the end of the block.

    Its next heartbeat is far: what was left in order is taken over at the start.
    """

    @asynccontextmanager
    async def opened(agent: Agent, model, **others: object) -> AsyncIterator[Runtime]:
        catalog = Catalog.of(agent, models={"local": model, **others})
        async with Runtime(catalog, SQLiteJournal(tmp_path / "j.db"), ttl=3_600) as runtime:
            yield runtime

    return opened


async def until(turn, kind):
    async for batch in turn.frames():
        for event_id, event in batch:
            if isinstance(event, kind):
                return event_id, event
    raise AssertionError(f"the turn ended without {kind.__name__}")


async def resumed(runtime: Runtime, id: str = "s"):
    """The session's turn once it was taken over; it may have ended since."""
    async with asyncio.timeout(60):
        while (turn := await runtime.sessions.follow("", id)) is None:
            await asyncio.sleep(0.005)
    return turn


def asking(log: list) -> Agent:
    @tool(effects="write")
    async def erase(path: str) -> str:
        """Erase."""
        log.append(path)
        return "erased"

    return Agent("a", tools=Toolset("t", (erase,)), approvals=ApprovalPolicy(effects={"write"}))


def erases(request):
    return "Done." if isinstance(request.messages[-1], ToolMessage) else call("erase", path="x")


async def test_an_approval_waits_over_a_restart_and_the_call_runs_once(opened):
    log: list[str] = []
    async with opened(asking(log), ScriptedModel(erases)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        seen, asked = await until(turn, ApprovalRequested)
        assert runtime.stats().models[0].busy == 0

    assert log == []
    async with opened(asking(log), ScriptedModel(erases)) as runtime:
        turn = await resumed(runtime)
        await runtime.sessions.decide("", "s", asked.approval_id, True)
        assert (await turn.result()).text == "Done."
        rest = [event async for event in turn.events(seen)]
        with pytest.raises(AnsweredError):
            await runtime.sessions.decide("", "s", asked.approval_id, True)
        with pytest.raises(NotFoundError, match="never asked"):
            await runtime.sessions.decide("", "s", "appr_other", True)
        await runtime.open("a", id="other")
        with pytest.raises(NotFoundError, match="never asked"):
            await runtime.sessions.decide("", "other", asked.approval_id, True)
        with pytest.raises(NotFoundError):
            await runtime.sessions.decide("stranger", "s", asked.approval_id, True)

    assert log == ["x"]
    assert [type(event).__name__ for event in rest][:4] == ["Reset", "TurnResumed", "ApprovalDecided", "ToolStarted"]


async def test_an_approval_waits_over_any_number_of_orderly_restarts(opened):
    """Each counted as a crash, and the third gave the turn up."""
    log: list[str] = []
    async with opened(asking(log), ScriptedModel(erases)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        _, asked = await until(turn, ApprovalRequested)
    for _ in range(5):
        async with opened(asking(log), ScriptedModel(erases)) as runtime:
            await resumed(runtime)
    async with opened(asking(log), ScriptedModel(erases)) as runtime:
        turn = await resumed(runtime)
        await runtime.sessions.decide("", "s", asked.approval_id, True)
        assert (await turn.result()).text == "Done."
    assert log == ["x"]


class Vectors:
    """A model that makes vectors, a hundred tokens each."""

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        return Embeddings(((1.0,),) * request.count, tokens=100 * request.count)


async def test_what_calls_had_models_do_is_in_the_usage_after_a_restart(opened):
    log: list[str] = []
    searching = attrs.evolve(asking(log), search=ToolSearch(core={"erase"}, embeddings="vectors"))
    finds = scripted(call("find_tools", query="erase"), call("erase", path="x"))
    async with opened(searching, finds, vectors=Vectors()) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        _, asked = await until(turn, ApprovalRequested)

    async with opened(searching, scripted("Done."), vectors=Vectors()) as runtime:
        turn = await resumed(runtime)
        await runtime.sessions.decide("", "s", asked.approval_id, True)
        ended = await turn.result()
        facts = [fact for _, fact in await read_facts(runtime.journal, "", "s")]

    steps = sum(fact.usage.total_tokens for fact in facts if isinstance(fact, Answered))
    assert ended.usage.total_tokens == steps + 200, "one tool's vector, and the query's"


async def test_an_approval_that_expired_while_nothing_ran_is_a_denial(opened):
    log: list[str] = []
    agent = Agent("a", tools=asking(log).tools, approvals=ApprovalPolicy(effects={"write"}, timeout=0.2))
    async with opened(agent, ScriptedModel(erases)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        _, asked = await until(turn, ApprovalRequested)
    await asyncio.sleep(0.25)

    async with opened(agent, ScriptedModel(erases)) as runtime:
        async with asyncio.timeout(60):
            while (await runtime.sessions.get("", "s")).turn is not None:
                await asyncio.sleep(0.005)
        turn = await runtime.sessions.attach("", "s")
        (ended,) = [event async for event in turn.events() if isinstance(event, ToolEnded)]
        with pytest.raises(AnsweredError):
            await runtime.sessions.decide("", "s", asked.approval_id, True)

    assert ended.outcome == "denied"
    assert "nobody answered" in ended.content
    assert log == []


async def test_a_yes_for_the_session_covers_what_was_shown_and_no_more(opened):
    log: list[str] = []

    @tool(effects="write")
    async def write(path: str, text: str) -> str:
        """Write."""
        log.append(path)
        return "written"

    agent = Agent("a", tools=Toolset("t", (write,)), approvals=ApprovalPolicy(effects={"write"}))
    long = "line\nline"
    calls = [
        call("write", path="a", text=long),
        call("write", path="a", text="other\nlines"),
        call("write", path="b", text=long),
        call("write", path="a", text="short"),
    ]
    async with opened(agent, scripted(calls[0], calls[1], "ok", "ok")) as runtime:
        session = await runtime.open("a", id="s")
        turn = await runtime.start(session, TurnRequest("go", audience=Audience.INTERACTIVE))
        _, asked = await until(turn, ApprovalRequested)
        assert asked.scope == 'write(path="a", text=…)'
        await turn.decide(asked.approval_id, True, scope="session")
        await turn.result()  # the second call was not asked for
        asks = [event async for event in turn.events() if isinstance(event, ApprovalRequested)]
        assert len(asks) == 1

    async with opened(agent, scripted(calls[2], "ok", calls[3], "ok")) as runtime:  # grants are in the record
        for expected in ('write(path="b", text=…)', 'write(path="a", text="short")'):
            turn = await runtime.start(session, TurnRequest("go", audience=Audience.INTERACTIVE))
            _, asked = await until(turn, ApprovalRequested)
            assert asked.scope == expected
            await turn.decide(asked.approval_id, False)
            await turn.result()

    assert log == ["a", "a"]


def questioning(log: list, *, idempotent: bool) -> Agent:
    @tool(effects="read", idempotent=idempotent)
    async def choose(ctx: Context[None]) -> str:
        """Ask twice."""
        log.append("begun")
        first = await ctx.ask("First?", ("a", "b"))
        return f"{first} and {await ctx.ask('Second?')}"

    return Agent("a", tools=Toolset("t", (choose,)))


def chooses(request):
    last = request.messages[-1]
    return text_of(last.content) if isinstance(last, ToolMessage) else call("choose")


async def test_recorded_answers_replay_in_order_when_an_idempotent_call_runs_again(opened):
    log: list[str] = []
    async with opened(questioning(log, idempotent=True), ScriptedModel(chooses)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        _, asked = await until(turn, InputRequested)
        await turn.answer(asked.request_id, "b")
        while len(asks := turn.answers.open) != 1 or asks[0] == asked.request_id:
            await asyncio.sleep(0)

    async with opened(questioning(log, idempotent=True), ScriptedModel(chooses)) as runtime:
        turn = await resumed(runtime)
        async with asyncio.timeout(60):
            while not turn.answers.open:
                await asyncio.sleep(0.005)
        (request_id,) = turn.answers.open
        await runtime.sessions.answer("", "s", request_id, "later")
        assert (await turn.result()).text == "b and later"

    assert log == ["begun", "begun"]


async def test_a_call_that_asked_and_is_not_idempotent_is_unknown_after_a_restart(opened):
    log: list[str] = []
    async with opened(questioning(log, idempotent=False), ScriptedModel(chooses)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        await until(turn, InputRequested)

    async with opened(questioning(log, idempotent=False), ScriptedModel(chooses)) as runtime:
        turn = await resumed(runtime)
        assert "unknown" in (await turn.result()).text

    assert log == ["begun"]


async def test_an_agent_that_changed_meanwhile_goes_on_and_that_is_recorded(opened):
    log: list[str] = []
    async with opened(asking(log), ScriptedModel(erases)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        _, asked = await until(turn, ApprovalRequested)

    changed = Agent("a", instructions="New.", tools=asking(log).tools, approvals=asking(log).approvals)
    async with opened(changed, ScriptedModel(erases)) as runtime:
        turn = await resumed(runtime)
        with pytest.raises(AnsweredError):
            await turn.decide(asked.approval_id, True)
        async for event in turn.events():
            if isinstance(event, ApprovalRequested) and event.approval_id != asked.approval_id:
                await turn.decide(event.approval_id, True)
        events = [event async for event in turn.events()]

    assert log == ["x"]
    assert [type(event) for event in events if isinstance(event, AgentChanged | TurnResumed)] == [
        AgentChanged,
        TurnResumed,
    ]


async def test_a_turn_whose_agent_is_gone_fails_and_says_so(opened):
    async with opened(asking([]), ScriptedModel(erases)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        await until(turn, ApprovalRequested)

    async with opened(Agent("b"), scripted()) as runtime:
        async with asyncio.timeout(60):
            while (await runtime.sessions.get("", "s")).turn is not None:
                await asyncio.sleep(0.005)
        ended = await (await runtime.sessions.attach("", "s")).result()

    assert (ended.status, ended.error.type) == ("failed", "agent_gone")


async def test_readers_of_a_turn_that_is_left_for_the_next_process_end_without_an_end(opened):
    async with opened(asking([]), ScriptedModel(erases)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        reading = asyncio.create_task(_all(turn))
        await until(turn, ApprovalRequested)

    assert not any(isinstance(event, TurnEnded) for event in await reading)
    assert turn.suspended


async def test_a_conversation_goes_on_after_a_restart(opened):
    async with opened(Agent("a"), scripted("Hello Ann.")) as runtime:
        await (await runtime.start(await runtime.open("a", id="s"), "I am Ann")).result()
        await asyncio.sleep(0)
    model = scripted("You are Ann.")
    async with opened(Agent("a"), model) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), "Who am I?")
        await turn.result()
        kinds = [type(event) for event in await _all(turn)]

    assert [text_of(message.content) for message in model.requests[0].messages] == [
        "I am Ann", "Hello Ann.", "Who am I?",
    ]  # fmt: skip
    assert ToolStarted not in kinds
    assert TurnResumed not in kinds


async def _all(turn) -> list:
    return [event async for event in turn.events()]


async def test_a_turn_that_was_taken_over_waits_for_a_model_that_starts(opened, monkeypatch):
    monkeypatch.setattr("gaia_core.turn._loop._PAUSE_SECONDS", 0.01)
    log: list[str] = []
    async with opened(asking(log), ScriptedModel(erases)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        _, asked = await until(turn, ApprovalRequested)

    starting = iter((True, True, False))

    def starts(request):
        if next(starting, False):
            raise ModelError("not_ready", "it starts", retryable=True, retry_after=5)
        return erases(request)

    async with opened(asking(log), ScriptedModel(starts)) as runtime:
        turn = await resumed(runtime)
        await turn.decide(asked.approval_id, True)
        assert (await turn.result()).text == "Done."
        retried = [event async for event in turn.events() if isinstance(event, ModelRetried)]

    assert [event.attempt for event in retried] == [1, 2]


async def test_a_new_turn_does_not_wait_for_a_model_that_starts(opened):
    def starts(_request):
        raise ModelError("not_ready", "it starts", retryable=True, retry_after=5)

    async with opened(Agent("a"), ScriptedModel(starts)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), "go")
        assert (await turn.result()).error.type == "not_ready"


async def test_draining_does_not_wait_for_a_turn_that_waits_for_a_person(opened):
    async with opened(asking([]), ScriptedModel(erases)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.INTERACTIVE))
        await until(turn, ApprovalRequested)

        async with asyncio.timeout(60):
            assert await runtime.drain(3600) is False  # it is left, not ended

    assert turn.suspended


def test_a_process_that_ended_and_was_not_reaped_is_dead():
    child = subprocess.Popen(
        [sys.executable, "-c", "from gaia_core.runtime import replica_name; print(replica_name()); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    name = child.stdout.readline().strip()
    assert not is_dead(name)

    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still in the table
    assert is_dead(name)

    child.wait()
    child.stdout.close()
    assert is_dead(name)
