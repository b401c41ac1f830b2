"""What surfaces ask of a runtime: places, configured agents, the turn of an event, what was told, carried sessions."""

import asyncio
import gc

import pytest

from gaia_core import (
    Agent,
    ApprovalPolicy,
    Catalog,
    Context,
    EventId,
    ModelSpec,
    NotFoundError,
    QueueFullError,
    Runtime,
    ScriptedModel,
    Toolset,
    call,
    scripted,
    tool,
)
from gaia_core.events import ApprovalRequested, InputRequested, StepStarted, TextDelta, TurnEnded, TurnStarted
from gaia_core.journal import NewSession, SessionUpdate
from gaia_core.messages import AssistantMessage, UserMessage
from gaia_core.runtime import TransferredTurn
from gaia_core.turn import Audience, Transcript, TurnRequest
from gaia_core.turn.context._transcript import TranscriptEntry

AGENT = Agent("a", instructions="You are a.")
LIVE = (StepStarted, TextDelta)


def catalog(model: object, *agents: Agent, **options: int) -> Catalog:
    spec = ModelSpec("local", open=lambda: model, **options)
    return Catalog.of(*(agents or (AGENT,)), models={"local": spec, "other": scripted("from the other")})


def held(go: asyncio.Event) -> ScriptedModel:
    async def answer(request):
        await go.wait()
        return "ok"

    return ScriptedModel(answer)


async def test_those_who_wait_for_a_session_are_told_their_place():
    go = asyncio.Event()
    async with Runtime(catalog(held(go))) as runtime:
        session = await runtime.open(AGENT)
        await runtime.start(session, "1")
        second, third = [], []
        waiting = [
            asyncio.create_task(runtime.start(session, "x", when_busy="queue", queued=places.append))
            for places in (second, third)
        ]
        while not third:
            await asyncio.sleep(0)
        go.set()
        for task in waiting:
            await (await task).result()

    assert (second, third) == ([1], [2, 1])


async def test_a_model_without_room_is_known_before_a_turn_begins():
    go = asyncio.Event()
    async with Runtime(catalog(held(go), slots=1, queue=0)) as runtime:
        runtime.models.check_room("local")
        turn = await runtime.start(await runtime.open(AGENT), "1")
        while not runtime.stats().models[0].busy:
            await asyncio.sleep(0)

        with pytest.raises(QueueFullError) as caught:
            runtime.models.check_room("local")
        go.set()
        await turn.result()
        runtime.models.check_room("local")

    assert caught.value.retry_after > 0


@pytest.mark.parametrize(
    ("metadata", "instructions", "model"),
    [
        (b"{}", "You are a.", "local"),
        (b'{"system_prompt": "Be brief."}', "You are a.\n\nBe brief.", "local"),
        (b'{"system_prompt": "  ", "model": null}', "You are a.", "local"),
        (b'{"model": "other"}', "You are a.", "other"),
        (b'{"model": "unknown"}', "You are a.", "local"),
        (b'{"model": 5}', "You are a.", "local"),
    ],
)
async def test_a_session_has_its_own_prompt_and_model(metadata, instructions, model):
    async with Runtime(catalog(scripted())) as runtime:
        await runtime.open(AGENT, "s", metadata=metadata)

        agent = (await runtime.sessions.open("", "s")).agent

    assert (agent.instructions, agent.model) == (instructions, model)


async def test_what_was_told_until_an_event():
    async with Runtime(catalog(scripted("one two"))) as runtime:
        turn = await runtime.start(await runtime.open(AGENT), "x")
        whole = [frame async for batch in turn.frames() for frame in batch]

        for n, (upto, event) in enumerate(whole):
            earlier = [each for at, each in whole[:n] if at.seq == upto.seq or not isinstance(each, LIVE)]
            assert await turn.told(upto) == (earlier, event)
        before, event = await turn.told(EventId(1, 99, 3))

    assert ([type(each) for each in before], event) == ([TurnStarted], None)


