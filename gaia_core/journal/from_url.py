"""Where the journal is: what a person names, and where it is when nobody names a place."""

import sys
from collections.abc import Mapping
from pathlib import Path

from gaia_core.errors import ConfigError
from gaia_core.journal._contract import Journal
from gaia_core.journal.memory._journal import MemoryJournal
from gaia_core.private_files import missing_folders, private_folder

ENVIRONMENT = "GAIA_JOURNAL"

_POSTGRES = ("postgres://", "postgresql://")


def data_folder(environ: Mapping[str, str]) -> Path:
    """The folder of the user's data: `gaia` in XDG_DATA_HOME, or where the system has such things."""
    home = Path(environ.get("HOME") or Path.home())
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "gaia"
    base = environ.get("XDG_DATA_HOME", "")
    # A relative path there is invalid and to be ignored (XDG Base Directory Specification).
    if base and Path(base).is_absolute():
        return Path(base) / "gaia"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "gaia"
    return home / ".local" / "share" / "gaia"


def journal_from_url(place: str | None, environ: Mapping[str, str]) -> Journal:
    """The journal at *place*: a file, a PostgreSQL URL, or `memory`; not yet open.

    None: what GAIA_JOURNAL says, else `journal.sqlite` in the user's data folder. Raises ConfigError.
    """
    named = place or environ.get(ENVIRONMENT) or ""
    if named == "memory":
        return MemoryJournal()
    if named.startswith(_POSTGRES):
        try:
            from gaia_core.journal.postgres import PostgresJournal  # noqa: PLC0415  # only who needs asyncpg
        except ImportError as error:
            raise ConfigError(
                "a journal in PostgreSQL needs asyncpg: pip install 'gaia-server-core[postgres]'"
            ) from error
        return PostgresJournal(named)
    if "://" in named:
        scheme = named.partition("://")[0]
        raise ConfigError(f"a journal is a file, memory, or a postgresql:// URL; {scheme}:// is not supported")
    path = Path(named).expanduser() if named else data_folder(environ) / "journal.sqlite"
    try:
        if named:
            missing_folders(path.parent)
        else:
            private_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"the journal's folder {path.parent} can't be made: {error.strerror}") from error
    from gaia_core.journal.sqlite import SQLiteJournal  # noqa: PLC0415  # values alone load no database

    return SQLiteJournal(path)
