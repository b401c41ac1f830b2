"""An approval holds for the agent and the arguments that it was shown for (law 14), over restarts and reloads."""

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
    Runtime,
    ScriptedModel,
    Toolset,
    call,
    resource,
    tool,
)
from gaia_core.events import ApprovalDecided, ApprovalRequested, Nested, ToolEnded
from gaia_core.facts import Asked, Decided, Started
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import ToolMessage
from gaia_core.runtime import read_facts
from gaia_core.turn import AGENT_CHANGED, Audience, Turn, TurnRequest, record_of

POLICY = ApprovalPolicy(effects={"write"})


@resource()
async def folder(root: str) -> AsyncIterator[str]:
    yield root


def remover(root: str, log: list[str], **changes: object) -> Agent:
    """An agent whose tool removes below *root*."""

    @tool(effects="write", idempotent=True)
    async def remove(ctx: Context[str], path: str) -> str:
        """Remove a file."""
        log.append(f"{ctx.resource}/{path}")
        return "removed"

    tools = Toolset("t", (remove,), resource=folder(root))
    return attrs.evolve(Agent("a", tools=tools, approvals=POLICY), **changes)


def removes(request):
    return "Done." if isinstance(request.messages[-1], ToolMessage) else call("remove", path="x")


@pytest.fixture
def opened(tmp_path: Path):
    @asynccontextmanager
    async def opened(agent: Agent) -> AsyncIterator[Runtime]:
        catalog = Catalog.of(agent, models={"local": ScriptedModel(removes)})
        async with Runtime(catalog, SQLiteJournal(tmp_path / "j.db"), ttl=3_600) as runtime:
            yield runtime

    return opened


async def begun(runtime: Runtime) -> Turn:
    session = await runtime.open("a", id="s")
    return await runtime.start(session, TurnRequest("go", audience=Audience.INTERACTIVE))


async def approval(turn: Turn, other_than: str = "") -> ApprovalRequested:
    """The next request for approval that is not the one of that id."""
    async for event in turn.events():
        if isinstance(event, ApprovalRequested) and event.approval_id != other_than:
            return event
    raise AssertionError("the turn ended without a request for approval")


async def taken_over(runtime: Runtime) -> Turn:
    turn = await runtime.sessions.take_over("", "s")
    assert turn is not None
    return turn


async def test_a_call_that_was_shown_for_another_root_is_asked_again(opened):
    log: list[str] = []
    async with opened(remover("/old", log)) as runtime:
        shown = await approval(await begun(runtime))

    async with opened(remover("/new", log)) as runtime:
        turn = await taken_over(runtime)
        again = await approval(turn, shown.approval_id)
        with pytest.raises(AnsweredError):
            await runtime.sessions.decide("", "s", shown.approval_id, True)
        assert log == []
        await runtime.sessions.decide("", "s", again.approval_id, True)
        await turn.result()
        events = [event async for event in turn.events()]

    assert log == ["/new/x"]
    decided = {event.approval_id: event for event in events if isinstance(event, ApprovalDecided)}
    assert (decided[shown.approval_id].approved, decided[shown.approval_id].reason) == (False, AGENT_CHANGED)
    assert decided[again.approval_id].approved


async def test_it_is_asked_again_where_the_changed_agent_would_not_ask(opened):
    log: list[str] = []
    async with opened(remover("/old", log)) as runtime:
        shown = await approval(await begun(runtime))

    async with opened(remover("/new", log, approvals=ApprovalPolicy())) as runtime:
        turn = await taken_over(runtime)
        again = await approval(turn, shown.approval_id)
        await runtime.sessions.decide("", "s", again.approval_id, False, "not there")
        await turn.result()

    assert log == []


async def test_with_the_same_agent_the_first_request_stays_open(opened):
    log: list[str] = []
    async with opened(remover("/old", log)) as runtime:
        shown = await approval(await begun(runtime))

    async with opened(remover("/old", log)) as runtime:
        turn = await taken_over(runtime)
        await runtime.sessions.decide("", "s", shown.approval_id, True)
        await turn.result()
        facts = [fact for _, fact in await read_facts(runtime.journal, "", "s")]

    assert log == ["/old/x"]
    assert [fact.approval_id for fact in facts if isinstance(fact, Asked)] == [shown.approval_id]


