"""The process around one application. Signals and the garbage collector are set here, nowhere else.

SIGTERM or Ctrl-C: the server reports not ready, accepts no new turns, and gives the running ones `drain_seconds` to
end. The rest stays in the journal, and the next start resumes it; without a durable journal it is cancelled. A second
signal skips the wait. SIGHUP: the configuration is read again (`_reloader`).
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from types import FrameType
from typing import IO, TYPE_CHECKING

import click

from gaia_core import Catalog, Runtime
from gaia_core.catalog import with_model
from gaia_core.journal import Journal
from gaia_core.turn import Observers
from gaia_http._settings import Settings
from gaia_http.keys import Allowances, Keyring
from gaia_http.mcp._exposed_tools import ExposedTools
from gaia_http.operations._health import CatalogHealth
from gaia_http.operations._logs import LogContext
from gaia_http.operations._reloader import Reloader
from gaia_http.operations._telemetry_export import TelemetryExport
from gaia_http.server._banner import greet, show_progress
from gaia_http.server._pid_file import present
from gaia_http.server._service_manager import ServiceManager

if TYPE_CHECKING:
    import uvicorn

_KEEP_ALIVE_SECONDS = 75
_CLOSING_SECONDS = 5
_STOP_SECONDS = 30
"""What the end may take besides the drain: a service manager receives the sum."""
_GC_THRESHOLDS = (50_000, 50, 100)


async def run_server(
    catalog: Catalog,
    settings: Settings,
    listening: socket.socket,
    *,
    journal: Journal | None = None,
    keyring: Keyring | None = None,
    load: Callable[[], Awaitable[Catalog]] | None = None,
    log: LogContext | None = None,
    export: TelemetryExport | None = None,
    offer: ExposedTools | None = None,
    say: Callable[[str], object],
    progress: IO[str] | None = None,
) -> None:
    """Serve *catalog* on the socket *listening* until a signal comes. Tells by *say* what it does.

    *journal* keeps the sessions (None: in memory); *keyring* has the keys that open the server (None: it needs none).
    *load* reads the configuration again when SIGHUP asks for it (None: it is not heard).
    *log* hears what log lines are about; *export* takes traces and metrics, and is closed.
    *offer* is what MCP clients get at /mcp (None: there is no such thing). *progress* gets lines about a download of
    the embedded model (None: stderr gets them, a terminal with a bar).
    """
    from uvicorn import Config  # noqa: PLC0415  # what only a server needs, so that `gaia --help` is quick

    from gaia_http._app import create_app  # noqa: PLC0415
    from gaia_http.server._connections import Connections  # noqa: PLC0415
    from gaia_http.server._http_protocol import BoundedProtocol  # noqa: PLC0415
    from gaia_http.server._websocket_protocol import BoundedSocket  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        stack.enter_context(listening)
        if export is not None:
            stack.push_async_callback(export.aclose)
        catalog = await with_model(catalog, environ=os.environ)
        telemetry = export.telemetry if export is not None else None
        observers = tuple(one for one in (log, telemetry) if one is not None)
        allowances = Allowances(keyring) if keyring is not None else None
        observer = Observers(*observers) if observers else None
        runtime = Runtime(catalog, journal, observer=observer, quota=allowances)
        health = CatalogHealth(runtime)
        app = create_app(settings, runtime, allowances, log=log, telemetry=telemetry, mcp=offer, health=health)
        # And once more by the application's lifespan; but what fails there, uvicorn logs with a traceback.
        await stack.enter_async_context(runtime)
        config = Config(
            app,
            http=partial(BoundedProtocol, settings=settings, connections=Connections(settings)),  # type: ignore[arg-type]  # makes one
            ws=partial(BoundedSocket, settings=settings),  # type: ignore[arg-type]  # makes one
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )
        url = _url(listening)

        async def say_hello() -> None:
            greet(runtime.catalog, await health.look(), url, keyring, say, at_mcp=offer is not None)
            runtime.background.keep("gaia health", health.watch)

        server = _server(config, runtime, settings, say, say_hello, progress)
        async with _reloading(runtime, load, settings, listening.getsockname()[1], url, say, server):
            await server.serve(sockets=[listening])


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
    greet: Callable[[], Awaitable[None]],
    progress: IO[str] | None,
) -> "uvicorn.Server":
    import uvicorn  # noqa: PLC0415

    manager = ServiceManager(os.environ)

    class Server(uvicorn.Server):
        """uvicorn's server with our drain: it keeps answering while the running turns end."""

        signals = 0

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # Opened now, so that it is fetched and started before somebody asks.
            embedded = [runtime.models.get(spec.name) for spec in runtime.catalog.models if spec.kind == "embedded"]
            if settings.tune_gc:
                gc.collect()
                gc.freeze()
                gc.set_threshold(*_GC_THRESHOLDS)
            await greet()
            for model in embedded:
                runtime.background.keep("gaia download progress", partial(show_progress, model, progress))
            manager.tell("READY=1")
            if manager.watchdog_seconds:
                runtime.background.keep("gaia watchdog", manager.beat)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
            self.signals += 1
            self.should_exit = True
            self.force_exit = self.signals > 2  # the third: whatever still runs

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Signs of life go on until the runtime closes: a drain may take longer than the watchdog waits.
            manager.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round((settings.drain_seconds + _STOP_SECONDS) * 1e6)}")
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
            runtime.feed.close()  # else the streams of session events would delay the shutdown
            await super().shutdown(sockets)
            say("stopped")

    return Server(config)


def listen(settings: Settings) -> socket.socket:
    """A socket on the address, or an error that says who may have it."""
    found = socket.getaddrinfo(settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(2_048)
    except OSError as error:
        listening.close()
        raise click.ClickException(
            f"can't listen on {settings.host}:{settings.port} ({os.strerror(error.errno or 0)}). "
            "Does a server run there already? Choose another port by --port"
        ) from error
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where there is one: it saves 14 to 19 % of a request."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop
