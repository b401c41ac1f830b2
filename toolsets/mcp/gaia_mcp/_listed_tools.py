"""What a server lists → a Toolset: schemas unchanged, hints as effects, its instructions, resources and prompts."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from gaia_core import Context, Recipe, Toolset, tool
from gaia_core.errors import ToolDeclarationError
from gaia_core.tools import EFFECTS, Effect, Parameters, Tool
from gaia_mcp._connection_protocol import ConnectionProtocol
from gaia_mcp._input_schemas import BadSchemaError, SchemaValidator, encoded
from gaia_mcp._resources_and_prompts import get_prompt, list_prompts, list_resources, read_resource
from gaia_mcp._server_config import McpServerConfig

if TYPE_CHECKING:
    import mcp_types

_ALL = frozenset(EFFECTS)
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_NAME_CHARS = 64
_MOST_DESCRIPTION = 16_000
_MOST_INSTRUCTIONS = 8_000


@attrs.frozen
class ListedTools:
    """What a server said of itself. *problems* are tools that had to be left out, each with its reason."""

    toolset: Toolset
    problems: tuple[str, ...] = ()


@attrs.frozen
class Remote:
    """The handler of a server's tool. A value: equal names make equal handlers."""

    name: str
    """As the server calls it."""

    async def __call__(self, ctx: Context[ConnectionProtocol], arguments: dict[str, Any]) -> str:
        """Call it there; the result as the model reads it."""
        return await ctx.resource.call_tool(ctx, self.name, arguments)


def toolset_of(
    server: McpServerConfig,
    resource: Recipe,
    tools: "Iterable[mcp_types.Tool]",
    *,
    instructions: str = "",
    resources: bool = False,
    prompts: bool = False,
) -> ListedTools:
    """The toolset of *server*, which lists *tools*, over *resource*; *resources*, *prompts*: the server has some."""
    made: dict[str, Tool] = {}
    problems: list[str] = []
    for each in tools:
        try:
            found = _tool(server, each)
        except (BadSchemaError, ToolDeclarationError) as error:
            problems.append(f"the tool {each.name[:80]!r} is left out: {error}")
            continue
        if found.name in made:
            problems.append(f"the tool {each.name[:80]!r} is left out: another one is called {found.name!r} here")
            continue
        made[found.name] = found
    for extra in _extras(server, resources=resources and server.extras, prompts=prompts and server.extras):
        made.setdefault(extra.name, extra)
    text = instructions.strip()[:_MOST_INSTRUCTIONS].replace("{", "{{").replace("}", "}}")
    toolset = Toolset(f"mcp:{server.name}", made.values(), instructions=text, resource=resource)
    return ListedTools(toolset, tuple(problems))


def _tool(server: McpServerConfig, given: "mcp_types.Tool") -> Tool:
    schema = encoded(given.input_schema, server.max_schema_bytes)
    description = given.description or ""
    if len(description) > _MOST_DESCRIPTION:
        raise BadSchemaError(
            f"its description has {len(description)} characters; at most {_MOST_DESCRIPTION} are taken"
        )
    hints = given.annotations
    return Tool(
        _UNFIT.sub("_", given.name)[:_NAME_CHARS],
        description,
        Parameters(schema, context="ctx", check=SchemaValidator(schema)),
        Remote(given.name),
        server.effects if server.effects is not None else effects_of(hints),
        server.timeout,
        idempotent=bool(hints is not None and (hints.idempotent_hint or hints.read_only_hint)),
    )


def effects_of(hints: "mcp_types.ToolAnnotations | None") -> frozenset[Effect]:
    """What a tool may do, by its hints; the worst where they say nothing, as the protocol's own defaults are.

    `readOnlyHint` takes away writing and executing, `destructiveHint = false` executing, `openWorldHint = false` the
    network.
    """
    if hints is None:
        return _ALL
    effects = set(_ALL)
    if hints.read_only_hint:
        effects -= {"write", "execute"}
    if hints.destructive_hint is False:
        effects.discard("execute")
    if hints.open_world_hint is False:
        effects.discard("network")
    return frozenset(effects)


def _extras(server: McpServerConfig, *, resources: bool, prompts: bool) -> tuple[Tool, ...]:
    """A server's resources and prompts, as tools that read."""
    found: list[Tool] = []
    effects = server.effects if server.effects is not None else frozenset[Effect]({"read", "network"})
    if resources:
        described = f"List the resources of {server.name}, or read the one with the given uri."
        found.append(tool(name=f"{server.name}_resource", description=described, effects=effects)(_resource))
    if prompts:
        described = f"List the prompts of {server.name}, or get the one with the given name, filled in."
        found.append(tool(name=f"{server.name}_prompt", description=described, effects=effects)(_prompt))
    return tuple(found)


async def _resource(ctx: Context[Any], uri: str | None = None) -> str:
    if uri is None:
        return await list_resources(ctx.resource, ctx)
    return await read_resource(ctx.resource, ctx, uri)


async def _prompt(ctx: Context[Any], name: str | None = None, arguments: dict[str, str] | None = None) -> str:
    if name is None:
        return await list_prompts(ctx.resource, ctx)
    return await get_prompt(ctx.resource, ctx, name, arguments or {})
