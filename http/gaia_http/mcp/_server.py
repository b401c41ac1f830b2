"""The official SDK's server over a runtime: what it lists, and what it calls."""

from collections.abc import Callable
from typing import Any

import mcp_types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from gaia_core import Agent, ClosedError, GaiaError, LimitError, QueueFullError, Runtime
from gaia_core.tools import Tool
from gaia_core.turn import Audience
from gaia_http._version import package_version
from gaia_http.door._caller import Caller, count_request
from gaia_http.mcp._exposed_tools import ExposedTools
from gaia_http.mcp._tool_call import Following, Waiting, answered, can_ask, follow, given

_READS = frozenset(("read", "network"))
_REACHES_OUT = frozenset(("network", "execute"))


def make_server(
    runtime: Runtime, offer: ExposedTools, caller_of: Callable[[ServerRequestContext[Any, Any]], Caller]
) -> Server[Any]:
    """A server of *offer*. *caller_of* says whose a request is."""
    waiting = Waiting()

    def served(ctx: ServerRequestContext[Any, Any]) -> Agent:
        try:
            return offer.agent(runtime.catalog, caller_of(ctx))
        except GaiaError as error:
            raise MCPError(code=mcp_types.INTERNAL_ERROR, message=str(error)) from None

    async def list_tools(
        ctx: ServerRequestContext[Any, Any], _params: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListToolsResult:
        return mcp_types.ListToolsResult(tools=[_told(tool) for tool in served(ctx).tools])

    async def call_tool(
        ctx: ServerRequestContext[Any, Any], params: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult | mcp_types.InputRequiredResult:
        owner = caller_of(ctx).owner
        if params.request_state is not None:
            following = waiting.take(params.request_state, owner)
            if following is None:
                raise MCPError(code=mcp_types.INVALID_PARAMS, message="this call has ended; make it again")
            await answered(following, given(following, params.input_responses))
            return await follow(ctx, following, waiting)
        agent = served(ctx)
        if params.name not in agent.tools:
            raise MCPError(code=mcp_types.INVALID_PARAMS, message=f"Unknown tool: {params.name[:100]}")
        arguments = msgspec.json.encode(params.arguments or {}).decode()
        try:
            if ctx.request is not None:
                count_request(ctx.request.scope)
            turn = await runtime.call(
                agent,
                params.name,
                arguments,
                audience=Audience.INTERACTIVE if can_ask(ctx) else Audience.NOBODY,
                key=owner,
            )
        except (ClosedError, LimitError, QueueFullError) as error:
            raise MCPError(code=mcp_types.INTERNAL_ERROR, message=str(error)) from None
        return await follow(ctx, Following(turn, owner), waiting)

    return Server(
        "gaia", version=package_version(), title="GAIA", on_list_tools=list_tools, on_call_tool=call_tool
    )  # fmt: skip


def _told(tool: Tool) -> mcp_types.Tool:
    """*tool* as clients are sent it: the same schema as a model's, its effects as hints."""
    hints = mcp_types.ToolAnnotations(
        read_only_hint=tool.effects <= _READS,
        destructive_hint=not tool.effects <= _READS,
        idempotent_hint=tool.idempotent,
        open_world_hint=bool(tool.effects & _REACHES_OUT),
    )
    schema = msgspec.json.decode(tool.parameters.schema, type=dict[str, Any])
    return mcp_types.Tool(name=tool.name, description=tool.description, input_schema=schema, annotations=hints)
