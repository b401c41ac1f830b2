"""What commands on sessions have in common: the option `--journal`, the open journal, a session by the start of its id.

A server may run on the same journal meanwhile. Sessions on this machine have the owner "".
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from gaia_core.errors import ConfigError, NotFoundError
from gaia_core.journal import Journal, SessionInfo
from gaia_core.journal.from_url import journal_from_url
from gaia_core.runtime import Facts, read_facts

T = TypeVar("T")

OWNER = ""
"""Whose sessions these are: those of everybody on this machine."""

SHORT_ID = 8
"""Of an id for people; hardly ever begins another session so."""

_PAGE = 10_000
_SHOWN = 5

journal_option = click.option(
    "--journal",
    metavar="PLACE",
    help="Where sessions are kept: a file or a postgresql:// URL. Default: GAIA_JOURNAL, or journal.sqlite in the "
    "user's data folder.",
)


def on_journal(place: str | None, work: Callable[[Journal], Awaitable[T]], *, new: bool = False) -> T:
    """The result of *work* on the journal at *place*, which is open meanwhile; *new*: a file is made there.

    Raises ConfigError, JournalError, NotFoundError.
    """
    journal = journal_from_url(place, os.environ)
    if not journal.durable:
        raise ConfigError("a journal in memory can't be read by another process; name a file with --journal")
    path: Path | None = getattr(journal, "path", None)
    if path is not None and not new and not path.exists():
        raise NotFoundError(f"there is no journal {path}: nothing was recorded there yet")

    async def run() -> T:
        async with journal:
            return await work(journal)

    return asyncio.run(run())


async def find_session(journal: Journal, id: str) -> SessionInfo:
    """The session *id*, or the only one whose id begins so. Raises NotFoundError."""
    try:
        return await journal.get(OWNER, id)
    except NotFoundError:
        found = await _beginning(journal, id) if id else ()
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(f"there is no session {id!r}; `gaia sessions list` shows the existing ones")
    more = ", …" if len(found) > _SHOWN else ""
    listed = ", ".join(info.id for info in found[:_SHOWN])
    raise NotFoundError(f"{len(found)} sessions begin with {id!r}: {listed}{more}. Type more of the id")


async def find_facts(journal: Journal, id: str) -> tuple[SessionInfo, Facts]:
    """The same, and the facts of its present branch."""
    info = await find_session(journal, id)
    return info, await read_facts(journal, OWNER, info.id)


async def _beginning(journal: Journal, start: str) -> tuple[SessionInfo, ...]:
    found: list[SessionInfo] = []
    offset, total = 0, 1
    while offset < total:
        rows, total = await journal.list(OWNER, limit=_PAGE, offset=offset)
        found += [row for row in rows if row.id.startswith(start)]
        offset += _PAGE
    return tuple(found)
