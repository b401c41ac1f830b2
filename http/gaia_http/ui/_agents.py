"""Routes of agents and MCP servers: what the catalog holds, as the page shows it."""

from gaia_core import Agent, Runtime
from gaia_core.catalog import Catalog
from gaia_core.tools import Bound
from gaia_http.door._caller import Caller
from gaia_http.ui._request import UIRequest
from gaia_http.ui._response_bodies import AgentInfo, AgentList, AgentTool, McpServer, McpState, McpStatus

_MASK = "•••"

MCP = "mcp:"
"""How the origin of an MCP server's tools begins."""


class AgentRoutes:
    """The routes of one application."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def list(self, call: UIRequest) -> AgentList:
        """The caller's agents."""
        catalog = self._runtime.catalog
        agents = tuple(info_of(catalog, agent) for agent in catalog.agents if call.caller.may_use(agent.name))
        return AgentList(agents, len(agents))

    async def get(self, call: UIRequest) -> AgentInfo:
        """An agent."""
        catalog = self._runtime.catalog
        agent = catalog.agent(call.path("id").strip("/"))
        call.caller.check_agent(agent.name)
        return info_of(catalog, agent)

    async def mcp_servers(self, _call: UIRequest) -> tuple[McpServer, ...]:
        """The configured MCP servers. Of what they are given only the names are shown."""
        return tuple(
            McpServer(
                source.name,
                source.command[0] if source.command else source.url,
                source.command[1:],
                {name: _MASK for name, _ in source.settings},
                enabled=True,
            )
            for source in self._runtime.catalog.sources
        )

    async def mcp_status(self, _call: UIRequest) -> McpStatus:
        """Their states."""
        return McpStatus(
            tuple(
                McpState(state.source.name, state.connected, state.tools, state.problem or None)
                for state in self._runtime.sources
            )
        )


def default_agent(catalog: Catalog, caller: Caller) -> str:
    """The agent that answers the caller where none is named: the catalog's default one, else the first of its own."""
    if caller.may_use(catalog.default_agent):
        return catalog.default_agent
    return next((agent.name for agent in catalog.agents if caller.may_use(agent.name)), catalog.default_agent)


def info_of(catalog: Catalog, agent: Agent) -> AgentInfo:
    """*agent* as the page shows it."""
    tools = tuple(
        AgentTool(member.name, member.tool.description, tuple(sorted(member.tool.effects)), _approval(agent, member))
        for member in agent.tools.members
    )
    return AgentInfo(
        id=agent.name,
        name=agent.name,
        description=agent.description,
        source="builtin",
        conversation_starters=(),
        models=(agent.model,),
        min_memory_gb=None,
        required_connections=(),
        consumes_mcp_servers=any(member.origin.startswith(MCP) for member in agent.tools.members),
        namespaced_agent_id=f"builtin:{agent.name}",
        category="general",
        tags=("default",) if agent.name == catalog.default_agent else (),
        icon="",
        tools_count=len(tools),
        language="python",
        device_configs=(),
        model_tiers=(),
        fingerprint=agent.fingerprint,
        tools=tools,
    )


def _approval(agent: Agent, member: Bound) -> str | None:
    return agent.approvals.reason(member.tool)
