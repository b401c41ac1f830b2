"""An agent's fingerprint: its whole configuration and nothing else. Equality in other processes: tests/tools."""

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from pathlib import PurePosixPath

import attrs
import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core import Agent, ApprovalPolicy, ContextPolicy, Limits, Toolset, resource, tool
from gaia_core.canonical import canonical_text


@resource(scope="session")
def store(value: object = None):
    yield value


@resource(scope="session")
def other_store(value: object = None):
    yield value


@tool(effects="read")
def look(path: str) -> str:
    """Look."""


@tool(name="look", effects="read")
def look_again(path: str) -> str:
    """Look."""


def tools(value: object = None, made=look, recipe=store) -> Toolset:
    return Toolset("t", (made,), instructions="Use {look}.", resource=recipe(value))


BASE = Agent("coder", instructions="Be kind.", tools=tools())

CHANGED = (
    Agent("coder2", instructions="Be kind.", tools=tools()),
    Agent("coder", instructions="Be kinder.", tools=tools()),
    Agent("coder", instructions="Be kind.", tools=tools(), model="other"),
    Agent("coder", instructions="Be kind.", tools=tools(), description="Codes."),
    Agent("coder", instructions="Be kind.", tools=tools(), client_tools="reject"),
    Agent("coder", instructions="Be kind.", tools=tools(), limits=Limits(steps=3)),
    Agent("coder", instructions="Be kind.", tools=tools(), context=ContextPolicy(tokens=3)),
    Agent("coder", instructions="Be kind.", tools=tools(), approvals=ApprovalPolicy(effects={"read"})),
    Agent("coder", instructions="Be kind.", tools=tools().prefixed("x_")),
    Agent("coder", instructions="Be kind.", tools=tools().approving("look")),
    Agent("coder", instructions="Be kind.", tools=tools().with_instructions("More.")),
    Agent("coder", instructions="Be kind.", tools=tools(recipe=other_store)),
    Agent("coder", instructions="Be kind.", tools=tools("a")),
    Agent("coder", instructions="Be kind.", tools=tools("b")),
    Agent("coder", instructions="Be kind."),
    *(
        Agent("coder", instructions="Be kind.", tools=tools(made=attrs.evolve(look, **change)))
        for change in ({"effects": frozenset()}, {"timeout": 3}, {"exclusive": True}, {"idempotent": True})
    ),
)


def test_everything_in_the_configuration_shows():
    fingerprints = [agent.fingerprint for agent in (BASE, *CHANGED)]

    assert len(set(fingerprints)) == len(fingerprints)


def test_the_code_of_handlers_does_not_show():
    assert Agent("coder", instructions="Be kind.", tools=tools(made=look_again)).fingerprint == BASE.fingerprint


def test_a_fingerprint_says_how_it_was_made():
    tag, digest = BASE.fingerprint.split(":")

    assert tag == "a1"
    assert len(bytes.fromhex(digest)) == 32


def test_a_sub_agents_configuration_shows():
    def outer(inner: Agent) -> str:
        return Agent("outer", tools=Toolset("team", (inner.as_tool(),))).fingerprint

    inner = Agent("inner", description="Helps.", instructions="Be kind.")

    assert outer(inner) == outer(attrs.evolve(inner))
    assert outer(inner) != outer(attrs.evolve(inner, instructions="Be kinder."))


# The arguments of recipes.


class Kind(enum.Enum):
    A = "a"
    B = "b"


@attrs.frozen
class Frozen:
    value: object
    secret: str = attrs.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Data:
    value: object


class Struct(msgspec.Struct, frozen=True):
    value: object


def first(): ...
def second(): ...


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("a", "b"), ("1", 1), (b"a", "a"), (1, 2), (1, 1.5), (None, "None"), (True, False),
        (float("inf"), float("-inf")),
        (10**30, 10**30 + 1), (Kind.A, Kind.B), (("a", "b"), ("a, b",)), (("a",), "a"), ((1, (2, 3)), ((1, 2), 3)),
        (frozenset({1}), frozenset({2})), (frozenset({1}), (1,)), (PurePosixPath("a"), PurePosixPath("b")),
        (PurePosixPath("a"), "a"), (dt.date(2026, 1, 1), dt.date(2026, 1, 2)), (dt.timedelta(1), dt.timedelta(2)),
        (uuid.UUID(int=1), uuid.UUID(int=2)), (decimal.Decimal("1.5"), decimal.Decimal("1.6")),
        (Frozen(1), Frozen(2)), (Data(1), Data(2)), (Struct(1), Struct(2)), (Frozen(1), Data(1)),
        (Frozen((Data(Struct("a")),)), Frozen((Data(Struct("b")),))), (Frozen, Data),
        pytest.param(first, second, id="functions"),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_that_differ_show(one, two):
    assert canonical_text(one) != canonical_text(two)
    assert Agent("a", tools=tools(one)).fingerprint != Agent("a", tools=tools(two)).fingerprint


def test_a_secret_that_hides_from_repr_does_not_show():
    assert canonical_text(Frozen(1, "secret")) == canonical_text(Frozen(1, "other"))
    assert "secret" not in canonical_text(Frozen(1, "secret"))


def test_no_address_shows():
    assert " at 0x" not in canonical_text((first, lambda: None, object(), Frozen(object()), Kind))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
    | st.binary(max_size=3) | st.sampled_from(Kind) | st.decimals(allow_nan=False) | st.uuids() | st.dates(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        inner.map(Frozen),
        inner.map(Data),
        inner.map(Struct),
    ),
    max_leaves=5,
)  # fmt: skip


@hypothesis.settings(derandomize=True, deadline=None, max_examples=150)
@given(plain, plain)
def test_texts_are_equal_where_values_are(one, two):
    """Also 1, 1.0 and True, which Python calls equal."""
    assert (canonical_text(one) == canonical_text(two)) is (one == two)


@pytest.mark.parametrize(
    ("one", "two"), [(1, 1.0), (1, True), (0.0, -0.0), (2**70, float(2**70)), (1, decimal.Decimal(1))]
)
def test_equal_numbers_have_equal_texts(one, two):
    assert one == two
    assert canonical_text(one) == canonical_text(two)
    assert Agent("a", tools=tools(one)) == Agent("a", tools=tools(two))
