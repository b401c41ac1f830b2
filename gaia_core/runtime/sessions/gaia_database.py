"""GAIA's chat database (`gaia_chat.db`, of AMD GAIA's Agent UI): its sessions in the shape of our JSON export.

Source: amd/gaia, `src/gaia/ui/database.py`: the tables sessions, messages, documents and session_documents. Columns
came with its versions; what a file doesn't have is left out. The file is opened read-only and never changed.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import attrs

from gaia_core.errors import ConfigError
from gaia_core.frozen_types import made_once
from gaia_core.runtime.sessions.export import ImportedMessage, ImportedSession, SessionImport

_TABLES = ("sessions", "messages")
_ROLES = ("user", "assistant", "system")


@attrs.frozen
class GaiaDocument:
    """A document of GAIA's library: its *path* on the machine where it was indexed, and its *id* in sessions."""

    __attrs_pre_init__ = made_once

    id: str
    path: str
    size: int | None


@attrs.frozen
class GaiaSession:
    """A session of GAIA: its *id* there, and what of it can be taken in."""

    __attrs_pre_init__ = made_once

    id: str
    content: SessionImport


def read_gaia_database(path: Path) -> tuple[tuple[GaiaSession, ...], tuple[GaiaDocument, ...]]:
    """The sessions of *path*, the oldest first, and its documents. Raises ConfigError for a file that is no such
    database."""
    with _opened(path) as database:
        tables = {row["name"] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if missing := [name for name in _TABLES if name not in tables]:
            raise ConfigError(
                f"{path}: this is no gaia_chat.db: it has no table {missing[0]!r}. GAIA keeps it as "
                "~/.gaia/chat/gaia_chat.db"
            )
        documents = _rows(database, "documents", "id") if "documents" in tables else []
        attached: dict[str, list[str]] = {}
        for row in _rows(database, "session_documents", "rowid") if "session_documents" in tables else ():
            attached.setdefault(row["session_id"], []).append(row["document_id"])
        said: dict[str, list[ImportedMessage]] = {}
        for row in _rows(database, "messages", "id"):
            if row["role"] in _ROLES:
                role = cast("Literal['user', 'assistant', 'system']", row["role"])
                said.setdefault(row["session_id"], []).append(ImportedMessage(role, str(row["content"])))
        sessions = tuple(
            GaiaSession(
                row["id"],
                SessionImport(_session(row, tuple(attached.get(row["id"], ()))), tuple(said.get(row["id"], ()))),
            )
            for row in _rows(database, "sessions", "created_at")
        )
    return sessions, tuple(
        GaiaDocument(row["id"], row.get("filepath") or "", row.get("file_size")) for row in documents
    )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            yield database
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: can't be read as a gaia_chat.db: {error}") from None


def _rows(database: sqlite3.Connection, table: str, order: str) -> list[dict[str, Any]]:
    # Both names are this module's own.
    return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY {order}, rowid")]  # noqa: S608


def _session(row: dict[str, Any], documents: tuple[str, ...]) -> ImportedSession:
    return ImportedSession(
        title=row.get("title") or "",
        title_is_custom=bool(row.get("title")) and row["title"] != "New Chat",
        system_prompt=row.get("system_prompt") or None,
        document_ids=documents,
        private=bool(row.get("private")),
        agent_type=row.get("agent_type") or None,
    )
