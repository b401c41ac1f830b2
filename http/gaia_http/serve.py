"""`gaia serve`: the process around one application. Signals, logging, the garbage collector are set here, nowhere else.

SIGTERM or Ctrl-C: not ready, no new turns, the running ones may end within `drain_seconds`. What is left then stays in
the journal, and the next start goes on with it; without a durable journal it is cancelled. A second signal: at once.
SIGHUP: the configuration is read again (`_reload`).
"""

import asyncio
import gc
import logging
import logging.config
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import attrs
import click

from gaia_core import Catalog, ConfigError, JournalError, NotFoundError, Runtime
from gaia_core.catalog import find_plugins, load_catalog, with_model
from gaia_core.journal import Journal
from gaia_core.journal.place import data_folder, journal_at
from gaia_core.models import Model
from gaia_core.turn import Observers
from gaia_http._export import Export, export_from
from gaia_http._logs import LogContext, LogFormat, logging_config
from gaia_http._presence import present
from gaia_http._reload import Reloader
from gaia_http._settings import Settings, is_loopback
from gaia_http.keys import Keyring, keyring_at
from gaia_http.mcp._offer import Offer, offer_of

if TYPE_CHECKING:
    import uvicorn

_LEVELS = ("debug", "info", "warning", "error")
_KEEP_ALIVE_SECONDS = 75
_CLOSING_SECONDS = 5
_GC_THRESHOLDS = (50_000, 50, 100)
_DEFAULTS = Settings()


@click.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The configuration. Default: gaia.toml in this folder; without one, the agent `assistant`.",
)
@click.option("--host", default=_DEFAULTS.host, show_default=True, help="The address to listen on.")
@click.option("--port", default=_DEFAULTS.port, show_default=True, type=click.IntRange(0, 65_535))
@click.option("--allowed-host", "allowed_hosts", multiple=True, help="A further name that requests may call this host.")
@click.option(
    "--allowed-origin", "allowed_origins", multiple=True, help="A web page's origin that may call from a browser."
)
@click.option(
    "--keys",
    "key_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The key file, see gaia keys. Default: GAIA_KEYS, or keys.json in the user's data folder, if it is there.",
)
@click.option(
    "--fetch-urls",
    "fetch_hosts",
    multiple=True,
    metavar="HOST",
    help="Fetch the URLs of images and files that requests name, from this host (*.NAME: also below it; *: from any "
    "public one). Default: none are fetched.",
)
@click.option("--drain-seconds", default=_DEFAULTS.drain_seconds, show_default=True, type=click.FloatRange(0))
@click.option(
    "--activity/--no-activity", default=True, help="Show the agents' own tools as reasoning. [default: activity]"
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
    help="The folder of a built single-page client, to be served at /.",
)
@click.option("--mcp", is_flag=True, help="Serve the agents to MCP clients, too, at /mcp (streamable HTTP).")
@click.option("--mcp-agent", "mcp_agents", multiple=True, metavar="NAME", help="There, this agent; as of `gaia mcp`.")
@click.option(
    "--mcp-toolset", "mcp_toolsets", multiple=True, metavar="NAME", help="There, this toolset; as of `gaia mcp`."
)
@click.option("--log-level", default="warning", show_default=True, type=click.Choice(_LEVELS))
@click.option("--log-format", default="text", show_default=True, type=click.Choice(("text", "json")))
def serve(
    config: Path | None,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    allowed_origins: tuple[str, ...],
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
    """Serve the agents to any OpenAI client and to GAIA's page: on this machine, and with keys to others."""
    try:
        keyring = keyring_at(key_path, os.environ)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if not is_loopback(host) and not keyring.required:
        raise click.ClickException(
            f"--host {host}: there are no keys, so only this machine is served (127.0.0.1, ::1, localhost). "
            "gaia keys create NAME makes one; or set GAIA_API_KEY"
        )
    settings = Settings(
        host=host,
        port=port,
        allowed_origins=allowed_origins,
        fetch_hosts=fetch_hosts,
        drain_seconds=drain_seconds,
        show_activity="reasoning" if activity else "off",
        data=data_folder(os.environ),
        ui_dist=ui_dist,
    )
    if allowed_hosts:
        settings = attrs.evolve(settings, allowed_hosts=(*sorted(settings.hosts), *allowed_hosts))
    log = LogContext()
    logging.config.dictConfig(dict(logging_config(log_level, log_format, log, sys.stderr)))
    try:
        catalog = load_catalog(config, environ=os.environ, cwd=Path.cwd())
        kept = journal_at(journal, os.environ)
        offer = _offer(catalog, mcp_agents, mcp_toolsets) if mcp or mcp_agents or mcp_toolsets else None
    except (ConfigError, NotFoundError) as error:
        raise click.ClickException(str(error)) from error
    listening = listen(settings)

    async def load() -> Catalog:
        found = await asyncio.to_thread(load_catalog, config, environ=os.environ, cwd=Path.cwd())
        return await with_model(found, environ=os.environ)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
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
                say=click.echo,
            )
            runner.run(serving)
        except (ConfigError, JournalError) as error:
            raise click.ClickException(str(error)) from error


