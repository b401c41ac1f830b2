"""Equality, hash and fingerprint of an agent agree, whatever it is made of; what they could not agree on is refused."""

import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import unicodedata
import uuid
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import attrs
import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core import Agent, ApprovalPolicy, ContextPolicy, Limits, ToolDeclarationError, Toolset, resource, tool
from gaia_core.agent import ToolSearch
from gaia_core.canonical import canonical_text


class Color(enum.StrEnum):
    RED = "red"


class Paint(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Pair(tuple, enum.Enum):  # noqa: SLOT001
    ONE = (1, 2)


class Raw(bytes, enum.Enum):
    A = b"a"


class Day(dt.date, enum.Enum):
    FIRST = (2026, 1, 1)


class Plain(enum.Enum):
    RED = "red"


@attrs.frozen
class Noted:
    value: object
    note: str = attrs.field(default="", eq=False)


@attrs.frozen
class Caseless:
    value: str = attrs.field(eq=str.lower)


@attrs.frozen(eq=False)
class Handle:
    value: object


@dataclasses.dataclass(frozen=True)
class Record:
    value: object
    note: str = dataclasses.field(default="", compare=False)


class Packed(msgspec.Struct, frozen=True):
    value: object


class Point(NamedTuple):
    x: int
    y: int


class Autumn(dt.tzinfo):
    """A zone whose hours all come twice."""

    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=1 if when is not None and when.fold else 2)


UTC_NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
NOON = dt.time(12, tzinfo=dt.UTC)
EAST = dt.timezone(dt.timedelta(hours=2))
FIRST = dt.datetime(2026, 10, 25, 2, 30, tzinfo=Autumn())  # in the hour that comes twice
SECOND = FIRST.replace(fold=1)
NAIVE = UTC_NOON.replace(tzinfo=None)

VALUES = (
    None, "None", "", "1", 1, True, 1.0, decimal.Decimal(1), decimal.Decimal("1.0"), fractions.Fraction(1), 1 + 0j,
    Number.ONE, 1j, 0, False, 0.0, -0.0, decimal.Decimal("-0"), 0.1, decimal.Decimal("0.1"), fractions.Fraction(1, 10),
    fractions.Fraction(1, 3), float("inf"), float("-inf"), decimal.Decimal("Infinity"), 2**70, float(2**70),
    "é", "e\u0301", "red", Color.RED, Paint.RED, Plain.RED, Color, Paint, "Plain.RED", b"red", b"a", Raw.A,
    memoryview(b"a"), (), (1, 2), Point(1, 2), Pair.ONE, frozenset(), frozenset((1, 2)), frozenset((True, 2.0)),
    ((1,), 2), (1, (2,)),
    range(0), range(1, 1), range(1, 3), range(1, 4, 2), range(1, 5, 2), range(1, 2, 5), range(1, 2),
    Path("a"), PurePosixPath("a"), PurePosixPath("A"), PureWindowsPath("a"), PureWindowsPath("A"), "a",
    dt.date(2026, 1, 1), Day.FIRST, NAIVE.replace(hour=0), dt.timedelta(1), dt.timedelta(hours=24),
    UTC_NOON,
    UTC_NOON.astimezone(EAST), NAIVE, NOON, dt.time(14, tzinfo=EAST), dt.time(12),
    dt.datetime.min.replace(tzinfo=EAST), dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=2))),
    FIRST, SECOND, FIRST.replace(tzinfo=None), SECOND.replace(tzinfo=None),
    uuid.UUID(int=1), uuid.UUID(int=1, is_safe=uuid.SafeUUID.safe), Noted(1), Noted(True, "x"), Noted(2), Caseless("a"),
    Caseless("A"), Caseless("b"), Record(1), Record(1.0, "x"), Record("1"), Packed(1), Packed(True),
    Packed((Noted(1),)),
)  # fmt: skip
"""What a recipe may be given; many of them are equal to another one, or look like it."""


@tool(effects="read")
def look(path: str) -> str:
    """Look."""


@tool(effects="write")
def save(path: str) -> str:
    """Save."""


@resource()
def store(value: object = None):
    yield value


def toolset(value: object, **change: object) -> Toolset:
    return Toolset("t", (attrs.evolve(look, **change), save), resource=store(value))


def test_values_have_one_text_exactly_when_they_are_equal():
    for one in VALUES:
        for other in VALUES:
            same = one == other
            assert hash(one) == hash(other) or not same, (one, other)
            assert (canonical_text(one) == canonical_text(other)) is same, (one, other)


def test_what_is_compared_by_identity_says_its_class_and_not_what_it_holds():
    kept = [1]
    handle = Handle(kept)
    before = Agent("a", tools=toolset(handle))
    assert before.fingerprint
    kept.append(2)

    assert Agent("a", tools=toolset(handle)) == before
    assert Agent("a", tools=toolset(handle)).fingerprint == before.fingerprint


NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1], r"argument 'value' \(list\) is not hashable"),
        (([1],), r"argument 'value' \(tuple\) is not hashable"),
        ({"a": 1}, "is not hashable"),
        (NAN, "argument 'value': nan equals nothing, not even itself; use None"),
        (decimal.Decimal("nan"), "nan equals nothing"),
        (complex(1, NAN), "nan equals nothing"),
        (frozenset({(1, NAN)}), "nan equals nothing"),
        (Noted(NAN), "nan equals nothing"),
        (Record((NAN,)), "nan equals nothing"),
        (Packed(Packed(NAN)), "nan equals nothing"),
    ],
    ids=str,
)
def test_an_argument_that_can_be_changed_or_is_not_itself_is_refused(value, words):
    with pytest.raises(ToolDeclarationError, match=f"resource store: .*{words}"):
        store(value)


