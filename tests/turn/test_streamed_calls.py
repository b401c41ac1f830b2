"""What a client is told of its tools' calls while the model writes them, and that it is what is recorded."""

import asyncio
import itertools
import json

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaia_core import Agent, Catalog, Context, Runtime, Toolset, tool
from gaia_core.agent import ApprovalPolicy, Limits
from gaia_core.events import ClientCallDelta, StepEnded, TextDelta, ToolEnded, TurnEnded
from gaia_core.messages import UserMessage
from gaia_core.models import Finished, ModelError, Sampling, ToolCallDelta
from gaia_core.nesting import MAX_NESTING
from gaia_core.tools import ToolDefinition
from gaia_core.turn import Audience, TurnOptions, TurnRequest
from gaia_core.turn._event_ring import EventRing


@tool(effects="read")
async def look(ctx: Context[None]) -> str:
    """Look."""
    return "seen"


@tool(effects="write")
async def change(ctx: Context[None]) -> str:
    """Change."""
    return "changed"


OWN = Agent("agent", tools=Toolset("tools", (look, change)))


def definition(name: str) -> ToolDefinition:
    function = {"name": name, "parameters": {"type": "object"}}
    return ToolDefinition(
        name, "", b'{"type":"object"}', json.dumps({"type": "function", "function": function}).encode()
    )


OPTIONS = TurnOptions(client_tools=(definition("save"), definition("send_mail")), stream_client_calls=True)


class Batches:
    """A model whose answers come in these batches; an error in the place of a delta is raised."""

    def __init__(self, *answers: tuple) -> None:
        self._answers = iter(answers)

    async def stream(self, request):
        for delta in next(self._answers):
            if isinstance(delta, Exception):
                raise delta
            yield delta if isinstance(delta, tuple) else (delta,)


async def told(*deltas: object, options: TurnOptions = OPTIONS, agent: Agent = OWN, more: tuple = ()) -> list:
    """The events of a turn whose model sends *deltas*, each in a batch of its own; a tuple is one batch. *more*: its
    further answers."""
    async with Runtime(Catalog.of(agent, models={"local": Batches(deltas, *more)})) as runtime:
        request = TurnRequest(transcript=(UserMessage("Go on."),), options=options, audience=Audience.CLIENT)
        turn = await runtime.once(agent, request)
        return [event async for event in turn.events()]


def arguments(events: list) -> dict[str, str]:
    """What was told of each call, by its id."""
    found: dict[str, str] = {}
    for event in events:
        if type(event) is ClientCallDelta:
            found[event.call_id] = found.get(event.call_id, "") + event.arguments
    return found


def begin(name: str, call_id: str = "c1", text: str = "", index: int = 0) -> ToolCallDelta:
    return ToolCallDelta(index, call_id, name, text)


def more(text: str, index: int = 0) -> ToolCallDelta:
    return ToolCallDelta(index, "", "", text)


DONE = Finished("tool_calls")


async def test_arguments_are_told_as_they_come_before_the_step_is_recorded():
    events = await told(begin("save"), more('{"a": '), more('"x y'), more(' z"}'), DONE)

    kinds = [type(event).__name__ for event in events]
    assert kinds == ["TurnStarted", "StepStarted", *["ClientCallDelta"] * 4, "StepEnded", "TurnEnded"]
    assert [event.arguments for event in events if type(event) is ClientCallDelta] == ["", '{"a":', ' "x y', ' z"}']
    assert events[-2].client_calls == ("c1",)
    assert [call.arguments for call in events[-1].client_calls] == ['{"a": "x y z"}']


async def test_calls_are_told_one_after_the_other_and_the_agents_own_not_at_all():
    batch = (
        begin("save", "c1", '{"a":', 0),
        begin("send_mail", "c2", '{"to":', 1),
        begin("look", "own", "{}", 2),
        more('"x"}', 1),
    )
    events = await told(batch, more("1}", 0), DONE)

    deltas = [(event.call_id, event.arguments) for event in events if type(event) is ClientCallDelta]
    assert deltas == [("c1", '{"a":'), ("c1", "1}"), ("c2", '{"to":"x"}')]


async def test_nothing_is_told_without_the_option():
    options = attrs.evolve(OPTIONS, stream_client_calls=False)
    events = await told(begin("save", text='{"a": 1}'), DONE, options=options)

    assert arguments(events) == {}
    assert [event.client_calls for event in events if type(event) is StepEnded] == [()]
    assert events[-1].status == "tool_calls"