async def test_an_events_turn_is_found_when_another_runs():
    go = asyncio.Event()
    async with Runtime(catalog(held(go))) as runtime:
        session = await runtime.open(AGENT, "s")
        first = await runtime.start(session, "1")
        go.set()
        await first.result()
        go.clear()
        second = await runtime.start(session, "2")

        assert (await runtime.sessions.attach("", "s", EventId(1, 1, 0))).id == first.id
        assert await runtime.sessions.attach("", "s", EventId(second.after + 1, 2, 0)) is second
        assert await runtime.sessions.attach("", "s") is second
        go.set()
        await second.result()
        with pytest.raises(NotFoundError, match="99:1:0"):
            await runtime.sessions.attach("", "s", EventId(99, 1, 0))


async def test_times_stand_with_what_took_them():
    async def slow(request):
        await asyncio.sleep(0.02)
        yield TextDelta("Hello")
        await asyncio.sleep(0.02)

    async with Runtime(catalog(ScriptedModel(slow))) as runtime:
        turn = await runtime.start(await runtime.open(AGENT), "x")
        *_, step, ended = [event async for event in turn.events()]

    assert isinstance(ended, TurnEnded)
    assert 0.02 <= step.first_seconds < step.seconds <= ended.seconds


async def test_each_exchange_of_a_carried_session_is_a_turn_of_its_own():
    async with Runtime(catalog(scripted())) as runtime:
        said = [
            TransferredTurn("assistant", "Welcome"),
            TransferredTurn("user", "1"),
            TransferredTurn("user", "2"),
            TransferredTurn("assistant", "two"),
        ]
        await runtime.sessions.write(NewSession("s", "", "a", AGENT.fingerprint), said)
        facts = await runtime.sessions.facts("", "s")
        history = await runtime.history(await runtime.sessions.open("", "s"))

    turns = list(dict.fromkeys(record.turn for record, _ in facts))
    assert len(turns) == 3
    assert [message.content for message in history] == [
        "Welcome",
        "1",
        "[No answer: the turn was stopped.]",
        "2",
        "two",
    ]


async def test_an_approval_takes_no_words_and_a_question_no_yes():
    @tool(effects="write")
    async def save(ctx: Context[None]) -> str:
        """Save."""
        return await ctx.ask("Where?")

    agent = Agent("a", tools=Toolset("t", (save,)), approvals=ApprovalPolicy(effects={"write"}))
    async with Runtime(catalog(scripted(call("save"), "Saved"), agent)) as runtime:
        turn = await runtime.start(await runtime.open(agent), TurnRequest("x", audience=Audience.INTERACTIVE))
        async for event in turn.events():
            if isinstance(event, ApprovalRequested):
                with pytest.raises(NotFoundError, match="no question"):
                    await turn.answer(event.approval_id, "yes")
                await turn.decide(event.approval_id, True)
            elif isinstance(event, InputRequested):
                with pytest.raises(NotFoundError, match="no approval"):
                    await turn.decide(event.request_id, True)
                await turn.answer(event.request_id, "here")

    assert turn.ended.text == "Saved"


async def test_the_feed_ends_with_its_runtime():
    told = []
    async with Runtime(catalog(scripted())) as runtime:

        async def watch():
            async for change in runtime.feed.watch(""):
                told.append(change.kind)

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        await runtime.open(AGENT, "s")
        await runtime.sessions.update("", "s", SessionUpdate(title="T"))
    await watching

    assert told == ["updated"]
    assert [change async for change in runtime.feed.watch("")] == []


async def test_requests_of_one_conversation_that_nobody_names_keep_together():
    model = scripted("1", "2", "3")
    agent = Agent("a")
    asked = (UserMessage("Hi"),)
    async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
        for messages in (asked, (*asked, AssistantMessage("1"), UserMessage("And?")), (UserMessage("Else"),)):
            await (await runtime.once(agent, TurnRequest(transcript=messages))).result()

    first, again, other = (request.session_key for request in model.requests)
    assert first == again != other


async def test_nothing_of_a_deleted_session_stays_in_memory():
    agent = Agent("a")
    async with Runtime(Catalog.of(agent, models={"local": scripted("the answer")})) as runtime:
        session = await runtime.open(agent)
        await (await runtime.start(session, "the secret")).result()
        assert _holding(b"the secret")

        await runtime.delete(session)

        assert not _holding(b"the secret")


def _holding(text: bytes) -> list[TranscriptEntry]:
    """The messages in this process that hold *text*."""
    gc.collect()
    transcripts = [each for each in gc.get_objects() if isinstance(each, Transcript)]
    return [entry for each in transcripts for entry in each.entries if text in entry.encoded]
