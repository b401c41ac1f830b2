"""The SQLite journal: one file, nothing to install, shared by the processes of one machine.

Owns the file, its schema and its one writer thread. May import the contract beside it and no other room.
Begin with `_journal` (the calls of the contract), then `_writer` (group commit).
"""

from gaia_core.journal.sqlite._journal import SQLiteJournal

__all__ = ["SQLiteJournal"]
