"""Models for tests: a function, a list of answers, and a recording that says where a run parts from it."""

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core import (
    Agent,
    Catalog,
    ConfigError,
    DivergenceError,
    GaiaError,
    ReplayModel,
    Runtime,
    ScriptedModel,
    Toolset,
    call,
    scripted,
    tool,
)
from gaia_core.events import ModelRetried, ReasoningDelta, StepEnded, TextDelta, TurnEnded
from gaia_core.messages import AssistantMessage, UserMessage
from gaia_core.models import Finished, Model, ModelError, ModelRequest, ToolCallDelta


@tool(effects="read")
async def double(number: int) -> int:
    """Double a number."""
    return 2 * number


@tool(effects="read")
async def triple(number: int) -> int:
    """Triple a number."""
    return 3 * number


AGENT = Agent("counter", tools=Toolset("numbers", (double, triple)))


def test_scripts_and_recordings_are_models():
    assert isinstance(scripted("Hi"), Model)
    assert isinstance(ReplayModel(()), Model)


async def test_a_text_is_streamed_word_by_word(ask):
    told = await ask(ScriptedModel(lambda request: "Hello to you"))
    assert [batch[0] for batch in told.batches[:-1]] == [TextDelta("Hello "), TextDelta("to "), TextDelta("you")]
    assert told.finished.reason == "stop"
    assert told.finished.usage.output_tokens == 3


@given(st.text())
def test_no_character_of_a_text_is_lost(text):
    model = ScriptedModel(lambda request: text)

    async def collected() -> str:
        stream = model.stream(ModelRequest((UserMessage("Hi"),)))
        return "".join([delta.text async for batch in stream for delta in batch if isinstance(delta, TextDelta)])

    assert asyncio.run(collected()) == text


async def test_the_function_sees_the_request_and_requests_are_kept(ask, hi):
    model = ScriptedModel(lambda request: request.messages[-1].content.upper())
    assert (await ask(model)).text == "HI"
    assert model.requests == [hi]


async def test_a_call_and_several_calls(ask):
    model = scripted(call("double", number=2), (call("double", number=2), call("triple", number=3)))
    first, second = await ask(model), await ask(model)
    assert first.of(ToolCallDelta) == [ToolCallDelta(0, "call_1", "double", '{"number":2}')]
    assert [(delta.index, delta.id, delta.name) for delta in second.of(ToolCallDelta)] == [
        (0, "call_2", "double"),
        (1, "call_3", "triple"),
    ]
    assert first.finished.reason == second.finished.reason == "tool_calls"


async def test_a_whole_message(ask):
    told = await ask(scripted(AssistantMessage("So:", (call("double", number=2),), reasoning_content="Hm")))
    assert (told.reasoning, told.text, told.of(ToolCallDelta)[0].name) == ("Hm", "So:", "double")


async def test_deltas_as_they_are(ask):
    deltas = [TextDelta("a"), ReasoningDelta("b"), ModelRetried(1, 0.1, "c"), Finished("length")]
    assert (await ask(scripted(deltas))).deltas == deltas
    assert (await ask(scripted([TextDelta("a")]))).deltas == [TextDelta("a"), Finished("stop")]
    assert (await ask(scripted(()))).deltas == [Finished("stop")]


async def test_an_async_function_and_an_async_generator(ask):
    async def answer(request):
        await asyncio.sleep(0)
        return "Hi"

    async def deltas(request):
        yield TextDelta("a")
        yield Finished("length")

    async def open_end(request):
        yield TextDelta("b")

    assert (await ask(ScriptedModel(answer))).text == "Hi"
    assert (await ask(ScriptedModel(deltas))).deltas == [TextDelta("a"), Finished("length")]
    assert (await ask(ScriptedModel(open_end))).deltas == [TextDelta("b"), Finished("stop")]


async def test_an_async_generator_is_closed_with_its_stream(hi):
    closed = asyncio.Event()

    async def deltas(request):
        try:
            yield TextDelta("a")
            yield TextDelta("b")
        finally:
            closed.set()

    async with aclosing(ScriptedModel(deltas).stream(hi)) as stream:
        await anext(stream)
    assert closed.is_set()


async def test_a_function_may_fail_as_models_do(fails):
    def answer(request):
        raise ModelError("overloaded", "not now", retryable=True)

    error, told = await fails(ScriptedModel(answer))
    assert (error.kind, told) == ("overloaded", [])


async def _stray(request):
    yield "no delta"


@pytest.mark.parametrize("answer", [7, None, ["text"], [call("double"), TextDelta("a")], {"a": 1}, b"a", _stray(None)])
async def test_what_is_no_answer_is_named(ask, answer):
    with pytest.raises(ConfigError, match=r"scripted .*an answer is a text, call\(…\)"):
        await ask(ScriptedModel(lambda request: answer))


async def test_a_script_that_has_run_out_says_what_was_asked(ask):
    model = scripted("Hi")
    await ask(model)
    with pytest.raises(GaiaError, match=r"script of 1 answers.*\"Hi\""):
        await ask(model)
    with pytest.raises(GaiaError, match="script of 0 answers"):
        await ask(scripted(), ModelRequest(()))


# Replay.


async def run(model: Model, agent: Agent = AGENT, say: str = "Go on.") -> list:
    async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
        return [event async for event in runtime.turn(agent, say)]


async def recorded() -> list:
    answers = ("Let me see.", call("double", number=2))
    first = AssistantMessage(answers[0], (answers[1], call("triple", number=3)), reasoning_content="Hm")
    return await run(scripted(first, call("double", number=7), "4, 9 and 14"))


async def test_a_recording_answers_as_the_model_did():
    events = await recorded()
    again = await run(ReplayModel(events))
    steps, steps_again = (
        [(e.step, e.message, e.finish_reason, e.usage) for e in some if isinstance(e, StepEnded)]
        for some in (events, again)
    )
    assert steps_again == steps
    assert again[-1].status == events[-1].status == "completed"


async def failure(model: Model, *args: object, **options: object) -> str:
    """How a turn over *model* ended, by the words of its DivergenceError."""
    caught: list[DivergenceError] = []

    class Watched:
        async def stream(self, request):
            try:
                async for batch in model.stream(request):
                    yield batch
            except DivergenceError as error:
                caught.append(error)
                raise

    events = await run(Watched(), *args, **options)
    assert isinstance(events[-1], TurnEnded)
    (error,) = caught
    return str(error)


async def test_a_tool_that_answers_otherwise_is_the_first_divergence():
    @tool(name="triple", effects="read")
    async def other(number: int) -> int:
        """Triple a number."""
        return 30 * number

    words = await failure(ReplayModel(await recorded()), Agent("counter", tools=Toolset("numbers", (double, other))))
    assert words.startswith("step 2, message 3:")
    assert '"9"' in words
    assert '"90"' in words


async def test_a_request_beyond_the_record_is_a_divergence():
    events = await recorded()
    last = max(index for index, event in enumerate(events) if isinstance(event, StepEnded))
    words = await failure(ReplayModel(events[:last]))
    assert words == "step 3: the record has 2 steps, and the model is asked again"


async def test_a_message_more_is_a_divergence(ask, hi):
    model = ReplayModel([event for event in await recorded() if isinstance(event, StepEnded)])
    await ask(model)
    with pytest.raises(DivergenceError, match="step 2: recorded 1 messages, but now there are 0"):
        await ask(model, hi)


async def test_another_question_is_none_of_the_records_business():
    events = await run(ReplayModel(await recorded()), say="Something else")
    assert events[-1].status == "completed"
