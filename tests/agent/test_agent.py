"""Agent: a frozen configuration, equal when its content is, and an error for what it can't be."""

import copy
import pickle

import attrs
import pytest

from gaia_core import Agent, ApprovalPolicy, ConfigError, ContextPolicy, Limits, Toolset, tool
from gaia_core.agent import ToolSearch


@tool(effects="read")
def look(path: str) -> str:
    """Look."""
    return path


@tool(effects=("write", "network"))
def send(text: str) -> str:
    """Send."""
    return text


class Text(str):  # noqa: SLOT000
    """Equals a str, and may be anything else beside."""


TOOLS = Toolset("t", (look, send), instructions="Use {look} first.")


def test_an_agent_needs_a_name_only():
    agent = Agent("coder")

    assert (agent.instructions, agent.model, agent.description) == ("", "local", "")
    assert agent.tools.names == ()
    assert (agent.limits, agent.approvals, agent.context) == (Limits(), ApprovalPolicy(), ContextPolicy())
    assert agent.client_tools == "merge"


def test_an_agent_is_frozen():
    agent = Agent("coder", tools=TOOLS)

    for field in attrs.fields(Agent):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(agent, field.name, None)
    with pytest.raises(AttributeError):
        agent.memory = []


def test_an_agent_is_made_once():
    """As a str or a tuple, it has no `__init__` that would write."""
    agent = Agent("coder", tools=TOOLS)
    before = agent.fingerprint

    agent.__init__("other", instructions="Be rude.")
    with pytest.raises(TypeError, match="class Changeable: an Agent can't be subclassed"):
        type("Changeable", (Agent,), {})

    assert agent == Agent("coder", tools=TOOLS)
    assert agent.fingerprint == before == Agent("coder", tools=TOOLS).fingerprint


def test_an_agent_can_be_copied_and_pickled():
    agent = Agent("coder", instructions="Be kind.", limits=Limits(steps=3))

    for twin in (copy.copy(agent), copy.deepcopy(agent), pickle.loads(pickle.dumps(agent))):
        assert (twin, hash(twin), twin.fingerprint) == (agent, hash(agent), agent.fingerprint)
        assert attrs.evolve(twin, name="other") == attrs.evolve(agent, name="other")


def test_equal_content_is_an_equal_agent():
    def made() -> Agent:
        tools = Toolset("t", (send, look), instructions="Use {look} first.")
        return Agent(
            "coder",
            tools=tools,
            limits=Limits(steps=3, seconds=10),
            approvals=ApprovalPolicy(effects=["write", "network"], tools=["send"]),
        )

    one, two = made(), made()

    assert one == two
    assert hash(one) == hash(two)
    assert one.fingerprint == two.fingerprint
    assert len({one, two, copy.copy(one)}) == 1


def test_looking_at_a_fingerprint_changes_nothing():
    seen, unseen = Agent("coder", tools=TOOLS), Agent("coder", tools=TOOLS)
    assert seen.fingerprint
    assert seen.system_text

    assert seen == unseen
    assert hash(seen) == hash(unseen)
    assert repr(seen) == repr(unseen)
    assert attrs.evolve(seen, name="other").fingerprint == attrs.evolve(unseen, name="other").fingerprint != seen


def test_the_system_text_is_the_agents_instructions_then_its_toolsets():
    assert Agent("a", instructions="\nBe kind.\n", tools=TOOLS).system_text == "Be kind.\n\nUse look first."
    assert Agent("a", tools=TOOLS).system_text == "Use look first."
    assert Agent("a", instructions="Be kind.").system_text == "Be kind."
    assert Agent("a").system_text == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": ""}, "an agent's name must be a text, not ''"),
        ({"name": None}, "an agent's name must be a text, not None"),
        ({"name": Text("a")}, "an agent's name must be a text, not 'a' (Text)"),
        ({"instructions": ["a"]}, "agent 'a': instructions must be a str, not ['a'] (list)"),
        ({"instructions": None}, "agent 'a': instructions must be a str, not None"),
        ({"model": None}, "agent 'a': model must be a str, not None"),
        ({"model": Text("local")}, "agent 'a': model must be a str, not 'local' (Text)"),
        ({"description": b"a"}, "agent 'a': description must be a str, not b'a' (bytes)"),
        ({"tools": None}, "agent 'a': tools must be a Toolset, not None; write tools=Toolset('name', (…,))"),
        ({"tools": ()}, "agent 'a': tools must be a Toolset, not () (tuple); write tools=Toolset('name', (…,))"),
        ({"limits": None}, "agent 'a': limits must be a Limits, not None"),
        ({"limits": {"steps": 3}}, "agent 'a': limits must be a Limits, not {'steps': 3} (dict)"),
        ({"approvals": None}, "agent 'a': approvals must be an ApprovalPolicy, not None"),
        ({"context": False}, "agent 'a': context must be a ContextPolicy, not False"),
        ({"search": False}, "agent 'a': search must be a ToolSearch or None, not False"),
        (
            {"client_tools": None},
            "agent 'a': client_tools must be 'merge' or 'ignore' or 'reject' or 'strict', not None",
        ),
        (
            {"client_tools": "marge"},
            (
                "agent 'a': client_tools must be 'merge' or 'ignore' or 'reject' or 'strict', not 'marge'. "
                "Did you mean 'merge'?"
            ),
        ),
        (
            {"client_tools": Text("merge")},
            "agent 'a': client_tools must be 'merge' or 'ignore' or 'reject' or 'strict', not 'merge' (Text)",
        ),
    ],
)
def test_what_an_agent_cannot_be_is_refused(arguments, words):
    with pytest.raises(ConfigError) as raised:
        Agent(**{"name": "a", **arguments})

    assert str(raised.value) == words


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="tool_set"):
        Agent("a", tool_set=TOOLS)


