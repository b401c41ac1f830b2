"""The final text has the form that was asked for, or the turn says that it has not."""

import json

import pytest

from gaia_core import (
    Agent,
    Catalog,
    Limits,
    ReplayModel,
    Runtime,
    SchemaError,
    ScriptedModel,
    Toolset,
    call,
    scripted,
    tool,
)
from gaia_core.events import ReasoningDelta, StepEnded, TextDelta
from gaia_core.journal import MemoryJournal
from gaia_core.messages import AssistantMessage, SystemMessage, UserMessage
from gaia_core.models import Finished, ModelError, ResponseFormat
from gaia_core.nesting import MAX_NESTING
from gaia_core.tools import define
from gaia_core.turn import TurnOptions, TurnRequest, check_format
from gaia_core.turn.step._response_format import ResponseFormatCheck, unfenced
from tests.effort import calls_made

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 0}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
ULM = '{"city": "Ulm", "people": 126000}'


def form(schema: object = CITY) -> ResponseFormat:
    return ResponseFormat("json_schema", json.dumps(schema).encode(), "city")


OBJECT = ResponseFormat("json_object")


@tool(effects="read")
async def look() -> str:
    """Look."""
    return "126000 people"


WITH_TOOLS = Agent("agent", instructions="Be brief.", tools=Toolset("t", (look,)))
PLAIN = Agent("agent")


@pytest.fixture
def ask():
    """The events of a turn with a form, and the model."""

    async def ask(agent: Agent, *answers: object, wanted: ResponseFormat = form(), **options: object):  # noqa: B008
        model = answers[0] if answers and isinstance(answers[0], ScriptedModel | ReplayModel) else scripted(*answers)
        async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
            turn = runtime.turn(agent, "Ulm?", options=TurnOptions(response_format=wanted, **options))
            return [event async for event in turn], model

    return ask


def text(events: list) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_an_answer_of_the_form_is_told_whole(ask):
    events, model = await ask(PLAIN, ULM)

    assert [event.text for event in events if isinstance(event, TextDelta)] == [ULM]
    assert (events[-1].status, events[-1].text) == ("completed", ULM)
    assert model.requests[0].response_format == form()
    assert json.loads(model.requests[0].messages[0].content.partition("\n\n")[2]) == CITY


async def test_a_fence_around_the_answer_is_taken_off(ask):
    events, _ = await ask(PLAIN, f"```json\n{ULM}\n```")

    assert text(events) == events[-1].text == ULM


async def test_a_wrong_answer_is_corrected_once_and_nothing_of_it_is_told(ask):
    events, model = await ask(PLAIN, '{"city": "Ulm", "people": "many"}', ULM)

    assert text(events) == events[-1].text == ULM
    assert (events[-1].status, events[-1].steps) == ("completed", 2)
    *_, wrong, correction = model.requests[1].messages
    assert wrong == AssistantMessage('{"city": "Ulm", "people": "many"}')
    assert isinstance(correction, UserMessage)
    assert '$.people: "many" is not of type "integer"' in correction.content
    first, second = (event for event in events if isinstance(event, StepEnded))
    assert (first.objection, second.objection) == (correction.content, "")
    assert correction.content.endswith("Answer again, with the JSON only.")
    assert events[-1].usage.total_tokens == first.usage.total_tokens + second.usage.total_tokens


@pytest.mark.parametrize("wrong", ["Ulm has many people", '{"city": 1}', "[" * 2_000, '{"a": "\ud800"}', "NaN", ""])
async def test_an_answer_that_stays_wrong_is_an_error(ask, wrong):
    def model(request):
        return AssistantMessage(wrong)

    events, model = await ask(PLAIN, ScriptedModel(model))

    assert (events[-1].status, events[-1].error.type) == ("failed", "response_format")
    assert "after one correction" in events[-1].error.message
    assert "Answer again" not in events[-1].error.message
    assert text(events) == ""
    assert len(model.requests) == 2


async def test_the_form_holds_for_the_final_text_only(ask):
    events, model = await ask(WITH_TOOLS, AssistantMessage("I look.", (call("look"),)), ULM)

    assert text(events) == events[-1].text == ULM
    assert [request.response_format for request in model.requests] == [None, None]
    assert [len(request.tools) for request in model.requests] == [1, 1]
    system = model.requests[0].messages[0]
    assert isinstance(system, SystemMessage)
    assert system.content.startswith("Be brief.\n\nYour final answer must be JSON")


async def test_a_correction_offers_no_tools_so_that_an_endpoint_can_hold_the_model_to_the_form(ask):
    events, model = await ask(WITH_TOOLS, call("look"), "126000", ULM)

    assert events[-1].text == ULM
    assert model.requests[2].tools == ()
    assert model.requests[2].response_format == form()


