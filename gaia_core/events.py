"""Events: everything that happens in a turn, as immutable tagged values.

All surfaces (chat chunks, UI frames, the terminal) are translations of these and of nothing else. A turn's events
come in this order:

    TurnStarted
      ToolsReplaced?                            tools of the agent that the client's of the same name replace
      StepStarted                               one step: a model request and the tool calls that it asks for
        Queued*                                 while the request waits for one of the model's slots
        ModelRetried*                           the endpoint failed before its first token, and is asked again
        ReasoningDelta* TextDelta*              live only; their sum stands in StepEnded. With a response format, the
                                                text is sent whole, once it has been validated, unless the endpoint
                                                enforces the format
        ClientCallDelta*                        live only, likewise; with `TurnOptions.stream_client_calls`
      StepEnded                                 the model's whole message, and this step's usage
      ToolCalled*                               for each call of the agent's own tools, in the model's order
        ApprovalRequested ApprovalDecided       only for calls that need it, after their arguments were validated
        ToolStarted ToolProgress* ToolEnded     interleaved where calls run in parallel
        InputRequested InputAnswered            a running tool asks the user
      ContextCompacted*                         before a step whose conversation would be too long
      TurnResumed*                              another process continues from the last record
      RecordDelayed*                            the journal can't record what happened: the turn waits for it
      …                                         further steps
      LimitReached?                             the limit that ended the turn
    TurnEnded                                   exactly one, always the last

An event of a sub-agent comes wrapped in `Nested`, with the id of the call that runs it.
"""

from typing import Literal, TypeAlias

import msgspec

from gaia_core.messages import AssistantMessage, ToolCall, Usage
from gaia_core.messages import Outcome as Outcome  # noqa: PLC0414  # public here, where it first stood
from gaia_core.tool_output import Image

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]

TurnStatus: TypeAlias = Literal["completed", "tool_calls", "limit", "cancelled", "failed"]

GrantScope: TypeAlias = Literal["once", "session"]
"""What a yes covers: the call that was shown, or what `ApprovalRequested.scope` says for the rest of the session."""

LimitName: TypeAlias = Literal["steps", "tool_calls", "tokens", "seconds", "answer_chars"]


