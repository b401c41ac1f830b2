"""The journal's contract: what every journal promises (memory, SQLite, PostgreSQL). Its values are in `_records`.

A session is addressed by (owner, id); another owner's session does not exist (NotFoundError). Its record is
append-only and gapless: seq counts from 1. A record has a *parent* (0: none), a session a *head*, so that edits are
branches. One writer at a time: `claim` gives a lease, `append` is one compare-and-set of the session's row by the
lease's epoch and seq. Safety rests on that alone; heartbeats only decide when somebody else may try.
"""

import re
from typing import Protocol, Self

from gaia_core.errors import JournalError, NotFoundError
from gaia_core.journal._records import (
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

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Journal(Protocol):
    """What a runtime needs of a record. Every journal keeps this contract; tests/journal holds them to it.

    `async with SQLiteJournal(path) as journal` opens and closes it. Where a session is named, NotFoundError is raised
    when the owner has none of that id. JournalError: the file or database can't be used.
    """

    @property
    def durable(self) -> bool:
        """Whether it outlives the process."""
        ...

    async def open(self) -> None:
        """Open files and connections; without effect when they are. Raises JournalError."""
        ...

    async def aclose(self) -> None:
        """Finish what was asked, then close. Idempotent."""
        ...

    async def fault(self) -> str:
        """Why what is recorded now would be lost, in words for an operator; "" when nothing is wrong. Asked with each
        heartbeat. It tells of a file that was deleted or replaced while it is open, which no write notices."""
        ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...

    # Sessions.

    async def create(self, new: NewSession) -> SessionInfo:
        """Create a session; one that exists stays as it is and is returned. Raises ValueError for an impossible id."""
        ...

    async def get(self, owner: str, id: str) -> SessionInfo:
        """The session as it stands."""
        ...

    async def list(
        self,
        owner: str,
        *,
        query: str = "",
        limit: int = 50,
        offset: int = 0,
        agent: str | None = None,
        surface: str | None = None,
    ) -> tuple[tuple[SessionInfo, ...], int]:
        """A page of the owner's sessions, the newest `updated_at` first, and how many there are in all.

        *query*: every word of it occurs, whatever its case, as a word or a part of one in the session's title or
        messages; so texts without spaces (Chinese, Japanese, Thai) are found by any part, too. *agent* and *surface*:
        only the sessions of that agent or surface ("": conversations); None: of all.
        """
        ...

    async def update(self, owner: str, id: str, change: SessionUpdate) -> SessionInfo:
        """Set the fields that *change* gives.

        Raises BusyError for a head while a turn runs, and NotFoundError for a head that is no record of the session.
        """
        ...

    async def fork(self, owner: str, id: str, new_id: str, at: int | None = None) -> SessionInfo:
        """A new session that shares the records up to *at* by reference (None: all, with the same head): O(1).

        It continues at seq at+1, and neither sees what the other appends from then on. A session *new_id* that exists
        stays as it is and is returned. Raises NotFoundError for an *at* that is no record of the session.
        """
        ...

    async def shares_past(self, owner: str, id: str) -> bool:
        """Whether the session was forked from another, or another from it: its records are not its own alone."""
        ...

    async def delete(self, owner: str, id: str) -> None:
        """Erase the session, and every record, payload and word that no fork shares; when it returns they are gone
        from the file and its write-ahead log (PostgreSQL: with its next vacuum). Raises BusyError while a living
        replica's turn runs."""
        ...

    async def expire(
        self, surfaces: tuple[str, ...], *, max_age: float, max_bytes: int, limit: int = 100
    ) -> tuple[tuple[str, str], ...]:
        """Delete up to *limit* sessions of *surfaces*, the longest unused first; the owner and id of each.

        Those that were last updated *max_age* seconds ago, and of each owner those beyond the newest whose records
        have *max_bytes* together; none that runs a turn. A fork counts the records that it added. They are erased as
        by `delete`.
        """
        ...

    # The record.

    async def claim(
        self, owner: str, id: str, replica: str, turn: str | None, records: tuple[NewRecord, ...] = ()
    ) -> Lease | None:
        """Begin the turn of id *turn*, or with None take over the turn of a holder that is dead.

        None: a turn runs (a dead holder's is to be taken over before another begins), or there is none to take over.
        *replica* is a name that no process had before; claiming counts as its first heartbeat. *records* are the
        turn's first, appended with the claim (in SQLite: in its commit), as `append` would. Raises as that does; then
        nothing is claimed.
        """
        ...

    async def append(self, lease: Lease, records: tuple[NewRecord, ...], *, done: bool = False) -> Appended:
        """Append, exactly once; *done* ends the turn and gives the lease back in the same commit.

        The last record becomes the head. Raises FencedError when the lease is no longer ours or was used already
        (nothing is written then), NotFoundError for a parent that is no record of the session. After a JournalError the
        same append may be made again under the same lease: it is written once.
        """
        ...

    async def read(
        self,
        owner: str,
        id: str,
        after_seq: int = 0,
        *,
        upto: int | None = None,
        turn: str | None = None,
    ) -> tuple[Record, ...]:
        """The records of all branches with after_seq < seq <= upto, oldest first; a fork's past included.

        *turn*: only the records of that turn; none when the session has no such turn.
        """
        ...

    # Signals.

    async def signal(self, owner: str, id: str, kind: str, data: bytes = b"{}") -> int | None:
        """Leave a signal for the running turn; its number, or None (and nothing is kept) when no turn runs."""
        ...

    async def take_signals(self, lease: Lease) -> tuple[Signal, ...]:
        """The signals that came since the last append or take; each is handed to a holder once.

        What was handed out is forgotten with the holder's next append or take; if the holder dies before, the
        next holder gets it again. So record what follows from them in one append. Raises FencedError.
        """
        ...

    # Replicas.

    async def beat(
        self, replica: str, address: str, agents: tuple[str, ...] = (), wanted: tuple[SlotDemand, ...] = ()
    ) -> tuple[SlotGrant, ...]:
        """A heartbeat; returns the replica's max-min share of each wanted model's limit, in the order asked.

        Grants of living replicas never exceed the limit: what another has to give up is granted after its next beat.
        """
        ...

    async def replicas(self) -> tuple[Replica, ...]:
        """Every replica that has beaten and was not released, by name."""
        ...

    async def orphans(self, replica: str, limit: int = 100) -> tuple[SessionInfo, ...]:
        """Sessions whose turn's holder is dead, longest first.

        One that was released or adopted is dead at once; one whose heartbeat has expired only for a *replica* that
        itself has a full TTL of unbroken heartbeats (else an outage of the database would look like everybody's death).
        """
        ...

    async def adopt(self, dead: tuple[str, ...]) -> tuple[SessionInfo, ...]:
        """Declare replicas dead that are known to be (this machine's earlier processes): the sessions they hold."""
        ...

    async def release(self, replica: str) -> None:
        """Expire one's own heartbeat and hand over the turns that one holds: others take them over at once, and that
        doesn't count as a takeover."""
        ...

    # Answers of idempotent requests. They count in no totals.

    async def answer_begin(
        self, name: str, fingerprint: str, replica: str, *, max_age: float, owner: str = ""
    ) -> IdempotentAnswer:
        """Begin the answer *name* for *replica*, which is alive by its heartbeats; or the one that there is.

        *owner*: whose it is, for `answer_sweep`; the name alone tells answers apart.

        One that began *max_age* seconds ago is replaced, unless a living replica still makes it.
        """
        ...

    async def answer_put(self, number: int, body: bytes) -> bool:
        """Keep the whole answer of an attempt. False when that was replaced or forgotten, or has another answer, which
        stays."""
        ...

    async def answer_drop(self, number: int) -> None:
        """Forget an attempt, so that the name is free; without effect when it was replaced."""
        ...

    async def answer_sweep(self, *, max_age: float, keep: int, max_bytes: int, limit: int = 200) -> int:
        """Forget up to *limit* answers, the oldest first; how many.

        Those that began *max_age* seconds ago, those beyond the newest *keep*, and of each owner those beyond the
        newest that have *max_bytes* together; none that a living replica makes.
        """
        ...

    # Background work. Nothing calls these yet: schedules, a later issue, run on them.

    async def enqueue(self, body: bytes, run_at: float, key: str) -> bool:
        """Add a job to run at *run_at* (unix seconds); False when one of that key waits or runs already."""
        ...

    async def due(self, limit: int = 10, *, hold: float = 60.0) -> tuple[Job, ...]:
        """Jobs whose time has come, the earliest first; nobody else gets them for *hold* seconds."""
        ...

    async def done(self, job: Job) -> None:
        """Forget a job; without effect when it was handed to somebody else meanwhile."""
        ...

    # Figures.

    async def totals(self, owner: str | None = None) -> Totals:
        """How much there is of *owner*; None: over all owners."""
        ...

    async def stored_bytes(self, owner: str) -> int:
        """How many bytes the owner's sessions have: bodies of records, titles and metadata.

        A past that forks share counts once, also when the session that wrote it was deleted. A payload that is stored
        once counts for each record that has it.
        """
        ...

    def stats(self) -> JournalStats:
        """What appending has cost since the start."""
        ...


async def with_first(journal: Journal, lease: Lease, records: tuple[NewRecord, ...]) -> Lease:
    """*lease* after a claim's first *records*; when they can't be appended, the claim is given back."""
    try:
        return (await journal.append(lease, records)).lease
    except NotFoundError:
        await journal.append(lease, (), done=True)
        raise


def branch(records: tuple[Record, ...], head: int) -> tuple[Record, ...]:
    """The records from the first to *head* along their parents, out of a whole `read`. Raises JournalError when one of
    them isn't there."""
    path: list[Record] = []
    while head:
        index = head - records[0].seq if records else -1
        if not 0 <= index < len(records) or (record := records[index]).seq != head or record.parent >= head:
            raise JournalError(f"record {head} of the session is missing, or the one before it; restore a backup")
        path.append(record)
        head = record.parent
    return tuple(reversed(path))


def missing(id: str) -> NotFoundError:
    """The error for a session that the owner doesn't have."""
    return NotFoundError(f"there is no session {id!r}")


def known_name(owner: str, id: str) -> None:
    """Raise NotFoundError for a name that no database can hold."""
    if _UNSTORABLE.search(id) or _UNSTORABLE.search(owner):
        raise missing(id)


def new_name(owner: str, id: str) -> None:
    """Raise ValueError for a name that no database can hold."""
    if not id or _UNSTORABLE.search(id) or _UNSTORABLE.search(owner):
        raise ValueError(f"{id!r} of {owner!r} can't name a session: it is empty, or holds a NUL or half a character")


def storable(text: str) -> str:
    """The text with U+FFFD for what no database can hold."""
    return _UNSTORABLE.sub("\ufffd", text)
