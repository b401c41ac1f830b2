"""A turn: model, tools, model, until an answer; everything it does is an event."""

import asyncio

import pytest

from gaia_core import Agent, Catalog, Context, Runtime, Toolset, call, scripted, tool
from gaia_core.events import (
    ReasoningDelta,
    StepEnded,
    StepStarted,
    TextDelta,
    ToolEnded,
    ToolProgress,
    TurnEnded,
    TurnStarted,
)
from gaia_core.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from gaia_core.models import Finished, ModelError, ScriptedModel, ToolCallDelta


@tool(effects="read")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_an_answer_without_tools_is_one_step(run):
    told = await run((), "Hello there")

    assert isinstance(told.events[0], TurnStarted)
    assert "".join(event.text for event in told.of(TextDelta)) == "Hello there"
    assert (told.ended.status, told.ended.finish_reason, told.ended.text) == ("completed", "stop", "Hello there")
    assert told.ended.steps == 1


async def test_a_tool_call_is_run_and_its_result_goes_back_to_the_model(run):
    told = await run((add,), call("add", a=2, b=3), "It is 5.")

    assert told.ended.text == "It is 5."
    assert told.result.content == "5"
    first, second = told.model.requests
    assert [message for message in second.messages if message not in first.messages] == [
        AssistantMessage(None, told.of(StepEnded)[0].message.tool_calls),
        ToolMessage("5", told.result.call_id, "ok"),
    ]


async def test_the_order_of_events_is_the_documented_one(run):
    told = await run((add,), call("add", a=2, b=3), "5")

    assert told.kinds == [
        "TurnStarted", "StepStarted", "StepEnded", "ToolCalled", "ToolStarted", "ToolEnded",
        "StepStarted", "TextDelta", "StepEnded", "TurnEnded",
    ]  # fmt: skip


async def test_the_model_is_told_who_it_is_and_what_it_has(run):
    agent = Agent("a", instructions="Be brief.", tools=Toolset("t", (add,), instructions="Use {add} to add."))

    told = await run(agent, "ok", say="Hi")

    (request,) = told.model.requests
    assert request.messages == (SystemMessage("Be brief.\n\nUse add to add."), UserMessage("Hi"))
    assert request.tools == agent.tools.definitions


async def test_usage_is_the_sum_of_the_steps(run):
    told = await run((add,), call("add", a=1, b=1), "2")

    steps = [event.usage for event in told.of(StepEnded)]
    assert told.ended.usage == steps[0] + steps[1]
    assert told.ended.usage.output_tokens > 0


async def test_usage_that_an_endpoint_does_not_send_is_named_an_estimate(run):
    model = ScriptedModel(lambda _request: (TextDelta("four words are here"), Finished("stop", None)))

    told = await run((), model)

    assert told.ended.usage.estimated
    assert told.ended.usage.output_tokens > 0


async def test_calls_of_one_step_run_in_parallel_and_their_results_keep_the_models_order(run):
    both = asyncio.Barrier(2)

    @tool
    async def meet(name: str) -> str:
        """Wait for the other."""
        await both.wait()
        return name

    told = await run((meet,), (call("meet", name="first"), call("meet", name="second")), "done")

    results = [message.content for message in told.model.requests[1].messages if isinstance(message, ToolMessage)]
    assert results == ["first", "second"]


async def test_an_exclusive_call_runs_alone(run):
    running: list[str] = []
    seen: list[tuple[str, ...]] = []

    @tool
    async def shared(name: str) -> None:
        """Run beside others."""
        running.append(name)
        await asyncio.sleep(0)
        seen.append(tuple(running))
        running.remove(name)

    @tool(exclusive=True)
    async def alone() -> None:
        """Run alone."""
        running.append("alone")
        await asyncio.sleep(0)
        seen.append(tuple(running))
        running.remove("alone")

    calls = (call("shared", name="a"), call("shared", name="b"), call("alone"), call("shared", name="c"))
    await run((shared, alone), calls, "done")

    assert seen[-2:] == [("alone",), ("c",)]
    assert seen[0] == ("a", "b")


async def test_call_ids_that_an_endpoint_repeats_are_told_apart(run):
    def model(request):
        if len(request.messages) > 4:
            return "done"
        return (ToolCallDelta(0, "call_0", "add", '{"a": 1, "b": 1}'), Finished("tool_calls"))

    told = await run((add,), ScriptedModel(model))

    ids = [event.call_id for event in told.of(ToolEnded)]
    assert len(ids) == len(set(ids)) == 2


