"""What the memory journal's sessions consist of: lines of records that forks share, heartbeats, jobs."""

import attrs

from gaia_core.journal._records import Job, Record, SessionInfo, Signal, SlotDemand, SlotGrant


@attrs.define(eq=False)
class RecordLine:
    """A run of records that one session wrote. Forks refer to it, so it can outlive its session."""

    base: "RecordLine | None" = None
    at: int = 0
    """The last seq of *base* that belongs to this line's past."""
    records: list[Record] = attrs.field(factory=list)
    first_seen: dict[str, int] = attrs.field(factory=dict)
    """The seq that has a word first."""
    forks: "list[RecordLine]" = attrs.field(factory=list)
    alive: bool = True
    """Whether its session is there."""

    def record(self, seq: int) -> Record:
        """The record of that seq, of this line or its past."""
        line = self
        while seq <= line.at:
            assert line.base is not None
            line = line.base
        return line.records[seq - line.at - 1]

    def says(self, part: str) -> bool:
        """Whether this line or its past has a word with that part."""
        line: RecordLine | None = self
        upto: float = float("inf")
        while line is not None:
            if any(first <= upto and part in word for word, first in line.first_seen.items()):
                return True
            upto = min(upto, line.at)
            line = line.base
        return False


@attrs.define(eq=False)
class StoredSession:
    """A session, and what its turn was signalled.

    *epoch* grows with every claim; an append under an earlier one is fenced. *waiting*: signals that nobody has taken;
    *handed_out*: those that the holder took last. Its next append or take forgets these, a takeover puts them back.
    """

    number: int
    info: SessionInfo
    line: RecordLine
    title_words: frozenset[str]
    epoch: int = 0
    size: int = 0
    """Bytes of the records that it wrote."""
    handed_over: bool = False
    """The turn's holder has released it; until the next claim."""
    waiting: list[Signal] = attrs.field(factory=list)
    handed_out: list[Signal] = attrs.field(factory=list)

    def titled(self, part: str) -> bool:
        """Whether the title has a word with that part."""
        return any(part in word for word in self.title_words)


@attrs.define(eq=False)
class Heartbeat:
    """A replica's last heartbeat."""

    address: str
    agents: tuple[str, ...]
    since: float
    beat_at: float
    wanted: tuple[SlotDemand, ...] = ()
    grants: tuple[SlotGrant, ...] = ()


@attrs.define(eq=False)
class StoredAnswer:
    """An idempotent answer; *body* is None until it is whole."""

    number: int
    name: str
    fingerprint: str
    replica: str
    created_at: float
    owner: str = ""
    body: bytes | None = None


@attrs.define(eq=False)
class ScheduledJob:
    """A job, and until when somebody has it."""

    job: Job
    held_until: float = 0.0


def hand_out(session: StoredSession) -> tuple[Signal, ...]:
    """Forget the signals that were handed out before, and hand out those that came since."""
    session.handed_out = session.waiting
    session.waiting = []
    return tuple(session.handed_out)


def trim(line: RecordLine) -> None:
    """Drop what of a line without a session no fork shares, and with its last fork the line itself."""
    if line.alive:
        return
    kept = max((fork.at for fork in line.forks), default=0)
    if not line.forks:
        line.records.clear()
        line.first_seen.clear()
        if line.base is not None:
            line.base.forks.remove(line)
            trim(line.base)
        return
    del line.records[max(0, kept - line.at) :]
    line.first_seen = {word: seq for word, seq in line.first_seen.items() if seq <= kept}
