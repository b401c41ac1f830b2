"""Carrying: a conversation that came from elsewhere, written as turns; a session moved from one journal to another."""

from collections.abc import Sequence

import attrs

from gaia_core.errors import BusyError
from gaia_core.facts import Answered, Began, Ended, Fact, is_message, text_of_fact
from gaia_core.frozen_types import made_once
from gaia_core.journal import Journal, NewRecord, NewSession, Record, SessionInfo, SessionUpdate, fact_of
from gaia_core.messages import AssistantMessage, Usage, UserMessage
from gaia_core.session import new_id
from gaia_core.turn import record_of

_UNANSWERED = Ended("cancelled", "", "stop", Usage(), 0)


@attrs.frozen
class TransferredTurn:
    """A message for `write`: who said it, and what."""

    __attrs_pre_init__ = made_once

    role: str
    text: str


async def write(journal: Journal, new: NewSession, said: Sequence[TransferredTurn], replica: str) -> SessionInfo:
    """A session with the conversation *said*, each question and its answer a turn of its own.

    Raises BusyError when the id is taken.
    """
    info = await journal.create(new)
    if info.seq:
        raise BusyError(f"there is a session {new.id!r} already")
    for facts in _turns_of(new, said):
        lease = await journal.claim(new.owner, new.id, replica, f"turn_{new_id()}")
        if lease is None:
            raise BusyError(f"session {new.id!r} is in use")
        await journal.append(lease, tuple(map(record_of, facts)), done=True)
    return await journal.get(new.owner, new.id)


def transferred_size(new: NewSession, said: Sequence[TransferredTurn]) -> int:
    """How many bytes the records of `write` have."""
    return sum(len(record_of(fact).body) for facts in _turns_of(new, said) for fact in facts)


def _turns_of(new: NewSession, said: Sequence[TransferredTurn]) -> list[list[Fact]]:
    """A conversation as facts: turns, each a question (or none) and the answer with which it ended (or none)."""
    turns: list[list[Fact]] = []
    for each in said:
        answered = not turns or isinstance(turns[-1][-1], Ended)
        if each.role == "user":
            if not answered:
                turns[-1].append(_UNANSWERED)
            turns.append([Began(new.agent, new.fingerprint, "", UserMessage(each.text))])
            continue
        if answered:
            turns.append([Began(new.agent, new.fingerprint, "")])
        turns[-1].append(Answered(1, AssistantMessage(each.text), "stop", Usage()))
        turns[-1].append(Ended("completed", each.text, "stop", Usage(), 1))
    if turns and not isinstance(turns[-1][-1], Ended):
        turns[-1].append(_UNANSWERED)
    return turns


async def copy(source: Journal, target: Journal, info: SessionInfo, replica: str) -> None:
    """The session's records, in the same order, in *target*: each turn's under its own name. Raises
    DamagedRecordError; then there is nothing of it in *target*."""
    owner, session_id = info.owner, info.id
    groups: list[tuple[str, list[NewRecord]]] = []
    for record in await source.read(owner, session_id):
        if not groups or groups[-1][0] != record.turn:
            groups.append((record.turn, []))
        groups[-1][1].append(_again(record, session_id))
    await target.create(
        NewSession(session_id, owner, info.agent, info.fingerprint, info.title, info.metadata, info.surface)
    )
    for turn, records in groups:
        lease = await target.claim(owner, session_id, replica, turn)
        if lease is None:
            raise BusyError(f"session {session_id!r} is in use")
        await target.append(lease, tuple(records), done=True)
    await target.update(owner, session_id, SessionUpdate(title_is_custom=info.title_is_custom, head=info.head))


def _again(record: Record, session: str) -> NewRecord:
    fact = fact_of(record, session)
    return NewRecord(record.kind, record.body, text_of_fact(fact), is_message(fact), record.parent)
