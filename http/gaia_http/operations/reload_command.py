"""`gaia reload`: have a running server read its configuration again, and say how that ended."""

import os
import signal
import sys
import time
from pathlib import Path

import click

from gaia_core.cli.terminal._echo import echo
from gaia_core.journal.from_url import data_folder
from gaia_core.runtime import is_running
from gaia_http.server._pid_file import RunningServer, running

_LOOK_SECONDS = 0.05


@click.command()
@click.option("--port", type=click.IntRange(1, 65_535), help="The server's port; needed where several run.")
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(min=0), help="How long to wait.")
def reload(port: int | None, seconds: float) -> None:
    """Have the server on this machine read its configuration again.

    Running turns end as they began; the next ones have the new agents. A configuration that is wrong leaves the old
    one in place: exit code 1, and the reason. `kill -HUP` does the same without the answer.
    """
    if sys.platform == "win32":
        raise click.ClickException("a server on Windows can't reload; restart it")
    data = data_folder(os.environ)
    server = _found(data, port)
    if not is_running(server.process):
        raise click.ClickException(
            f"the server {server.url} runs in another container, as process {server.pid} there; "
            "run gaia reload in that container, or send its process SIGHUP"
        )
    try:
        os.kill(server.pid, signal.SIGHUP)
    except (ProcessLookupError, PermissionError) as error:
        raise click.ClickException(f"the server {server.url} (process {server.pid}): {error.strerror}") from None
    ended = _waited(data, server, seconds)
    if not ended.ok:
        raise click.ClickException(f"{server.url}: {ended.said}")
    echo(f"{server.url} reloaded. {ended.said}")


def _found(data: Path, port: int | None) -> RunningServer:
    servers = running(data)
    chosen = tuple(each for each in servers if port in (None, each.port))
    if len(chosen) == 1:
        return chosen[0]
    listed = ", ".join(each.url for each in servers) or "none"
    if not chosen:
        where = f" on port {port}" if port is not None else ""
        raise click.ClickException(f"no server of yours runs here{where}. Running: {listed}")
    raise click.ClickException(f"several servers run here ({listed}); name one by --port")


def _waited(data: Path, server: RunningServer, seconds: float) -> RunningServer:
    """The server once it has reloaded."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for each in running(data):
            if each.pid == server.pid and each.port == server.port and each.reloads > server.reloads:
                return each
        time.sleep(_LOOK_SECONDS)
    raise click.ClickException(f"{server.url} did not reload within {seconds:g} s; its log may say why")