def _offer(catalog: Catalog, agents: tuple[str, ...], toolsets: tuple[str, ...]) -> Offer:
    plugins, _ = find_plugins(os.environ.get("GAIA_PLUGINS", ""))
    return offer_of(agents, toolsets, catalog, plugins, Path.cwd())


async def run_server(
    catalog: Catalog,
    settings: Settings,
    listening: socket.socket,
    *,
    journal: Journal | None = None,
    keyring: Keyring | None = None,
    load: Callable[[], Awaitable[Catalog]] | None = None,
    log: LogContext | None = None,
    export: Export | None = None,
    offer: Offer | None = None,
    say: Callable[[str], object],
) -> None:
    """Serve *catalog* on the socket *listening* until a signal comes. Tells by *say* what it does.

    *journal* keeps the sessions (None: in memory); *keyring* has the keys that open the server (None: it needs none).
    *load* reads the configuration again when SIGHUP asks for it (None: it is not heard).
    *log* hears what log lines are about; *export* takes traces and metrics, and is closed.
    *offer* is what MCP clients get at /mcp (None: there is no such thing).
    """
    from uvicorn import Config  # noqa: PLC0415  # what only a server needs, so that `gaia --help` is quick

    from gaia_http._app import create_app  # noqa: PLC0415
    from gaia_http._protocol import BoundedProtocol  # noqa: PLC0415

    with listening:
        catalog = await with_model(catalog, environ=os.environ)
        telemetry = export.telemetry if export is not None else None
        observers = tuple(one for one in (log, telemetry) if one is not None)
        runtime = Runtime(catalog, journal, observer=Observers(*observers) if observers else None)
        config = Config(
            create_app(settings, runtime, keyring, log=log, telemetry=telemetry, mcp=offer),
            http=partial(BoundedProtocol, settings=settings),  # type: ignore[arg-type]  # makes one
            ws="websockets-sansio",
            ws_max_size=settings.max_body_bytes,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )
        url = _url(listening)

        def greet() -> None:
            _greet(runtime.catalog, url, keyring, say, at_mcp=offer is not None)

        server = _server(config, runtime, settings, say, greet)
        async with _reloading(runtime, load, settings, listening.getsockname()[1], url, say, server):
            try:
                await server.serve(sockets=[listening])
            finally:
                if export is not None:
                    await export.aclose()


@asynccontextmanager
async def _reloading(
    runtime: Runtime,
    load: Callable[[], Awaitable[Catalog]] | None,
    settings: Settings,
    port: int,
    url: str,
    say: Callable[[str], object],
    server: "uvicorn.Server",
) -> AsyncIterator[None]:
    """Hear SIGHUP, and be found by `gaia reload`, where there are such things.

    It is also what a terminal sends that is closed: then, as before there was a reload, the server stops.
    """
    if load is None or sys.platform == "win32":
        yield
        return
    with ExitStack() as stack:
        note = None
        if settings.data is not None:
            with suppress(OSError):  # a folder that can't be written: it is reloaded by the signal only
                note = stack.enter_context(present(settings.data, port, url))

        def told(ok: bool, words: str) -> None:
            say(f"reloaded. {words}" if ok else f"not reloaded: {words}")
            if note is not None:
                note.reloaded(ok=ok, said=words)

        def hang_up() -> None:
            if at_terminal and not _has_terminal():
                server.handle_exit(signal.SIGTERM, None)
            else:
                reloader.ask()

        reloader = Reloader(runtime, load, told)
        at_terminal = _has_terminal()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            await reloader.close()


