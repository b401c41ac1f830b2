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

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias, final, get_args

import attrs

from gaia_core.canonical import canonical_text
from gaia_core.errors import ConfigError
from gaia_core.fingerprint import fingerprint_of
from gaia_core.frozen_types import first_problem, is_count, is_seconds, made_once, shown, typed
from gaia_core.tools import EFFECTS, Bound, Context, Effect, Tool, ToolIndex, Toolset, doc, effects_text, nearest, tool

ClientTools: TypeAlias = Literal["merge", "ignore", "reject", "strict"]

NO_TOOLS = Toolset("none")


@attrs.frozen(kw_only=True, field_transformer=typed)
class Limits:
    """What a turn may use, its sub-agents included. ConfigError for what isn't above 0.

    | limit | unit | at the limit |
    |---|---|---|
    | steps | model requests | the turn ends with `LimitReached` |
    | tool_calls | calls | the same |
    | tokens | input and output together; None: no limit | the same |
    | seconds | wall clock of the turn, waiting for people left out | the same |
    | tool_seconds | a call without a timeout of its own | the call ends, the model receives an error |
    | result_chars | characters of one result | the result is cut, with a note of how much |
    """

    __attrs_pre_init__ = made_once

    steps: int = attrs.field(default=25, validator=is_count)
    tool_calls: int = attrs.field(default=100, validator=is_count)
    tokens: int | None = attrs.field(default=None, validator=is_count)
    seconds: float = attrs.field(default=600.0, validator=is_seconds)
    tool_seconds: float = attrs.field(default=60.0, validator=is_seconds)
    result_chars: int = attrs.field(default=30_000, validator=is_count)


def _frozenset(values: Any) -> Any:
    """*values* as a frozenset. What can't be one stays as it is, for the field's check to refuse."""
    if isinstance(values, str):
        return values
    try:
        return frozenset(values)
    except TypeError:  # no collection, or something in it can be changed
        return values


def _names(values: Iterable[str]) -> frozenset[str]:
    names: frozenset[str] = _frozenset(values)
    return names


def _effects(values: Iterable[Effect]) -> frozenset[Effect]:
    given = _frozenset(values)
    for effect in given if isinstance(given, frozenset) else ():
        if type(effect) is str and effect not in EFFECTS:
            raise ConfigError(
                f"ApprovalPolicy.effects: unknown effect {effect!r}.{nearest(effect, EFFECTS)} "
                f"Effects: {', '.join(EFFECTS)}"
            )
    effects: frozenset[Effect] = given
    return effects


@attrs.frozen(kw_only=True, field_transformer=typed)
class ApprovalPolicy:
    """Which calls a person must approve, after their arguments were validated.

    A call needs approval when its tool has one of *effects*, is named in *tools*, or was declared so; *never* names
    tools that need none, whatever their effects. With no client to ask, and after *timeout* seconds, the call is
    denied and its result tells the model why (law 13).
    """

    __attrs_pre_init__ = made_once

    effects: frozenset[Effect] = attrs.field(default=frozenset(), converter=_effects)
    tools: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    never: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    timeout: float = attrs.field(default=300.0, validator=is_seconds)

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


@attrs.frozen(kw_only=True, field_transformer=typed)
class ContextPolicy:
    """How much of a conversation a model is sent: at most *tokens* (None: what the model's window holds, if known).

    *compact*: when a session has more, its older part is put into a summary, which the model makes; nothing is
    deleted. Else, and where the conversation is the caller's own, the newest messages that fit are sent, never a
    tool's result without its call.
    """

    __attrs_pre_init__ = made_once

    tokens: int | None = attrs.field(default=None, validator=is_count)
    compact: bool = True


@attrs.frozen(kw_only=True, field_transformer=typed)
class ToolSearch:
    """A model is sent the tools called *core* only, and `find_tools`, which loads others for the session.

    It finds them by words; with *embeddings*, the name of a model that makes vectors, by meaning too.
    """

    __attrs_pre_init__ = made_once

    core: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    embeddings: str | None = None


FIND_TOOLS = "find_tools"

_CLIENT_TOOLS = get_args(ClientTools)
_LIMITS = Limits()
_APPROVALS = ApprovalPolicy()
_CONTEXT = ContextPolicy()


class _Open:
    """An agent while it is filled: it has the same slots, and isn't frozen yet.

    A plain write costs 5 ns, `object.__setattr__`, by which attrs fills a frozen value, 35 ns, and an agent has ten
    fields: with all checks it is made in 0.3 µs, and as attrs would make it, like `Limits`, in 1.3 µs.
    """

    __slots__ = (
        "__weakref__", "approvals", "client_tools", "context", "core", "description", "fingerprint", "instructions",
        "limits", "model", "name", "search", "system_hash", "system_text", "tool_index", "tools",
    )  # fmt: skip


