"""An agent as another's tool: a value like any tool. Running it is the turn's; its tests are in tests/turn."""

import asyncio

import msgspec
import pytest

from gaia_core import Agent, ArgumentsError, Context, Limits, ToolDeclarationError, ToolError, Toolset, tool


@tool(effects="network")
def fetch(url: str) -> str:
    """Fetch."""
    return url


INNER = Agent("web reader", description="Reads the web.", tools=Toolset("t", (fetch,)), limits=Limits(seconds=30))


def test_a_model_is_told_to_give_a_task():
    made = INNER.as_tool()

    assert (made.name, made.description) == ("web_reader", "Reads the web.")
    assert msgspec.json.decode(made.parameters.schema) == {
        "type": "object",
        "properties": {"task": {"type": "string", "description": "The task, with everything that is needed to do it"}},
        "required": ["task"],
        "additionalProperties": False,
    }
    with pytest.raises(ArgumentsError, match="task: required, but missing"):
        made.parameters.decode("web_reader", "{}")


def test_name_and_description_may_be_given():
    made = INNER.as_tool("ask", "Ask the reader.")

    assert (made.name, made.description) == ("ask", "Ask the reader.")
    assert Agent("x").as_tool().description == "Give the agent x a task; returns its answer."


def test_its_effects_and_time_are_those_of_the_agent():
    assert INNER.as_tool().effects == {"network"}
    assert INNER.as_tool().timeout == 30
    assert INNER.as_tool().is_async
    assert Agent("talker").as_tool().effects == frozenset()


def test_equal_agents_make_equal_tools():
    again = Agent("web reader", description="Reads the web.", tools=Toolset("t", (fetch,)), limits=Limits(seconds=30))
    team = Toolset("team", (INNER.as_tool(),)) | Toolset("team", (again.as_tool(),))

    assert INNER.as_tool() == again.as_tool()
    assert hash(INNER.as_tool()) == hash(again.as_tool())
    assert team.names == ("web_reader",)


def test_other_agents_make_other_tools():
    other = Agent("web reader", description="Reads the web.", instructions="Quickly.")

    assert other.as_tool() != INNER.as_tool()


def test_a_name_that_endpoints_refuse_is_refused():
    with pytest.raises(ToolDeclarationError, match=r"'größe\?'.*must be 1 to 64"):
        Agent("größe?").as_tool()


def test_it_delegates_to_the_turn_that_runs_it():
    seen = []

    async def delegate(agent: Agent, task: str) -> str:
        seen.append((agent, task))
        return "answer"

    assert asyncio.run(INNER.as_tool()(Context(None, delegate=delegate), task="Read.")) == "answer"
    assert seen == [(INNER, "Read.")]


def test_without_a_turn_it_says_so():
    with pytest.raises(ToolError, match="no agent can be run here"):
        asyncio.run(INNER.as_tool()(Context(None), task="Read."))
