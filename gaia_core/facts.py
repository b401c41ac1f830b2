"""Facts: what the journal keeps of a session, one record each; and the events that each of them tells.

A turn is a fold over its facts: what it does next depends on them and on nothing else, so a turn whose process died
continues from the last one. A fact is recorded before its events are sent (law 9); token deltas are not facts, their
sum stands in `Answered`. In order:

    Began                        the user's message; recorded with the claim of the session
      AgentSwitched?             the session continues with another configuration than its last turn had
      Compacted*                 what the older part of the conversation said, in short
      Answered                   the model's whole message; in the same commit the facts that begin its calls:
        Started                  a validated, approved call is about to run (its intent precedes its effect)
        Asked, Decided           a call waits for approval; the decision, with `Started` or `Done` in its commit
        Questioned, Replied      a running tool asks the user
        Done                     a call is over, or its outcome is unknown
      Resumed*                   another process continues the turn
    Ended                        exactly one; in one commit with the answer that it ends by
"""

from typing import TypeAlias

import msgspec

from gaia_core.events import (
    AgentChanged,
    ApprovalDecided,
    ApprovalRequested,
    ContextCompacted,
    ErrorInfo,
    Event,
    FinishReason,
    GrantScope,
    InputAnswered,
    InputRequested,
    LimitReached,
    Outcome,
    StepEnded,
    ToolCalled,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnResumed,
    TurnStarted,
    TurnStatus,
)
from gaia_core.frozen_types import refusal
from gaia_core.messages import MESSAGE_TYPES, AssistantMessage, Message, ToolCall, Usage, UserMessage, mended, text_of
from gaia_core.tool_output import Image


class AgentSwitched(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="agent"):
    """From here on the session talks to this agent, in this configuration."""

    agent: str
    fingerprint: str


