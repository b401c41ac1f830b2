"""Fingerprints: what a model sees of a toolset and nothing else, equal in every process and with every hash seed."""

import enum
import subprocess
import sys
import textwrap
from typing import Annotated

import pytest

from gaia_core import Context, Toolset, doc, resource, tool


@resource(scope="session")
def folder(root: str):
    yield root


def read(path: str) -> str:
    """Read."""


def base(function=read, *, origin: str = "t", instructions: str = "Use {read}.", root: str = "a", **options) -> str:
    made = tool(**{"name": "read", "description": "Read.", **options})(function)
    return Toolset(origin, (made,), instructions=instructions, resource=folder(root)).fingerprint


def same_to_a_model(ctx: Context[str], path: str) -> bytes:
    """Another handler, another docstring."""


@pytest.mark.parametrize(
    "options",
    [
        {"function": same_to_a_model}, {"origin": "other"}, {"root": "b"}, {"effects": "read"}, {"timeout": 3},
        {"exclusive": True}, {"idempotent": True}, {"approval": True},
    ],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_what_a_model_does_not_see_does_not_show(options):
    assert base(**options) == base()


class Kind(enum.Enum):
    A = "a"
    B = "b"


class Back(enum.Enum):
    B = "b"
    A = "a"


def other_name(file: str) -> str: ...
def other_type(path: int) -> str: ...
def other_default(path: str = "a") -> str: ...
def second_default(path: str = "b") -> str: ...
def more(path: str, limit: int = 1) -> str: ...
def moved(limit: int = 1, *, path: str) -> str: ...
def kinds(path: Kind) -> str: ...
def kinds_back(path: Back) -> str: ...
def described(path: Annotated[str, doc("Where")]) -> str: ...


def test_everything_that_a_model_sees_shows():
    seen = [
        base(), base(name="raed", instructions=""), base(description="Read!"), base(instructions="Use it."),
        base(instructions=""), base(other_name), base(other_type), base(other_default), base(second_default),
        base(more), base(moved), base(kinds), base(kinds_back), base(described),
    ]  # fmt: skip

    assert len(set(seen)) == len(seen)


def test_a_fingerprint_says_how_it_was_made():
    tag, digest = base().split(":")

    assert tag == "t1"
    assert len(bytes.fromhex(digest)) == 32


def test_texts_that_only_together_read_the_same_differ():
    """A description can't run over into the instructions."""
    made = tool(name="f", description="a")(lambda: None)
    one = Toolset("t", (made,), instructions="b")
    two = Toolset("t", (made,)).described(f="a\0b")

    assert one.fingerprint != two.fingerprint


def test_the_order_of_composition_does_not_show():
    tools = [tool(name=name, description=name)(lambda: None) for name in "cab"]
    parts = [Toolset(made.name, (made,), instructions=f"Say {made.name}.") for made in tools]
    a, b, c = parts

    assert len({(a | b | c).fingerprint, (c | b | a).fingerprint, (b | (a | c)).fingerprint}) == 1


PROGRAM = textwrap.dedent(
    """
    import dataclasses, enum, uuid
    from decimal import Decimal
    from pathlib import PurePosixPath
    from typing import Annotated, Literal

    import attrs

    from gaia_core import Agent, ApprovalPolicy, Limits, Toolset, doc, resource, tool

    class Kind(enum.Enum):
        B = "b"
        A = "a"

    @attrs.frozen
    class Options:
        names: frozenset[str] = frozenset({"x", "y", "z", "w"})

    @dataclasses.dataclass(frozen=True)
    class More:
        id: uuid.UUID = uuid.UUID(int=7)

    @resource(scope="process")
    def store(root, options, more, price, names):
        yield root

    @tool(effects={"network", "read", "write"})
    def find(
        kind: Kind,
        tags: frozenset[str] = frozenset({"d", "c", "b", "a"}),
        numbers: frozenset[int] = frozenset({99, 3, 17}),
        size: Annotated[Literal["small", "large"] | None, doc("Size")] = None,
        root: PurePosixPath | None = None,
    ) -> str:
        "Find."

    @tool(effects={"execute", "read"})
    async def run(words: dict[str, set[int]]) -> str:
        "Run."

    recipe = store(PurePosixPath("/data"), Options(), More(), Decimal("1.5"), frozenset({"p", "q", "r"}))
    tools = Toolset("t", (run, find), instructions="Use {find} before {run}.", resource=recipe).prefixed("x_")
    inner = Agent("inner", tools=tools)
    agent = Agent(
        "outer",
        instructions="Be kind.",
        tools=tools | Toolset("team", (inner.as_tool(),)),
        limits=Limits(steps=3),
        approvals=ApprovalPolicy(effects={"write", "execute"}, tools={"a", "b", "c"}, never={"d", "e"}),
    )
    print(tools.fingerprint, agent.fingerprint, inner.fingerprint, *(made.definition.encoded for made in tools))
    """
)


def printed(seed: str) -> bytes:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return result.stdout


def test_fingerprints_are_equal_in_every_process_and_with_every_hash_seed():
    first, *others = [printed(seed) for seed in ("0", "1", "4242")]

    assert first.startswith(b"t1:")
    assert others == [first, first]
