"""Law 2: a walk over everything that an agent reaches finds nothing that can be changed.

The walk is the one that authors of toolsets get: `gaia_core.testing`.
"""

import enum
import functools
import typing
from importlib.metadata import entry_points
from pathlib import Path

import attrs
import msgspec
import pytest

from gaia_core import Agent, ApprovalPolicy, ConfigError, Context, Limits, Toolset, doc, load_catalog, resource, tool
from gaia_core.testing import _immutability as _frozen
from gaia_core.tools import Source

NEEDED = {"mcp": {"command": ("a-server",), "env": {"MY_TOKEN": "env:MY_TOKEN"}}}
"""What a toolset can't be made without."""


def mutable(value: object) -> list[str]:
    return list(_frozen.mutable(value, "agent"))


class Color(enum.Enum):
    RED = "red"


class Point(msgspec.Struct, frozen=True):
    x: int = 0


class Node(msgspec.Struct):
    children: "list[Node]" = []


@resource(scope="session")
def folder(root: Path, options: tuple[Point, ...] = ()):
    yield root


def typed_tools() -> Toolset:
    """A toolset that uses all that a tool can be made of."""
    word = "closure"

    @tool(effects="read", timeout=3)
    def sync(
        ctx: Context[Path],
        color: Color,
        node: Node | None = None,
        point: Point = Point(1),  # noqa: B008  # a frozen value
        size: typing.Annotated[int | None, doc("Size", ge=1, examples=(1, 2))] = None,
        names: frozenset[str] = frozenset({"a"}),
        path: Path = Path("a"),
    ) -> str:
        """Do."""
        return word

    @tool
    async def later(x: dict[str, list[int]]) -> str:
        """Do later."""

    recipe = folder(Path("a"), (Point(1),))
    return Toolset("t", (sync, later), instructions="Use {sync} before {later}.", resource=recipe)


def agent() -> Agent:
    tools = typed_tools().prefixed("x_").renamed(x_sync="now").described(now="Do now.").approving("now")
    inner = Agent("inner", tools=typed_tools().with_instructions("More."))
    made = Agent(
        "outer",
        instructions="Be kind.",
        tools=tools | Toolset("team", (inner.as_tool(),)),
        limits=Limits(steps=3),
        approvals=ApprovalPolicy(effects={"write"}, tools=["now"]),
    )
    assert made.fingerprint
    assert made.system_text
    return made


def test_an_agent_reaches_nothing_that_can_be_changed():
    assert list(mutable(agent())) == []


def test_an_agent_is_the_same_before_and_after_use():
    """What is kept at first use is found by the walk, and is no part of the value."""
    used, unused = Agent("a", tools=typed_tools()), Agent("a")
    assert used.fingerprint
    assert "fingerprint" in _frozen.names(used)
    assert list(mutable(used)) == list(mutable(unused)) == []


@pytest.mark.parametrize("point", entry_points(group="gaia.toolsets"), ids=lambda point: point.name)
def test_installed_toolsets_reach_nothing_that_can_be_changed(point):
    made = point.load()(**NEEDED.get(point.name, {}))

    assert list(mutable(made if isinstance(made, Source) else Agent("a", tools=made))) == []


def test_the_default_catalogs_agents_reach_nothing_that_can_be_changed(tmp_path):
    catalog = load_catalog(None, environ={}, cwd=tmp_path)

    assert catalog.agents
    assert [found for made in catalog.agents for found in mutable(made)] == []


# The walk finds what is planted.


@attrs.define
class Counter:
    count: int = 0


@attrs.frozen
class Holder:
    kept: object


@attrs.frozen(slots=False)
class Loose:
    kept: object = None


class Handler:
    def __init__(self) -> None:
        self.calls = []

    def __call__(self, x: int) -> int:
        """Call."""

    def method(self, x: int) -> int:
        """Call."""


def closing_over(kept: object):
    def f(x: int) -> object:
        """Do."""
        return kept

    return tool(f)


def with_default(kept: object):
    def f(x: int, *, _kept: int = 0) -> None:
        """Do."""

    made = tool(f)
    f.__kwdefaults__ = {"_kept": kept}
    return made


def with_attribute():
    made = closing_over(1)
    made.handler.seen = []
    return made


def in_a_recipe(kept: object) -> Agent:
    return Agent("a", tools=Toolset("t", (closing_over(1),), resource=folder(kept)))


@pytest.mark.parametrize(
    "kept",
    [[], {}, set(), bytearray(), Counter(), Holder([]), (1, [2]), object()],
    ids=lambda kept: type(kept).__name__,
)
def test_a_planted_mutable_is_found(kept):
    for made in (closing_over(kept), with_default(kept)):
        assert list(mutable(Agent("a", tools=Toolset("t", (made,)))))
    assert list(mutable(Holder(Holder(kept))))
    with pytest.raises(ConfigError):
        Agent("a", instructions=kept)


@pytest.mark.parametrize(
    "plant",
    [
        lambda: Agent("a", tools=Toolset("t", (with_attribute(),))),
        lambda: Agent("a", tools=Toolset("t", (tool(name="f")(Handler()),))),
        lambda: Agent("a", tools=Toolset("t", (tool(Handler().method),))),
        lambda: in_a_recipe(object()),
        lambda: Holder(functools.partial(print, [])),
    ],
)
def test_a_planted_object_is_found(plant):
    assert list(mutable(plant()))


def test_a_finding_says_where():
    made = Agent("a", tools=Toolset("t", (closing_over({}),)))

    assert "agent.tools.members[0].tool.handler closure: dict" in list(mutable(made))
