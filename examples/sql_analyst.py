"""SQL analyst: answers questions from a SQLite database, which it can only read.

python examples/sql_analyst.py shop.db "Which customer spent most?"
"""

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from gaia_core import Agent, Context, ToolError, Toolset, resource, run, tool

MAX_ROWS = 50


@resource()
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """The database *path*, read-only; one connection a session."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)) as opened:
        yield opened


@tool(effects="read", exclusive=True)
def tables(ctx: Context[sqlite3.Connection]) -> list[str]:
    """List the tables of the database, each as its CREATE statement."""
    return [row[0] for row in ctx.resource.execute("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY name")]


@tool(effects="read", exclusive=True)
def query(ctx: Context[sqlite3.Connection], sql: str) -> list[tuple[object, ...]]:
    """Run one SELECT statement; returns at most 50 rows.

    Args:
        sql: the statement, in SQLite's SQL
    """
    try:
        return ctx.resource.execute(sql).fetchmany(MAX_ROWS)
    except sqlite3.Error as error:
        raise ToolError(f"SQLite: {error}. Look at the tables, then try again") from None


def analyst(path: Path) -> Agent:
    """An agent that answers questions about the database *path*."""
    return Agent(
        "sql analyst",
        instructions="Answer from the database only. Look at its tables before you write SQL.",
        tools=Toolset("sql", (tables, query), resource=database(path)),
    )


if __name__ == "__main__":
    print(asyncio.run(run(analyst(Path(sys.argv[1])), sys.argv[2])))