async def test_a_call_without_an_id_is_told_when_it_is_whole():
    events = await told(begin("save", ""), more('{"a": 1}'), DONE)

    assert arguments(events) == {}
    assert [call.arguments for call in events[-1].client_calls] == ['{"a": 1}']


async def test_only_the_first_call_is_told_where_the_client_takes_one_at_a_time():
    options = attrs.evolve(OPTIONS, parallel_tool_calls=False)
    events = await told(begin("save", "c1", "{}", 0), begin("save", "c2", "{}", 1), DONE, options=options)

    assert arguments(events) == {"c1": "{}"}
    assert [call.id for call in events[-1].client_calls] == ["c1"]


async def test_a_name_is_told_as_it_was_offered_and_an_id_only_once():
    events = await told(begin("send-mail", "c1", "{}"), DONE)

    assert [(event.tool, event.call_id) for event in events if type(event) is ClientCallDelta] == [("send_mail", "c1")]
    assert events[-1].client_calls[0].name == "send_mail"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('{"a": 1, "b": 2,}', '{"a": 1,"b":2}'),
        ('{"a": "x", "b": \'y\'}', '{"a":"x","b":"y"}'),
        ('{"a": "x"}}', '{"a": "x"}'),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ("", "{}"),
        ("null", "{}"),
        ("just words", "just words"),
    ],
)
async def test_what_is_mended_continues_what_was_told(text, meant):
    events = await told(begin("save"), *map(more, text), DONE)

    (call,) = events[-1].client_calls
    assert call.arguments.startswith(arguments(events)["c1"])
    assert call.arguments.replace(" ", "") == meant.replace(" ", "")


CUT = '{"path": "a", "content": "half a fi'


@pytest.mark.parametrize(
    ("deltas", "words"),
    [
        ((begin("save", text=CUT), DONE), "cut off"),
        ((begin("save", text=CUT), Finished("stop")), "cut off"),
        ((begin("save", text=CUT), Finished("length")), "limit of tokens"),
        ((begin("save", text='{"a": 1}'), more('{"b": 2}'), DONE), "more than one"),
        ((begin("save", text='{"a": 1, "a": 2}'), DONE), "given twice"),
        ((begin("save", text='{"a": 1'), begin("save", "", "", 0), ModelError("broken_stream", "gone")), "gone"),
        ((begin("save", text='{"a":' + "[" * (MAX_NESTING + 9)), more("]" * (MAX_NESTING + 9) + "}"), DONE), "nest"),
        ((begin("save", "c1", '{"a": 1', 0), begin("look", "c2", "{}", 1), DONE), "cut off"),
    ],
)
async def test_a_call_that_is_refused_is_never_completed(deltas, words):
    events = await told(*deltas)

    ended = events[-1]
    assert (ended.status, ended.client_calls) == ("failed", ())
    assert words in ended.error.message
    assert not any(event.client_calls for event in events if type(event) is StepEnded)
    assert {call.id: call.arguments for call in ended.partial_calls} == arguments(events) != {}


async def test_a_call_that_was_not_told_is_left_out_at_a_limit_of_tokens():
    events = await told(TextDelta("Well."), begin("save", "", CUT), Finished("length"))

    assert (events[-1].status, events[-1].finish_reason, events[-1].partial_calls) == ("completed", "length", ())


async def test_an_answer_without_an_end_fails_once_a_call_was_told():
    options = attrs.evolve(OPTIONS, sampling=Sampling(max_tokens=1))
    events = await told(begin("save", text='{"a": "'), more("x" * 70_000), DONE, options=options)

    assert (events[-1].status, events[-1].error.type) == ("failed", "incomplete_call")


async def test_a_request_that_fails_after_a_call_was_told_is_not_sent_again():
    """The next answer would not continue the call: an overflow is recovered from only while nothing was told."""
    overflow = ModelError("context_length", "too long", window=4_000, prompt_tokens=5_000)
    events = await told(begin("save", text='{"a":'), overflow, more=())

    assert (events[-1].status, events[-1].error.type) == ("failed", "context_length")
    assert [call.arguments for call in events[-1].partial_calls] == ['{"a":']


async def test_text_that_was_held_back_comes_before_the_call():
    events = await told(TextDelta("\n\n"), begin("save", text="{}"), DONE)

    assert [type(event) for event in events if type(event) in (TextDelta, ClientCallDelta)] == [
        TextDelta,
        ClientCallDelta,
    ]


