"""The terminal's edge: what commands print, with everything written out that could steer a terminal or can't be seen.

Names, descriptions and errors come from plugins, MCP servers, model servers, files and other people's packages. A law
(`tests/laws/test_terminal_output.py`) keeps commands from printing by anything else. Answers are shown by `_screen`.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from gaia_core.visible_text import visible


def echo(text: str = "", *, err: bool = False) -> None:
    """Print *text* and a line feed, on stderr with *err*. JSON still means the same."""
    click.echo(visible(text), err=err)


def echo_data(text: str) -> None:
    """Print what was asked for to be kept: as it is, unless stdout is a terminal."""
    click.echo(visible(text) if sys.stdout.isatty() else text)


def confirm(question: str) -> None:
    """Ask *question*, and end the command unless the answer is yes."""
    click.confirm(visible(question), abort=True)


class VisibleFormatter(logging.Formatter):
    """A line of the log, and a traceback if there is one, as `echo` prints them."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return visible(super().format(record))


@contextmanager
def log_to_stderr() -> Iterator[None]:
    """Show warnings and errors of all loggers on stderr while the block lasts and the root logger has no other handler.

    Without any handler, logging itself prints them, and as they are.
    """
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda _: root.handlers == [handler])  # a command may have its own way, such as none
    handler.setFormatter(VisibleFormatter())
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