def test_a_hashable_value_that_holds_a_list_is_refused():
    """Its class says that its hash leaves the list out, and its equality doesn't."""

    @attrs.frozen
    class Half:
        value: object = attrs.field(hash=False)

    with pytest.raises(ToolDeclarationError, match="argument 'value': a list can be changed; use a tuple"):
        store(Half([1]))


# Agents.

TEXTS = ("", "a", "A", "é", unicodedata.normalize("NFD", "é"), " a", "a\0", "\ud800", "1", "None")

values = st.sampled_from(VALUES)
toolsets = st.one_of(
    values.map(toolset),
    st.builds(
        toolset,
        st.just(1),
        timeout=st.sampled_from((None, 1, 1.0, 2, float("inf"))),
        exclusive=st.booleans(),
        idempotent=st.booleans(),
        approval=st.sampled_from((None, True)),
        effects=st.sampled_from((frozenset(), frozenset(("read",)), frozenset(("read", "write")))),
        description=st.sampled_from(TEXTS[:7]),
    ),
)
counts = st.sampled_from((1, 2, 25, 100, 2**70))
times = st.sampled_from((1, 1.0, 60, 60.0, 600, 600.0, 0.1, float("inf")))
names = st.sampled_from((frozenset(), ("look",), ["look"], {"look", "save"}, ["save", "look", "save"]))
effects = st.sampled_from(((), ("read",), ["read", "write"], {"write", "read"}))
FIELDS = {
    "name": st.sampled_from(TEXTS[1:]),
    "instructions": st.sampled_from(TEXTS),
    "model": st.sampled_from(TEXTS),
    "tools": toolsets,
    "description": st.sampled_from(TEXTS),
    "limits": st.builds(
        Limits, steps=counts, tool_calls=counts, tokens=st.none() | counts, seconds=times, tool_seconds=times,
        result_chars=counts,
    ) | st.just(Limits()),
    "approvals": st.builds(ApprovalPolicy, effects=effects, tools=names, never=names, timeout=times),
    "context": st.builds(ContextPolicy, tokens=st.none() | counts, compact=st.booleans()),
    "client_tools": st.sampled_from(("merge", "ignore", "reject", "strict")),
    "search": st.none() | st.builds(ToolSearch, core=names, embeddings=st.none() | st.sampled_from(TEXTS)),
}  # fmt: skip


def test_every_field_is_among_them():
    assert set(FIELDS) == {field.name for field in attrs.fields(Agent)}


@hypothesis.settings(derandomize=True, deadline=None, max_examples=600)
@given(st.fixed_dictionaries({}, optional=FIELDS), st.data())
def test_equality_hash_and_fingerprint_agree(given, data):
    changed = data.draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=2))
    arguments = {"name": "a", "tools": toolset(1), **given}
    one = Agent(**arguments)
    other = Agent(**(arguments | {name: data.draw(FIELDS[name]) for name in sorted(changed)}))

    same = one == other
    assert (other == one) is (one.fingerprint == other.fingerprint) is same
    assert hash(one) == hash(other) or not same
    for twin in (
        attrs.evolve(one),
        copy.copy(one),
        Agent(**{f.name: getattr(one, f.name) for f in attrs.fields(Agent)}),
    ):
        assert (twin, hash(twin), twin.fingerprint) == (one, hash(one), one.fingerprint)


PLAIN = (
    None, True, False, 0, 1, 1.0, -1, NAN, "", "a", "merge", b"a", (), ("a",), [], ["look"], {}, {"look"}, frozenset(),
    Color.RED, Number.ONE, Limits(), ApprovalPolicy(), ContextPolicy(), ToolSearch(), Toolset("t"), look, object(),
    Limits,
)  # fmt: skip
ACCEPTED = {
    "name": lambda value: type(value) is str and value != "",
    "instructions": lambda value: type(value) is str,
    "model": lambda value: type(value) is str,
    "tools": lambda value: type(value) is Toolset,
    "description": lambda value: type(value) is str,
    "limits": lambda value: type(value) is Limits,
    "approvals": lambda value: type(value) is ApprovalPolicy,
    "context": lambda value: type(value) is ContextPolicy,
    "client_tools": lambda value: type(value) is str and value in ("merge", "ignore", "reject", "strict"),
    "search": lambda value: value is None or type(value) is ToolSearch,
}


@pytest.mark.parametrize("field", attrs.fields(Agent), ids=lambda field: field.name)
def test_a_field_takes_what_it_is_declared_to_take_and_nothing_else(field):
    from gaia_core import ConfigError

    for value in PLAIN:
        if ACCEPTED[field.name](value):
            assert getattr(Agent(**{"name": "a", field.name: value}), field.name) is value
        else:
            named = "an agent's name" if field.name == "name" else f"agent 'a': {field.name}"
            with pytest.raises(ConfigError, match=f"{named} must be "):
                Agent(**{"name": "a", field.name: value})