async def test_a_synchronous_tool_runs_off_the_event_loop(run):
    @tool
    def where() -> bool:
        """Say whether this is the event loop's thread."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    assert (await run((where,), call("where"), "ok")).result.content == "false"


async def test_progress_can_be_told_from_a_thread(run):
    @tool
    def work(ctx: Context[None]) -> str:
        """Work."""
        ctx.progress("half")
        return "done"

    told = await run((work,), call("work"), "ok")

    assert [event.text for event in told.of(ToolProgress)] == ["half"]
    assert told.kinds.index("ToolProgress") < told.kinds.index("ToolEnded")


async def test_a_tool_knows_its_session_turn_and_call_and_a_key_of_its_own(run):
    seen: list[tuple[str, ...]] = []

    @tool
    async def look(ctx: Context[None]) -> None:
        """Look."""
        seen.append((ctx.session_id, ctx.turn_id, ctx.call_id, ctx.idempotency_key))

    told = await run((look,), (call("look"), call("look")), "ok")

    started = told.events[0]
    assert {entry[:2] for entry in seen} == {(started.session_id, started.turn_id)}
    assert [entry[2] for entry in seen] == [event.call_id for event in told.of(ToolEnded)]
    assert len({entry[3] for entry in seen}) == 2


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "Done."),
        (3, "3"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ("é", "é"),
        ("\ud83d!", "?!"),
        (b"\0\1", "2 bytes of binary data"),
    ],
)
async def test_every_result_becomes_text(run, result, text):
    @tool
    async def give() -> object:
        """Give."""
        return result

    assert (await run((give,), call("give"), "ok")).result.content == text


async def test_a_models_failure_is_the_turns_failure_in_its_own_words(run):
    def model(_request):
        raise ModelError("rate_limited", "the endpoint is busy", retryable=True, retry_after=3.0, status=429)

    told = await run((), ScriptedModel(model))

    assert told.ended.status == "failed"
    error = told.ended.error
    assert (error.type, error.message, error.retryable, error.retry_after) == (
        "rate_limited",
        "the endpoint is busy",
        True,
        3,
    )


async def test_a_fault_of_ours_fails_the_turn_without_its_words(run, caplog):
    def model(_request):
        raise ZeroDivisionError("secret")

    told = await run((), ScriptedModel(model))

    assert told.ended.error.type == "internal"
    assert "secret" not in told.ended.error.message
    assert "ZeroDivisionError" in caplog.text


async def test_reasoning_is_told_and_kept_with_the_step(run):
    model = ScriptedModel(lambda _request: (ReasoningDelta("hm"), TextDelta("yes"), Finished("stop")))

    told = await run((), model)

    assert [event.text for event in told.of(ReasoningDelta)] == ["hm"]
    assert told.of(StepEnded)[0].message.reasoning_content == "hm"


async def test_a_call_written_as_text_is_run_and_its_text_is_never_told(run):
    told = await run((add,), '```json\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n```', "It is 3.")

    assert told.result.content == "3"
    assert "".join(event.text for event in told.of(TextDelta)) == "It is 3."


async def test_text_that_only_looked_like_a_call_is_told_in_the_end(run):
    text = '{"name": "nobody", "arguments": {}}'

    told = await run((add,), text)

    assert "".join(event.text for event in told.of(TextDelta)) == told.ended.text == text


async def test_a_turn_that_is_cut_off_by_length_says_so(run):
    told = await run((), ScriptedModel(lambda _request: (TextDelta("half a"), Finished("length"))))

    assert (told.ended.status, told.ended.finish_reason, told.ended.text) == ("completed", "length", "half a")


async def test_any_number_of_readers_see_the_same_and_leaving_changes_nothing():
    agent = Agent("a")
    async with Runtime(Catalog.of(agent, models={"local": scripted("one two three")})) as runtime:
        turn = await runtime.start(await runtime.open(agent), "x")

        async def leave_early() -> None:
            async for _ in turn.events():
                break

        async def read(after: str | None = None) -> list:
            return [event async for event in turn.events(after)]

        _, whole = await asyncio.gather(leave_early(), read())
        again = await read()
        ids = [str(frame[0]) async for batch in turn.frames() for frame in batch]
        rests = [await read(after) for after in ids]

    assert isinstance(whole[-1], TurnEnded)
    assert isinstance(whole[1], StepStarted)
    assert again == whole
    assert rests == [whole[n + 1 :] for n in range(len(whole))]


async def test_one_reader_that_is_cancelled_does_not_disturb_another():
    go = asyncio.Event()

    async def model(_request):
        await go.wait()
        return "late"

    agent = Agent("a")
    async with Runtime(Catalog.of(agent, models={"local": ScriptedModel(model)})) as runtime:
        turn = await runtime.start(await runtime.open(agent), "x")
        first, second = asyncio.create_task(turn.result()), asyncio.create_task(turn.result())
        await asyncio.sleep(0)
        first.cancel()
        go.set()

        assert (await second).text == "late"
