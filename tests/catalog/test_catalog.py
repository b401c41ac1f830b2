"""A catalog is a frozen value: agents and models by name, and what had to be left out."""

import attrs
import pytest

from gaia_core import Agent, Catalog, ConfigError, ModelSpec, NotFoundError, Toolset, scripted
from gaia_core.catalog import CatalogProblem
from gaia_core.catalog._catalog import models_of

MODEL = scripted("Hi")


def test_a_catalog_is_sorted_and_its_first_agent_the_default():
    catalog = Catalog.of(Agent("b"), Agent("a"), models={"z": MODEL, "local": MODEL})
    assert [agent.name for agent in catalog.agents] == ["a", "b"]
    assert [model.name for model in catalog.models] == ["local", "z"]
    assert catalog.default_agent == "b"
    assert Catalog.of(Agent("b"), Agent("a"), models={"local": MODEL}, default_agent="a").default_agent == "a"


def test_a_catalog_is_frozen_equal_and_hashable():
    problems = (CatalogProblem("plugin 'x'", "is broken", "x"),)
    one, other = (Catalog.of(Agent("a"), models={"local": MODEL}, problems=problems) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Catalog.of(Agent("a", instructions="x"), models={"local": MODEL}, problems=problems)
    assert one != Catalog.of(Agent("a"), models={"local": scripted("Hi")}, problems=problems)
    assert attrs.evolve(one, created=0) == one
    for value in (one, one.models[0], one.problems[0]):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            value.source = value.name = value.agents = ()


def test_a_live_model_stands_for_a_spec():
    (spec,) = Catalog.of(models={"local": MODEL}).models
    assert spec.open() is MODEL
    assert (spec.kind, spec.description) == ("object", "ScriptedModel")


def test_a_spec_takes_the_name_under_which_it_is_given():
    spec = ModelSpec("x", lambda: MODEL, slots=2, queue=0)
    (given,) = Catalog.of(models={"local": spec}).models
    assert (given.name, given.slots, given.queue) == ("local", 2, 0)


@pytest.mark.parametrize("options", [{"slots": 0}, {"slots": -1}, {"queue": -1}])
def test_a_model_has_slots(options):
    with pytest.raises(ConfigError, match="model 'm': slots must be at least 1"):
        ModelSpec("m", lambda: MODEL, **options)


def test_names_are_looked_up_with_the_nearest_one_in_the_error():
    catalog = Catalog.of(Agent("coder"), models={"local": MODEL})
    assert catalog.agent("coder") == Agent("coder")
    assert catalog.model("local").name == "local"
    with pytest.raises(NotFoundError, match=r"no agent 'codr'. Did you mean 'coder'\? There are: coder"):
        catalog.agent("codr")
    with pytest.raises(NotFoundError, match=r"no model 'x'. There are: local"):
        catalog.model("x")
    with pytest.raises(NotFoundError) as caught:
        catalog.agent("x" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("agents", "options", "words"),
    [
        ((Agent("a"), Agent("a", instructions="x")), {}, "two agents named 'a'"),
        ((Agent("a", model="locl"),), {}, r"agent 'a': there is no model 'locl'. Did you mean 'local'\?"),
        ((Agent("coder"),), {"default_agent": "codr"}, r"'codr' is no agent. Did you mean 'coder'\?"),
        (
            (Agent("a", tools=Toolset("team", (Agent("b", model="other").as_tool(),))),),
            {},
            "agent 'a': there is no model 'other'",
        ),
    ],
)
def test_what_does_not_fit_together_is_an_error(agents, options, words):
    with pytest.raises(ConfigError, match=words):
        Catalog.of(*agents, models={"local": MODEL}, **options)


def test_the_models_of_sub_agents_count():
    inner = Agent("inner", model="small")
    middle = Agent("middle", model="local", tools=Toolset("t", (inner.as_tool(),)))
    outer = Agent("outer", model="big", tools=Toolset("t", (middle.as_tool(),)))
    assert models_of(outer) == {"big", "local", "small"}