async def test_the_agent_may_change_twice_before_anybody_answers(opened):
    log: list[str] = []
    async with opened(remover("/1", log)) as runtime:
        first = await approval(await begun(runtime))
    async with opened(remover("/2", log)) as runtime:
        second = await approval(await taken_over(runtime), first.approval_id)
    async with opened(remover("/1", log)) as runtime:
        turn = await taken_over(runtime)
        async for event in turn.events():
            if isinstance(event, ApprovalRequested) and event.approval_id not in (
                first.approval_id,
                second.approval_id,
            ):
                await runtime.sessions.decide("", "s", event.approval_id, True)
        await turn.result()

    assert log == ["/1/x"]


async def test_a_yes_for_the_session_ends_with_the_agent_that_it_was_given_to(opened):
    log: list[str] = []
    async with opened(remover("/old", log)) as runtime:
        turn = await begun(runtime)
        shown = await approval(turn)
        await runtime.sessions.decide("", "s", shown.approval_id, True, scope="session")
        await turn.result()
        same = await begun(runtime)
        await same.result()
        assert log == ["/old/x", "/old/x"]

        await runtime.reload(Catalog.of(remover("/new", log), models={"local": ScriptedModel(removes)}))
        turn = await begun(runtime)
        again = await approval(turn)
        assert log == ["/old/x", "/old/x"]
        await runtime.sessions.decide("", "s", again.approval_id, True, scope="session")
        await turn.result()
        await (await begun(runtime)).result()

    assert log[2:] == ["/new/x", "/new/x"]


async def test_a_reload_changes_nothing_of_a_call_that_waits(opened):
    log: list[str] = []
    async with opened(remover("/old", log)) as runtime:
        turn = await begun(runtime)
        shown = await approval(turn)
        await runtime.reload(Catalog.of(remover("/new", log), models={"local": ScriptedModel(removes)}))
        await runtime.sessions.decide("", "s", shown.approval_id, True)
        await turn.result()

    assert log == ["/old/x"]


async def test_an_approved_call_that_was_interrupted_is_not_run_for_another_root(opened):
    log: list[str] = []
    async with opened(remover("/old", log)) as runtime:
        turn = await begun(runtime)
        shown = await approval(turn)
        # As a process leaves it that ends just after the call has started.
        lease = turn.lease
        facts = [fact for _, fact in await turn.replay(turn.after)]
        turn.suspend()
        await turn.task
        assert lease is not None
        asked = next(fact for fact in facts if isinstance(fact, Asked))
        decided = Decided(asked.call_id, approved=True, reason="", approval_id=shown.approval_id)
        started = Started(asked.call_id, asked.tool, "key")
        await runtime.journal.append(lease, (record_of(decided), record_of(started)))

    async with opened(remover("/new", log)) as runtime:
        turn = await taken_over(runtime)
        await turn.result()
        ended = [event async for event in turn.events() if isinstance(event, ToolEnded)]

    assert log == []
    assert [event.outcome for event in ended] == ["unknown"]


async def test_a_yes_to_a_sub_agent_is_none_to_its_caller():
    log: list[str] = []
    inner = attrs.evolve(remover("/inner", log), name="inner", description="Removes.")
    own = remover("/outer", log)
    outer = attrs.evolve(own, tools=own.tools | Toolset("team", (inner.as_tool(),)))
    answers = iter((call("inner", task="go"), call("remove", path="x"), "gone", call("remove", path="x"), "Done."))
    catalog = Catalog.of(outer, models={"local": ScriptedModel(lambda _request: next(answers))})
    async with Runtime(catalog) as runtime:
        turn = await begun(runtime)
        asked: list[str] = []
        async for event in turn.events():
            inner_event = event.event if isinstance(event, Nested) else event
            if isinstance(inner_event, ApprovalRequested) and inner_event.tool == "remove":
                asked.append(inner_event.approval_id)
                await turn.decide(inner_event.approval_id, True, scope="session")
            elif isinstance(inner_event, ApprovalRequested):
                await turn.decide(inner_event.approval_id, True)

    assert log == ["/inner/x", "/outer/x"]
    assert len(asked) == 2, "the outer agent's call is another one"
