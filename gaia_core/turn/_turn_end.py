"""The end of a turn: its last facts recorded, then told, and its errors in words for a client."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from gaia_core.errors import ClosedError, FencedError, GaiaError, JournalError, QueueFullError, SchemaError
from gaia_core.events import ErrorInfo, TurnEnded
from gaia_core.facts import Ended, Fact
from gaia_core.models import ModelError
from gaia_core.turn._turn_context import TurnContext

_log = logging.getLogger(__name__)

_SUSPENDED = ErrorInfo("suspended", "the server is stopping; the turn continues after its restart", retryable=True)
_FENCED = ErrorInfo("outcome_unknown", "another process continues this turn; attach to its session again")


async def finish(context: TurnContext, facts: tuple[Fact, ...], over: Callable[[], None]) -> None:
    """Record *facts*, which end the turn; then call *over*, and then tell them.

    A turn ends once: no event says so before that is recorded, however long it takes. A turn that another process
    continues (this one stops, or has lost its lease) ends here without an event.
    """
    turn, recorder = context.turn, context.recorder
    ended = facts[-1]
    assert isinstance(ended, Ended)
    event = _event(ended)
    failure = None if turn.suspended else await _record(context, facts)
    if turn.suspended or isinstance(failure, FencedError):
        turn.handed_over = True
        why = _SUSPENDED if turn.suspended else _FENCED
        event = msgspec.structs.replace(event, status="failed", client_calls=(), error=why)
    elif failure is not None:
        # Nobody foresaw it, or the session is gone. A plain end can perhaps be recorded, so that the session is free.
        plain = Ended("failed", "", "stop", ended.usage, ended.steps, error=error_info(failure, turn.id))
        event = _event(plain)
        if (failure := await _record(context, (plain,))) is not None:
            _log.error("the end of turn %s of session %s is not recorded: %s", turn.id, turn.session_id, failure)
    turn.ended = event
    over()
    if failure is None and not turn.handed_over:
        turn.message_id = recorder.seq
        recorder.tell()
    elif not turn.handed_over:
        turn.emit(event)
    turn.end(event)


async def _record(context: TurnContext, facts: tuple[Fact, ...]) -> BaseException | None:
    """Record *facts*, the last of the turn; why they are not recorded."""
    try:
        await context.recorder.add(*facts, done=True)
    except asyncio.CancelledError as cancelled:
        return cancelled.__cause__  # None: they are recorded all the same
    except Exception as error:  # noqa: BLE001  # the readers must not wait for ever
        return error
    return None


def _event(ended: Ended) -> TurnEnded:
    return TurnEnded(
        ended.status,
        ended.text,
        ended.finish_reason,
        ended.usage,
        ended.steps,
        ended.client_calls,
        ended.error,
        ended.seconds,
        ended.reasoning,
        ended.partial_calls,
        ended.reasoned_before,
    )


def error_info(error: BaseException, turn_id: str) -> ErrorInfo:
    """*error* for a client. The log gets one line with the cause; for what nobody foresaw, with its trace."""
    if isinstance(error, FencedError):
        return _FENCED
    if isinstance(error, ClosedError):
        return ErrorInfo("closed", str(error), retryable=True)
    if (foreseen := _foreseen(error)) is not None:
        _log.warning("turn %s failed: %s: %s", turn_id, foreseen.type, foreseen.message)
        return foreseen
    _log.exception("turn %s failed", turn_id, exc_info=error)
    if isinstance(error, JournalError):
        return ErrorInfo("journal", str(error), retryable=True)
    if isinstance(error, GaiaError):
        return ErrorInfo(type(error).__name__, str(error))
    return ErrorInfo("internal", f"the server failed ({type(error).__name__}); its log has more")


def _foreseen(error: BaseException) -> ErrorInfo | None:
    if isinstance(error, ModelError):
        return ErrorInfo(error.kind, str(error), error.retryable, error.retry_after, error.status)
    if isinstance(error, QueueFullError):
        return ErrorInfo("queue_full", str(error), retryable=True, retry_after=error.retry_after)
    return ErrorInfo("response_format", str(error)) if isinstance(error, SchemaError) else None
