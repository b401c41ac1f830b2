"""Routes of agents and MCP servers: what the catalog holds, as the page shows it."""

from gaia_core import Agent, Runtime
from gaia_core.catalog import Catalog
from gaia_core.tools import Bound
from gaia_http.ui._call import Call
from gaia_http.ui._shapes import AgentInfo, AgentList, AgentTool, McpServer, McpStatus


class Agents:
    """The routes of one application."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def list(self, _call: Call) -> AgentList:
        """The catalog's agents."""
        catalog = self._runtime.catalog
        return AgentList(tuple(info_of(catalog, agent) for agent in catalog.agents), len(catalog.agents))

    async def get(self, call: Call) -> AgentInfo:
        """An agent."""
        catalog = self._runtime.catalog
        return info_of(catalog, catalog.agent(call.path("id").strip("/")))

    async def mcp_servers(self, _call: Call) -> tuple[McpServer, ...]:
        """The configured MCP servers: this version has none."""
        return ()

    async def mcp_status(self, _call: Call) -> McpStatus:
        """Their states."""
        return McpStatus(())


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
        consumes_mcp_servers=False,
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
