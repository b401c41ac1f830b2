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


async def finish(context: TurnContext, facts: tuple[Fact, ...], over: Callable[[], None]) -> None:
    """Record *facts*, which end the turn; then call *over*, and then tell: also when the record can't be reached."""
    turn, recorder = context.turn, context.recorder
    ended = facts[-1]
    assert isinstance(ended, Ended)
    event = _event(ended)
    failed = False
    if not turn.suspended:
        try:
            await recorder.add(*facts, done=True)
        except asyncio.CancelledError:
            pass  # they are recorded all the same
        except Exception as error:  # noqa: BLE001  # the readers must not wait for ever
            failed = True
            event = msgspec.structs.replace(event, status="failed", client_calls=(), error=error_info(error, turn.id))
    turn.ended = event
    over()
    if turn.suspended:
        event = msgspec.structs.replace(event, status="failed", error=_SUSPENDED)
    elif failed:
        turn.emit(event)
    else:
        turn.message_id = recorder.seq
        recorder.tell()
    turn.end(event)


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
        ended.reasoned_before,
    )


def error_info(error: Exception, turn_id: str) -> ErrorInfo:
    """*error* for a client; what nobody foresaw goes to the log with its trace."""
    if isinstance(error, ModelError):
        return ErrorInfo(error.kind, str(error), error.retryable, error.retry_after, error.status)
    if isinstance(error, QueueFullError):
        return ErrorInfo("queue_full", str(error), retryable=True, retry_after=error.retry_after)
    if isinstance(error, FencedError):
        return ErrorInfo("fenced", "another process took this turn over; attach to it again")
    if isinstance(error, ClosedError):
        return ErrorInfo("closed", str(error), retryable=True)
    if isinstance(error, SchemaError):
        return ErrorInfo("response_format", str(error))
    _log.exception("turn %s failed", turn_id, exc_info=error)
    if isinstance(error, JournalError):
        return ErrorInfo("journal", str(error), retryable=True)
    if isinstance(error, GaiaError):
        return ErrorInfo(type(error).__name__, str(error))
    return ErrorInfo("internal", f"the server failed ({type(error).__name__}); its log has more")