class Edit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A message that models are not shown any more as it was said; the record keeps it.

    *seq*: the record that it comes from; *digest*: of its bytes as endpoints take them (`Entry.digest`); *nth*: which
    one, where that record has several like it. *message* stands there instead; None: nothing does.
    """

    seq: int
    digest: str
    nth: int = 0
    message: Message | None = None

    def __post_init__(self) -> None:
        if not (
            type(self.seq) is int
            and type(self.digest) is str
            and type(self.nth) is int
            and (self.message is None or type(self.message) in MESSAGE_TYPES)
        ):
            raise refusal(self)


class Began(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="began"):
    """A turn began. *options* is the caller's `TurnOptions`, encoded; empty for none.

    *input*: what else the request adds to the conversation before the model is asked; results of a client's tools are
    put behind their calls. *note* is the surface's own, which nobody else reads. *edits*: what is not shown any more
    from here on.
    *system* (`Agent.system_hash`) and *tools* (`Toolset.fingerprint`) identify the prompt and the tools that the model
    was sent; empty for a conversation that came from elsewhere.
    *audience* is the turn's `Audience`; records of earlier versions have *interactive* (and more in *options*) instead.
    """

    agent: str
    fingerprint: str
    model: str
    message: UserMessage | None = None
    interactive: bool = False
    options: bytes = b""
    system: str = ""
    tools: str = ""
    input: tuple[Message, ...] = ()
    note: bytes = b""
    edits: tuple[Edit, ...] = ()
    audience: str = ""


class Answered(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="answered"):
    """The model's whole message of one step. *client_calls* are the ids of calls that the client runs.

    *seconds* from the request to its end, *first_seconds* to the first token (None: there was none); waiting for a
    slot included. *objection* is set when the text doesn't match the response format; it is sent to the model.
    *problems* lists what was wrong with the text, without the instruction to the model; records of earlier versions
    have none. *calls_streamed*: calls were sent to the client as they came (`ClientCallDelta`).
    """

    step: int
    message: AssistantMessage
    finish_reason: FinishReason
    usage: Usage
    client_calls: tuple[str, ...] = ()
    seconds: float = 0.0
    first_seconds: float | None = None
    objection: str = ""
    servers: tuple[tuple[str, str], ...] = ()
    """For each call of a server's tool, its id and the server's name."""
    problems: tuple[str, ...] = ()
    stop_sequence: str | None = None
    """The one that ended the text, where the endpoint said which."""
    calls_streamed: bool = False
    reasoned_before: int | None = None
    """How many characters of the reasoning came before the first text, where some came after it; else None. Streams
    send no reasoning after text, so one that is sent from the record needs to know it."""


class Started(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="started"):
    """A validated, approved call is about to run, under this idempotency key."""

    call_id: str
    tool: str
    key: str


class Done(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="done"):
    """A call is over; *content* is what the model reads, *full* the whole result where that was shortened.

    *loaded*: the tools that it loaded for the session (`find_tools`). *usage*: what it had models do itself, vectors
    for that search, say; it is in the turn's. *images*: what the result has beside text (bytes as base64); records of
    earlier versions have none.
    """

    call_id: str
    tool: str
    outcome: Outcome
    content: str
    seconds: float = 0.0
    still_running: bool = False
    full: str | None = None
    loaded: tuple[str, ...] = ()
    usage: Usage = Usage()
    images: tuple[Image, ...] = ()


class Asked(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="asked"):
    """A validated call waits for approval until *expires_at* (Unix seconds). *scope*: what a yes for good covers.

    *agent* is the fingerprint of the agent that the call was shown for, which is the only one that an answer holds for;
    records of earlier versions have none.
    """

    approval_id: str
    call_id: str
    tool: str
    arguments: str
    reason: str
    seconds: float
    expires_at: float
    scope: str
    path: str = ""
    agent: str = ""


class Decided(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="decided"):
    """Whether a call may run, and why. *grant* is set for a yes that covers the session: the pattern it covers."""

    call_id: str
    approved: bool
    reason: str
    approval_id: str = ""
    scope: GrantScope = "once"
    grant: str = ""


class Questioned(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="questioned"):
    """A running tool asks the user something, until *expires_at*."""

    request_id: str
    call_id: str
    question: str
    options: tuple[str, ...]
    seconds: float
    expires_at: float


class Replied(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="replied"):
    """The user's answer; None when none came in time."""

    request_id: str
    call_id: str
    value: str | None


class Compacted(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="compacted"):
    """*summary* stands for everything before the record *kept_from* when a model is asked; nothing is deleted."""

    summary: str
    kept_from: int
    usage: Usage
    tokens_before: int


class Resumed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="resumed"):
    """Another process took the turn over. *attempt*: how often from one that died; 0: the last one stopped in order."""

    attempt: int


class Ended(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="ended"):
    """The turn is over. Fields as in `TurnEnded`."""

    status: TurnStatus
    text: str
    finish_reason: FinishReason
    usage: Usage
    steps: int
    client_calls: tuple[ToolCall, ...] = ()
    error: ErrorInfo | None = None
    limit: LimitReached | None = None
    seconds: float = 0.0
    reasoning: str = ""
    partial_calls: tuple[ToolCall, ...] = ()
    reasoned_before: int | None = None


class Damaged(msgspec.Struct, frozen=True, gc=False, tag="damaged"):
    """Stands where a record can't be read (`gaia_core.journal.readable_fact`); nothing records it. *problem*: why."""

    kind: str
    problem: str


Fact: TypeAlias = (
    AgentSwitched
    | Began
    | Answered
    | Started
    | Done
    | Asked
    | Decided
    | Questioned
    | Replied
    | Compacted
    | Resumed
    | Ended
    | Damaged
)

_decoder: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)
_encoder = msgspec.json.Encoder()


