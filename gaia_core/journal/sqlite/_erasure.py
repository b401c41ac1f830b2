"""Erasing: what was deleted leaves no trace in the file. Rows are overwritten when they are deleted (`secure_delete`);
what remains is in the word index and in the write-ahead log. Done in small steps by the writer thread.
"""

import sqlite3
from pathlib import Path
from typing import Any

from gaia_core.errors import JournalError
from gaia_core.journal.sqlite._file import empty_log

_MERGE_PAGES = 256
MOST_LEVELS = 1_000
_CHECKPOINT_TRIES = 100
_CHECKPOINT_PAUSE_SECONDS = 0.05


class Erasure:
    """Belongs to one writer, and is used by its thread alone. True while something is to be erased."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Any] = []
        """The committed deletions whose callers wait until the traces are gone, each with its outcome."""
        self._merging = False
        """Whether the merge of the word index has begun for them."""
        self._tries = 0
        """How often the log could not be emptied since."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def pause(self) -> float:
        """Seconds until the next step is worth trying."""
        return _CHECKPOINT_PAUSE_SECONDS if self._tries else 0.0

    def add(self, deletions: list[Any]) -> None:
        """Begin anew, for *deletions*, too."""
        self._waiting += deletions
        self._merging = False
        self._tries = 0

    def step(self, db: sqlite3.Connection) -> tuple[tuple[list[Any], JournalError | None], ...]:
        """One step of merging the word index, so that others' commits come in between; at last, empty the log.

        Returns the deletions that are done with it, and their error if they left traces.
        """
        try:
            if self._merge(db):
                return ()
            busy = empty_log(db)
        except sqlite3.Error as error:
            return self._done(
                JournalError(f"the journal {str(self._path)!r} could not be cleared of what was deleted: {error}")
            )
        if not busy:
            return self._done(None)
        self._tries += 1
        if self._tries < _CHECKPOINT_TRIES:
            return ()
        return self._done(
            JournalError(
                f"what was deleted is gone from the journal, but its traces stay in {str(self._path)!r}-wal until "
                "the current readers of the file have finished"
            )
        )

    def _done(self, error: JournalError | None) -> tuple[tuple[list[Any], JournalError | None], ...]:
        waited, self._waiting = self._waiting, []
        return ((waited, error),)

    def _merge(self, db: sqlite3.Connection) -> bool:
        """Merge some pages of the word index, which forgets deleted words; True while there is more to do.

        Source: sqlite.org/fts5.html, "the merge command": begin with a negative number of pages, go on with positive
        ones, until less than two rows change. Before SQLite 3.41 each such beginning adds a level to the index, and
        with 2,000 of them the index counts as malformed: it is written anew long before.
        """
        db.execute("BEGIN IMMEDIATE")
        before = db.total_changes
        pages = _MERGE_PAGES if self._merging else -_MERGE_PAGES
        anew = not self._merging and index_levels(db) >= MOST_LEVELS
        self._merging = True
        try:
            if anew:
                db.execute("INSERT INTO word (word) VALUES ('rebuild')")
            else:
                db.execute("INSERT INTO word (word, rank) VALUES ('merge', ?)", (pages,))
            changes = 0 if anew else db.total_changes - before
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return changes >= 2


def index_levels(db: sqlite3.Connection) -> int:
    """How many levels the word index has.

    Source: SQLite's fts5_index.c, "structure records": a cookie of 4 bytes, then the number of levels as a varint.
    """
    (block,) = db.execute("SELECT substr(block, 5, 2) FROM word_data WHERE id = 10").fetchone()
    return int(block[0]) if block[0] < 128 else (block[0] & 127) << 7 | block[1] & 127
