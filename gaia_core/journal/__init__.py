"""The journal: the durable, append-only record of sessions. One contract, several homes; see `Journal`.

async with MemoryJournal() as journal:
    await journal.create(NewSession("s1", "", "coder", agent.fingerprint))
    lease = await journal.claim("", "s1", replica, "turn_1")
    lease = (await journal.append(lease, (NewRecord("user", b"{}", "Hello", visible=True),))).lease
    await journal.append(lease, (NewRecord("ended", b"{}"),), done=True)

`SQLiteJournal` is in `gaia_core.journal.sqlite`, `PostgresJournal` in `gaia_core.journal.postgres` (it needs the
extra `postgres`: asyncpg), so that values alone load no database. `gaia_core.journal.from_url` chooses.
"""

from gaia_core.journal._contract import Journal, branch, with_first
from gaia_core.journal._journal_health import JournalHealth
from gaia_core.journal._recorded_facts import fact_of, readable_fact
from gaia_core.journal._records import (
    PAYLOAD_BYTES,
    TTL_SECONDS,
    Appended,
    IdempotentAnswer,
    Job,
    JournalStats,
    Lease,
    NewRecord,
    NewSession,
    Record,
    Replica,
    SessionInfo,
    SessionUpdate,
    Signal,
    SlotDemand,
    SlotGrant,
    Totals,
)
from gaia_core.journal.memory._journal import MemoryJournal

__all__ = [
    "PAYLOAD_BYTES",
    "TTL_SECONDS",
    "Appended",
    "IdempotentAnswer",
    "Job",
    "Journal",
    "JournalHealth",
    "JournalStats",
    "Lease",
    "MemoryJournal",
    "NewRecord",
    "NewSession",
    "Record",
    "Replica",
    "SessionInfo",
    "SessionUpdate",
    "Signal",
    "SlotDemand",
    "SlotGrant",
    "Totals",
    "branch",
    "fact_of",
    "readable_fact",
    "with_first",
]
