"""The values of the journal's contract (`_contract`): what goes in and what comes out, all frozen."""

import msgspec

TTL_SECONDS = 15.0
"""How long a replica counts as alive after its last heartbeat; beat every quarter of it."""

PAYLOAD_BYTES = 32 * 1024
"""A body longer than this is stored once, by its hash."""


class NewSession(msgspec.Struct, frozen=True, gc=False):
    """A session to create: *agent* and its *fingerprint*, and *metadata*, the JSON of a surface's own fields.

    *surface* is the API that the session belongs to, if that keeps sessions of its own (`responses`); "" for a
    conversation, whichever API began it. A list can be of one surface.
    """

    id: str
    owner: str
    agent: str
    fingerprint: str
    title: str = ""
    metadata: bytes = b"{}"
    surface: str = ""


class SessionInfo(msgspec.Struct, frozen=True, gc=False):
    """A session as it stands. Times are unix seconds by the journal's clock.

    *head* is the record that the conversation ends in (0: none), *seq* the last record of any branch, *message_count*
    the visible records from the first to the head. *updated_at* moves with visible records, ends of turns, and
    updates. *base*: where it was forked from, for information only. While a turn runs, *turn* is its id and *replica*
    its holder's name; *takeovers* counts how often it was taken over from a replica that died without releasing it.
    *surface*: see NewSession.
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
    surface: str = ""


class SessionUpdate(msgspec.Struct, frozen=True, gc=False):
    """What to change of a session; a field that is None stays as it is.

    *head*: the record that the conversation continues from (0: before the first); later records stay, as a branch.
    """

    title: str | None = None
    title_is_custom: bool | None = None
    agent: str | None = None
    fingerprint: str | None = None
    metadata: bytes | None = None
    surface: str | None = None
    head: int | None = None


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A fact to append. *text* is what search finds; *visible*: it counts as a message; *parent*: None for the record
    before (for the first of an append: the head), 0 for none, else an earlier record, which begins a branch."""

    kind: str
    body: bytes
    text: str = ""
    visible: bool = False
    parent: int | None = None


def size_of(records: tuple[NewRecord, ...]) -> int:
    """The bytes of *records*, as `Journal.expire` counts them."""
    return sum([len(record.body) for record in records])


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

    *epoch* grows with every claim; *takeovers* counts how often this turn was taken over from a replica that died; one
    that released it (`Journal.release`) doesn't count, because an orderly restart says nothing against the turn.
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


class SlotDemand(msgspec.Struct, frozen=True, gc=False):
    """How many *slots* of a *model* a replica could use now, of the *limit* that all replicas share.

    Nothing asks for slots yet: the shares over several replicas are a later issue.
    """

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


class IdempotentAnswer(msgspec.Struct, frozen=True, gc=False):
    """An answer to a request that may be sent again, or the attempt to make it, as `answer_begin` found it.

    *number* names the attempt and is never used twice; *begun*: that call began it. *fingerprint* is the request's.
    *body* is None until the answer is whole; *alive*: whether the replica of the attempt is.
    """

    number: int
    fingerprint: str
    begun: bool
    alive: bool
    body: bytes | None


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
    bytes: int
    """Of the records that were appended, and of the answers that were kept."""
    seconds: float
    latency: tuple[tuple[float, int], ...]
