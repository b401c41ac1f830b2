"""What a turn asks of its model's slots: for whom, and for how many tokens."""

import asyncio

import attrs
import pytest

from gaia_core import Agent, Catalog, Runtime, ScriptedModel
from gaia_core.catalog import ModelSpec
from gaia_core.events import Queued, TextDelta
from gaia_core.messages import UserMessage
from gaia_core.models import EndpointLoad, Finished
from gaia_core.models._protocol import Sampling
from gaia_core.turn import TurnOptions, TurnRequest

AGENT = Agent("a", instructions="Be brief.")


@attrs.define(eq=False)
class Held:
    """A model whose answers wait until they are let go; *asked* names the requests in the order of their slots."""

    asked: list[str] = attrs.field(factory=list)
    go: asyncio.Event = attrs.field(factory=asyncio.Event)
    began: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def stream(self, request):
        self.asked.append(request.messages[-1].content)
        self.began.set()
        await self.go.wait()
        yield (TextDelta("ok"), Finished("stop"))


def runtime_of(model: object, **spec: object) -> Runtime:
    return Runtime(Catalog.of(AGENT, models={"local": ModelSpec("local", open=lambda: model, **spec)}))


async def queued(turn) -> None:
    """Until *turn* waits for a slot."""
    async for event in turn.events():
        if isinstance(event, Queued):
            return


async def test_owners_take_turns_for_the_slots_of_a_model():
    model = Held()
    async with runtime_of(model, slots=1) as runtime:
        turns = [await runtime.start(await runtime.open("a", owner="first"), "first")]
        await model.began.wait()
        for owner, say in (("ann", "ann 1"), ("ann", "ann 2"), ("bob", "bob 1")):
            turns.append(await runtime.start(await runtime.open("a", owner=owner), say))
            await queued(turns[-1])
        model.go.set()
        await asyncio.gather(*(turn.result() for turn in turns))

    assert model.asked == ["first", "ann 1", "bob 1", "ann 2"]


async def test_a_turn_without_a_session_counts_for_the_key_that_asks():
    model = Held()
    async with runtime_of(model, slots=1) as runtime:
        turns = [await runtime.once("a", TurnRequest(transcript=(UserMessage("first"),)), key="first")]
        await model.began.wait()
        for key, say in (("ann", "ann 1"), ("ann", "ann 2"), ("bob", "bob 1")):
            turns.append(await runtime.once("a", TurnRequest(transcript=(UserMessage(say),)), key=key))
            await queued(turns[-1])
        model.go.set()
        await asyncio.gather(*(turn.result() for turn in turns))

    assert model.asked == ["first", "ann 1", "bob 1", "ann 2"]


async def test_turns_that_would_outgrow_the_models_context_together_run_one_after_the_other():
    model = Held()
    options = TurnOptions(sampling=Sampling(max_tokens=500))
    async with runtime_of(model, slots=8, context_tokens=1_000) as runtime:
        turns = [
            await runtime.once("a", TurnRequest(transcript=(UserMessage(f"turn {n}"),), options=options))
            for n in range(2)
        ]
        await queued(turns[1])
        load = runtime.stats().models[0]
        assert (load.busy, load.queued, load.context_tokens) == (1, 1, 1_000)
        assert 500 < load.tokens < 1_000

        model.go.set()
        assert [(await turn.result()).status for turn in turns] == ["completed"] * 2
        assert runtime.stats().models[0].tokens == 0


@pytest.mark.parametrize(
    ("say", "options"),
    [
        ("x" * 8_000, TurnOptions()),
        ("short", TurnOptions(sampling=Sampling(max_tokens=1_000))),
    ],
)
async def test_a_turn_that_alone_outgrows_the_models_context_fails_and_says_so(say, options):
    model = ScriptedModel(lambda request: "never asked")
    async with runtime_of(model, context_tokens=1_000) as runtime:
        error = (
            await (await runtime.once("a", TurnRequest(transcript=(UserMessage(say),), options=options))).result()
        ).error

    assert (error.type, error.retryable, model.requests) == ("context_length", False, [])


async def test_a_prompt_that_fits_is_not_refused_for_the_answer_that_nobody_bounded():
    model = ScriptedModel(lambda request: "ok")
    async with runtime_of(model, context_tokens=1_000) as runtime:
        turn = await runtime.once("a", TurnRequest(transcript=(UserMessage("x" * 3_000),)))

        assert (await turn.result()).status == "completed"


async def test_a_models_endpoints_are_in_the_statistics():
    model = ScriptedModel(lambda request: "ok")
    model.endpoints = (EndpointLoad("http://127.0.0.1:1/v1", "open", 3, 0, 2.5),)
    async with runtime_of(model) as runtime:
        runtime.models.get("local")

        assert runtime.stats().models[0].endpoints == model.endpoints
