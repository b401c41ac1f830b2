"""Tool calls that go wrong become results that the model can act on; approvals come after validation."""

import asyncio
import threading

import pytest

from gaia_core import (
    Agent,
    AnsweredError,
    ApprovalPolicy,
    Catalog,
    Context,
    Limits,
    NotFoundError,
    Runtime,
    ToolError,
    Toolset,
    call,
    resource,
    scripted,
    tool,
)
from gaia_core.events import ApprovalDecided, ApprovalRequested, InputRequested, ToolEnded, ToolStarted
from gaia_core.messages import ToolMessage, wire_bytes
from gaia_core.turn import Audience, TurnRequest


@tool(effects="read")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_an_unknown_tool_is_answered_with_the_nearest(run):
    told = await run((add,), call("ad", a=1, b=1), "sorry")

    assert told.result.outcome == "unknown_tool"
    assert told.result.content == "There is no tool 'ad'. Did you mean 'add'? Tools: add"
    assert told.ended.text == "sorry"


async def test_bad_arguments_are_listed_and_nothing_is_started(run):
    told = await run((add,), call("add", a="three", c=1), "sorry")

    assert told.result.outcome == "invalid"
    assert 'a: expected an integer, got "three"' in told.result.content
    assert "b: required, but missing" in told.result.content
    assert 'unknown name "c"' in told.result.content
    assert not told.of(ToolStarted)


async def test_a_tools_own_words_reach_the_model(run):
    @tool
    async def fails() -> None:
        """Fail."""
        raise ToolError("the disk is full; delete something first")

    told = await run((fails,), call("fails"), "I see")

    assert (told.result.outcome, told.result.content) == ("error", "Error: the disk is full; delete something first")


async def test_how_a_call_ended_stands_on_its_message_and_is_not_sent_to_the_model(run):
    @tool
    async def grep(fails: bool) -> str:
        """Search."""
        if fails:
            raise ToolError("no such file")
        return "Error: no such file"

    told = await run((grep,), call("grep", fails=True), call("grep", fails=False), "I see")

    request = told.model.requests[-1]
    failed, found = (message for message in request.messages if isinstance(message, ToolMessage))
    assert (failed.outcome, found.outcome) == ("error", "ok")
    assert failed.content == found.content
    assert request.encoded == tuple(map(wire_bytes, request.messages))
    assert wire_bytes(failed) == wire_bytes(ToolMessage(failed.content, failed.tool_call_id))
    assert not any(b"outcome" in encoded for encoded in request.encoded)


@pytest.mark.parametrize(
    "error", [ValueError("password=hunter2"), TimeoutError("t"), asyncio.CancelledError("c"), StopIteration("s")]
)
@pytest.mark.parametrize("on_thread", [False, True])
async def test_any_other_failure_says_only_its_kind_and_goes_to_the_log(run, caplog, error, on_thread):
    def fails() -> None:
        """Fail."""
        raise error

    async def fails_async() -> None:
        """Fail."""
        raise error

    told = await run((tool(name="fails")(fails if on_thread else fails_async),), call("fails"), "I see")

    assert told.result.outcome == "error"
    assert "fails failed with " in told.result.content
    assert "hunter2" not in told.result.content
    assert "tool fails failed in turn" in caplog.text
    assert told.ended.status == "completed"


async def test_a_call_that_takes_too_long_is_given_up(run):
    @tool(timeout=0.01)
    async def slow() -> None:
        """Take long."""
        await asyncio.Event().wait()

    told = await run((slow,), call("slow"), "ok")

    assert (told.result.outcome, told.result.still_running) == ("timeout", False)
    assert "slow took longer than 0.01 s" in told.result.content


