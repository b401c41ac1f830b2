"""Tables: columns at a terminal; elsewhere the same in lines, divided by tabs, the names of the columns first; or JSON,
a list of objects with the columns' names.
"""

import shutil
import sys
from collections.abc import Iterable, Sequence

import click
import msgspec

from gaia_core.cli.terminal._echo import echo
from gaia_core.visible_text import visible

_LEAST_WIDTH = 80

json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON list with an object for each row.")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str] = (), as_json: bool = False
) -> None:
    """Print *rows*; at a terminal the columns *whole* are never wrapped."""
    if as_json:
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        echo(msgspec.json.format(msgspec.json.encode(objects), indent=2).decode())
        return
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            echo("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(" ".join(cell.split()))) for cell in row))
    Console(highlight=False, width=max(_LEAST_WIDTH, shutil.get_terminal_size().columns)).print(table)