@final
@attrs.frozen(field_transformer=typed)
class Agent(_Open):
    """A name, instructions, a model's name, one composed toolset, and policies.

    *model* is a name in the catalog. *client_tools* says what becomes of tools that a client brings:

    | value | the client's tools | one with the name of an agent's own |
    |---|---|---|
    | `merge` | are offered beside the agent's own | replaces the agent's for that turn; see `ToolsReplaced` |
    | `strict` | are offered beside the agent's own | the request is refused |
    | `reject` | the request is refused | the same |
    | `ignore` | are not offered | the same |

    *search*: not all tools are sent at once, see `ToolSearch`. Equal content makes equal agents.

    Raises ConfigError for an argument that is of another type than its field. What is in a toolset or a policy was
    checked when that was made.
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

    def __new__(
        cls,
        name: str,
        instructions: str = "",
        model: str = "local",
        tools: Toolset = NO_TOOLS,
        description: str = "",
        limits: Limits = _LIMITS,
        approvals: ApprovalPolicy = _APPROVALS,
        context: ContextPolicy = _CONTEXT,
        client_tools: ClientTools = "merge",
        search: ToolSearch | None = None,
    ) -> "Agent":
        # The fields' own checks in short; `_refusal` has the words. There is no `__init__` that could be called again.
        client: object = client_tools
        if not (
            type(name) is str
            and name
            and type(instructions) is str
            and type(model) is str
            and type(tools) is Toolset
            and type(description) is str
            and type(limits) is Limits
            and type(approvals) is ApprovalPolicy
            and type(context) is ContextPolicy
            and type(client) is str
            and client in _CLIENT_TOOLS
            and (search is None or type(search) is ToolSearch)
        ):
            raise _refusal(
                name=name,
                instructions=instructions,
                model=model,
                tools=tools,
                description=description,
                limits=limits,
                approvals=approvals,
                context=context,
                client_tools=client_tools,
                search=search,
            )
        agent: Any = _Open()
        agent.name = name
        agent.instructions = instructions
        agent.model = model
        agent.tools = tools
        agent.description = description
        agent.limits = limits
        agent.approvals = approvals
        agent.context = context
        agent.client_tools = client_tools
        agent.search = search
        agent.__class__ = cls
        made: Agent = agent
        if search is not None:
            made._check_search(search)
        return made

    def __init_subclass__(cls) -> None:
        raise TypeError(f"class {cls.__name__}: an Agent can't be subclassed; a subclass could change")

    def __getnewargs__(self) -> tuple[str]:
        """For `copy` and `pickle`, which restore the other fields."""
        return (self.name,)

    def _check_search(self, search: ToolSearch) -> None:
        for name in sorted(search.core):
            if name not in self.tools:
                near = nearest(name, self.tools.names)
                raise ConfigError(f"agent {self.name!r}: the core names {name!r}, which is not one of its tools.{near}")
        if FIND_TOOLS in self.tools:
            raise ConfigError(f"agent {self.name!r}: {FIND_TOOLS} is reserved for the tool search; rename that tool")

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
        """The system prompt: the agent's instructions, then those of the tools that are sent to the model."""
        return "\n\n".join(text for text in (self.instructions.strip(), self.core.instructions) if text)

    @cached_property
    def system_hash(self) -> str:
        """`s1:` and the SHA-256 of `system_text`."""
        return fingerprint_of("s1", self.system_text.encode("utf-8", "surrogatepass"))

    @cached_property
    def fingerprint(self) -> str:
        """`a1:` and the SHA-256 of the whole configuration: equal in every process and on every machine.

        It covers the toolset's fingerprint, the agent's own texts and policies, and each tool's effects, flags and
        recipe arguments; not the handlers' code. Computed at first use and kept (law 3): making an agent stays cheap.
        """
        tools = tuple(_bound_facts(member) for member in self.tools.members)
        facts = (self.tools.fingerprint, tools, *attrs.astuple(self, filter=_not_tools, recurse=False))
        return fingerprint_of("a1", canonical_text(facts).encode())

    def as_tool(self, name: str | None = None, description: str | None = None) -> Tool:
        """This agent as a tool of another: the model gives it a task, its answer is the result.

            reader = Agent("reader", tools=files, limits=Limits(steps=6))
            editor = Agent("editor", tools=Toolset("team", (reader.as_tool("ask_reader", "Ask for one fact."),)))

        It runs within the caller's limits, with its own tools only; its effects are those of its tools. *name*
        defaults to the agent's, *description* to the agent's description.
        """
        return tool(
            name=name or self.name.replace(" ", "_"),
            description=description or self.description or f"Give the agent {self.name} a task; returns its answer.",
            effects=self.tools.effects,
            timeout=self.limits.seconds,
        )(Delegate(self))


# What attrs generated tells type checkers what `attrs.evolve` takes. At run time `__new__` does all of it.
del Agent.__init__


def _refusal(**given: object) -> ConfigError:
    """The error for the first of an agent's arguments that its field doesn't take."""
    name, client_tools = given["name"], given["client_tools"]
    if type(name) is not str or not name:
        return ConfigError(f"an agent's name must be a text, not {shown(name)}")
    problem = first_problem({field.name: field.type for field in attrs.fields(Agent)}, given)
    wrong = type(client_tools) is str and problem.startswith("client_tools ")
    near = nearest(str(client_tools), _CLIENT_TOOLS) if wrong else ""
    return ConfigError(f"agent {name!r}: {problem}{near and f'.{near}'}{_instead(problem, given)}")


def _instead(problem: str, given: dict[str, object]) -> str:
    """What to write instead of a tool for a toolset, and a model for its name."""
    if problem.startswith("tools "):
        tools = given["tools"]
        named = (tools,) if isinstance(tools, Tool) else tools if isinstance(tools, list | tuple) else ()
        names = ", ".join(each.name if isinstance(each, Tool) else "…" for each in named) or "…"
        return f"; write tools=Toolset('name', ({names},))"
    if problem.startswith("model ") and hasattr(given["model"], "stream"):
        return "; write a name here, and the model itself in Catalog.of(agent, models={name: model}) or run(…, model=…)"
    return ""


@attrs.frozen(field_transformer=typed)
class Delegate:
    """The handler of an agent that is a tool. A value: equal agents make equal tools."""

    __attrs_pre_init__ = made_once

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


def agents_below(agent: Agent) -> Iterator[Agent]:
    """*agent*, its sub-agents, and theirs."""
    yield agent
    for each in agent.tools:
        if isinstance(each.handler, Delegate):
            yield from agents_below(each.handler.agent)
