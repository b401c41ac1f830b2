"""Any turn, told as it happens and told again from its record: the same events, and always in the order of the API."""

import asyncio
import json
from typing import Any

import hypothesis
import msgspec
from hypothesis import strategies as st

from gaia_core import Agent, Catalog, Context, Limits, Runtime, ScriptedModel, ToolError, Toolset, tool
from gaia_core.events import ReasoningDelta, Reset, TextDelta
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
OPTIONS = TurnOptions(client_tools=(define("look", "", b"{}"),))
NOTE = RequestNote(0, "a", echo_of(CreateRequest(model="a")))

_words = st.lists(st.text("ab \n🙂", max_size=40), max_size=4)
_calls = st.lists(st.sampled_from(("secret", "broken", "wipe", "look", "nobody")), max_size=4)
_ends = st.sampled_from(("stop", "stop", "stop", "length", "content_filter", "error", "cancel"))
_step = st.tuples(_words, _words, _calls, _ends)


def model_of(steps: list[tuple[list[str], list[str], list[str], str]], cancelled: asyncio.Event) -> ScriptedModel:
    """A model that says *steps*, and sets *cancelled* where it wants to be."""
    left = iter(steps)

    async def answer(request):
        thoughts, texts, calls, end = next(left, ([], ["done"], [], "stop"))
        for thought in thoughts:
            yield ReasoningDelta(thought)
        for text in texts:
            yield TextDelta(text)
        for index, name in enumerate(calls):
            yield ToolCallDelta(index, f"call_{len(request.messages)}_{index}", name, "{}")
        if end == "error":
            raise ModelError("server", "no")
        if end == "cancel":
            cancelled.set()
            await asyncio.Event().wait()
        yield Finished("tool_calls" if calls and end == "stop" else end)

    return ScriptedModel(answer)


async def played(steps: list, answers: list[bool], note: RequestNote) -> tuple[list[list[Told]], list[list[Told]]]:
    """The responses of a turn as they are told live, and from the record."""
    cancelled = asyncio.Event()
    model = model_of(steps, cancelled)
    async with Runtime(Catalog.of(AGENT, models={"local": model})) as runtime:
        session = await runtime.open(AGENT)
        turn = await runtime.start(
            session, TurnRequest("Hi", audience=Audience.CLIENT, options=OPTIONS, note=encode_note(note))
        )
        live: list[list[Told]] = []

        async def cancel() -> None:
            await cancelled.wait()
            await turn.cancel()

        watching = asyncio.create_task(cancel())
        while True:
            output = ResponseEvents(Ref(session.id, turn.id, len(live)), note)
            live.append([])
            async for batch in turn.batches():
                live[-1] += output.take(batch)
                if output.done:
                    break
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
    return live, again


@hypothesis.settings(deadline=None, max_examples=150, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    steps=st.lists(_step, max_size=5),
    answers=st.lists(st.booleans(), max_size=8),
    how=st.sampled_from(({}, {"reasoned": True}, {"quiet": True}, {"background": True})),
)
@hypothesis.example(steps=[(["thought"], [], [], "error")], answers=[], how={})
def test_any_turn_is_told_again_as_it_was(check, steps, answers, how: dict[str, Any]):
    live, again = asyncio.run(played(steps, list(answers), msgspec.structs.replace(NOTE, **how)))

    assert again == live
    for told in live:
        check([json.loads(data) for _, data in told])
        assert all(json.loads(data)["type"] == kind for kind, data in told)
