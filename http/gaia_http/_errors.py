"""Errors as a client sees them: the envelope of the OpenAI API, and which failure gets which status.

    {"error": {"message": "…", "type": "invalid_request_error", "param": "messages[0].content", "code": "…"}}

SDKs send a request again on 408, 409, 429, 5xx and a lost connection. So these are given only while no tool of the
turn has run; afterwards a failure is 424 `agent_run_failed`. What a retry can't mend says `x-should-retry: false`
(source: OpenAI's Python and Node SDKs, which read that header).
"""

import math

import attrs
import msgspec

from gaia_core import (
    AnsweredError,
    BusyError,
    ClosedError,
    DamagedRecordError,
    EventIdError,
    JournalError,
    LimitError,
    NotFoundError,
    OutcomeUnknownError,
    QueueFullError,
    StorageFullError,
)
from gaia_core.events import ErrorInfo, LimitReached
from gaia_core.messages import mended

_NO_RETRY = (("x-should-retry", "false"),)
_BUSY_SECONDS = 5.0

INVALID = "invalid_request_error"
SERVER = "server_error"
RATE = "rate_limit_error"


_ANTHROPIC_TYPES = (
    (401, "authentication_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (408, "timeout_error"),
    (409, "conflict_error"),
    (413, "request_too_large"),
    (429, RATE),
    (503, "overloaded_error"),
    (504, "timeout_error"),
)


class _Error(msgspec.Struct, frozen=True, gc=False):
    message: str
    type: str
    param: str | None
    code: str | None


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    error: _Error


@attrs.frozen(kw_only=True)
class ErrorReply:
    """An error as it is sent: a *status*, an envelope, further *headers*."""

    status: int
    message: str
    type: str = INVALID
    param: str | None = None
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    may_retry: bool = True
    """Whether the same request may be sent again: False when tools have run, which may have had effects. A reply with
    False is kept as the answer of its `Idempotency-Key`."""
    logged: bool = False
    """Whether the log has its cause already: that of a failed turn is logged where the turn ends."""

    @property
    def body(self) -> bytes:
        """The envelope, encoded. Text that can't be UTF-8 is mended."""
        return encoded(_Envelope(_Error(self.message, self.type, self.param, self.code)))

    @property
    def plain_body(self) -> bytes:
        """The same outside the OpenAI API."""
        return encoded({"error": self.message, "code": self.code})

    def anthropic_body(self, request_id: str) -> bytes:
        """The same in Anthropic's API. Source: its API reference, errors."""
        error: dict[str, object] = {"type": self._anthropic_type, "message": self.message}
        if self.code is not None:
            error["details"] = {"error_code": self.code}
        return encoded({"type": "error", "error": error, "request_id": request_id})

    @property
    def _anthropic_type(self) -> str:
        for status, name in _ANTHROPIC_TYPES:
            if status == self.status:
                return name
        return INVALID if self.status < 500 and self.status != 424 else "api_error"

    @property
    def ui_body(self) -> bytes:
        """The same in the UI API."""
        return encoded({"detail": self.message})


class ApiError(Exception):
    """A request that is answered with *reply*."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(reply.message)
        self.reply = reply


def invalid(message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> ApiError:
    """A request that is at fault: 400 unless *status* says otherwise."""
    return ApiError(ErrorReply(status=status, message=message, param=param, code=code))


def encoded(value: object) -> bytes:
    """*value* as JSON; lone surrogates, which have no UTF-8, become U+FFFD."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(mended(msgspec.to_builtins(value)))


def of_exception(error: Exception) -> ErrorReply | None:
    """The reply to an error of the core that is raised before the turn begins; None for any other exception."""
    if isinstance(error, ApiError):
        return error.reply
    if isinstance(error, BusyError):
        return ErrorReply(status=409, message=str(error), code="session_busy", headers=_NO_RETRY)
    if isinstance(error, QueueFullError | LimitError):
        return rate_limited(str(error), error.retry_after)
    if isinstance(error, StorageFullError):
        return ErrorReply(status=403, message=str(error), code="storage_quota_exceeded", headers=_NO_RETRY)
    if isinstance(error, ClosedError):
        return ErrorReply(status=503, message=str(error), type=SERVER, code="draining", headers=_retry(_BUSY_SECONDS))
    if isinstance(error, NotFoundError):
        return ErrorReply(status=404, message=str(error), code="not_found")
    if isinstance(error, AnsweredError):
        return ErrorReply(status=409, message=str(error), code="answered", headers=_NO_RETRY)
    if isinstance(error, EventIdError):
        return ErrorReply(status=400, message=str(error), code="invalid_event_id")
    if isinstance(error, OutcomeUnknownError):  # to send the request again would begin a second turn
        return ErrorReply(status=504, message=str(error), type=SERVER, code="outcome_unknown", headers=_NO_RETRY)
    if isinstance(error, DamagedRecordError):
        return ErrorReply(status=500, message=str(error), type=SERVER, code="record_damaged", headers=_NO_RETRY)
    if isinstance(error, JournalError):
        return ErrorReply(status=503, message=str(error), type=SERVER, code="journal", headers=_retry(_BUSY_SECONDS))
    return None


def of_turn(error: ErrorInfo, *, tools_ran: bool) -> ErrorReply:
    """The reply to a turn that failed with *error*, by whether one of its tools was started."""
    reply = attrs.evolve(_of_kind(error), logged=True)
    if tools_ran and (reply.status >= 500 or reply.status in (408, 409, 429)):
        return ErrorReply(
            status=424,
            message=f"{reply.message} (Tools of this run have run, so it is not safe to send the request again.)",
            type=SERVER,
            code="agent_run_failed",
            headers=_NO_RETRY,
            may_retry=False,
            logged=True,
        )
    return reply


def interrupted() -> ErrorReply:
    """The reply where another process has asked the model again for a step of which the client has some."""
    return ErrorReply(
        status=503,
        message="another server continues this answer, and its last step was asked again: what came of that step is "
        "void. Send the request again with the same Idempotency-Key for the whole answer",
        type=SERVER,
        code="step_interrupted",
    )


def cancelled(*, tools_ran: bool) -> ErrorReply:
    """The reply to a turn that somebody else than its client cancelled: the server stops."""
    return of_turn(ErrorInfo("cancelled", "the turn was cancelled because the server stops"), tools_ran=tools_ran)


def overdue(limit: LimitReached, *, tools_ran: bool) -> ErrorReply:
    """The reply to a turn whose time was up before it had said anything."""
    return of_turn(ErrorInfo("deadline", f"{limit.message}, and nothing was said until then"), tools_ran=tools_ran)


def _of_kind(error: ErrorInfo) -> ErrorReply:
    kind, message = error.type, error.message
    match kind:
        case "queue_full" | "rate_limited":
            return rate_limited(message, error.retry_after)
        case "not_ready" if not error.retryable and error.retry_after is None:  # until somebody does what it says
            return ErrorReply(status=503, message=message, type=SERVER, code="model_not_ready", headers=_NO_RETRY)
        case "not_ready" | "overloaded" | "cancelled":
            code = {"not_ready": "model_not_ready", "cancelled": "draining"}.get(kind, kind)
            after = _retry(error.retry_after if error.retry_after is not None else _BUSY_SECONDS)
            return ErrorReply(status=503, message=message, type=SERVER, code=code, headers=after)
        case "timeout":
            return ErrorReply(status=504, message=message, type=SERVER, code="model_timeout")
        case "outcome_unknown":
            return ErrorReply(status=504, message=message, type=SERVER, code="outcome_unknown", headers=_NO_RETRY)
        case "deadline":
            return ErrorReply(status=504, message=message, type=SERVER, code="deadline_exceeded")
        case "context_length":
            return ErrorReply(status=400, message=message, param="messages", code="context_length_exceeded")
        case "response_format":  # another try costs two more model requests, and tools that run again
            return ErrorReply(
                status=424,
                message=message,
                type=SERVER,
                code="response_format_failed",
                headers=_NO_RETRY,
                may_retry=False,
            )
        case "bad_request":
            return ErrorReply(status=400, message=message, code="model_bad_request")
        case "connect" | "broken_stream" | "incomplete_call" | "server":
            return ErrorReply(status=502, message=message, type=SERVER, code=f"model_{kind}")
        case "auth" | "not_found":  # between this server and its model: no retry and no other key of the client helps
            return ErrorReply(status=502, message=message, type=SERVER, code=f"model_{kind}", headers=_NO_RETRY)
        case _:
            return ErrorReply(status=500, message=message, type=SERVER, code="internal_error")


def rate_limited(message: str, retry_after: float | None) -> ErrorReply:
    """The reply to a client that must retry later; *retry_after* in seconds, None if unknown."""
    after = _retry(retry_after if retry_after is not None else 1.0)
    return ErrorReply(status=429, message=message, type=RATE, code="rate_limit_exceeded", headers=after)


def _retry(seconds: float) -> tuple[tuple[str, str], ...]:
    return (("retry-after", str(max(1, math.ceil(seconds)))), ("retry-after-ms", str(max(1, round(seconds * 1000)))))