def _has_terminal() -> bool:
    """Whether the process has a terminal that could be closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _server(
    config: "uvicorn.Config",
    runtime: Runtime,
    settings: Settings,
    say: Callable[[str], object],
    greet: Callable[[], None],
) -> "uvicorn.Server":
    import uvicorn  # noqa: PLC0415

    class Server(uvicorn.Server):
        """uvicorn's server with our drain: it goes on answering while the running turns end."""

        signals = 0
        shown: tuple[asyncio.Task[None], ...] = ()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # Opened now, so that it is fetched and started before somebody asks.
            embedded = [runtime.model(spec.name) for spec in runtime.catalog.models if spec.kind == "embedded"]
            if settings.tune_gc:
                gc.collect()
                gc.freeze()
                gc.set_threshold(*_GC_THRESHOLDS)
            greet()
            self.shown = tuple(asyncio.create_task(_show(model)) for model in embedded)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
            self.signals += 1
            self.should_exit = True
            self.force_exit = self.signals > 2  # the third: whatever still runs

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            running = runtime.stats().running_turns
            if running:
                say(f"stopping: {running} turns may end within {settings.drain_seconds:g} s (Ctrl-C: at once)")
            drain = asyncio.create_task(runtime.drain(settings.drain_seconds))
            while not drain.done() and self.signals < 2:
                await asyncio.wait((drain,), timeout=0.1)
            if turns := runtime.running_turns:
                left = sum(runtime.durable and turn.journal is not None for _, turn in turns)
                if left:
                    say(f"{left} turns are left for the next start")
                if left < len(turns):
                    say(f"{len(turns) - left} turns are cancelled")
                await runtime.aclose()
            runtime.feed.close()  # whoever watches sessions would hold up the end
            await super().shutdown(sockets)
            for showing in self.shown:
                showing.cancel()
            await asyncio.gather(*self.shown, return_exceptions=True)
            say("stopped")

    return Server(config)


async def _show(model: Model) -> None:
    """Show on stderr how far the embedded model is."""
    from gaia_core.cli._fetching import show  # noqa: PLC0415  # only where there is one
    from gaia_core.models.embedded import EmbeddedModel  # noqa: PLC0415

    if isinstance(model, EmbeddedModel):
        await show(model.states())


def listen(settings: Settings) -> socket.socket:
    """A socket on the address, or an error that says who may have it."""
    found = socket.getaddrinfo(settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    if os.name == "posix":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(2_048)
    except OSError as error:
        listening.close()
        raise click.ClickException(
            f"can't listen on {settings.host}:{settings.port} ({os.strerror(error.errno or 0)}). "
            "Does a server run there already? Choose another port by --port"
        ) from error
    listening.setblocking(False)
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _greet(catalog: Catalog, url: str, keyring: Keyring | None, say: Callable[[str], object], *, at_mcp: bool) -> None:
    """Say which model answers, which agents there are, who may ask, and what to try."""
    say(f"gaia serves {url}/v1")
    if at_mcp:
        say(f"  MCP clients: {url}/mcp")
    for model in catalog.models:
        say(f"  model {model.name}: {model.description or model.kind}")
    for agent in sorted(catalog.agents, key=lambda agent: agent.name != catalog.default_agent):
        tools = ", ".join(agent.tools.names) or "none"
        say(f"  agent {agent.name}: tools {tools}")
    for problem in catalog.problems:
        say(f"  problem: {problem.source}: {problem.message}")
    bearer = ""
    if keyring is not None and keyring.required:
        _tell_keys(catalog, keyring, say)
        bearer = " -H 'authorization: Bearer KEY'"
    asked = (
        f'{{"model": "{catalog.default_agent}", "messages": [{{"role": "user", "content": "Which files are here?"}}]}}'
    )
    say(f"Try it:\n  curl {url}/v1/chat/completions -H 'content-type: application/json'{bearer} -d '{asked}'")


def _tell_keys(catalog: Catalog, keyring: Keyring, say: Callable[[str], object]) -> None:
    say(f"  keys: {', '.join(key.name for key in keyring.keys) or 'none, so nobody may enter'}")
    known = {agent.name for agent in catalog.agents}
    for key in keyring.keys:
        if lost := sorted(set(key.agents or ()) - known):
            say(f"  problem: key {key.name}: there is no agent {', '.join(lost)}")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where there is one: it saves 14 to 19 % of a request."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop
