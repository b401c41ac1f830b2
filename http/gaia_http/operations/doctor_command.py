"""`gaia doctor`: whether a server would work here, and what to do where it would not."""

import asyncio
import copy
import os
from pathlib import Path

import click
import msgspec

from gaia_core.cli.terminal._echo import echo
from gaia_http._settings import Settings
from gaia_http.operations._checks import Finding, Place, findings
from gaia_http.server.serve_command import serve

_DEFAULTS = Settings()


class _AsServe(click.Command):
    """A command that takes each option of `gaia serve`, too: a start command can be checked as it is."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """See click.Command: the further options are checked, and neither listed nor passed on."""
        own = super().get_params(ctx)
        taken = {name for option in own for name in option.opts}
        further = [copy.copy(option) for option in serve.params if taken.isdisjoint(option.opts)]
        for option in further:
            option.expose_value = False
            if isinstance(option, click.Option):
                option.hidden = True
        return [*own, *further]


@click.command(cls=_AsServe)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file. Default: gaia.toml in the current folder.",
)
@click.option("--journal", metavar="PLACE", help="The journal, as for gaia serve.")
@click.option("--keys", type=click.Path(dir_okay=False, path_type=Path), help="The key file, as for gaia serve.")
@click.option("--host", default=_DEFAULTS.host, show_default=True, help="The address that the server would have.")
@click.option("--port", default=_DEFAULTS.port, show_default=True, type=click.IntRange(0, 65_535))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with the findings.")
@click.pass_context
def doctor(
    context: click.Context,
    config: Path | None,
    journal: str | None,
    keys: Path | None,
    host: str,
    port: int,
    as_json: bool,
) -> None:
    """Check the configuration, models, folders, journal, keys, port and disk, and say what to do.

    Give it the options that gaia serve gets, all of them if you like. It changes nothing. Exits with status 1 if
    something is an error; warnings alone leave 0.
    """
    place = Place(config, journal, keys, host, port, dict(os.environ), Path.cwd())
    found = asyncio.run(_all(place, shown=not as_json))
    errors = sum(finding.level == "error" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    if as_json:
        echo(msgspec.json.encode({"ok": not errors, "findings": found}).decode())
    else:
        echo(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}")
    context.exit(1 if errors else 0)


async def _all(place: Place, *, shown: bool) -> list[Finding]:
    found = []
    async for finding in findings(place):
        found.append(finding)
        if shown:
            mark = finding.level if finding.level == "ok" else finding.level.upper()
            echo(f"{mark:7} {finding.check}: {finding.words}")
    return found


def _count(number: int, word: str) -> str:
    return f"1 {word}" if number == 1 else f"{number or 'no'} {word}s"
