"""Any turn, told as it happens and told again from its record: the same events, and always in the order of the API."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

import attrs
import hypothesis
import msgspec
from hypothesis import strategies as st

from gaia_core import Agent, Catalog, Context, Limits, Runtime, ScriptedModel, ToolError, Toolset, tool
from gaia_core.events import Event, ReasoningDelta, Reset, TextDelta
from gaia_core.facts import events_of
from gaia_core.models import Finished, ModelError, ToolCallDelta
from gaia_core.tools import define
from gaia_core.turn import Audience, TurnOptions, TurnRequest
from gaia_http.openai.responses._ids import Ref
from gaia_http.openai.responses.input._options import echo_of
from gaia_http.openai.responses.input._wire import CreateRequest
from gaia_http.openai.responses.output._response_events import ResponseEvents, Told
from gaia_http.openai.responses.stored._request_note import RequestNote, encode_note


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


@tool(effects="read")
async def broken(ctx: Context[None]) -> str:
    """Fail."""
    raise ToolError("no")


@tool(effects="write", approval=True)
async def wipe(ctx: Context[None]) -> str:
    """Wipe it."""
    return "wiped"


AGENT = Agent("a", tools=Toolset("tools", (secret, broken, wipe)), limits=Limits(steps=4, tool_calls=5))
OPTIONS = TurnOptions(client_tools=(define("look", "", b"{}"), define("type", "", b"{}")))
ARGUMENTS = '{"input": "here and there, \\"up\\" and down", "n": [1, 2]}'
NOTE = RequestNote(0, "a", echo_of(CreateRequest(model="a")))

_words = st.lists(st.text("ab \n🙂", max_size=40), max_size=4)
_names = st.sampled_from(("look", "look", "type", "secret", "broken", "wipe", "nobody"))
_cuts = st.lists(st.integers(0, len(ARGUMENTS)), max_size=4)
_calls = st.lists(st.tuples(_names, _cuts, st.booleans()), max_size=4)
"""Each with where its arguments are cut, and whether their last piece is missing."""
_ends = st.sampled_from(("stop", "stop", "stop", "length", "content_filter", "error", "cancel"))
_step = st.tuples(_words, _words, _calls, _ends)


def pieces(cuts: list[int], *, broken: bool) -> list[str]:
    places = sorted({0, len(ARGUMENTS), *cuts})
    found = [ARGUMENTS[begin:end] for begin, end in itertools.pairwise(places)]
    return found[:-1] if broken else found


def model_of(steps: list[tuple[list[str], list[str], list, str]], cancelled: asyncio.Event) -> ScriptedModel:
    """A model that says *steps*, and sets *cancelled* where it wants to be."""
    left = iter(steps)

    async def answer(request):
        thoughts, texts, calls, end = next(left, ([], ["done"], [], "stop"))
        for thought in thoughts:
            yield ReasoningDelta(thought)
        for text in texts:
            yield TextDelta(text)
        for index, (name, cuts, broken) in enumerate(calls):
            call_id = f"call_{len(request.messages)}_{index}"
            if name not in ("look", "type"):
                yield ToolCallDelta(index, call_id, name, "{}")
                continue
            yield ToolCallDelta(index, call_id, name, "")
            for piece in pieces(cuts, broken=broken and len(cuts) > 2):
                yield ToolCallDelta(index, "", "", piece)
        if end == "error":
            raise ModelError("server", "no")
        if end == "cancel":
            cancelled.set()
            await asyncio.Event().wait()
        yield Finished("tool_calls" if calls and end == "stop" else end)

    return ScriptedModel(answer)


async def played(
    steps: list, answers: list[bool], note: RequestNote, options: TurnOptions, lags: int
) -> tuple[list[list[Told]], list[list[Told]], list[list[Told]]]:
    """The responses of a turn as they are told live, from the record, and to a reader that lags behind after so many
    batches: what is recorded together comes in one."""
    cancelled = asyncio.Event()
    model = model_of(steps, cancelled)
    async with Runtime(Catalog.of(AGENT, models={"local": model})) as runtime:
        session = await runtime.open(AGENT)
        turn = await runtime.start(
            session, TurnRequest("Hi", audience=Audience.CLIENT, options=options, note=encode_note(note))
        )
        live: list[list[Told]] = []
        lagging: list[list[Told]] = []
        taken: list[Sequence[Event]] = []

        async def cancel() -> None:
            await cancelled.wait()
            await turn.cancel()

        watching = asyncio.create_task(cancel())
        while True:
            output = ResponseEvents(Ref(session.id, turn.id, len(live)), note)
            live.append([])
            taken = []
            async for batch in turn.batches():
                live[-1] += output.take(batch)
                taken.append(batch)
                if output.done:
                    break
            behind = ResponseEvents(Ref(session.id, turn.id, len(live) - 1), note)
            lagging.append([told for batch in taken[:lags] for told in behind.take(batch)])
            lagging[-1] += behind.take((Reset(0), *[event for batch in taken for event in batch]))
            if not output.parked:
                break
            for approval_id in output.asked:
                approve = answers.pop() if answers else True
                await runtime.sessions.decide("", session.id, approval_id, approve, "so be it")
        await turn.result()
        watching.cancel()
        facts = await runtime.sessions.facts_of_turn("", session.id, turn.id)
    events = [event for record, fact in facts for event in events_of(fact, record.turn, session.id)]
    again = [
        ResponseEvents(Ref(session.id, turn.id, part), note).take((Reset(0), *events)) for part in range(len(live))
    ]
    return live, again, lagging


@hypothesis.settings(deadline=None, max_examples=150, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    steps=st.lists(_step, max_size=5),
    answers=st.lists(st.booleans(), max_size=8),
    how=st.sampled_from(({}, {"reasoned": True}, {"quiet": True}, {"background": True}, {"custom": ("type",)})),
    streamed=st.booleans(),
    lags=st.integers(0, 12),
)
@hypothesis.example(steps=[(["thought"], [], [], "error")], answers=[], how={}, streamed=False, lags=0)
def test_any_turn_is_told_again_as_it_was(check, steps, answers, how: dict[str, Any], streamed, lags):
    note, options = msgspec.structs.replace(NOTE, **how), attrs.evolve(OPTIONS, stream_client_calls=streamed)
    live, again, lagging = asyncio.run(played(steps, list(answers), note, options, lags))

    assert again == live
    assert lagging == live
    for told in live:
        events = [json.loads(data) for _, data in told]
        check(events)
        halves = [event for event in events if event.get("item", {}).get("status") == "incomplete"]
        calls = [event for event in halves if event["item"]["type"] in ("function_call", "custom_tool_call")]
        assert not calls or events[-1]["type"] in ("error", "response.failed")
        assert all(json.loads(data)["type"] == kind for kind, data in told)