async def test_a_thread_that_outlives_its_time_is_reported_and_its_resource_closes_after_it(loop_clock):
    loop = asyncio.get_running_loop()
    gate = threading.Event()
    log: list[str] = []

    @resource()
    def thing():
        yield "thing"
        log.append("closed")

    @tool(timeout=60)
    def slow(ctx: Context[str]) -> None:
        """Take long."""
        loop.call_soon_threadsafe(loop_clock.advance, 60.0)
        gate.wait()
        log.append(f"used {ctx.resource}, cancelled: {ctx.cancelled}")

    agent = Agent("a", tools=Toolset("t", (slow,), resource=thing()))
    async with Runtime(Catalog.of(agent, models={"local": scripted(call("slow"), "ok")})) as runtime:
        session = await runtime.open(agent)
        turn = await runtime.start(session, "x")
        events = [event async for event in turn.events()]
        (ended,) = [event for event in events if isinstance(event, ToolEnded)]
        await runtime.delete(session)
        log.append("session deleted")
        gate.set()

    assert (ended.outcome, ended.still_running) == ("timeout", True)
    assert "may still have an effect" in ended.content
    assert log == ["session deleted", "used thing, cancelled: True", "closed"]


async def test_a_result_that_is_too_long_is_cut_and_says_how_much(run):
    @tool
    async def long() -> str:
        """Say much."""
        return "x" * 150

    agent = Agent("a", tools=Toolset("t", (long,)), limits=Limits(result_chars=100))
    told = await run(agent, call("long"), "ok")

    assert told.result.content.startswith("x" * 100 + "\n")
    assert "50 more characters were left out" in told.result.content


async def test_a_resource_that_does_not_open_is_the_calls_failure(run):
    @resource()
    async def broken():
        raise ToolError("the folder is gone")
        yield

    @tool
    async def use(ctx: Context[None]) -> None:
        """Use it."""

    told = await run(Agent("a", tools=Toolset("t", (use,), resource=broken())), call("use"), "ok")

    assert told.result.content == "Error: the folder is gone"


# Approvals.

ASKS = Agent("a", tools=Toolset("t", (add,)), approvals=ApprovalPolicy(effects={"read"}, timeout=60))


async def test_with_nobody_to_ask_the_call_is_denied_and_the_answer_says_why(run):
    told = await run(ASKS, call("add", a=1, b=1), "I was not allowed")

    assert told.result.outcome == "denied"
    assert told.result.content.startswith("Denied: add may read, and nobody is here to give it.")
    assert [event.approved for event in told.of(ApprovalDecided)] == [False]
    assert not told.of(ToolStarted)


async def test_nobody_is_asked_to_approve_a_call_that_would_fail_its_validation(run):
    told = await run(ASKS, call("add", a="x", b=1), "sorry")

    assert told.result.outcome == "invalid"
    assert not told.of(ApprovalDecided)


async def decide(agent: Agent, decisions, *answers) -> list:
    async with Runtime(Catalog.of(agent, models={"local": scripted(*answers)})) as runtime:
        turn = await runtime.start(await runtime.open(agent), TurnRequest("x", audience=Audience.INTERACTIVE))
        events = []
        async for event in turn.events():
            events.append(event)
            if isinstance(event, ApprovalRequested | InputRequested):
                assert runtime.stats().models[0].busy == 0, "a slot is held while people think"
                await decisions(turn, event)
        return events


async def test_an_approved_call_runs():
    events = await decide(ASKS, lambda turn, asked: turn.decide(asked.approval_id, True), call("add", a=1, b=1), "2")

    (ended,) = [event for event in events if isinstance(event, ToolEnded)]
    assert (ended.outcome, ended.content) == ("ok", "2")


async def test_a_denied_call_does_not_run_and_the_model_is_told_the_reason():
    events = await decide(
        ASKS, lambda turn, asked: turn.decide(asked.approval_id, False, "not today"), call("add", a=1, b=1), "ok"
    )

    (ended,) = [event for event in events if isinstance(event, ToolEnded)]
    assert (ended.outcome, ended.content) == ("denied", "Denied: not today. Go on without this call.")


async def test_an_approval_names_its_call_and_answers_once():
    async def once(turn, asked):
        with pytest.raises(NotFoundError, match="no open request 'appr_other'"):
            await turn.decide("appr_other", True)
        await turn.decide(asked.approval_id, asked.arguments == '{"a":1,"b":1}')
        with pytest.raises(AnsweredError, match="was answered already"):
            await turn.decide(asked.approval_id, True)

    events = await decide(ASKS, once, (call("add", a=1, b=1), call("add", a=2, b=2)), "ok")

    outcomes = {event.content for event in events if isinstance(event, ToolEnded)}
    assert outcomes == {"2", "Denied: the user said no. Go on without this call."}