# Policies.


@pytest.mark.parametrize("name", ["steps", "tool_calls", "tokens", "result_chars"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, float("nan")])
def test_a_limit_that_counts_is_a_whole_number_above_0(name, value):
    with pytest.raises(ConfigError, match=f"Limits.{name} must be a whole number above 0, not "):
        Limits(**{name: value})


@pytest.mark.parametrize("name", ["seconds", "tool_seconds"])
@pytest.mark.parametrize("value", [0, -1.5, "3", None, True, float("nan")])
def test_a_limit_of_time_is_seconds_above_0(name, value):
    with pytest.raises(ConfigError, match=f"Limits.{name} must be seconds above 0, not "):
        Limits(**{name: value})


@pytest.mark.parametrize("name", ["steps", "tool_calls", "result_chars"])
def test_only_tokens_may_be_without_a_limit(name):
    assert Limits().tokens is None
    with pytest.raises(ConfigError, match="None"):
        Limits(**{name: None})


def test_a_limit_of_time_fits_into_a_float():
    assert Limits(seconds=float("inf")).seconds == float("inf")
    with pytest.raises(ConfigError, match=r"Limits\.seconds must be seconds above 0, not 1000"):
        Limits(seconds=10**400)


def test_limits_are_frozen_values_with_defaults():
    assert Limits() == Limits(steps=25, tool_calls=100, tokens=None, seconds=600, tool_seconds=60, result_chars=30_000)
    assert hash(Limits(seconds=600)) == hash(Limits())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Limits().steps = 3


def test_a_context_policy_bounds_tokens():
    assert ContextPolicy().tokens is None
    with pytest.raises(ConfigError, match=r"ContextPolicy\.tokens must be a whole number above 0, not 0"):
        ContextPolicy(tokens=0)
    with pytest.raises(ConfigError, match=r"ContextPolicy\.compact must be True or False, not 1"):
        ContextPolicy(compact=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"core": "look"}, "ToolSearch.core must be a frozenset of str, not 'look'"),
        ({"embeddings": 3}, "ToolSearch.embeddings must be a str or None, not 3"),
    ],
)
def test_what_a_search_cannot_be_is_refused(arguments, words):
    with pytest.raises(ConfigError) as raised:
        ToolSearch(**arguments)

    assert str(raised.value) == words


def test_an_approval_policy_is_frozen_whatever_it_is_given():
    policy = ApprovalPolicy(effects=["write"], tools={"a"}, never=("b",))

    assert [type(value) for value in attrs.astuple(policy, recurse=False)] == [frozenset, frozenset, frozenset, float]
    assert policy == ApprovalPolicy(effects={"write"}, tools=("a",), never=["b"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"effects": {"wirte"}}, "unknown effect 'wirte'. Did you mean 'write'? Effects: read, write"),
        ({"effects": "read"}, "ApprovalPolicy.effects must be a frozenset of 'read' or 'write'"),
        ({"effects": None}, "or 'execute', not None"),
        ({"effects": [Text("read")]}, "or 'execute', not frozenset({'read'}) (frozenset)"),
        ({"tools": "send"}, "ApprovalPolicy.tools must be a frozenset of str, not 'send'"),
        ({"tools": None}, "ApprovalPolicy.tools must be a frozenset of str, not None"),
        ({"tools": b"send"}, "ApprovalPolicy.tools must be a frozenset of str, not frozenset({"),
        ({"tools": [["send"]]}, "ApprovalPolicy.tools must be a frozenset of str, not [['send']] (list)"),
        ({"never": "send"}, "ApprovalPolicy.never must be a frozenset of str, not 'send'"),
        ({"never": {1}}, "ApprovalPolicy.never must be a frozenset of str, not frozenset({1}) (frozenset)"),
        ({"timeout": 0}, "ApprovalPolicy.timeout must be seconds above 0, not 0"),
        ({"timeout": None}, "ApprovalPolicy.timeout must be seconds above 0, not None"),
    ],
)
def test_what_a_policy_cannot_be_is_refused(arguments, words):
    with pytest.raises(ConfigError) as raised:
        ApprovalPolicy(**arguments)

    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("policy", "asked", "reason"),
    [
        (ApprovalPolicy(), look, None),
        (ApprovalPolicy(), attrs.evolve(look, approval=True), "look always needs approval"),
        (ApprovalPolicy(never={"look"}), attrs.evolve(look, approval=True), "look always needs approval"),
        (ApprovalPolicy(effects={"read"}), look, "look may read"),
        (ApprovalPolicy(effects={"network", "write", "read"}), send, "send may write, network"),
        (ApprovalPolicy(effects={"execute"}), send, None),
        (ApprovalPolicy(tools={"send"}), send, "the agent's policy asks for every call of send"),
        (ApprovalPolicy(effects={"write"}, never={"send"}), send, None),
        (ApprovalPolicy(tools={"send"}, never={"send"}), send, "the agent's policy asks for every call of send"),
        (ApprovalPolicy(effects={"execute"}), tool(name="f")(lambda: None), "f may execute"),
    ],
)
def test_a_policy_says_why_a_tool_needs_approval(policy, asked, reason):
    assert policy.reason(asked) == reason
