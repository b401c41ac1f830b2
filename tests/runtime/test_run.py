"""`run`: a text in, an answer of a type out; every other end of the turn is a TurnError that says why."""

import asyncio
import dataclasses
from typing import Literal, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from gaia_core import (
    Agent,
    Catalog,
    ConfigError,
    Context,
    GaiaError,
    Limits,
    ModelSpec,
    NotFoundError,
    Runtime,
    SchemaError,
    ScriptedModel,
    Toolset,
    TurnError,
    TurnOptions,
    call,
    resource,
    run,
    scripted,
    tool,
)
from gaia_core.events import TextDelta
from gaia_core.messages import AssistantMessage
from gaia_core.models import Finished, ResponseFormat
from gaia_core.tools import define

HELPER = Agent("helper")
ULM = '{"name": "Ulm", "people": 126000}'
NOWHERE = '{"name": "Ulm", "people": -1}'


class Struct(msgspec.Struct, frozen=True):
    """A city."""

    name: str
    people: int

    def __post_init__(self):
        _positive(self.people)


@attrs.frozen
class Attrs:
    name: str
    people: int = attrs.field(validator=lambda _instance, _field, value: _positive(value))


@dataclasses.dataclass
class Data:
    name: str
    people: int

    def __post_init__(self):
        _positive(self.people)


class Model(pydantic.BaseModel):
    name: str
    people: pydantic.PositiveInt


class Typed(TypedDict):
    name: str
    people: int


def _positive(people: int) -> None:
    if people <= 0:
        raise ValueError("people must be above 0")


async def test_the_answer_is_theTextDelta():
    assert await run(HELPER, "Hi", model=scripted("Good day.")) == "Good day."


@pytest.mark.parametrize("kind", [Struct, Attrs, Data, Model])
async def test_an_answer_has_the_type_that_was_asked_for_and_its_own_checks_are_corrected_once(kind):
    model = scripted(NOWHERE, ULM)

    answer = await run(HELPER, "Which city?", answer=kind, model=model)

    assert type(answer) is kind
    assert (answer.name, answer.people) == ("Ulm", 126000)
    first, second = model.requests
    assert first.response_format.type == "json_schema"
    assert first.response_format.name == kind.__name__
    assert set(msgspec.json.decode(first.response_format.schema)["properties"]) == {"name", "people"}
    assert "people" in second.messages[-1].content


async def test_a_typed_dict_is_an_answer():
    assert await run(HELPER, "?", answer=Typed, model=scripted(f"```json\n{ULM}\n```")) == {
        "name": "Ulm",
        "people": 126000,
    }


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (list[str], '["a"]', ["a"]),
        (int, "3", 3),
        (Literal["yes", "no"], '"no"', "no"),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (list[Model], f"[{ULM}]", [Model(name="Ulm", people=126000)]),
        (tuple[Struct, ...], f"[{ULM}]", (Struct("Ulm", 126000),)),
    ],
)
async def test_a_type_that_is_no_object_is_the_member_of_one(kind, text, value):
    model = scripted(text, f'{{"answer": {text}}}')  # the bare value has to be corrected

    assert await run(HELPER, "?", answer=kind, model=model) == value
    assert len(model.requests) == 2


async def test_an_answer_that_stays_wrong_is_an_error_with_the_reasons():
    with pytest.raises(TurnError, match=r"after one correction too:\n- .*people") as failed:
        await run(HELPER, "?", answer=Model, model=scripted(NOWHERE, NOWHERE))

    assert failed.value.ended.status == "failed"
    assert failed.value.ended.error.type == "response_format"


async def test_an_answer_that_was_cut_off_is_an_error():
    model = scripted([TextDelta('{"name": "Ul'), Finished("length", None)])

    with pytest.raises(TurnError, match=r"was not finished \(length\), so it is no Struct: '\{\"name\": \"Ul'"):
        await run(HELPER, "?", answer=Struct, model=model)


async def test_a_check_of_the_answers_type_holds_back_a_text_that_the_endpoint_enforces():
    """The endpoint keeps to the schema, not to the type's own checks: the text may have to be corrected."""
    model = scripted(NOWHERE, ULM)
    spec = ModelSpec("local", lambda: model, enforces_format=True)

    assert await run(HELPER, "?", answer=Attrs, model=spec) == Attrs("Ulm", 126000)


