"""Signals: what one process has to say to a turn that another runs, through the journal."""

import logging
from contextlib import suppress
from typing import TypeAlias

import msgspec

from gaia_core.errors import AnsweredError, NotFoundError, OutcomeUnknownError
from gaia_core.events import GrantScope
from gaia_core.journal import Signal
from gaia_core.turn import Turn

_log = logging.getLogger(__name__)


class CancelSignal(msgspec.Struct, frozen=True, gc=False, tag="cancel"):
    """End the turn."""


class DecisionSignal(msgspec.Struct, frozen=True, gc=False, tag="decide"):
    """Answer a request for approval."""

    approval_id: str
    approved: bool
    reason: str = ""
    scope: GrantScope = "once"


class ReplySignal(msgspec.Struct, frozen=True, gc=False, tag="reply"):
    """Answer a tool's question."""

    request_id: str
    value: str


Word: TypeAlias = CancelSignal | DecisionSignal | ReplySignal

_decoder = msgspec.json.Decoder(Word)


def encode_word(word: Word) -> bytes:
    """*word* as a signal's data."""
    return msgspec.json.encode(word)


def kind_of_word(word: Word) -> str:
    """*word*'s kind in the journal."""
    return str(type(word).__struct_config__.tag)


async def apply_signal(turn: Turn, signal: Signal) -> None:
    """Do what *signal* says to *turn*. One that says nothing, or comes too late, is logged."""
    try:
        word = _decoder.decode(signal.data)
    except msgspec.DecodeError:
        _log.warning("%s got a signal %r that says nothing", turn.id, signal.kind)
        return
    # The sender sees the outcome of the request by itself; a cancelled turn still records its end.
    with suppress(AnsweredError, NotFoundError, OutcomeUnknownError):
        match word:
            case CancelSignal():
                await turn.cancel()
            case DecisionSignal():
                await turn.decide(word.approval_id, word.approved, word.reason, scope=word.scope)
            case ReplySignal():
                await turn.answer(word.request_id, word.value)
