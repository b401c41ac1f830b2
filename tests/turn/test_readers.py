"""Readers of a turn: whoever lags or comes back is told the same text, from the ring or from the record."""

import asyncio

import pytest

from gaia_core import Agent, Catalog, EventId, EventIdError, Runtime, ScriptedModel, Toolset, call, scripted, tool
from gaia_core.events import Reset, StepEnded, TextDelta, ToolEnded, TurnEnded
from gaia_core.messages import ToolMessage
from gaia_core.models import Finished
from gaia_core.turn import TurnRequest
from gaia_core.turn._event_ring import EventRing


@tool(effects="read")
async def look() -> str:
    """Look."""
    return "seen"


def text_of(frames) -> str:
    """The answer's text as a client that obeys `Reset` puts it together; a step it saw no delta of counts whole."""
    done, step, told = [], [], False
    for _, event in frames:
        if isinstance(event, Reset):
            step, told = [], False
        elif isinstance(event, TextDelta):
            step.append(event.text)
            told = True
        elif isinstance(event, StepEnded):
            done.append("".join(step) if told else event.message.content or "")
            step, told = [], False
    return "".join(done)


async def frames_of(turn, after=None) -> list:
    return [frame async for batch in turn.frames(after) for frame in batch]


async def test_a_reader_that_comes_back_gets_exactly_what_follows():
    agent = Agent("a", tools=Toolset("t", (look,)))
    async with Runtime(Catalog.of(agent, models={"local": scripted(call("look"), "one two three")})) as runtime:
        turn = await runtime.start(await runtime.open(agent), "x")
        whole = await frames_of(turn)

        for n, (event_id, _) in enumerate(whole):
            assert await frames_of(turn, str(event_id)) == whole[n + 1 :]
    ids = [event_id for event_id, _ in whole]
    assert ids == sorted(set(ids))
    assert isinstance(whole[-1][1], TurnEnded)


async def test_ids_name_the_record_after_which_an_event_was_told():
    agent = Agent("a")
    async with Runtime(Catalog.of(agent, models={"local": scripted("one two")})) as runtime:
        turn = await runtime.start(await runtime.open(agent), "x")
        told = [(str(event_id), type(event).__name__) for event_id, event in await frames_of(turn)]

    assert told == [
        ("1:1:0", "TurnStarted"),
        ("1:1:1", "StepStarted"),
        ("1:1:2", "TextDelta"),
        ("1:1:3", "TextDelta"),
        ("2:1:0", "StepEnded"),
        ("3:1:0", "TurnEnded"),
    ]


@pytest.mark.parametrize("text", ["", "1", "1:2", "1:2:3:4", "a:b:c", "-1:2:3", "1:2:٣", "1:2:" + "9" * 30])
async def test_what_is_no_id_is_named(text):
    agent = Agent("a")
    async with Runtime(Catalog.of(agent, models={"local": scripted("one")})) as runtime:
        turn = await runtime.start(await runtime.open(agent), "x")
        with pytest.raises(EventIdError, match="is no event id"):
            await frames_of(turn, text)


async def test_an_id_of_another_epoch_resets_to_the_record():
    agent = Agent("a", tools=Toolset("t", (look,)))
    async with Runtime(Catalog.of(agent, models={"local": scripted(call("look"), "one two")})) as runtime:
        turn = await runtime.start(await runtime.open(agent), "x")
        whole = await frames_of(turn)

        again = await frames_of(turn, EventId(2, 9, 1))

    assert again[0] == (EventId(2, 9, 1), Reset(2))
    assert again[1:] == [frame for frame in whole if frame[0] > EventId(2, 1, 1)]


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_reader_that_lags_behind_the_ring_goes_on_from_the_record(recorded):
    words = [f"{n} " for n in range(30_000)]  # more than the ring holds, in one step
    read_some, go = asyncio.Event(), asyncio.Event()

    async def stream(request):
        if not any(isinstance(message, ToolMessage) for message in request.messages):
            return call("look")
        return talk()

    async def talk():
        for n, word in enumerate(words):
            yield TextDelta(word)
            if n == 10:
                await read_some.wait()
            elif n % 100 == 0:
                await asyncio.sleep(0)
        await go.wait()
        yield Finished("stop")

    agent = Agent("a", tools=Toolset("t", (look,)))
    async with Runtime(Catalog.of(agent, models={"local": ScriptedModel(stream)})) as runtime:
        session = await runtime.open(agent)
        transcript = None if recorded else ()
        turn = await runtime.start(session, TurnRequest("x" if recorded else None, transcript=transcript))
        frames: list = []
        reading = turn.frames()
        while not any(isinstance(event, TextDelta) for _, event in frames):
            frames += await anext(reading)
        read_some.set()
        while turn._ring.end < len(words):  # the reader is stalled meanwhile
            await asyncio.sleep(0)
        async for batch in reading:  # it still runs: the rest comes in one piece, then live
            frames += batch
            go.set()

    assert any(isinstance(event, Reset) for _, event in frames)
    assert len([event for _, event in frames if isinstance(event, ToolEnded)]) == 1
    assert len([event for _, event in frames if isinstance(event, TurnEnded)]) == 1
    assert text_of(frames) == "".join(words)
    assert len(turn._ring.since(turn._ring.first)) <= 8_192 * 9 // 8


def test_a_ring_forgets_the_earliest_events_and_keeps_their_text():
    ring = EventRing(0, 1, most=8)
    ring.mark(1, 1)
    for n in range(100):
        ring.add([TextDelta(str(n % 10))])

    assert ring.end == 100
    assert len(ring.since(ring.first)) <= 9
    kept = "".join(event.text for event in (*ring.lost(), *ring.since(ring.first)))
    assert kept == "0123456789" * 10
    assert ring.position_after(EventId(1, 1, 99)) == 100
    assert ring.position_after(EventId(1, 1, 3)) is None
    ring.mark(2, 1)
    for _ in range(20):
        ring.add([TextDelta("x")])
    assert set("".join(event.text for event in ring.lost())) <= {"x"}
