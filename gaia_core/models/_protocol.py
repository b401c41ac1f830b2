"""The contract between a turn and a model: one request in, batches of deltas out.

A model is any object with `stream(request)`. It yields *batches* (tuples) of deltas, one batch for what arrived
together, so that everything behind it can be written together. It ends with exactly one `Finished`; closing the
iterator early closes the upstream response at once. It raises `ModelError` when there is no answer to be had.
"""

from collections.abc import AsyncGenerator
from math import inf
from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

import msgspec

from gaia_core.errors import ConfigError, GaiaError
from gaia_core.events import FinishReason, ModelRetried, ReasoningDelta, TextDelta
from gaia_core.frozen_types import check_of, refusal
from gaia_core.messages import Message, ReasoningField, Usage
from gaia_core.tools import ToolDefinition

ToolMode: TypeAlias = Literal["auto", "none", "required"]
FormType: TypeAlias = Literal["json_object", "json_schema"]
Stop: TypeAlias = str | tuple[str, ...]
LogitBias: TypeAlias = tuple[tuple[str, float], ...]
LimitName: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
Further: TypeAlias = tuple[tuple[str, str], ...]

# What a caller may say of a turn is checked when it is said. What a model says is not (deltas, usage), nor the request
# that a turn makes at each step: together that took 3 µs of a turn's 110.
_MODES = get_args(ToolMode)
_is_form = check_of(FormType)
_is_text = check_of(str | None)
_is_flag = check_of(bool | None)
_is_number = check_of(float | None)
_is_int = check_of(int | None)
_is_stop = check_of(Stop | None)
_is_bias = check_of(LogitBias | None)
_is_limit_name = check_of(LimitName)
_is_further = check_of(Further)


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call, as it came: see `_call_assembly` for what tells parallel calls apart. *id* and *name*
    usually come once, *arguments* in pieces."""

    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The model is done. *usage* is None when the endpoint sent none. *stop_sequence*: the one
    that ended the text, where the endpoint says which."""

    reason: FinishReason
    usage: Usage | None = None
    stop_sequence: str | None = None
    reasoning_field: ReasoningField = "reasoning_content"
    """The field in which the endpoint sent the model's reasoning."""


Delta: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | ModelRetried | Finished


class ToolChoice(msgspec.Struct, frozen=True, gc=False):
    """Whether the model may, must not or must call a tool; *name* when it must call that one."""

    mode: ToolMode = "auto"
    name: str | None = None

    def __post_init__(self) -> None:
        mode: object = self.mode
        if not (type(mode) is str and mode in _MODES and (self.name is None or type(self.name) is str)):
            raise refusal(self)


class ResponseFormat(msgspec.Struct, frozen=True, gc=False):
    """The form of the final text: any JSON object, or JSON of one schema (encoded)."""

    type: FormType
    schema: bytes = b"{}"
    name: str = "response"
    strict: bool | None = None

    def __post_init__(self) -> None:
        named = _is_form(self.type) and type(self.name) is str
        if not (named and type(self.schema) is bytes and _is_flag(self.strict)):
            raise refusal(self)


class Sampling(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Options that reach the model as they are; None is not sent. Names are those of the chat completions API.

    *limit_name* is the name by which the client sent *max_tokens*. *further* are options that a model server knows and
    that API does not, such as `top_k`: each by its name, with its value as JSON text.

    Raises ConfigError for a value of another type, and for a number that JSON doesn't know (nan, inf).
    """

    temperature: float | None = None
    top_p: float | None = None
    stop: Stop | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: LogitBias | None = None
    reasoning_effort: str | None = None
    max_tokens: int | None = None
    limit_name: LimitName = "max_tokens"
    further: Further = ()

    def __post_init__(self) -> None:
        numbers = (self.temperature, self.top_p, self.presence_penalty, self.frequency_penalty)
        if not (
            all(map(_is_number, numbers))
            and _is_stop(self.stop)
            and _is_int(self.seed)
            and _is_bias(self.logit_bias)
            and _is_text(self.reasoning_effort)
            and _is_int(self.max_tokens)
            and _is_limit_name(self.limit_name)
            and _is_further(self.further)
        ):
            raise refusal(self)
        if inf in numbers or -inf in numbers:
            raise ConfigError(f"Sampling takes finite numbers, not {self!r}")


class ModelRequest(msgspec.Struct, frozen=True):
    """Everything one model request needs.

    *session_key* is stable for a conversation, so that an endpoint with several replicas or a prefix cache can keep
    it in one place; it is never sent as a user's identity.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    sampling: Sampling = Sampling()
    session_key: str = ""
    encoded: tuple[bytes, ...] = ()
    """Each message as it is sent (`wire_bytes`), if the caller has it already; empty: to be encoded."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers for a model over HTTP, such as a trace's."""
    owner: str = ""
    """Whose request it is, for an endpoint that keeps owners' caches apart; it is never sent as it is."""


Input: TypeAlias = Literal["image", "audio", "file"]
"""What a model may take beside text, by the parts of a message."""


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """Texts to be made vectors of. *input* is the JSON array of *count* texts, or of their tokens; *dimensions* of the
    vectors, None: the model's own."""

    input: bytes
    count: int
    dimensions: int | None = None

    def __post_init__(self) -> None:
        if not (type(self.input) is bytes and type(self.count) is int and _is_int(self.dimensions)):
            raise refusal(self)


class Embeddings(msgspec.Struct, frozen=True):
    """A vector for each text, in their order, and the tokens that they had; estimated where the endpoint didn't
    say."""

    vectors: tuple[tuple[float, ...], ...]
    tokens: int = 0


class ModelError(GaiaError):
    """A model request failed.

    *kind* is stable: `connect`, `timeout`, `rate_limited`, `overloaded`, `auth`, `not_found`, `context_length`,
    `bad_request`, `broken_stream`, `incomplete_call` (of a client's tool), `response_format` (of a text that was
    streamed as it came), `not_ready`, `server`. *retry_after* is
    in seconds. *status* is the endpoint's. Of `context_length`: *window* is the model's context, *prompt_tokens* the
    request's prompt, in tokens, where the endpoint says so.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        status: int | None = None,
        window: int | None = None,
        prompt_tokens: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        self.retry_after = retry_after
        self.status = status
        self.window = window
        self.prompt_tokens = prompt_tokens


BreakerState: TypeAlias = Literal["closed", "open", "half_open"]


class EndpointLoad(msgspec.Struct, frozen=True, gc=False):
    """An endpoint of a model, for a status page.

    *state* is its circuit breaker's: `closed` is asked, `open` is left alone, of `half_open` one request finds out.
    *failures* are those in a row, *running* the requests there now; it is tried again in *retry_after* seconds.
    """

    url: str
    state: BreakerState = "closed"
    failures: int = 0
    running: int = 0
    retry_after: float = 0.0


@runtime_checkable
class Model(Protocol):
    """See the module's text.

    A model may have `async def aclose(self)`, which the runtime calls once at its end, and a property `endpoints`, a
    tuple of `EndpointLoad`, which the runtime's statistics show. `async def inputs(self) -> frozenset[Input]` says
    what it takes beside text, `async def embed(self, request: EmbeddingRequest) -> Embeddings` makes vectors, `async
    def count(self, request: ModelRequest) -> int | None` counts the tokens of a prompt by the model's own tokenizer
    (None: nobody there counts); all raise ModelError. With `any_task = True` its stream may be begun by one task and
    read on by another (no cancel scope spans a batch): then it is asked while the turn is being recorded.
    """

    def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """Answer *request* as batches of deltas, the last delta a `Finished`."""
        ...
