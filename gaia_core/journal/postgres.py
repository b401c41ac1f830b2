"""The PostgreSQL journal, by itself because it needs asyncpg: `pip install gaia-server-core[postgres]`."""

from gaia_core.journal._postgres import PostgresJournal

__all__ = ["PostgresJournal"]
