"""A limit ends a turn with a truthful event, and what was used by sub-agents counts."""

import asyncio

from gaia_core import Agent, Limits, ToolError, Toolset, call, tool
from gaia_core.events import LimitReached, StepEnded, TextDelta, ToolEnded
from gaia_core.messages import Usage, UserMessage
from gaia_core.models import Finished, ScriptedModel, ToolCallDelta


@tool(effects="read")
async def step() -> str:
    """Do a step."""
    return "done"


def agent(**limits: float) -> Agent:
    return Agent("agent", tools=Toolset("t", (step,)), limits=Limits(**limits))


async def test_steps(run):
    told = await run(agent(steps=2), *(call("step") for _ in range(5)))

    (reached,) = told.of(LimitReached)
    assert (reached.limit, reached.value) == ("steps", 2)
    assert (told.ended.status, told.ended.finish_reason, told.ended.steps) == ("limit", "length", 2)
    assert len(told.model.requests) == 2


async def test_tool_calls_beyond_the_limit_are_not_run(run):
    told = await run(agent(tool_calls=2), (call("step"), call("step"), call("step")), "never asked")

    assert sorted(event.outcome for event in told.of(ToolEnded)) == ["denied", "ok", "ok"]
    assert told.of(LimitReached)[0].limit == "tool_calls"
    assert told.ended.status == "limit"


async def test_tokens(run):
    told = await run(agent(tokens=1), call("step"), "never asked")

    assert told.of(LimitReached)[0].limit == "tokens"
    assert len(told.model.requests) == 1


async def test_seconds_close_the_stream_and_keep_what_was_said(run, loop_clock):
    closed: list[bool] = []

    async def model(_request):
        try:
            yield TextDelta("so far")
            loop_clock.advance(60.0)
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    told = await run(agent(seconds=60.0), ScriptedModel(model))

    assert told.of(LimitReached)[0].limit == "seconds"
    assert (told.ended.status, told.ended.text) == ("limit", "so far")
    assert closed == [True]


async def test_what_was_said_until_then_is_in_the_usage(run, loop_clock):
    async def model(_request):
        yield TextDelta("so far, " * 20)
        yield TextDelta("so good")
        loop_clock.advance(60.0)
        await asyncio.Event().wait()

    told = await run(agent(seconds=60.0), ScriptedModel(model), say="x" * 400)

    used = told.ended.usage
    assert used.estimated
    assert used.input_tokens > 100
    assert used.output_tokens > 40


async def test_a_model_that_said_nothing_has_used_nothing(run):
    async def model(_request):
        await asyncio.Event().wait()
        yield TextDelta("never")

    told = await run(agent(seconds=0.02), ScriptedModel(model), say="x" * 400)

    assert told.ended.usage == Usage()


async def test_what_a_sub_agent_had_said_counts_when_its_caller_is_stopped(run, loop_clock):
    async def model(request):
        if request.tools:
            yield ToolCallDelta(0, "c", "writer", '{"task": "Write."}')
            yield Finished("tool_calls", Usage(7, 3))
            return
        yield TextDelta("once upon a time " * 20)
        loop_clock.advance(60.0)
        await asyncio.Event().wait()

    boss = Agent("boss", tools=Toolset("t", (Agent("writer").as_tool(),)), limits=Limits(seconds=60.0))
    told = await run(boss, ScriptedModel(model))

    assert told.ended.status == "limit"
    assert told.ended.usage.output_tokens > 3 + 80


async def test_a_tools_own_timeout_error_is_not_the_turns(run):
    @tool
    async def impatient() -> None:
        """Time out by itself."""
        raise TimeoutError

    told = await run((impatient,), call("impatient"), "ok")

    assert told.ended.status == "completed"


# Sub-agents.


def team(**limits: float) -> tuple[Agent, Agent]:
    worker = Agent("worker", instructions="Work.", tools=Toolset("w", (step,)))
    return Agent(
        "boss", instructions="Lead.", tools=Toolset("team", (worker.as_tool(),)), limits=Limits(**limits)
    ), worker


def led(request):
    """A boss that gives one task to the worker, who does one step."""
    first = request.messages[0].content
    done = len(request.messages) > 2
    if first == "Lead.":
        return "All done." if done else call("worker", task="dig")
    return "Dug." if done else call("step")


async def test_an_agent_is_a_tool_of_another(run):
    boss, worker = team()

    told = await run(boss, ScriptedModel(led), more=(worker,))

    assert told.result.content == "Dug."
    assert told.ended.text == "All done."
    assert told.model.requests[1].messages[1:] == (UserMessage("dig"),)
    assert [type(event).__name__ for event in told.nested][:2] == ["StepStarted", "StepEnded"]


async def test_a_sub_agent_has_its_own_tools_only(run):
    boss, worker = team()

    told = await run(boss, ScriptedModel(led), more=(worker,))

    offered = [[tool.name for tool in request.tools] for request in told.model.requests]
    assert offered == [["worker"], ["step"], ["step"], ["worker"]]


async def test_what_a_sub_agent_uses_counts_for_its_caller(run):
    boss, worker = team()

    told = await run(boss, ScriptedModel(led), more=(worker,))

    every_step = [event.usage for event in (*told.events, *told.nested) if isinstance(event, StepEnded)]
    assert len(every_step) == 4
    assert told.ended.usage.total_tokens == sum(usage.total_tokens for usage in every_step)


async def test_a_callers_limit_stops_its_sub_agent(run):
    boss, worker = team(steps=2)

    told = await run(boss, ScriptedModel(led), more=(worker,))

    assert "the agent worker was stopped by a limit" in told.result.content
    assert told.ended.status == "limit"


async def test_a_sub_agents_failure_is_told_to_its_caller(run):
    def model(request):
        if request.messages[0].content == "Work.":
            raise ToolError("never mind")
        return led(request)

    boss, worker = team()
    told = await run(boss, ScriptedModel(model), more=(worker,))

    assert told.result.outcome == "error"
    assert told.ended.status == "completed"


async def test_calls_of_a_sub_agent_have_keys_of_their_own(run):
    keys: list[str] = []

    from gaia_core import Context

    @tool(name="step")
    async def remember(ctx: Context[None]) -> str:
        """Remember the key."""
        keys.append(ctx.idempotency_key)
        return "done"

    worker = Agent("worker", instructions="Work.", tools=Toolset("w", (remember,)))
    boss = Agent("boss", instructions="Lead.", tools=Toolset("team", (worker.as_tool(),)))

    def twice(request):
        if request.messages[0].content == "Lead.":
            return "done" if len(request.messages) > 2 else (call("worker", task="a"), call("worker", task="b"))
        return "ok" if len(request.messages) > 2 else call("step")

    await run(boss, ScriptedModel(twice), more=(worker,))

    assert len(set(keys)) == 2
