"""Tables: columns at a terminal; elsewhere the same in lines, divided by tabs, the names of the columns first."""

import shutil
import sys
from collections.abc import Iterable, Sequence

from gaia_core.cli.terminal._echo import echo
from gaia_core.visible_text import visible

_LEAST_WIDTH = 80


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str] = ()) -> None:
    """Print *rows*; at a terminal the columns *whole* are never wrapped."""
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