@pytest.mark.parametrize(
    ("agent", "answers", "words"),
    [
        (HELPER, (), "has run out"),
        (Agent("helper", limits=Limits(steps=1)), (call("look"), "…"), "the limit of 1 steps is reached; see Agent"),
    ],
)
async def test_a_turn_without_an_answer_is_an_error(agent, answers, words):
    with pytest.raises(TurnError, match=words) as failed:
        await run(agent, "Hi", model=scripted(*answers))

    assert isinstance(failed.value, GaiaError)
    assert failed.value.ended.status in ("failed", "limit")


async def test_a_clients_tool_is_named():
    options = TurnOptions(client_tools=(define("weather", "Weather.", b'{"type":"object"}'),))

    with pytest.raises(TurnError, match=r"client tools \(weather\).*use Runtime.start"):
        await run(HELPER, "Hi", model=scripted(call("weather")), options=options)


async def test_a_type_without_a_json_form_is_refused_before_the_model_is_asked():
    model = scripted()

    with pytest.raises(ConfigError, match=r"the answer's type complex can't be described.*dataclass"):
        await run(HELPER, "Hi", answer=complex, model=model)
    with pytest.raises(ConfigError, match="not both"):
        await run(
            HELPER, "?", answer=int, model=model, options=TurnOptions(response_format=ResponseFormat("json_object"))
        )
    assert model.requests == []


async def test_a_schema_that_can_not_be_checked_is_refused():
    class Looks(pydantic.BaseModel):
        word: str = pydantic.Field(json_schema_extra={"pattern": "(?=a)b"})

    with pytest.raises(SchemaError, match="no lookaround"):
        await run(HELPER, "Hi", answer=Looks, model=scripted())


async def test_in_a_session_the_turns_are_kept():
    async with Runtime(Catalog.of(HELPER, models={"local": scripted("One.", '{"answer": 2}')})) as runtime:
        session = await runtime.open("helper")

        assert await runtime.run(session, "Count.") == "One."
        assert await runtime.run(session, "On.", answer=int) == 2
        assert [message.content for message in await runtime.history(session)] == [
            "Count.",
            "One.",
            "On.",
            '{"answer": 2}',
        ]


async def test_a_cancelled_caller_cancels_the_turn():
    asked = asyncio.Event()

    async def endless(_request):
        asked.set()
        await asyncio.Event().wait()

    async with Runtime(Catalog.of(HELPER, models={"local": ScriptedModel(endless)})) as runtime:
        waiting = asyncio.create_task(runtime.run("helper", "Hi"))
        await asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert runtime.running_turns == ()


async def test_what_a_run_opens_is_closed():
    opened = []

    @resource()
    def store():
        opened.append("open")
        yield opened
        opened.append("closed")

    @tool(effects="read")
    def look(ctx: Context[list]) -> str:
        """Look."""
        return ctx.resource[-1]

    agent = Agent("looker", tools=Toolset("t", (look,), resource=store()))

    assert await run(agent, "Look.", model=scripted(call("look"), AssistantMessage("Done."))) == "Done."
    assert opened == ["open", "closed"]


async def test_one_model_answers_for_the_sub_agents_too():
    inner = Agent("inner", model="small")
    outer = Agent("outer", model="large", tools=Toolset("team", (inner.as_tool(),)))

    assert await run(outer, "Go.", model=scripted(call("inner", task="x"), "inner's", "outer's")) == "outer's"


async def test_a_name_is_an_agents_of_the_configuration_and_its_model_that_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gaia.toml").write_text('[agents.coder]\nmodel = "far"\n[models.far]\nurl = "http://127.0.0.1:9/v1"\n')

    with pytest.raises(NotFoundError, match=r"no agent 'codr'\. Did you mean 'coder'"):
        await run("codr", "Hi")
    with pytest.raises(ConfigError, match=r"no model 'nearby'.*Models: far"):
        await run(Agent("a", model="nearby"), "Hi")
    with pytest.raises(ConfigError, match="model= is for an Agent object"):
        await run("coder", "Hi", model=scripted("x"))
