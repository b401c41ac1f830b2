"""The journal's contract: its values, and what every journal keeps of its promises (memory, SQLite, PostgreSQL).

A session is addressed by (owner, id); another owner's session does not exist (NotFoundError). Its record is
append-only and gapless: seq counts from 1. A record has a *parent* (0: none), a session a *head*, so that edits are
branches. One writer at a time: `claim` gives a lease, `append` is one compare-and-set of the session's row by the
lease's epoch and seq. Safety rests on that alone; heartbeats only decide when somebody else may try.
"""

import re
from typing import Protocol, Self

import msgspec

from gaia_core.errors import NotFoundError

TTL_SECONDS = 15.0
"""How long a replica counts as alive after its last heartbeat; beat every quarter of it."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

PAYLOAD_BYTES = 32 * 1024
"""A body longer than this is stored once, by its hash."""


class NewSession(msgspec.Struct, frozen=True, gc=False):
    """A session to create: *agent* and its *fingerprint*, and *metadata*, the JSON of a surface's own fields."""

    id: str
    owner: str
    agent: str
    fingerprint: str
    title: str = ""
    metadata: bytes = b"{}"


class SessionInfo(msgspec.Struct, frozen=True, gc=False):
    """A session as it stands. Times are unix seconds by the journal's clock.

    *head* is the record that the conversation ends in (0: none), *seq* the last record of any branch, *message_count*
    the visible records from the first to the head. *updated_at* moves with visible records, ends of turns, and
    updates. *base*: where it was forked from, for information only. While a turn runs, *turn* is its id and *replica*
    its holder's name; *takeovers* counts how often another replica went on with it.
    """

    id: str
    owner: str
    agent: str
    fingerprint: str
    title: str
    title_is_custom: bool
    metadata: bytes
    created_at: float
    updated_at: float
    head: int
    seq: int
    message_count: int
    base: tuple[str, int] | None = None
    turn: str | None = None
    replica: str | None = None
    takeovers: int = 0


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A fact to append. *text* is what search finds; *visible*: it counts as a message; *parent*: None for the record
    before (for the first of an append: the head), 0 for none, else an earlier record, which begins a branch."""

    kind: str
    body: bytes
    text: str = ""
    visible: bool = False
    parent: int | None = None


class Record(msgspec.Struct, frozen=True, gc=False):
    """A recorded fact: *turn* is the turn that wrote it, *at* the journal's time, *message_count* the visible records
    from the first to this one."""

    seq: int
    parent: int
    kind: str
    turn: str
    at: float
    body: bytes
    message_count: int


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The right to append to a session, as a value: each append returns the next one.

    *epoch* grows with every claim; *takeovers* counts how often this turn was taken over (0: by nobody).
    *number* is the journal's own name for the session, never used twice.
    """

    owner: str
    id: str
    number: int
    epoch: int
    seq: int
    head: int
    message_count: int
    turn: str
    takeovers: int
    replica: str
    found: int = 0
    """The head that the claim found."""


class Signal(msgspec.Struct, frozen=True, gc=False):
    """What somebody other than the holder has to say to a turn: cancel, steer, approve. *n* grows."""

    kind: str
    data: bytes
    n: int


class Appended(msgspec.Struct, frozen=True, gc=False):
    """The lease to append with next (useless after *done*), and the signals that came in."""

    lease: Lease
    signals: tuple[Signal, ...] = ()


class Whereabouts(msgspec.Struct, frozen=True, gc=False):
    """Who holds a session: *replica* (None: nobody), its *address*, whether its heartbeat is *alive*."""

    replica: str | None
    address: str
    alive: bool
    turn: str | None
    epoch: int
    seq: int


class SlotDemand(msgspec.Struct, frozen=True, gc=False):
    """How many *slots* of a *model* a replica could use now, of the *limit* that all replicas share."""

    model: str
    slots: int
    limit: int


class SlotGrant(msgspec.Struct, frozen=True, gc=False):
    """How many *slots* of a *model* a replica may use until its next heartbeat."""

    model: str
    slots: int


class Replica(msgspec.Struct, frozen=True, gc=False):
    """A replica by its last heartbeat. *since*: the start of its unbroken heartbeats; *agents*: what it can run."""

    name: str
    address: str
    agents: tuple[str, ...]
    since: float
    beat_at: float
    alive: bool


class Job(msgspec.Struct, frozen=True, gc=False):
    """Background work, unique by *key* until it is done; *attempts* counts how often it was handed out."""

    key: str
    body: bytes
    run_at: float
    attempts: int


class Totals(msgspec.Struct, frozen=True, gc=False):
    """How much a journal holds: sessions, and the visible messages on their branches."""

    sessions: int
    messages: int


class JournalStats(msgspec.Struct, frozen=True, gc=False):
    """What appending has cost since the start. A group is what one commit holds.

    *latency* is a histogram: (upper bound in seconds, appends at or below it) growing, without the last bucket, +Inf,
    whose count is *appends*.
    """

    appends: int
    records: int
    fenced: int
    groups: int
    largest_group: int
    seconds: float
    latency: tuple[tuple[float, int], ...]


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
        without: bytes = b"",
    ) -> tuple[tuple[SessionInfo, ...], int]:
        """A page of the owner's sessions, the newest `updated_at` first, and how many there are in all.

        *query*: every word of it occurs, whole and whatever its case, in the session's title or messages. *without*:
        sessions whose metadata has these bytes are left out.
        """
        ...

    async def update(
        self,
        owner: str,
        id: str,
        *,
        title: str | None = None,
        title_is_custom: bool | None = None,
        agent: str | None = None,
        fingerprint: str | None = None,
        metadata: bytes | None = None,
        head: int | None = None,
    ) -> SessionInfo:
        """Change what is given. *head* moves to another record (0: before the first), which no running turn allows.

        Raises BusyError, and NotFoundError for a head that is no record of the session.
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
        (nothing is written then), NotFoundError for a parent that is no record of the session.
        """
        ...

    async def read(
        self,
        owner: str,
        id: str,
        after_seq: int = 0,
        limit: int | None = None,
        *,
        upto: int | None = None,
        newest_first: bool = False,
    ) -> tuple[Record, ...]:
        """The records of all branches with after_seq < seq <= upto, oldest first; a fork's past included."""
        ...

    async def where(self, owner: str, id: str) -> Whereabouts:
        """Who holds the session, and whether that replica is alive."""
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
        """Expire one's own heartbeat, so that others take over at once."""
        ...

    # Background work.

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
    """The records from the first to *head* along their parents, out of a whole `read`."""
    path: list[Record] = []
    while head:
        record = records[head - records[0].seq]
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
