"""`gaia serve`: the command. Its options and the environment become a process, see `process`.

Logging is configured only here.
"""

import asyncio
import os
from pathlib import Path
from typing import IO, cast

import attrs
import click

from gaia_core import Catalog, ConfigError, JournalError, NotFoundError
from gaia_core.catalog import find_plugins, load_catalog, with_model
from gaia_core.journal.from_url import data_folder, journal_from_url
from gaia_core.private_files import make_private
from gaia_http._settings import Settings, is_loopback
from gaia_http.keys import keyring_at
from gaia_http.mcp._exposed_tools import ExposedTools, offer_of
from gaia_http.operations._logs import LogContext, LogFormat
from gaia_http.operations._telemetry_export import export_from
from gaia_http.server._logged_command import LoggedCommand, SaidLines, configure, sayer
from gaia_http.server.process import listen, loop_factory, run_server

_LEVELS = ("debug", "info", "warning", "error")
_DEFAULTS = Settings()


@click.command(cls=LoggedCommand)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The configuration file. Default: gaia.toml in the current folder; without one, the agent `assistant`.",
)
@click.option("--host", default=_DEFAULTS.host, show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=_DEFAULTS.port, show_default=True, type=click.IntRange(0, 65_535), help="0: any free port."
)
@click.option(
    "--allowed-host", "allowed_hosts", multiple=True, help="Accept requests with this Host header, too (repeatable)."
)
@click.option(
    "--allowed-origin",
    "allowed_origins",
    multiple=True,
    help="Allow web pages of this origin to call the server from a browser (repeatable).",
)
@click.option(
    "--max-connections",
    default=_DEFAULTS.max_connections,
    show_default=True,
    type=click.IntRange(1),
    help="Connections at once; beyond that, idle ones are closed, then new ones get status 503.",
)
@click.option(
    "--max-connections-per-address",
    default=_DEFAULTS.max_connections_per_address,
    show_default=True,
    type=click.IntRange(1),
    help="The same for one client address (IPv6: /64 network). Connections of this machine are not counted.",
)
@click.option(
    "--proxy-address",
    "proxy_addresses",
    multiple=True,
    metavar="ADDRESS",
    help="A reverse proxy's address, or network: its connections are not counted by address (repeatable).",
)
@click.option(
    "--keys",
    "key_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The key file, see gaia keys. Default: GAIA_KEYS, or keys.json in the user's data folder, if it exists.",
)
@click.option(
    "--fetch-urls",
    "fetch_hosts",
    multiple=True,
    metavar="HOST",
    help="Fetch images and files by their URLs in requests, from this host (*.NAME: its subdomains, too; *: any public "
    "host; repeatable). Default: fetch none.",
)
@click.option(
    "--drain-seconds",
    default=_DEFAULTS.drain_seconds,
    show_default=True,
    type=click.FloatRange(0),
    help="Time for running turns to end on shutdown.",
)
@click.option(
    "--activity/--no-activity",
    default=True,
    help="Show calls of the agents' own tools as reasoning. [default: activity]",
)
@click.option(
    "--journal",
    metavar="PLACE",
    help="Where sessions are kept: a file, a postgresql:// URL, or memory. Default: GAIA_JOURNAL, or journal.sqlite in "
    "the user's data folder.",
)
@click.option(
    "--ui-dist",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Serve the built single-page client in this folder at /.",
)
@click.option("--mcp", is_flag=True, help="Serve the agents to MCP clients at /mcp, too (streamable HTTP).")
@click.option(
    "--mcp-agent",
    "mcp_agents",
    multiple=True,
    metavar="NAME",
    help="Expose only this agent at /mcp (repeatable); see `gaia mcp --agent`.",
)
@click.option(
    "--mcp-toolset",
    "mcp_toolsets",
    multiple=True,
    metavar="NAME",
    help="Expose this toolset at /mcp (repeatable); see `gaia mcp --toolset`.",
)
@click.option("--log-level", default="warning", show_default=True, type=click.Choice(_LEVELS))
@click.option("--log-format", default="text", show_default=True, type=click.Choice(("text", "json")))
def serve(
    config: Path | None,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    allowed_origins: tuple[str, ...],
    max_connections: int,
    max_connections_per_address: int,
    proxy_addresses: tuple[str, ...],
    key_path: Path | None,
    fetch_hosts: tuple[str, ...],
    drain_seconds: float,
    activity: bool,  # click passes it by name
    journal: str | None,
    ui_dist: Path | None,
    mcp: bool,
    mcp_agents: tuple[str, ...],
    mcp_toolsets: tuple[str, ...],
    log_level: str,
    log_format: LogFormat,
) -> None:
    """Serve the agents to OpenAI clients and the web page. Other machines need an API key (`gaia keys create`)."""
    log = LogContext()
    configure(log_level, log_format, log)
    try:
        keyring = keyring_at(key_path, os.environ)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if not is_loopback(host) and not keyring.required:
        raise click.ClickException(
            f"--host {host}: there are no keys, so only this machine is served (127.0.0.1, ::1, localhost). "
            "To serve others, run gaia keys create NAME, or set GAIA_API_KEY"
        )
    try:
        settings = Settings(
            host=host,
            port=port,
            allowed_origins=allowed_origins,
            max_connections=max_connections,
            max_connections_per_address=max_connections_per_address,
            proxy_addresses=(*_DEFAULTS.proxy_addresses, *proxy_addresses),
            fetch_hosts=fetch_hosts,
            drain_seconds=drain_seconds,
            show_activity="reasoning" if activity else "off",
            data=data_folder(os.environ),
            ui_dist=ui_dist,
        )
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if allowed_hosts:
        settings = attrs.evolve(settings, allowed_hosts=(*sorted(settings.hosts), *allowed_hosts))
    if settings.data is not None:
        make_private(settings.data)
    try:
        catalog = load_catalog(config, environ=os.environ, cwd=Path.cwd())
        kept = journal_from_url(journal, os.environ)
        offer = _offer(catalog, mcp_agents, mcp_toolsets) if mcp or mcp_agents or mcp_toolsets else None
    except (ConfigError, NotFoundError) as error:
        raise click.ClickException(str(error)) from error

    async def load() -> Catalog:
        found = await asyncio.to_thread(load_catalog, config, environ=os.environ, cwd=Path.cwd())
        return await with_model(found, environ=os.environ)

    with listen(settings) as listening, asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            serving = run_server(
                catalog,
                settings,
                listening,
                journal=kept,
                keyring=keyring,
                load=load,
                log=log,
                export=export_from(os.environ),
                offer=offer,
                say=(say := sayer(log_format)),
                progress=cast("IO[str]", SaidLines(say)) if log_format == "json" else None,
            )
            runner.run(serving)
        except (ConfigError, JournalError) as error:
            raise click.ClickException(str(error)) from error


def _offer(catalog: Catalog, agents: tuple[str, ...], toolsets: tuple[str, ...]) -> ExposedTools:
    plugins, _ = find_plugins(os.environ.get("GAIA_PLUGINS", ""), toolsets)
    return offer_of(agents, toolsets, catalog, plugins, Path.cwd())
