"""`gaia mcp`: the agents and toolsets of this machine as an MCP server over stdio, for the program that started it."""

import asyncio
import logging.config
import os
import sys
from pathlib import Path

import click

from gaia_core import Catalog, ConfigError, Runtime
from gaia_core.catalog import find_plugins, load_catalog, with_model
from gaia_core.cli._config_option import config_option
from gaia_core.cli.terminal._echo import echo
from gaia_http.door._caller import LOCAL
from gaia_http.mcp._exposed_tools import NEEDED, ExposedTools, offer_of
from gaia_http.operations._logs import LogContext, logging_config


@click.command()
@config_option
@click.option("--agent", "agents", multiple=True, metavar="NAME", help="Expose this agent as a tool (repeatable).")
@click.option(
    "--toolset",
    "toolsets",
    multiple=True,
    metavar="NAME",
    help="Expose the tools of this toolset, with its default arguments, for the current folder; agent:NAME: the tools "
    "of an agent, as configured (repeatable).",
)
def mcp(config: Path | None, agents: tuple[str, ...], toolsets: tuple[str, ...]) -> None:
    """Serve agents and toolsets to an MCP client over stdio. Without options: every agent.

    The agents' limits and approvals apply. A call that needs approval asks the client's user, if the client supports
    elicitation; else it is denied. For MCP over HTTP, run `gaia serve --mcp`.
    """
    logging.config.dictConfig(dict(logging_config("warning", "text", LogContext(), sys.stderr)))
    catalog = load_catalog(config, environ=os.environ, cwd=Path.cwd())
    for problem in catalog.problems:
        echo(f"problem: {problem.source}: {problem.message}", err=True)
    plugins, _ = find_plugins(os.environ.get("GAIA_PLUGINS", ""), toolsets)
    offer = offer_of(agents, toolsets, catalog, plugins, Path.cwd())
    asyncio.run(_serve(catalog, offer))


async def _serve(catalog: Catalog, offer: ExposedTools) -> None:
    try:
        from mcp.server.stdio import stdio_server  # noqa: PLC0415  # two seconds, which only a server pays
    except ImportError as error:
        raise ConfigError(NEEDED) from error
    from gaia_http.mcp._nesting_limit import NestingFilter  # noqa: PLC0415
    from gaia_http.mcp._server import make_server  # noqa: PLC0415

    async with Runtime(await with_model(catalog, environ=os.environ), takes_over=False) as runtime:
        server = make_server(runtime, offer, lambda _ctx: LOCAL)
        async with stdio_server() as (incoming, outgoing):
            await server.run(NestingFilter(incoming, outgoing), outgoing, server.create_initialization_options())
