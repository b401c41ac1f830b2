"""A command whose output is one log with `--log-format json`: start lines, refusals, wrong options and warnings too.

Without a terminal in front of it, a server is read by a collector that takes one JSON object a line.
"""

import io
import logging
import logging.config
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import click

from gaia_core.cli.terminal._echo import echo
from gaia_core.errors import GaiaError
from gaia_core.visible_text import visible
from gaia_http.operations._logs import LogContext, LogFormat, logging_config

Say: TypeAlias = Callable[[str], object]

_log = logging.getLogger("gaia_http.server")


class LoggedCommand(click.Command):
    """`gaia serve`. What ends it before or while it serves is a line of its log, in the format that was asked for."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """See click.Command. Wrong options are logged once the format is known, wherever it stands among them."""
        form = _format_in(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            if form != "json":
                raise
            configure("warning", form, LogContext())
            _log.error("%s", error.format_message())  # the person's mistake, not the program's
            raise click.exceptions.Exit(error.exit_code) from error

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Command."""
        if ctx.params.get("log_format") != "json":
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except (click.ClickException, GaiaError) as error:
            configure("warning", "json", LogContext())
            words = error.format_message() if isinstance(error, click.ClickException) else str(error)
            _log.error("%s", words)  # its words say what to do
            raise click.exceptions.Exit(1) from error
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):  # click ends by them
            raise
        except Exception as error:
            configure("warning", "json", LogContext())
            _log.exception("the server failed")
            raise click.exceptions.Exit(1) from error


def configure(level: str, form: LogFormat, context: LogContext) -> None:
    """Set up the log of this process, on stderr. With JSON, Python's warnings are lines of it, too."""
    logging.config.dictConfig(dict(logging_config(level, form, context, sys.stderr)))
    logging.captureWarnings(form == "json")


def sayer(form: LogFormat) -> Say:
    """What tells the server's own words: on stdout, or with JSON in the log, whatever its level; a line each."""
    return echo if form == "text" else _say_in_log


class SaidLines(io.TextIOBase):
    """A file whose lines are said by *say*, for what writes to files only."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._begun = ""  # a line without its end; written by `write`

    def write(self, text: str) -> int:
        """See io.TextIOBase."""
        *lines, self._begun = f"{self._begun}{text}".split("\n")
        for line in lines:
            self._say(line)
        return len(text)


def _say_in_log(text: str) -> None:
    for line in visible(text).splitlines():
        level = logging.WARNING if line.strip().startswith(("problem:", "not reloaded:")) else logging.INFO
        record = _log.makeRecord(_log.name, level, __file__, 0, "%s", (line.strip(),), None)
        for handler in logging.getLogger().handlers:  # past the level: nothing else says that the server serves
            handler.handle(record)


def _format_in(args: Sequence[str]) -> LogFormat:
    """The value of --log-format in *args*, which may have other mistakes."""
    words = [*args, ""]
    asked = [
        word.removeprefix("--log-format=") if "=" in word else words[index + 1]
        for index, word in enumerate(args)
        if word == "--log-format" or word.startswith("--log-format=")
    ]
    return "json" if asked and asked[-1] == "json" else "text"
