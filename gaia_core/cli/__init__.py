"""The command `gaia`. Its subcommands are entry points of the group `gaia.commands`, ours and those of any package.

| module | what lives there |
|---|---|
| `chat` | `gaia chat`: a conversation in the terminal, or one question |
| `model` | `gaia model`: the model that answers |
| `sessions` | `gaia sessions`: what is kept of conversations |
| `journal` | `gaia journal`: the file that they are kept in |
| `replay` | `gaia replay`: a recorded session against its agent as it is now |
| `toolset` | `gaia toolset new`: a package for a toolset of one's own |
| `tools` | `gaia tools`: what agents can do, and which definitions models are sent |
| `_config_option` | what commands have in common: `--config`, the catalog |
| `_journal_option` | `--journal`, the open journal, a session by the start of its id |
| `_conversation` | turn after turn: what is typed, shown, asked and answered |
| `_event_loop_thread` | the event loop, on a thread of its own |
| `_prompt` | lines that a person types |
| `_screen` | where an answer is written: a terminal, or plain text |
| `_markdown` | markdown that is still being written |
| `_event_view` | events → screen |
| `_recorded_conversation` | recorded conversations → screen |
| `_toolset_versions` | a package's version that is not installed: a wheel, a folder, a git revision |
| `_table` | tables at a terminal, lines elsewhere |

A subcommand is imported when it is used or listed; one that can't be imported is named and harms no other.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from gaia_core.distribution import metadata_of
from gaia_core.errors import GaiaError
from gaia_core.native_libraries import loader_fault
from gaia_core.tools import nearest

COMMANDS = "gaia.commands"
"""The entry points that are subcommands."""

_OWN = "gaia-server-core"


class _Commands(click.Group):
    """The installed subcommands. An error of this project, or of the loader, becomes one line, without a trace."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, sorted."""
        return sorted({point.name for point in _points()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand; one that says what is wrong when it can't be imported; None when there is none."""
        for point in _points():
            if point.name == cmd_name:
                return _loaded(point)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that *args* begin with, or an error with the nearest name."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            ctx.fail(f"There is no command {name!r}.{nearest(name, known)} Commands: {', '.join(known)}")
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands that had to be left out, each with the reason."""
        super().format_epilog(ctx, formatter)
        used: dict[str, EntryPoint] = {}
        for point in _points():
            first = used.setdefault(point.name, point)
            if first is not point:
                formatter.write_paragraph()
                formatter.write_text(
                    f"{point.name} of {_package(point)} is left out: {_package(first)} has a command of the same name"
                )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except GaiaError as error:
            raise click.ClickException(str(error)) from error
        except ImportError as error:
            if (fault := loader_fault(str(error))) is None:
                raise
            raise click.ClickException(f"{error.name or 'a native library'} can't be loaded: {fault.words}") from error


def _points() -> tuple[EntryPoint, ...]:
    """The entry points, this package's own first: nobody replaces a command by being installed."""
    return tuple(sorted(entry_points(group=COMMANDS), key=lambda point: (_package(point) != _OWN, _package(point))))


def _package(point: EntryPoint) -> str:
    return metadata_of(point, "Name") or "an unknown package"


def _loaded(point: EntryPoint) -> click.Command:
    try:
        command = point.load()
    except Exception as error:  # noqa: BLE001  # whatever a stranger's module raises on import
        fault = loader_fault(str(error)) if isinstance(error, ImportError) else None
        if fault is not None:
            return _broken(point, fault.words, "")
        return _broken(point, f"{type(error).__name__}: {error}")
    if not isinstance(command, click.Command):
        return _broken(point, f"{point.value} is no click command but {type(command).__name__}")
    return command


def _broken(point: EntryPoint, why: str, hint: str = ". Reinstall or uninstall the package") -> click.Command:
    """A command that says that it is broken, whatever it is asked."""
    words = f"{point.name} of {_package(point)} can't be loaded: {' '.join(why.split())}"

    def fail() -> None:
        raise click.ClickException(f"{words}{hint}")

    return click.Command(
        point.name,
        callback=fail,
        short_help=f"(broken) {words}",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=_OWN, prog_name="gaia", message="%(prog)s %(version)s")
def main() -> None:
    """Agents for models on your own machine."""