async def test_an_endpoint_that_refuses_the_form_is_asked_without_it(ask):
    def model(request):
        if request.response_format is not None:
            raise ModelError("bad_request", "pattern must start with ^")
        return ULM

    events, model = await ask(PLAIN, ScriptedModel(model))

    assert text(events) == ULM
    assert [request.response_format for request in model.requests] == [form(), None]


async def test_another_refusal_is_an_error(ask):
    def model(request):
        raise ModelError("bad_request", "no such option")

    events, model = await ask(PLAIN, ScriptedModel(model))

    assert (events[-1].status, events[-1].error.type) == ("failed", "bad_request")
    assert len(model.requests) == 2


async def test_a_clients_call_is_no_answer(ask):
    events, _ = await ask(PLAIN, call("theirs"), client_tools=(define("theirs", "", b"{}"),))

    assert (events[-1].status, events[-1].client_calls[0].name) == ("tool_calls", "theirs")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_what_was_cut_short_is_given_as_it_is(ask, reason):
    events, model = await ask(PLAIN, (TextDelta('{"city": "U'), Finished(reason)))

    assert (text(events), events[-1].finish_reason) == ('{"city": "U', reason)
    assert len(model.requests) == 1


async def test_a_limit_tells_what_there_is(ask):
    events, _ = await ask(Agent("agent", limits=Limits(steps=1)), "Ulm")

    assert (text(events), events[-1].status, events[-1].finish_reason) == ("Ulm", "limit", "length")


async def test_reasoning_is_told_as_it_comes(ask):
    events, _ = await ask(PLAIN, AssistantMessage(ULM, reasoning_content="Hm."))

    assert [event.text for event in events if isinstance(event, ReasoningDelta)] == ["Hm."]


async def test_any_object(ask):
    events, model = await ask(PLAIN, "[1]", "{}", wanted=OBJECT)

    assert text(events) == "{}"
    assert "one JSON object" in model.requests[0].messages[0].content


async def test_a_recording_with_a_correction_can_be_replayed(ask):
    events, _ = await ask(PLAIN, "wrong", ULM)

    replayed, _ = await ask(PLAIN, ReplayModel(events))

    assert text(replayed) == ULM


async def test_the_correction_is_part_of_the_record():
    journal = MemoryJournal()
    model = scripted("wrong", ULM)
    async with Runtime(Catalog.of(PLAIN, models={"local": model}), journal) as runtime:
        session = await runtime.open(PLAIN)
        turn = await runtime.start(session, TurnRequest("Ulm?", options=TurnOptions(response_format=form())))
        assert (await turn.result()).text == ULM
        history = await runtime.history(session)

    assert [type(message).__name__ for message in history] == [
        "UserMessage", "AssistantMessage", "UserMessage", "AssistantMessage",
    ]  # fmt: skip
    assert "does not match the required format" in history[2].content


