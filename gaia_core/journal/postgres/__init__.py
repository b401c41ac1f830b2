"""The PostgreSQL journal: for more than one machine. Needs `asyncpg` (the extra `postgres`).

Owns the connection pool and the schema. May import the contract beside it and no other room.
Begin with `_journal` (the calls of the contract), then `_group_appends` (group commit).
"""

from gaia_core.journal.postgres._journal import PostgresJournal

__all__ = ["PostgresJournal"]
