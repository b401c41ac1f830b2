"""`gaia journal`: the journal's file, for who operates a server: back it up, check, restore and vacuum it."""

import os
from pathlib import Path

import click

from gaia_core.cli._journal_option import journal_option
from gaia_core.cli.terminal._echo import echo
from gaia_core.errors import ConfigError
from gaia_core.journal.from_url import journal_from_url

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@click.group()
def journal() -> None:
    """Back up, check, restore and vacuum the file that sessions are kept in."""


@journal.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@journal_option
def backup(file: Path, journal: str | None) -> None:
    """Copy the journal to the new FILE, while servers use it."""
    from gaia_core.journal.sqlite._maintenance import back_up

    path = _file_of(journal, "pg_dump --format=custom --file FILE")
    size = back_up(path, file)
    echo(f"{path} is backed up: {file}, {_size(size)}")


@journal.command()
@click.option(
    "--accept-missing-log",
    is_flag=True,
    help="Let a journal be opened whose write-ahead log (-wal) is missing. What was recorded last is lost.",
)
@journal_option
@click.pass_context
def check(context: click.Context, accept_missing_log: bool, journal: str | None) -> None:
    """Read everything in the journal. Exits with status 1 if something is damaged, and names it."""
    from gaia_core.journal.sqlite import _maintenance as maintenance

    path = _file_of(journal, "pg_amcheck")
    if accept_missing_log:
        maintenance.accept_missing_log(path)
    report = maintenance.check(path)
    for problem in report.problems:
        echo(problem)
    echo(
        f"{path}: sessions: {report.sessions}, records: {report.records}, {_size(report.size)}, "
        f"schema version {report.version}; problems: {len(report.problems) or 'none'}"
    )
    context.exit(1 if report.problems else 0)


@journal.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@journal_option
def restore(file: Path, journal: str | None) -> None:
    """Put the backup FILE in the journal's place, which no server may use meanwhile. The present one is kept."""
    from gaia_core.journal.sqlite import _maintenance as maintenance

    path = _file_of(journal, "pg_restore")
    kept = maintenance.restore(path, file)
    echo(f"{path} is restored from {file}" + (f"; what was there is kept as {kept}" if kept is not None else ""))


@journal.command()
@journal_option
def vacuum(journal: str | None) -> None:
    """Give the space of deleted sessions back to the file system. No server may use the journal meanwhile."""
    from gaia_core.journal.sqlite import _maintenance as maintenance

    path = _file_of(journal, "VACUUM")
    before, after = maintenance.vacuum(path)
    echo(f"{path}: {_size(before)} before, {_size(after)} now")


def _file_of(place: str | None, instead: str) -> Path:
    """The journal's file. Raises ConfigError for a journal that has none; *instead* is PostgreSQL's own tool."""
    found = journal_from_url(place, os.environ)
    path: Path | None = getattr(found, "path", None)
    if path is not None:
        return path
    if not found.durable:
        raise ConfigError("a journal in memory has no file; name one with --journal")
    raise ConfigError(f"this journal is a PostgreSQL database, which has its own tools for that: use {instead}")


def _size(size: float) -> str:
    for unit in _UNITS:
        if size < 1_000 or unit == _UNITS[-1]:
            break
        size /= 1_000
    return f"{size:.0f} {unit}" if unit == _UNITS[0] else f"{size:.1f} {unit}"
