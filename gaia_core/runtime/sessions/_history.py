"""History: a session's records, folded into the transcript that its next turn continues."""

from collections import OrderedDict

import attrs
import msgspec

from gaia_core.agent import Agent
from gaia_core.facts import AgentSwitched, Answered, Began, Compacted, Decided, Done, Ended, Fact, Started
from gaia_core.journal import Journal, Lease, Record, branch, fact_of, readable_fact
from gaia_core.messages import Usage
from gaia_core.turn import NO_OPTIONS, Audience, Grant, Transcript, TurnOptions, TurnRequest, decode_grant

NO_USAGE = Usage()


@attrs.define(eq=False)
class History:
    """The fold of one branch: its transcript, grants, and how far its last turn has come."""

    transcript: Transcript
    grants: list[Grant]
    agent: str = ""
    fingerprint: str = ""
    began: Began | None = None
    answered: Answered | None = None
    """The last answer of the last turn."""
    ended: Ended | None = None
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = NO_USAGE
    turn: str = ""
    """The last turn."""
    before: int = 0
    """The record before the last turn's first."""


async def read_facts(journal: Journal, owner: str, id: str, *, strict: bool = False) -> tuple[tuple[Record, Fact], ...]:
    """The facts of the session's present branch, oldest first, with their records.

    For one that can't be read there is a `Damaged`; with *strict*, DamagedRecordError is raised. Raises NotFoundError.
    """
    info = await journal.get(owner, id)
    records = branch(await journal.read(owner, id), info.head) if info.head else ()
    return tuple([(record, fact_of(record, id) if strict else readable_fact(record)) for record in records])


def fold(records: tuple[Record, ...], head: int, session: str) -> History:
    """What the branch of *session* that ends in *head* amounts to. Raises DamagedRecordError."""
    history = History(Transcript(), [])
    for record in branch(records, head) if head else ():
        fact = fact_of(record, session)
        if record.turn != history.turn:
            history.turn, history.before = record.turn, record.seq - 1
        _take(history, record.seq, fact)
    return history


def _take(history: History, seq: int, fact: Fact) -> None:
    history.transcript.apply(seq, fact)
    if isinstance(fact, Answered | Done | Compacted):
        history.usage += fact.usage
    match fact:
        case AgentSwitched():
            history.agent, history.fingerprint = fact.agent, fact.fingerprint
        case Began():
            history.agent, history.fingerprint = fact.agent, fact.fingerprint
            history.began, history.answered, history.ended = fact, None, None
            history.steps, history.tool_calls, history.usage = 0, 0, NO_USAGE
        case Answered():
            history.answered, history.steps = fact, fact.step
        case Started() | Done(outcome="invalid"):
            history.tool_calls += 1
        case Decided(grant=grant) if grant:
            history.grants.append(decode_grant(grant))
        case Ended():
            history.ended = fact


_MOST_SESSIONS = 256
_MOST_BYTES = 64_000_000


class Histories:
    """The histories of the sessions that talked last, so that their next turn reads nothing. Bounded.

    One is good for a claim that finds its session as the last turn left it; else the record is read.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[Lease, History, int]] = OrderedDict()
        self._bytes = 0
        self._new: OrderedDict[tuple[str, str], None] = OrderedDict()

    def began(self, key: tuple[str, str]) -> None:
        """The session *key* was created and has no record."""
        self._new[key] = None
        if len(self._new) > _MOST_SESSIONS:
            self._new.popitem(last=False)

    def guess(self, key: tuple[str, str]) -> Transcript | None:
        """The transcript that the session's next turn most likely continues; its claim has yet to confirm it."""
        if (kept := self._kept.get(key)) is not None:
            return kept[1].transcript
        return Transcript() if key in self._new else None

    def take(self, lease: Lease, head: int) -> History | None:
        """The history of the session before the claim of *lease*, whose first record is its last."""
        self._new.pop((lease.owner, lease.id), None)
        kept = self._pop((lease.owner, lease.id))
        if kept is None:
            return None
        last, history, _ = kept
        same = (last.number, last.seq, last.head) == (lease.number, lease.seq - 1, head)
        return history if same else None

    def put(self, lease: Lease, history: History, agent: Agent) -> None:
        """Keep *history* as the turn of *lease* left it."""
        history.agent, history.fingerprint = agent.name, agent.fingerprint
        size = sum([entry.size for entry in history.transcript.entries])
        size += sum(map(len, history.transcript.full.values()))
        key = (lease.owner, lease.id)
        self._pop(key)
        self._kept[key] = (lease, history, size)
        self._bytes += size
        while len(self._kept) > _MOST_SESSIONS or self._bytes > _MOST_BYTES:
            self._pop(next(iter(self._kept)))

    def drop(self, key: tuple[str, str]) -> None:
        """Keep nothing of the session *key*: it is deleted, or was moved."""
        self._new.pop(key, None)
        self._pop(key)

    def _pop(self, key: tuple[str, str]) -> tuple[Lease, History, int] | None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept[2]
        return kept


_options_decoder = msgspec.json.Decoder(TurnOptions)


def encode_options(options: TurnOptions) -> bytes:
    """*options* for the record; empty for none."""
    return b"" if options == NO_OPTIONS else msgspec.json.encode(options)


def recorded_request(began: Began) -> TurnRequest:
    """The part of a turn's request that its continuation after a restart needs."""
    options = _options_decoder.decode(began.options) if began.options else NO_OPTIONS
    return TurnRequest(audience=audience_of(began), options=options)


class _EarlierOptions(msgspec.Struct, frozen=True):
    """What records of version 0.1 say of the audience in their options."""

    approvals_only: bool = False
    foreground: bool = False


_earlier_decoder = msgspec.json.Decoder(_EarlierOptions)


def audience_of(began: Began) -> Audience:
    """Who was there when the turn began."""
    if began.audience:
        return Audience(began.audience)
    earlier = _earlier_decoder.decode(began.options) if began.options else _EarlierOptions()
    if not began.interactive:
        return Audience.NOBODY
    if not earlier.approvals_only:
        return Audience.INTERACTIVE
    return Audience.CLIENT if earlier.foreground else Audience.BACKGROUND