async def test_an_approval_is_not_asked_for_beside_a_call_that_was_told():
    agent = attrs.evolve(OWN, approvals=ApprovalPolicy(effects={"write"}))
    batch = (begin("save", "c1", "{}", 0), begin("change", "own", "{}", 1))
    events = await asyncio.wait_for(told(batch, DONE, agent=agent), 30)

    (denied,) = [event for event in events if type(event) is ToolEnded]
    assert (denied.outcome, "again, alone" in denied.content) == ("denied", True)
    assert (events[-1].status, [call.id for call in events[-1].client_calls]) == ("tool_calls", ["c1"])


async def test_a_call_behind_one_of_the_agents_own_is_told_when_it_is_whole():
    events = await told((begin("look", "own", "{}", 0), begin("save", "c1", "{}", 1)), DONE)

    assert (arguments(events), [call.id for call in events[-1].client_calls]) == ({}, ["c1"])
    assert [event.client_calls for event in events if type(event) is StepEnded] == [()]


async def test_a_limit_of_time_after_a_call_was_told_is_a_failure():
    @tool(effects="read")
    async def wait(ctx: Context[None]) -> str:
        """Wait."""
        await asyncio.Event().wait()
        return ""

    agent = Agent("agent", tools=Toolset("tools", (wait,)), limits=Limits(seconds=0.05))
    batch = (begin("save", "c1", "{}", 0), begin("wait", "own", "{}", 1))
    ended = (await told(batch, DONE, agent=agent))[-1]

    assert (ended.status, ended.error.type, ended.client_calls) == ("failed", "incomplete_call", ())


def test_a_ring_that_forgets_keeps_what_was_told_of_calls():
    ring = EventRing(0, 0, most=8)
    deltas = [ClientCallDelta(f"c{n // 20}", "save", str(n)) for n in range(40)]
    for delta in deltas:
        ring.add([delta])

    kept = [*ring.lost(), *ring.since(ring.first)]
    assert arguments(kept) == arguments(deltas)


# Any answer.

names = st.sampled_from(["save", "send_mail", "Save", "look", "unknown"])
objects = st.dictionaries(
    st.text(max_size=4), st.integers() | st.text(max_size=6) | st.lists(st.text(max_size=3)), max_size=3
)
texts = objects.map(json.dumps) | objects.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1))
faulty = texts.flatmap(lambda text: st.integers(0, len(text)).map(lambda cut: text[:cut])) | st.sampled_from(
    [
        '{"a": 1,}',
        "{'a': 1}",
        '{"a": 1}}',
        "```json\n{}\n```",
        "words",
        "",
        "null",
        '{"a": 1, "a": 2}',
        '{"a": 1} {"b": 2}',
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[ToolCallDelta, ...]]:
    """The pieces of some calls, cut anywhere and interleaved, with ids or without, in batches."""
    calls = draw(st.lists(st.tuples(names, texts | faulty), min_size=1, max_size=3))
    with_ids = draw(st.booleans())
    queues = []
    for index, (name, text) in enumerate(calls):
        places = sorted({0, len(text), *draw(st.lists(st.integers(0, len(text)), max_size=4))})
        pieces = [text[a:b] for a, b in itertools.pairwise(places)]
        first = ToolCallDelta(index, f"id{index}" if with_ids else "", name, "")
        queues.append([first, *(ToolCallDelta(index, "", "", piece) for piece in pieces)])
    order = draw(st.permutations([n for n, queue in enumerate(queues) for _ in queue]))
    batches: list[tuple[ToolCallDelta, ...]] = [()]
    for n in order:
        batches[-1] += (queues[n].pop(0),)
        if draw(st.booleans()):
            batches.append(())
    return [batch for batch in batches if batch]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(streams(), st.sampled_from(["tool_calls", "stop", "length"]))
def test_what_is_told_is_what_is_recorded(batches, finish):
    async def run() -> None:
        events = await told(*batches, Finished(finish), more=((TextDelta("done"), Finished("stop")),) * 20)
        ended = events[-1]
        assert isinstance(ended, TurnEnded)
        so_far = arguments(events)
        order = list(dict.fromkeys(event.call_id for event in events if type(event) is ClientCallDelta))
        assert list(so_far) == order
        if ended.status == "tool_calls":
            whole = {call.id: call.arguments for call in ended.client_calls}
            assert set(so_far) <= set(whole)
            assert all(whole[call_id].startswith(text) for call_id, text in so_far.items())
            assert list(whole)[: len(order)] == order
            (step,) = [event for event in events if type(event) is StepEnded and event.client_calls] or [None]
            assert (step is None) == (not so_far)
            assert step is None or step.client_calls == tuple(whole)
        elif so_far:
            assert ended.status == "failed"
            assert {call.id: call.arguments for call in ended.partial_calls} == so_far
            assert not any(event.client_calls for event in events if type(event) is StepEnded)

    asyncio.run(run())