def encode_fact(fact: Fact) -> bytes:
    """*fact* as a journal keeps it: tagged JSON. Text that can't be UTF-8 (half a surrogate pair) is mended."""
    try:
        return _encoder.encode(fact)
    except UnicodeEncodeError:
        return _encoder.encode(mended(msgspec.to_builtins(fact)))


def decode_fact(body: bytes) -> Fact:
    """The fact that *body* holds. Raises msgspec.DecodeError for a body that holds none."""
    return _decoder.decode(body)


def kind_of(fact: Fact) -> str:
    """The fact's tag."""
    return str(type(fact).__struct_config__.tag)


def text_of_fact(fact: Fact) -> str:
    """What a search finds of *fact*: what the user said and what the model answered."""
    if isinstance(fact, Began):
        return text_of(fact.message.content) if fact.message is not None else ""
    if isinstance(fact, Answered):
        return text_of(fact.message.content)
    return ""


def is_message(fact: Fact) -> bool:
    """Whether people see *fact* as a message of the conversation: the user's, and a turn's end that has words. So do
    they see that one is damaged."""
    if isinstance(fact, Began):
        return fact.message is not None
    return isinstance(fact, Ended | Damaged)


def events_of(fact: Fact, turn_id: str, session_id: str) -> tuple[Event, ...]:
    """What *fact* tells, in this order. Live and replayed streams are made of this and of nothing else."""
    kind = type(fact)  # compared by identity, the most frequent first: this is on every step's path
    if kind is Answered:
        return _answered(fact)  # type: ignore[arg-type]
    if kind is Started:
        return (ToolStarted(fact.call_id),)  # type: ignore[union-attr]
    if kind is Done:
        return (_done(fact),)  # type: ignore[arg-type]
    match fact:
        case Began():
            return (TurnStarted(turn_id, session_id, fact.agent, fact.fingerprint, fact.model),)
        case Ended():
            event = TurnEnded(
                fact.status,
                fact.text,
                fact.finish_reason,
                fact.usage,
                fact.steps,
                fact.client_calls,
                fact.error,
                fact.seconds,
                fact.reasoning,
                fact.partial_calls,
                fact.reasoned_before,
            )
            return (event,) if fact.limit is None else (fact.limit, event)
        case Asked():
            asked = ApprovalRequested(
                fact.approval_id, fact.call_id, fact.tool, fact.arguments, fact.reason, fact.seconds, fact.scope
            )
            return (asked,)
        case Decided():
            return (ApprovalDecided(fact.call_id, fact.approved, fact.reason, fact.approval_id, fact.scope),)
        case Questioned():
            return (InputRequested(fact.request_id, fact.call_id, fact.question, fact.options, fact.seconds),)
        case Replied():
            return (InputAnswered(fact.request_id, fact.call_id, fact.value),)
        case Compacted():
            return (ContextCompacted(fact.summary, fact.tokens_before, fact.usage),)
        case Resumed():
            return (TurnResumed(fact.attempt),)
        case AgentSwitched():
            return (AgentChanged(fact.agent, fact.fingerprint),)
        case Damaged():
            return ()
        case _:
            raise TypeError(f"{fact!r} is no fact")


def _answered(fact: Answered) -> tuple[Event, ...]:
    ended = StepEnded(
        fact.step,
        fact.message,
        fact.finish_reason,
        fact.usage,
        fact.seconds,
        fact.first_seconds,
        fact.objection,
        fact.stop_sequence,
        fact.client_calls if fact.calls_streamed else (),
        fact.reasoned_before,
    )
    if not fact.message.tool_calls:
        return (ended,)
    calls = [call for call in fact.message.tool_calls if call.id not in fact.client_calls]
    servers = dict(fact.servers)
    return (ended, *[ToolCalled(call.id, call.name, call.arguments, servers.get(call.id, "")) for call in calls])


def _done(fact: Done) -> ToolEnded:
    return ToolEnded(fact.call_id, fact.tool, fact.outcome, fact.content, fact.seconds, fact.still_running, fact.images)
