"""A call without a model: it is validated, approved, run and limited as any other, and no model is asked."""

import asyncio

import pytest

from gaia_core import Agent, ApprovalPolicy, Catalog, Context, Limits, Runtime, Toolset, scripted, tool
from gaia_core.events import ApprovalRequested, ToolEnded, ToolProgress
from gaia_core.turn import Audience


@tool(effects="write")
async def double(ctx: Context[None], number: int) -> str:
    """Twice as much."""
    ctx.progress("counting")
    return str(2 * number)


@pytest.fixture
async def runtime():
    agents = (Agent("a", tools=Toolset("t", (double,)), limits=Limits(tool_seconds=5)), Agent("helper"))
    async with Runtime(Catalog.of(*agents, models={"local": scripted("I help.")})) as made:
        yield made


async def ended(turn) -> ToolEnded:
    (found,) = [event async for event in turn.events() if isinstance(event, ToolEnded)]
    return found


async def test_a_call_gives_its_result_and_asks_no_model(runtime):
    turn = await runtime.call("a", "double", '{"number": 21}')
    told = [event async for event in turn.events()]
    (result,) = [event for event in told if isinstance(event, ToolEnded)]

    assert (result.outcome, result.content) == ("ok", "42")
    assert [event.text for event in told if isinstance(event, ToolProgress)] == ["counting"]
    assert (await turn.result()).status == "completed"
    assert runtime.stats().tool_calls


async def test_arguments_and_names_are_checked(runtime):
    assert (await ended(await runtime.call("a", "double", '{"number": "x"}'))).outcome == "invalid"
    assert (await ended(await runtime.call("a", "dubble", "{}"))).outcome == "unknown_tool"


async def test_approval_is_asked_for_where_somebody_is_there_and_else_denied(runtime):
    agent = Agent("strict", tools=Toolset("t", (double,)), approvals=ApprovalPolicy(effects={"write"}))
    denied = await ended(await runtime.call(agent, "double", '{"number": 1}'))
    turn = await runtime.call(agent, "double", '{"number": 1}', audience=Audience.INTERACTIVE)
    asked = []
    async for event in turn.events():
        if isinstance(event, ApprovalRequested):
            asked.append(event.tool)
            await turn.decide(event.approval_id, approved=True)
        if isinstance(event, ToolEnded):
            assert event.content == "2"

    assert denied.outcome == "denied"
    assert asked == ["double"]


async def test_an_agent_is_a_call_too(runtime):
    team = Agent("team", tools=Toolset("t", (runtime.catalog.agent("helper").as_tool(),)))

    assert (await ended(await runtime.call(team, "helper", '{"task": "Help."}'))).content == "I help."


async def test_it_is_cancelled_as_a_turn_is():
    began = asyncio.Event()

    @tool(effects=())
    async def wait() -> str:
        """Wait."""
        began.set()
        await asyncio.get_running_loop().create_future()
        return ""

    async with Runtime(Catalog.of(Agent("a", tools=Toolset("t", (wait,))), models={"local": scripted()})) as runtime:
        turn = await runtime.call("a", "wait", "{}")
        await began.wait()
        assert (await turn.cancel()).status == "cancelled"
