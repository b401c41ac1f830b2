"""The command line: every command with its help, arguments and options, from click."""

import inspect
from collections.abc import Iterator

import click

from gaia_core.cli import main


def page() -> str:
    """A section for each command, in alphabetical order."""
    return "\n".join(_section(main, click.Context(main, info_name="gaia")))


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"\n{'##' if context.parent is None or context.parent.parent is None else '###'} `{context.command_path}`\n"
    yield inspect.cleandoc(command.help or command.short_help or "").replace("\b", "")
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n```text\n{context.command_path} {usage}\n```\n"
    options = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    if options:
        yield "| option | meaning |\n|---|---|"
        for name, words in options:
            yield f"| `{name.replace('|', '/')}` | {' '.join(words.split()).replace('|', '/')} |"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _section(inner, click.Context(inner, info_name=name, parent=context))
