"""A text with a response format, from an endpoint that enforces it: streamed as it comes, and checked at its end."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaia_core import Agent, Catalog, ModelSpec, Runtime, scripted
from gaia_core.events import Event, ReasoningDelta, TextDelta, TurnEnded
from gaia_core.messages import UserMessage
from gaia_core.models import Finished, ModelError, ResponseFormat
from gaia_core.turn import TurnOptions, TurnRequest

SCHEMA = b'{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
FORM = ResponseFormat("json_schema", SCHEMA)


async def told(*answers: object, form: ResponseFormat = FORM, enforces: bool = True) -> tuple[list[Event], object]:
    """The events of a turn whose model gives these answers, and that model."""
    model = scripted(*answers)
    spec = ModelSpec("local", open=lambda: model, enforces_format=enforces)
    async with Runtime(Catalog.of(Agent("agent"), models={"local": spec})) as runtime:
        options = TurnOptions(response_format=form)
        turn = await runtime.once(Agent("agent"), TurnRequest(transcript=(UserMessage("Hi"),), options=options))
        return [event async for event in turn.events()], model


def deltas(*texts: str, finish: str = "stop") -> tuple:
    """An answer of these pieces."""
    return (*map(TextDelta, texts), Finished(finish))


async def failing(error: ModelError, *before: object) -> AsyncIterator:
    for delta in before:
        yield delta
    raise error


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if type(event) is TextDelta]


async def test_the_text_is_told_as_it_comes():
    events, _ = await told(deltas(" ", '{"a', '": ', "1", "}", "\n"))

    assert texts(events) == ['{"a', '":', " 1}"]
    assert (events[-1].status, events[-1].text) == ("completed", '{"a": 1}')


async def test_it_is_told_whole_where_the_endpoint_does_not_enforce_the_form():
    events, _ = await told(deltas('{"a', '": 1}'), enforces=False)

    assert texts(events) == ['{"a": 1}']


async def test_a_wrong_end_is_an_error_and_not_corrected():
    events, model = await told(deltas('{"a": ', '"x"}'), deltas('{"a": 1}'))

    assert "".join(texts(events)) == '{"a": "x"}'
    assert (events[-1].status, events[-1].error.type, len(model.requests)) == ("failed", "response_format", 1)
    assert "$.a" in events[-1].error.message


async def test_a_text_that_is_no_json_is_held_back_and_corrected():
    """An endpoint that is said to enforce the form, and doesn't: nothing of it was told, so it is asked again."""
    events, model = await told(deltas("Here it is: ", "a is 1"), deltas('{"a"', ": 1}"))

    assert "".join(texts(events)) == '{"a": 1}'
    assert (events[-1].status, len(model.requests)) == ("completed", 2)


async def test_a_text_that_is_no_json_from_somewhere_on_is_an_error():
    events, model = await told(deltas('{"a": 1', " and so on"), deltas('{"a": 1}'))

    assert "".join(texts(events)) == '{"a": 1'
    assert (events[-1].status, len(model.requests)) == ("failed", 1)


async def test_a_fenced_text_is_told_whole():
    events, _ = await told(deltas("```json\n", '{"a": 1}', "\n```"))

    assert texts(events) == ['{"a": 1}']


async def test_a_text_that_reaches_its_limit_of_tokens_ends_by_length():
    events, _ = await told(deltas(' {"a": "x', "y, 1", finish="length"))

    assert ("".join(texts(events)), events[-1].finish_reason) == ('{"a": "xy, 1', "length")
    assert events[-1].text == '{"a": "xy, 1'


async def test_reasoning_before_it_is_told_as_ever():
    events, _ = await told((ReasoningDelta("Hm."), TextDelta('{"a": 1}'), Finished("stop")))

    kinds = [type(event) for event in events if type(event) in (TextDelta, ReasoningDelta)]
    assert kinds == [ReasoningDelta, TextDelta]


async def test_a_form_that_the_endpoint_refuses_is_held_back():
    refused = ModelError("bad_request", "no such form", status=400)
    events, model = await told(failing(refused), deltas('{"a"', ": 1}"))

    assert texts(events) == ['{"a": 1}']
    assert model.requests[1].response_format is None


async def test_a_request_that_fails_after_text_was_told_is_not_sent_again():
    broken = failing(ModelError("bad_request", "no more"), TextDelta('{"a":'))
    events, model = await told(broken, deltas("{}"))

    assert (events[-1].status, events[-1].text, len(model.requests)) == ("failed", '{"a":', 1)


values = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5) | st.none(), max_size=3)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(
    values, st.lists(st.integers(0, 200)), st.text(alphabet=" \n", max_size=2), st.sampled_from(["", "}", " x", ","])
)
def test_what_is_told_is_the_answer_or_the_turn_fails(value, cuts, space, junk):

    text = space + json.dumps(value) + space + junk
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    events, _ = asyncio.run(told(deltas(*pieces), form=ResponseFormat("json_object")))

    ended = events[-1]
    assert isinstance(ended, TurnEnded)
    if ended.status == "completed":
        assert "".join(texts(events)) == ended.text == text.strip()
    else:
        assert junk
        assert text.lstrip().startswith("".join(texts(events)))
