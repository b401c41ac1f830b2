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
| `_shell_completion` | what the shell completes: agents, models, sessions |
| `_model_status` | what the endpoints of a model say |
| `_write_model` | a model, written to `gaia.toml` |
| `_dialogue` | message after message, and slash commands |
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

import traceback
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from gaia_core.distribution import ambiguity, announcer, is_called, metadata_of
from gaia_core.errors import GaiaError
from gaia_core.native_libraries import loader_fault
from gaia_core.tools import nearest
from gaia_core.visible_text import visible

COMMANDS = "gaia.commands"
"""The entry points that are subcommands."""

_OWN = "gaia-server-core"

_SERVER = "gaia-server (or gaia-server-http)"
_OF_THE_SERVER = frozenset(("doctor", "keys", "mcp", "reload", "serve"))
"""The commands that come with it."""


class _Commands(click.Group):
    """The installed subcommands. An error of this project, or of the loader, becomes one line, without a trace.

    What other packages and the outside say in it can't steer the terminal; nor in a trace of what nobody foresaw.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, sorted."""
        return sorted({point.name for point in _points()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand; one that says what is wrong when it can't be imported; None when there is none."""
        points = _meant(cmd_name)
        if len(points) > 1:
            announcers, example = ambiguity(points)
            why = f"is announced by {announcers}, so none of them is run"
            return _failing(cmd_name, f"{cmd_name} {why}", f". Uninstall all but one, or run gaia {example}")
        return _loaded(points[0]) if points else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that *args* begin with, or an error with the nearest name."""
        name, known = args[0], self.list_commands(ctx)
        if not _meant(name) and not name.startswith("-"):
            if name in _OF_THE_SERVER:
                ctx.fail(f"gaia {name} is part of the server, which is not installed: install {_SERVER}")
            ctx.fail(f"There is no command {name!r}.{nearest(name, known)} Commands: {', '.join(known)}")
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands that had to be left out, each with the reason."""
        super().format_epilog(ctx, formatter)
        points = _points()
        for point in points:
            if point not in (meant := _meant(point.name, points)):
                formatter.write_paragraph()
                formatter.write_text(
                    f"{point.name} of {announcer(point)} is left out: {announcer(meant[0])} has a command of the same "
                    "name"
                )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        from gaia_core.cli.terminal._echo import echo, log_to_stderr

        try:
            with log_to_stderr():
                return super().invoke(ctx)
        except click.ClickException as error:
            error.message = visible(error.message)  # type: ignore[misc]  # click says so to its users, not to its errors
            raise
        except GaiaError as error:
            raise click.ClickException(visible(str(error))) from error
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):  # click ends by them
            raise
        except Exception as error:  # whatever a plugin raises: Python would print it as it is
            if isinstance(error, ImportError) and (fault := loader_fault(str(error))) is not None:
                words = f"{error.name or 'a native library'} can't be loaded: {fault.words}"
                raise click.ClickException(visible(words)) from error
            echo("".join(traceback.format_exception(error)).rstrip("\n"), err=True)
            raise click.exceptions.Exit(1) from error

    def get_help(self, ctx: click.Context) -> str:
        """The help, which names packages and what is wrong with them."""
        return visible(super().get_help(ctx))


def _points() -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=COMMANDS), key=lambda point: (point.name, announcer(point))))


def _meant(name: str, points: tuple[EntryPoint, ...] | None = None) -> tuple[EntryPoint, ...]:
    """Those of *points* (default: all) that *name* means: this package's own, else all that are called so. Nobody
    replaces a command by being installed."""
    found = tuple(point for point in points or _points() if is_called(point, name))
    return tuple(point for point in found if metadata_of(point, "Name") == _OWN) or found


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
    return _failing(point.name, f"{point.name} of {announcer(point)} can't be loaded: {' '.join(why.split())}", hint)


def _failing(name: str, words: str, hint: str) -> click.Command:
    def fail() -> None:
        raise click.ClickException(f"{words}{hint}")

    return click.Command(
        name,
        callback=fail,
        short_help=f"(broken) {words}",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=_OWN, prog_name="gaia", message="%(prog)s %(version)s")
def main() -> None:
    """Agents for models on your own machine."""