class ErrorInfo(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What failed, for a client: a stable *type*, words, and whether a retry can help (after how many seconds)."""

    type: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    status: int | None = None


class TurnStarted(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A turn began: with this agent, in this configuration (`Agent.fingerprint`)."""

    turn_id: str
    session_id: str
    agent: str
    fingerprint: str
    model: str


class ToolsReplaced(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The client brought tools with these *names*, which the agent has too: in this turn the client's are called and
    the agent's are not offered. Live only."""

    names: tuple[str, ...]


class StepStarted(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A step began; *step* counts from 1."""

    step: int


class Queued(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The model request waits for a slot; *position* 1 is next."""

    position: int


class ModelRetried(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The model request failed before its first token and is sent again after *delay* seconds.

    *kind* is that of the `ModelError`: `not_ready` while the server loads its model, `context_length` when the request
    is sent again in a shorter form, `bad_request` without an option that the server refuses. A request that waits for
    the embedded model has one for each step of its progress, with a *delay* of 0.
    """

    attempt: int
    delay: float
    reason: str
    kind: str = ""


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False, tag=True):
    """More of the model's reasoning."""

    text: str


class TextDelta(msgspec.Struct, frozen=True, gc=False, tag=True):
    """More of the model's answer."""

    text: str


class ClientCallDelta(msgspec.Struct, frozen=True, gc=False, tag=True):
    """More of the *arguments* of the call *call_id* of the client's *tool*; the first delta of a call may have none.

    Calls come one after the other, in the model's order. A call is complete when a `StepEnded` names it in
    *client_calls*, and not before: the turn may still fail. Live only.
    """

    call_id: str
    tool: str
    arguments: str


class StepEnded(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The model's whole message of one step, why it ended, and what it cost.

    *seconds* from the request to its end, *first_seconds* to its first token (None: there was none); waiting for a
    slot included. *objection* is set when the text doesn't match `TurnOptions.response_format`: the model receives
    it and is asked once more. *stop_sequence* ended the text, where the endpoint says which. *client_calls*: the ids of
    all client's calls of *message*, when some of them were sent as they came (`ClientCallDelta`). *reasoned_before*:
    how many characters of the reasoning came before the first text, where some came after it; else None.
    """

    step: int
    message: AssistantMessage
    finish_reason: FinishReason
    usage: Usage
    seconds: float = 0.0
    first_seconds: float | None = None
    objection: str = ""
    stop_sequence: str | None = None
    client_calls: tuple[str, ...] = ()
    reasoned_before: int | None = None


class ToolCalled(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True):
    """The model called a tool; *arguments* is its JSON text, not yet validated."""

    call_id: str
    tool: str
    arguments: str
    server: str = ""
    """The server whose tool it is (`Bound.server`); "" for one of a toolset that lives here."""


class ApprovalRequested(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A validated call waits for approval; `Turn.decide(approval_id, …)` answers this one and no other."""

    approval_id: str
    call_id: str
    tool: str
    arguments: str
    reason: str
    timeout_seconds: float
    scope: str = ""
    """What a yes for the whole session would cover, for people."""


class ApprovalDecided(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True):
    """A call was approved or denied, and why; *approval_id* is empty when nobody was asked."""

    call_id: str
    approved: bool
    reason: str
    approval_id: str = ""
    scope: GrantScope = "once"


class InputRequested(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A running tool asks the user something; `Turn.answer(request_id, …)` answers it."""

    request_id: str
    call_id: str
    question: str
    options: tuple[str, ...]
    timeout_seconds: float


class InputAnswered(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The user answered a tool's question; *value* is None when nobody did in time."""

    request_id: str
    call_id: str
    value: str | None


class ToolStarted(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The handler of a validated, approved call was started."""

    call_id: str


class ToolProgress(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A running tool reports where it is."""

    call_id: str
    text: str


class ToolEnded(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A call is over; *content* is the result as the model reads it, in which each of *images* is named.

    *still_running* is true for a thread that outlived its time-out or its turn: it can't be stopped.
    """

    call_id: str
    tool: str
    outcome: Outcome
    content: str
    seconds: float
    still_running: bool = False
    images: tuple[Image, ...] = ()


class ContextCompacted(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The older part of the conversation is sent as *summary* from now on; all was about *tokens_before* tokens."""

    summary: str
    tokens_before: int
    usage: Usage


class AgentChanged(msgspec.Struct, frozen=True, gc=False, tag=True):
    """From here on the session talks to this agent, in this configuration."""

    agent: str
    fingerprint: str


class TurnResumed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Another process continues the turn from its last record. *attempt* counts the processes that died while they ran
    it; 0: the last one stopped in order."""

    attempt: int


class RecordDelayed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The journal can't record what happened, because of *reason*. The turn waits until it can; nothing that follows
    from it happens before. Live only."""

    reason: str


class Reset(msgspec.Struct, frozen=True, gc=False, tag=True):
    """For one reader: what came after the record *seq* was not kept; text told since is void, and what follows is
    the record's."""

    seq: int


class LimitReached(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A limit of the agent ends the turn."""

    limit: LimitName
    value: float
    message: str


class TurnEnded(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The turn is over and nothing of it runs any more, except what *still_running* of a `ToolEnded` said.

    | status | meaning |
    |---|---|
    | `completed` | the model answered; *text* is the answer |
    | `tool_calls` | the model called *client_calls*: the client runs them and continues with their results |
    | `limit` | a limit ended it (`LimitReached` says which); *text* is what there is |
    | `cancelled` | somebody cancelled it |
    | `failed` | *error* says why |

    *finish_reason* is the last step's, `length` after a limit. *usage* is the sum over the steps, sub-agents included.
    *seconds*: how long it ran, in the process that ended it. *reasoning*: of a step that was cut short, as *text* is.
    *partial_calls*: likewise, the client's calls of that step as far as their `ClientCallDelta`s go. They are not
    whole and must not be run; a turn that has some has `failed` or was `cancelled`. *reasoned_before* as in
    `StepEnded`.
    """

    status: TurnStatus
    text: str
    finish_reason: FinishReason
    usage: Usage
    steps: int
    client_calls: tuple[ToolCall, ...] = ()
    error: ErrorInfo | None = None
    seconds: float = 0.0
    reasoning: str = ""
    partial_calls: tuple[ToolCall, ...] = ()
    reasoned_before: int | None = None


class Nested(msgspec.Struct, frozen=True, gc=False, tag=True):
    """An event of a sub-agent, which runs as the call *parent_call_id* of this turn."""

    parent_call_id: str
    event: "Event"


Event: TypeAlias = (
    TurnStarted
    | ToolsReplaced
    | StepStarted
    | Queued
    | ModelRetried
    | ReasoningDelta
    | TextDelta
    | ClientCallDelta
    | StepEnded
    | ToolCalled
    | ApprovalRequested
    | ApprovalDecided
    | InputRequested
    | InputAnswered
    | ToolStarted
    | ToolProgress
    | ToolEnded
    | ContextCompacted
    | AgentChanged
    | TurnResumed
    | RecordDelayed
    | Reset
    | LimitReached
    | TurnEnded
    | Nested
)
