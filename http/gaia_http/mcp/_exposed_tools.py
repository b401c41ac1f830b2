"""Offer: which tools an MCP server has. Each agent is a tool that takes a task; a toolset's tools are its own.

It is composed of the catalog as it is at each request, so a reload shows at once, and of what the caller may use.
"""

from collections.abc import Mapping
from pathlib import Path

import attrs

from gaia_core import Agent, ApprovalPolicy, Catalog, ConfigError, Limits, Toolset
from gaia_core.catalog import Plugin, make_toolset
from gaia_core.frozen_types import made_once, typed
from gaia_core.tools import nearest
from gaia_core.turn import MOST_CHARS
from gaia_http.door._caller import Caller

SERVED = "mcp"
"""The name of the agent whose tools are the server's."""

NEEDED = "an MCP server needs the MCP SDK: pip install 'gaia-server-http[mcp]'"

_OF_AGENT = "agent:"


@attrs.frozen(field_transformer=typed)
class ExposedTools:
    """What is served. *agents*: as a tool each (None: all of the catalog); *tools_of*: agents whose own tools are
    served; *toolsets*: further tools, for keys that may use every agent."""

    __attrs_pre_init__ = made_once

    agents: tuple[str, ...] | None = None
    tools_of: tuple[str, ...] = ()
    toolsets: tuple[Toolset, ...] = ()

    def agent(self, catalog: Catalog, caller: Caller) -> Agent:
        """The agent that has all tools that *caller* may use. Raises ConfigError, NotFoundError, ToolCollisionError."""
        named = self.agents if self.agents is not None else tuple(agent.name for agent in catalog.agents)
        tools = Toolset("agents", [catalog.agent(name).as_tool() for name in named if caller.may_use(name)])
        sources = [catalog.agent(name) for name in self.tools_of if caller.may_use(name)]
        for each in sources:
            tools |= each.tools
        if caller.agents is None:
            for toolset in self.toolsets:
                tools |= toolset
        seconds = [agent.limits.tool_seconds for agent in sources]
        limits = Limits(
            seconds=max([agent.limits.seconds for agent in catalog.agents], default=600.0),
            tool_seconds=max(seconds, default=60.0),
            result_chars=MOST_CHARS,
        )
        return Agent(
            SERVED,
            model=catalog.agent(catalog.default_agent).model,
            tools=tools,
            limits=limits,
            approvals=_strictest(tuple(agent.approvals for agent in sources)),
        )


def _strictest(policies: tuple[ApprovalPolicy, ...]) -> ApprovalPolicy:
    """What any of *policies* asks for; only one alone can waive it."""
    if len(policies) == 1:
        return policies[0]
    return ApprovalPolicy(
        effects=frozenset(effect for policy in policies for effect in policy.effects),
        tools=frozenset(name for policy in policies for name in policy.tools),
        timeout=min((policy.timeout for policy in policies), default=ApprovalPolicy().timeout),
    )


def offer_of(
    agents: tuple[str, ...], toolsets: tuple[str, ...], catalog: Catalog, plugins: Mapping[str, Plugin], folder: Path
) -> ExposedTools:
    """The offer that somebody names: agents, and toolsets (`NAME`: an installed one as it is without arguments;
    `agent:NAME`: the tools of that agent, as configured). Without any: all agents.

    Raises ConfigError, NotFoundError, ToolCollisionError.
    """
    of_agents = tuple(name.removeprefix(_OF_AGENT) for name in toolsets if name.startswith(_OF_AGENT))
    made: list[Toolset] = []
    for name in toolsets:
        if name.startswith(_OF_AGENT):
            continue
        if (plugin := plugins.get(name)) is None:
            raise ConfigError(
                f"there is no toolset {name!r}.{nearest(name, plugins)} Installed: {', '.join(sorted(plugins))}; "
                "agent:NAME are an agent's tools, as configured"
            )
        made.append(make_toolset(plugin, {}, f"--toolset {name}", folder))
    offer = ExposedTools(agents if agents or toolsets else None, of_agents, tuple(made))
    offer.agent(catalog, Caller())
    return offer
