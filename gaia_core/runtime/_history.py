"""History: a session's records, folded into what a turn goes on from."""

import attrs
import msgspec

from gaia_core.facts import AgentChanged, Answered, Began, Decided, Done, Ended, Fact, Started, decode_fact
from gaia_core.journal import Record, branch
from gaia_core.messages import Usage
from gaia_core.turn import NO_OPTIONS, Grant, Transcript, TurnOptions, decode_grant

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


def facts_of(records: tuple[Record, ...], head: int) -> list[tuple[Record, Fact]]:
    """The facts of the branch that ends in *head*, with their records."""
    return [(record, decode_fact(record.body)) for record in (branch(records, head) if head else ())]


def fold(records: tuple[Record, ...], head: int) -> History:
    """What the branch that ends in *head* amounts to."""
    history = History(Transcript(), [])
    for record, fact in facts_of(records, head):
        if record.turn != history.turn:
            history.turn, history.before = record.turn, record.seq - 1
        _take(history, record.seq, fact)
    return history


def _take(history: History, seq: int, fact: Fact) -> None:
    history.transcript.apply(seq, fact)
    match fact:
        case AgentChanged():
            history.agent, history.fingerprint = fact.agent, fact.fingerprint
        case Began():
            history.agent, history.fingerprint = fact.agent, fact.fingerprint
            history.began, history.answered, history.ended = fact, None, None
            history.steps, history.tool_calls, history.usage = 0, 0, NO_USAGE
        case Answered():
            history.answered, history.steps = fact, fact.step
            history.usage += fact.usage
        case Started() | Done(outcome="invalid"):
            history.tool_calls += 1
        case Decided(grant=grant) if grant:
            history.grants.append(decode_grant(grant))
        case Ended():
            history.ended = fact


_options_decoder = msgspec.json.Decoder(TurnOptions)


def encode_options(options: TurnOptions) -> bytes:
    """*options* for the record; empty for none."""
    return b"" if options == NO_OPTIONS else msgspec.json.encode(options)


def decode_options(encoded: bytes) -> TurnOptions:
    """The options that `encode_options` wrote."""
    return _options_decoder.decode(encoded) if encoded else NO_OPTIONS