async def test_an_approval_that_nobody_gives_expires_to_a_denial():
    agent = Agent("a", tools=Toolset("t", (add,)), approvals=ApprovalPolicy(tools={"add"}, timeout=0.01))

    async def nobody(_turn, _asked):
        return None

    events = await decide(agent, nobody, call("add", a=1, b=1), "ok")

    (ended,) = [event for event in events if isinstance(event, ToolEnded)]
    assert "nobody answered within 0.01 s" in ended.content


async def test_waiting_for_people_does_not_use_up_the_turns_time(loop_clock):
    agent = Agent(
        "a", tools=Toolset("t", (add,)), approvals=ApprovalPolicy(effects={"read"}), limits=Limits(seconds=60)
    )

    async def slowly(turn, asked):
        await loop_clock.sleep(0)  # it has asked, and waits now
        await loop_clock.sleep(100)
        await turn.decide(asked.approval_id, True)

    events = await decide(agent, slowly, call("add", a=1, b=1), "2")

    assert events[-1].status == "completed"


@tool(effects="read")
async def choose(ctx: Context[None]) -> str:
    """Ask the user."""
    return f"chose {await ctx.ask('Which?', ('a', 'b'))}"


async def test_a_tool_can_ask_the_user():
    agent = Agent("a", tools=Toolset("t", (choose,)))

    events = await decide(agent, lambda turn, asked: turn.answer(asked.request_id, "b"), call("choose"), "ok")

    (ended,) = [event for event in events if isinstance(event, ToolEnded)]
    assert ended.content == "chose b"


async def test_a_call_may_ask_two_questions_at_once():
    @tool(effects="read")
    async def both(ctx: Context[None]) -> str:
        """Ask twice."""
        return " ".join(await asyncio.gather(ctx.ask("First?"), ctx.ask("Second?")))

    agent = Agent("a", tools=Toolset("t", (both,)))

    events = await decide(agent, lambda turn, asked: turn.answer(asked.request_id, asked.question), call("both"), "ok")

    (ended,) = [event for event in events if isinstance(event, ToolEnded)]
    assert (ended.outcome, ended.content) == ("ok", "First? Second?")


async def test_a_call_whose_time_is_over_asks_nobody(loop_clock):
    refused: list[str] = []

    @tool(effects="read", timeout=5)
    async def late(ctx: Context[None]) -> str:
        """Ask too late."""
        try:
            await loop_clock.sleep(10)
            await asyncio.sleep(0)
        finally:
            try:
                await ctx.ask("Still there?")
            except ToolError as error:
                refused.append(str(error))
        return "x"

    agent = Agent("a", tools=Toolset("t", (late,)), limits=Limits(seconds=100))

    events = await decide(agent, None, call("late"), "ok")

    (ended,) = [event for event in events if isinstance(event, ToolEnded)]
    assert ended.outcome == "timeout"
    assert refused == ["the call has ended, so nobody was asked: Still there?"]
    assert events[-1].status == "completed"


async def test_a_tool_that_asks_nobody_is_told_so(run):
    told = await run((choose,), call("choose"), "ok")

    assert told.result.content == "Error: nobody is here to answer: Which?"


async def test_the_third_identical_failing_call_is_answered_with_what_to_do_instead(run):
    ran = []

    @tool
    async def fails(a: int) -> None:
        """Fail."""
        ran.append(a)
        raise ToolError("no such file")

    told = await run((fails,), *[call("fails", a=1)] * 4, call("fails", a=2), "sorry")

    assert ran == [1, 1, 2]
    assert [ended.outcome for ended in told.of(ToolEnded)] == ["error", "error", "denied", "denied", "error"]
    assert "has failed twice" in told.of(ToolEnded)[2].content
    assert "other arguments" in told.of(ToolEnded)[2].content


async def test_a_call_that_succeeded_since_it_failed_may_be_made_again(run):
    outcomes = ["bad", "good", "bad", "bad", "good"]

    @tool
    async def flaky() -> str:
        """Fail at times."""
        if (now := outcomes.pop(0)) == "bad":
            raise ToolError(now)
        return now

    told = await run((flaky,), *[call("flaky")] * 5, "done")

    assert [ended.outcome for ended in told.of(ToolEnded)] == ["error", "ok", "error", "error", "denied"]