# The check itself.


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"type": "string", "format": "date-time"}, "2026-11-25T22:00:00Z", True),
        ({"type": "string", "format": "date-time"}, "yesterday", False),
        ({"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}, [[], [[]]], True),
        ({"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}, [[1]], False),
        ({"properties": {"child": {"$ref": "#"}}, "additionalProperties": False}, {"child": {"child": {}}}, True),
        ({"properties": {"$ref": {"type": "string"}, "pattern": {"type": "integer"}}}, {"pattern": 1}, True),
        ({"enum": [{"$ref": "nowhere"}]}, {"$ref": "nowhere"}, True),
        ({"$ref": "#"}, 1, True),
        ({"anyOf": [{"type": "null"}, {"type": "integer", "maximum": 10}]}, 10**400, False),
        ({"$defs": {"a/b~c": {"type": "integer"}}, "$ref": "#/$defs/a~1b~0c"}, "x", False),
        ({"prefixItems": [{"type": "integer"}], "items": False}, [1, 2], False),
        ({"patternProperties": {"^x": {"type": "integer"}}}, {"x": "a"}, False),
    ],
)
def test_values_and_schemas(schema, value, fits):
    assert (ResponseFormatCheck(form(schema)).problems(json.dumps(value)) == ()) == fits


def doubling(levels: int, **beside: object) -> dict:
    """A schema of a few lines that asks for 2^levels steps."""
    defs = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2, **beside} for n in range(levels)}
    return {"$defs": {**defs, f"d{levels}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


TWICE = {"$ref": "#/$defs/n"}
WIDE = {"$defs": {"n": {"allOf": [{"items": TWICE}, {"items": TWICE}]}}, "$ref": "#/$defs/n"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (doubling(50), 1),
        (WIDE, json.loads("[" * 60 + "]" * 60)),
        ({"pattern": "1[01]{900}x"}, "10" * 50_000),
        ({"items": {"anyOf": [{"const": n} for n in range(1_000)]}}, list(range(100_000))),
    ],
)
def test_a_check_that_would_take_too_long_is_refused_at_once(schema, value):
    checked = ResponseFormatCheck(form(schema))
    encoded = json.dumps(value)

    def check():
        with pytest.raises(SchemaError, match="too long"):
            checked.problems(encoded)

    assert calls_made(check) < 500_000


def test_a_pattern_matches_in_linear_time():
    assert ResponseFormatCheck(form({"pattern": "^(a+)+$"})).problems(json.dumps("a" * 5_000 + "b"))


def test_problems_are_bounded():
    problems = ResponseFormatCheck(form({"items": {"type": "integer"}})).problems(json.dumps(["x" * 10_000] * 100))

    assert len(problems) == 9
    assert sum(map(len, problems)) < 6_000


def chained(links: int, **beside: object) -> dict:
    """A schema with a chain of references, all for the same value."""
    defs = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}", **beside} for n in range(links - 2)}
    return {"$defs": {**defs, f"d{links - 2}": {"type": ["object", "null"]}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize("beside", [{}, {"unevaluatedProperties": False}, {"unevaluatedItems": False}])
def test_references_may_be_chained_up_to_the_limit(beside):
    check_format(form(chained(MAX_NESTING, **beside)))
    for links in (MAX_NESTING + 1, 1_000):
        with pytest.raises(SchemaError, match="a chain of more than 128 subschemas for the same value"):
            check_format(form(chained(links, **beside)))


def everyone(parts: int) -> dict:
    """A schema in which each subschema refers to all others."""
    to = [[{"$ref": f"#/$defs/d{n}"} for n in range(parts) if n != part] for part in range(parts)]
    defs = {f"d{part}": {"allOf": to[part], "unevaluatedProperties": False} for part in range(parts)}
    return {"$defs": defs, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize("schema", [doubling(30, unevaluatedItems=False), everyone(12)])
def test_a_schema_that_takes_for_ever_to_compile_is_refused_at_once(schema):
    def compile_it():
        with pytest.raises(SchemaError, match="a cycle of references, or with too many paths"):
            ResponseFormatCheck(form(schema))

    assert calls_made(compile_it) < 100_000


LINKED = {
    "$defs": {"node": {"properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}},
    "$ref": "#/$defs/node",
}


def linked(levels: int, end: str) -> str:
    return '{"next":' * levels + end + "}" * levels


def test_a_text_may_be_nested_up_to_the_limit(on_a_full_stack):
    checked = ResponseFormatCheck(form(LINKED))

    assert on_a_full_stack(lambda: checked.problems(linked(MAX_NESTING, "null"))) == ()
    assert (
        on_a_full_stack(lambda: checked.problems(linked(MAX_NESTING, "1"))) == ()
    )  # not an object: nothing is said of it
    for levels in (MAX_NESTING + 1, 100_000):
        (problem,) = checked.problems(linked(levels, "null"))
        assert problem == "it is nested deeper than 128 levels, in next.next.next.next"


def test_the_deepest_problem_is_found(on_a_full_stack):
    strict = ResponseFormatCheck(form({**LINKED, "$defs": {"node": {**LINKED["$defs"]["node"], "type": "object"}}}))

    (problem,) = on_a_full_stack(lambda: strict.problems(linked(MAX_NESTING, "1")))

    assert problem.startswith("$.next")


def test_a_way_through_value_and_schema_that_is_too_long_for_the_stack_is_refused():
    steps = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(100)}
    schema = {"$defs": {**steps, "d100": {"properties": {"next": {"$ref": "#/$defs/d0"}}}}, "$ref": "#/$defs/d0"}
    checked = ResponseFormatCheck(form(schema))

    assert checked.problems(linked(8, "null")) == ()
    with pytest.raises(SchemaError, match="too long"):
        checked.problems(linked(MAX_NESTING, "null"))


@pytest.mark.parametrize("levels", [MAX_NESTING, MAX_NESTING + 1, 100_000])
def test_a_schema_may_be_nested_up_to_the_limit(levels):
    wanted = ResponseFormat("json_schema", b'{"items":' * levels + b"1" + b"}" * levels)
    words = "1 is not of types" if levels == MAX_NESTING else "nested deeper than 128 levels, in items.items"

    with pytest.raises(SchemaError, match=words):
        check_format(wanted)
    check_format(ResponseFormat("json_schema", b'{"items":' * (MAX_NESTING - 1) + b"{}" + b"}" * (MAX_NESTING - 1)))


@pytest.mark.parametrize("schema", [b"{", b"[]", b"true", b"\xff"])
def test_what_is_no_schema(schema):
    with pytest.raises(SchemaError):
        check_format(ResponseFormat("json_schema", schema))


@pytest.mark.parametrize(
    ("said", "plain"),
    [("{}", "{}"), (" {}\n", "{}"), ("```json\n{}\n```", "{}"), ("```\n[1,\n2]```", "[1,\n2]"), ("a ```", "a ```")],
)
def test_unfenced(said, plain):
    assert unfenced(said) == plain
