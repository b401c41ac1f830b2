"""Agent: a frozen configuration. Making one from existing toolsets costs about a microsecond and starts nothing.

coder = Agent(
    "coder",
    instructions="You are a careful programmer.",
    model="local",
    tools=files(Path(".")) | shell(allow=("git",)).prefixed("sh_"),
    limits=Limits(steps=30),
)
planner = Agent("planner", tools=Toolset("team", (coder.as_tool(),)))
"""

import dataclasses
import datetime as dt
import decimal
import enum
import hashlib
import uuid
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeAlias, cast

import attrs
import msgspec

from gaia_core.errors import ConfigError
from gaia_core.tools import EFFECTS, Bound, Context, Effect, Tool, ToolIndex, Toolset, doc, effects_text, nearest, tool

ClientTools: TypeAlias = Literal["merge", "ignore", "reject"]

NO_TOOLS = Toolset("none")


def _count(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if type(value) is not int or value <= 0:
        raise ConfigError(f"{type(instance).__name__}.{attribute.name} must be a whole number above 0, not {value!r}")


def _seconds(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if type(value) not in (int, float) or not cast("float", value) > 0:
        raise ConfigError(f"{type(instance).__name__}.{attribute.name} must be seconds above 0, not {value!r}")


_COUNT_OR_NONE = attrs.validators.optional(_count)


@attrs.frozen(kw_only=True)
class Limits:
    """What a turn may use, its sub-agents included. ConfigError for what isn't above 0.

    | limit | unit | at the limit |
    |---|---|---|
    | steps | model requests | the turn ends with `LimitReached` |
    | tool_calls | calls | the same |
    | tokens | input and output together; None: no limit | the same |
    | seconds | wall clock of the turn, waiting for people left out | the same |
    | tool_seconds | a call without a timeout of its own | the call ends, the model is told |
    | result_chars | characters of one result | the result is cut, the model is told how much |
    """

    steps: int = attrs.field(default=25, validator=_count)
    tool_calls: int = attrs.field(default=100, validator=_count)
    tokens: int | None = attrs.field(default=None, validator=_COUNT_OR_NONE)
    seconds: float = attrs.field(default=600.0, validator=_seconds)
    tool_seconds: float = attrs.field(default=60.0, validator=_seconds)
    result_chars: int = attrs.field(default=30_000, validator=_count)


def _effects(values: Iterable[Effect]) -> frozenset[Effect]:
    effects = frozenset(values)
    for effect in effects:
        if effect not in EFFECTS:
            raise ConfigError(
                f"unknown effect {effect!r}.{nearest(str(effect), EFFECTS)} Effects: {', '.join(EFFECTS)}"
            )
    return effects


def _names(values: Iterable[str]) -> frozenset[str]:
    if isinstance(values, str):
        raise ConfigError(f"give the tools' names as a set, not the text {values!r}")
    return frozenset(values)


@attrs.frozen(kw_only=True)
class ApprovalPolicy:
    """Which calls a person must approve, after their arguments were validated.

    A call needs approval when its tool has one of *effects*, is named in *tools*, or was declared so; *never* names
    tools that need none in spite of their effects. With nobody to ask, and after *timeout* seconds, the call is
    denied and the model is told why (law 13).
    """

    effects: frozenset[Effect] = attrs.field(default=frozenset(), converter=_effects)
    tools: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    never: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    timeout: float = attrs.field(default=300.0, validator=_seconds)

    def reason(self, tool: Tool) -> str | None:
        """Why a call of *tool* needs approval, or None when it doesn't."""
        if tool.approval:
            return f"{tool.name} always needs approval"
        if tool.name in self.tools:
            return f"the agent's policy asks for every call of {tool.name}"
        if tool.name in self.never:
            return None
        if asked := self.effects & tool.effects:
            return f"{tool.name} may {effects_text(asked)}"
        return None


@attrs.frozen(kw_only=True)
class ContextPolicy:
    """How much of a conversation a model is sent: at most *tokens* (None: what the model's window holds, if known).

    *compact*: when a session has more, its older part is put into a summary, which the model makes; nothing is
    deleted. Else, and where the conversation is the caller's own, the newest messages that fit are sent, never a
    tool's result without its call.
    """

    tokens: int | None = attrs.field(default=None, validator=_COUNT_OR_NONE)
    compact: bool = True


@attrs.frozen(kw_only=True)
class ToolSearch:
    """A model is sent the tools called *core* only, and `find_tools`, which loads others for the session.

    It finds them by words; with *embeddings*, the name of a model that makes vectors, by meaning too.
    """

    core: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    embeddings: str | None = None


FIND_TOOLS = "find_tools"

_LIMITS = Limits()
_APPROVALS = ApprovalPolicy()
_CONTEXT = ContextPolicy()


@attrs.frozen
class Agent:
    """A name, instructions, a model's name, one composed toolset, and policies.

    *model* is a name in the catalog. *client_tools* says what becomes of tools that a client brings: `merge` beside
    the agent's own, `ignore`, or `reject`. *search*: not all
    tools are sent at once, see `ToolSearch`. Equal content makes equal agents.
    """

    name: str
    instructions: str = ""
    model: str = "local"
    tools: Toolset = NO_TOOLS
    description: str = ""
    limits: Limits = _LIMITS
    approvals: ApprovalPolicy = _APPROVALS
    context: ContextPolicy = _CONTEXT
    client_tools: ClientTools = "merge"
    search: ToolSearch | None = None

    def __attrs_post_init__(self) -> None:
        # Plain comparisons: an agent is made in about a microsecond.
        if not self.name or type(self.name) is not str:
            raise ConfigError(f"an agent's name must be a text, not {self.name!r}")
        if type(self.tools) is not Toolset:
            raise ConfigError(f"agent {self.name!r}: tools must be one Toolset, not {type(self.tools).__name__}")
        if self.client_tools not in ("merge", "ignore", "reject"):
            raise ConfigError(
                f"agent {self.name!r}: client_tools {self.client_tools!r}."
                f"{nearest(str(self.client_tools), ('merge', 'ignore', 'reject'))} Use merge, ignore or reject"
            )
        if self.search is not None:
            self._check_search(self.search)

    def _check_search(self, search: ToolSearch) -> None:
        for name in sorted(search.core):
            if name not in self.tools:
                near = nearest(name, self.tools.names)
                raise ConfigError(f"agent {self.name!r}: the core names {name!r}, which is none of its tools.{near}")
        if FIND_TOOLS in self.tools:
            raise ConfigError(f"agent {self.name!r}: {FIND_TOOLS} is the search's own name; rename that tool")

    @cached_property
    def core(self) -> Toolset:
        """The tools that a model is always sent: all of them, unless there is a search."""
        return self.tools if self.search is None else self.tools.only(*self.search.core)

    @cached_property
    def tool_index(self) -> ToolIndex:
        """What a search over the tools looks into."""
        return ToolIndex.of(self.tools)

    @cached_property
    def system_text(self) -> str:
        """What a model is told first: the agent's instructions, then those of the tools that it is sent."""
        return "\n\n".join(text for text in (self.instructions.strip(), self.core.instructions) if text)

    @cached_property
    def system_hash(self) -> str:
        """`s1:` and the SHA-256 of `system_text`."""
        return f"s1:{hashlib.sha256(self.system_text.encode('utf-8', 'surrogatepass')).hexdigest()}"

    @cached_property
    def fingerprint(self) -> str:
        """`a1:` and the SHA-256 of the whole configuration: equal in every process and on every machine.

        It covers the toolset's fingerprint, the agent's own texts and policies, and each tool's effects, flags and
        recipe arguments; not the handlers' code. Computed at first use and kept (law 3): making an agent stays cheap.
        """
        tools = tuple(_bound_facts(member) for member in self.tools.members)
        facts = (self.tools.fingerprint, tools, *attrs.astuple(self, filter=_not_tools, recurse=False))
        return f"a1:{hashlib.sha256(stable(facts).encode()).hexdigest()}"

    def as_tool(self, name: str | None = None, description: str | None = None) -> Tool:
        """This agent as a tool of another: the model gives it a task, its answer is the result.

        It runs within the caller's limits, with its own tools only; its effects are those of its tools. *name*
        defaults to the agent's, *description* to the agent's description.
        """
        return tool(
            name=name or self.name.replace(" ", "_"),
            description=description or self.description or f"Give the agent {self.name} a task; returns its answer.",
            effects=self.tools.effects,
            timeout=self.limits.seconds,
        )(Delegate(self))


@attrs.frozen
class Delegate:
    """The handler of an agent that is a tool. A value: equal agents make equal tools."""

    agent: Agent

    async def __call__(
        self,
        ctx: Context[Any],
        task: Annotated[str, doc("The task, with everything that is needed to do it")],
    ) -> str:
        """Run the agent on *task* and return its answer."""
        return await ctx.delegate(self.agent, task)


def _not_tools(attribute: "attrs.Attribute[Any]", value: object) -> bool:
    return attribute.name != "tools" and not (attribute.name == "search" and value is None)


def _bound_facts(member: Bound) -> tuple[object, ...]:
    tool = member.tool
    handler = tool.handler.agent.fingerprint if isinstance(tool.handler, Delegate) else None
    recipe = member.resource and (member.resource.name, member.resource.arguments, member.resource.scope)
    return (tool.name, tool.effects, tool.timeout, tool.exclusive, tool.idempotent, tool.approval, handler, recipe)


def stable(value: object) -> str:
    """A text of *value* that is equal wherever the value is: no addresses, no hash order.

    Values made of attrs classes, dataclasses, structs, tuples, frozensets, enums, paths, dates and plain scalars are
    written in full; anything else, functions for example, by its qualified name.
    """
    if value is None or isinstance(value, bytes):
        return repr(value)
    if isinstance(value, str):
        return str.__repr__(value)  # a str that is an enum's member equals its text
    if isinstance(value, int | float | decimal.Decimal):
        return _number(value)
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, tuple | list):
        return f"({', '.join(stable(item) for item in cast('tuple[object, ...]', value))})"
    if isinstance(value, frozenset | set):
        return f"{{{', '.join(sorted(stable(item) for item in cast('frozenset[object]', value)))}}}"
    if isinstance(value, Mapping):
        return stable(tuple(sorted((stable(key), stable(item)) for key, item in value.items())))
    if isinstance(value, PurePath | dt.date | dt.time | dt.timedelta | uuid.UUID):
        return f"{type(value).__name__}({str(value)!r})"
    if attrs.has(type(value)):
        fields: tuple[attrs.Attribute[object], ...] = attrs.fields(cast("type[attrs.AttrsInstance]", type(value)))
        members = ((item.name, getattr(value, item.name)) for item in fields if item.repr is not False)
        return f"{type(value).__qualname__}{stable(tuple(members))}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value) if item.repr)
        return f"{type(value).__qualname__}{stable(tuple(members))}"
    if isinstance(value, msgspec.Struct):
        members = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return f"{type(value).__qualname__}{stable(tuple(members))}"
    return getattr(value, "__qualname__", None) or type(value).__qualname__


def _number(value: float | decimal.Decimal) -> str:
    """1, 1.0 and True are equal, and so are their texts."""
    try:
        numerator, denominator = value.as_integer_ratio()
    except (ValueError, OverflowError):  # infinite, or no number
        return repr(float(value))
    return f"{numerator:x}/{denominator:x}"
