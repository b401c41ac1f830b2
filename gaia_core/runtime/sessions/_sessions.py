"""Sessions: what surfaces do with sessions besides running turns in them. Every call names the owner.

    rows, total = await runtime.sessions.list(owner, query="budget")
    turn = await runtime.sessions.attach(owner, id)          # the turn that runs, or the last one, from the record
    await runtime.sessions.decide(owner, id, approval_id, True)

NotFoundError is raised for a session that the owner doesn't have.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from gaia_core.catalog import Catalog
from gaia_core.errors import AnsweredError, BusyError, JournalError, NotFoundError, OutcomeUnknownError
from gaia_core.events import GrantScope, TurnEnded
from gaia_core.facts import (
    Asked,
    Began,
    Damaged,
    Decided,
    Ended,
    Fact,
    Questioned,
    Replied,
    events_of,
)
from gaia_core.journal import (
    Journal,
    JournalHealth,
    MemoryJournal,
    NewSession,
    Record,
    SessionInfo,
    SessionUpdate,
    Totals,
    fact_of,
    readable_fact,
)
from gaia_core.messages import Message
from gaia_core.runtime._journal_signals import (
    CancelSignal,
    DecisionSignal,
    ReplySignal,
    Word,
    encode_word,
    kind_of_word,
)
from gaia_core.runtime._process_identity import is_dead
from gaia_core.runtime._storage import Storage
from gaia_core.runtime.sessions._history import fold, read_facts
from gaia_core.runtime.sessions._session_configuration import configured
from gaia_core.runtime.sessions._session_events import SessionEvents
from gaia_core.runtime.sessions._title import title_of
from gaia_core.runtime.sessions._transfer import TransferredTurn, copy, transferred_size, write
from gaia_core.session import Session, new_id
from gaia_core.turn import APPROVAL, QUESTION, EventId, Transcript, Turn, check_kind, replay_of

_SMALL_CHANGE_BYTES = 1_024
"""By how much a session's own fields may grow unasked: what is deleted may leave a note of that."""

_TITLE_AGAIN_SECONDS = 1.0
"""How soon a title that could not be recorded is tried again."""


class RunningTurns(Protocol):
    """What sessions need of the process that runs their turns; `Runtime` is it."""

    replica: str
    feed: SessionEvents
    storage: Storage

    @property
    def catalog(self) -> Catalog:
        """The agents as they are now."""
        ...

    def running(self, owner: str, id: str) -> Turn | None:
        """The turn that the session runs in this process, or None."""
        ...

    async def resume(self, info: SessionInfo) -> None:
        """Continue the turn that a dead process left in the session."""
        ...

    async def forget(self, owner: str, id: str) -> None:
        """Close what the session has open, and keep nothing of it in memory."""
        ...


class Sessions:
    """See the module's text. Belongs to one Runtime."""

    def __init__(self, runtime: RunningTurns, durable: Journal, private: MemoryJournal) -> None:
        self._runtime = runtime
        self._durable = durable
        self._private = private

    async def journal_of(self, owner: str, id: str) -> Journal:
        """The journal that keeps the session; the durable one for a session that isn't there."""
        try:
            await self._private.get(owner, id)
        except NotFoundError:
            return self._durable
        return self._private

    async def is_private(self, owner: str, id: str) -> bool:
        """Whether the session is kept in memory only."""
        return await self.journal_of(owner, id) is self._private

    async def get(self, owner: str, id: str) -> SessionInfo:
        """The session as it stands."""
        return await (await self.journal_of(owner, id)).get(owner, id)

    async def exists(self, owner: str, id: str) -> bool:
        """Whether the owner has a session of that id."""
        try:
            await self.get(owner, id)
        except NotFoundError:
            return False
        return True

    async def open(self, owner: str, id: str) -> Session:
        """A handle of the session, with its agent as it is configured there. NotFoundError: so is its agent gone."""
        return Session(id, configured(self._runtime.catalog, await self.get(owner, id)), owner)

    async def list(
        self,
        owner: str,
        *,
        query: str = "",
        limit: int = 50,
        offset: int = 0,
        surface: str | None = None,
    ) -> tuple[tuple[SessionInfo, ...], int]:
        """A page of sessions, the newest first, and how many there are; private ones among them.

        *query*: every word of it occurs in the title or messages. *surface*: only the sessions of that surface
        ("": conversations); None: of all.
        """
        hidden, some = await self._private.list(owner, query=query, limit=offset + limit, surface=surface)
        if not some:
            return await self._durable.list(owner, query=query, limit=limit, offset=offset, surface=surface)
        rows, total = await self._durable.list(owner, query=query, limit=offset + limit, surface=surface)
        merged = sorted((*hidden, *rows), key=lambda row: row.updated_at, reverse=True)
        return tuple(merged[offset : offset + limit]), total + some

    async def facts(self, owner: str, id: str, *, strict: bool = False) -> tuple[tuple[Record, Fact], ...]:
        """The facts of the session's present branch, oldest first, with their records.

        For one that can't be read there is a `Damaged`; with *strict*, DamagedRecordError is raised.
        """
        return await read_facts(await self.journal_of(owner, id), owner, id, strict=strict)

    async def facts_of_turn(self, owner: str, id: str, turn: str) -> tuple[tuple[Record, Fact], ...]:
        """The facts of one turn, on whatever branch, oldest first; none for one that the session never had. Raises
        DamagedRecordError."""
        records = await (await self.journal_of(owner, id)).read(owner, id, turn=turn)
        return tuple([(record, fact_of(record, id)) for record in records])

    async def messages_at(self, owner: str, id: str, at: int) -> tuple[Message, ...]:
        """The messages of the conversation up to the record *at*, as a turn that follows it sees them."""
        return tuple([entry.message for entry in (await self.transcript_at(owner, id, at)).entries])

    async def transcript_at(self, owner: str, id: str, at: int) -> Transcript:
        """The conversation up to the record *at*, each message with the record that it comes from."""
        records = await (await self.journal_of(owner, id)).read(owner, id, upto=at) if at else ()
        return fold(records, at, id).transcript

    async def update(self, owner: str, id: str, change: SessionUpdate) -> SessionInfo:
        """Set the fields that *change* gives; the fingerprint is that of the agent, if one is given.

        Raises BusyError for a head while a turn runs, StorageFullError, and NotFoundError for a head that is no record
        of the session or an agent that the catalog doesn't have.
        """
        if change.agent is not None:
            fingerprint = self._runtime.catalog.agent(change.agent).fingerprint
            change = msgspec.structs.replace(change, fingerprint=fingerprint)
        journal = await self.journal_of(owner, id)
        given = len(change.title or "") + len(change.metadata or b"")
        if given > _SMALL_CHANGE_BYTES and self._runtime.storage.is_limited(owner):
            before = await journal.get(owner, id)
            grown = given - len(before.title) - len(before.metadata)
            if grown > _SMALL_CHANGE_BYTES:
                await self._runtime.storage.admit(owner, size=grown)
        info = await journal.update(owner, id, change)
        self._runtime.feed.tell("updated", owner, id)
        return info

    async def delete(self, owner: str, id: str) -> None:
        """Erase the session; a running turn is cancelled first, and waited for. Raises JournalError while its end can't
        be recorded."""
        journal = await self.journal_of(owner, id)
        if (turn := self._runtime.running(owner, id)) is not None:
            await _cancelled(turn)
        await journal.get(owner, id)
        await self._runtime.forget(owner, id)
        await journal.delete(owner, id)
        self._runtime.storage.freed(owner)
        self._runtime.feed.tell("deleted", owner, id)

    async def expire(self, surfaces: tuple[str, ...], *, max_age: float, max_bytes: int, limit: int) -> int:
        """Erase up to *limit* sessions of *surfaces* that are too old or too many (`Journal.expire`); how many."""
        gone = await self._durable.expire(surfaces, max_age=max_age, max_bytes=max_bytes, limit=limit)
        for owner, id in gone:  # noqa: A001
            await self._runtime.forget(owner, id)
            self._runtime.feed.tell("deleted", owner, id)
        return len(gone)

    async def fork(self, owner: str, id: str, new: str | None = None, at: int | None = None) -> SessionInfo:
        """A new session that shares the past up to the record *at* (None: all of it). Raises StorageFullError."""
        journal = await self.journal_of(owner, id)
        await journal.get(owner, id)
        await self._runtime.storage.admit(owner, objects=1)
        info = await journal.fork(owner, id, new or new_id(), at)
        self._runtime.feed.tell("updated", owner, info.id)
        return info

    async def write(self, new: NewSession, said: Sequence[TransferredTurn], *, private: bool = False) -> SessionInfo:
        """A session with a conversation that came from elsewhere, each question and its answer a turn of its own.

        Raises BusyError when the id is taken, StorageFullError.
        """
        if self._runtime.storage.is_limited(new.owner):
            size = len(new.title) + len(new.metadata) + transferred_size(new, said)
            await self._runtime.storage.admit(new.owner, objects=1, size=size)
        info = await write(self._private if private else self._durable, new, said, self._runtime.replica)
        self._runtime.feed.tell("updated", new.owner, new.id)
        return info

    async def set_private(self, owner: str, id: str, *, private: bool) -> SessionInfo:
        """Move the session into memory, and erase it on disk; or back.

        Raises BusyError during a turn, and while a fork shares its past.
        """
        if await self.is_private(owner, id) == private:
            return await self.get(owner, id)
        source, target = (self._durable, self._private) if private else (self._private, self._durable)
        info = await source.get(owner, id)
        if info.turn is not None or self._runtime.running(owner, id) is not None:
            raise BusyError(f"session {id!r} runs a turn; try again when it has ended")
        if await source.shares_past(owner, id):
            raise BusyError(f"session {id!r} shares its past with a fork, which would keep it on disk")
        await self._runtime.forget(owner, id)
        await copy(source, target, info, self._runtime.replica)
        await source.delete(owner, id)
        self._runtime.feed.tell("updated", owner, id)
        return await target.get(owner, id)

    async def totals(self, owner: str | None = None) -> Totals:
        """How much there is of *owner* (None: of all), private sessions among it."""
        kept, hidden = await self._durable.totals(owner), await self._private.totals(owner)
        return Totals(kept.sessions + hidden.sessions, kept.messages + hidden.messages)

    # Turns.

    async def attach(self, owner: str, id: str, after: EventId | None = None) -> Turn:
        """The turn that the session runs here, or its last one, from the record. *after*: the turn of that event.

        NotFoundError when there is none, or when another process runs it.
        """
        turn = await self.follow(owner, id, after)
        if turn is None:
            raise NotFoundError(f"session {id!r} runs its turn in another process")
        return turn

    async def follow(self, owner: str, id: str, after: EventId | None = None) -> Turn | None:
        """As `attach`; None while the turn belongs to another process, or to a dead one and will be taken over."""
        turn = self._runtime.running(owner, id)
        if turn is not None and (after is None or not 0 < after.seq <= turn.after):
            return turn
        journal = await self.journal_of(owner, id)
        info = await journal.get(owner, id)
        at = info.head if after is None or not after.seq else after.seq
        found = await journal.read(owner, id, at - 1, upto=at) if at > 0 else ()
        if not found:
            raise NotFoundError(f"session {id!r} has had no turn{f' with the event {after}' if after else ''}")
        own = await journal.read(owner, id, turn=found[0].turn)
        turn = _ended_turn(journal, owner, id, own)
        if turn is None and info.turn != found[0].turn:
            raise NotFoundError(f"session {id!r} runs no turn; its last one has no end in the record")
        return turn

    async def turn(self, owner: str, id: str, turn_id: str) -> Turn | None:
        """That turn of the session: as it runs here, or as it ended. None while it belongs to another process, or to a
        dead one and will be taken over. NotFoundError when the session has had no such turn."""
        turn = self._runtime.running(owner, id)
        if turn is not None and turn.id == turn_id:
            return turn
        journal = await self.journal_of(owner, id)
        records = await journal.read(owner, id, turn=turn_id)
        if not records:
            raise NotFoundError(f"session {id!r} has had no turn {turn_id[:80]!r}")
        ended = _ended_turn(journal, owner, id, records)
        if ended is not None or (await journal.get(owner, id)).turn == turn_id:
            return ended
        # It has ended between the two reads.
        if (ended := _ended_turn(journal, owner, id, await journal.read(owner, id, turn=turn_id))) is None:
            raise NotFoundError(f"session {id!r} runs no turn {turn_id!r}, and it has no end in the record")
        return ended

    async def take_over(self, owner: str, id: str) -> Turn | None:
        """Go on here, now, with the turn that a process left in the session which has stopped; None: there is none.

        Raises BusyError while that process may be alive.
        """
        if (turn := self._runtime.running(owner, id)) is not None:
            return turn
        journal = await self.journal_of(owner, id)
        info = await journal.get(owner, id)
        if info.turn is None:
            return None
        if info.replica is not None and is_dead(info.replica):
            await journal.adopt((info.replica,))
        await self._runtime.resume(info)
        if (turn := self._runtime.running(owner, id)) is not None:
            return turn
        if (await journal.get(owner, id)).turn is not None:
            raise BusyError(f"session {id!r} runs a turn in another process ({info.replica}); end it there first")
        return None

    async def cancel(self, owner: str, id: str) -> bool:
        """End the turn that the session runs, wherever; returns when it has ended (here), False when none runs.

        Raises JournalError while its end can't be recorded.
        """
        if (turn := self._runtime.running(owner, id)) is not None:
            await _cancelled(turn)
            return True
        return await self._signal(owner, id, CancelSignal())

    async def decide(
        self,
        owner: str,
        id: str,
        approval_id: str | None,
        approved: bool,
        reason: str = "",
        *,
        scope: GrantScope = "once",
    ) -> str:
        """Answer a request for approval; its id. None: the only one that the session's turn has asked for.

        Raises NotFoundError for one that this session never asked, AnsweredError when it was answered or has expired,
        and for None where the turn asked for several: the answer may be meant for one that was shown before.
        """
        known = approval_id if approval_id is not None else await self._only_approval(owner, id)
        check_kind(known, APPROVAL)
        await self._give(
            owner,
            id,
            known,
            lambda turn: turn.decide(known, approved, reason, scope=scope),
            DecisionSignal(known, approved, reason, scope),
        )
        return known

    async def _only_approval(self, owner: str, id: str) -> str:
        """The approval that an answer without an id is meant for."""
        turn = self._runtime.running(owner, id)
        if turn is None:
            raise NotFoundError(f"session {id!r} waits for no approval")
        # Those before a restart are in the record, those of sub-agents in this process only.
        recorded = {fact.approval_id for _, fact in await turn.replay(turn.after) if isinstance(fact, Asked)}
        asked = recorded.union(each for each in turn.answers.asked if each.startswith(APPROVAL))
        waiting = [each for each in turn.answers.open if each in asked]
        if not asked:
            raise NotFoundError(f"session {id!r} waits for no approval")
        if not waiting:
            raise AnsweredError(f"the approval that session {id!r} waited for was answered already or has expired")
        if len(asked) > 1:
            why = f"{len(waiting)} are open" if len(waiting) > 1 else "another one was answered or has expired"
            raise AnsweredError(
                f"an answer without an id can't be assigned: the turn of session {id!r} asked for {len(asked)} "
                f"approvals, and {why}; send the id of the one that is meant: {', '.join(waiting)}"
            )
        return waiting[0]

    async def answer(self, owner: str, id: str, request_id: str, value: str) -> None:
        """Answer a tool's question. Raises as `decide` does."""
        check_kind(request_id, QUESTION)
        await self._give(
            owner, id, request_id, lambda turn: turn.answer(request_id, value), ReplySignal(request_id, value)
        )

    async def _give(
        self, owner: str, id: str, request_id: str, here: Callable[[Turn], Awaitable[None]], word: Word
    ) -> None:
        """Answer a request: by *here* if a turn of this process waits for it, else by *word*, to another process."""
        if (turn := self._waiting_turn(owner, id, request_id)) is not None:
            await here(turn)
            return
        asked = closed = False
        for _, fact in await self.facts(owner, id):
            if isinstance(fact, Asked | Questioned):
                asked = asked or request_id == (fact.approval_id if isinstance(fact, Asked) else fact.request_id)
            elif isinstance(fact, Decided | Replied):
                closed = closed or request_id == (fact.approval_id if isinstance(fact, Decided) else fact.request_id)
        if not asked:
            raise NotFoundError(f"session {id!r} never asked {request_id[:80]!r}")
        # The turn may have been resumed here during the awaits above.
        if not closed and (turn := self._waiting_turn(owner, id, request_id)) is not None:
            await here(turn)
            return
        if closed or self._runtime.running(owner, id) is not None or not await self._signal(owner, id, word):
            raise AnsweredError(f"{request_id!r} was answered already or has expired")

    def _waiting_turn(self, owner: str, id: str, request_id: str) -> Turn | None:
        """The turn of this process that waits for an answer to the request, or did."""
        turn = self._runtime.running(owner, id)
        return turn if turn is not None and turn.answers.knows(request_id) else None

    async def _signal(self, owner: str, id: str, word: Word) -> bool:
        journal = await self.journal_of(owner, id)
        return await journal.signal(owner, id, kind_of_word(word), encode_word(word)) is not None

    async def title_from(self, owner: str, id: str, answer: str, health: JournalHealth) -> None:
        """Give a session that has no title one: the beginning of its first answer. While the journal fails, which
        *health* logs once for all writes, it is tried again."""
        with health.writing() as writing:
            while True:
                try:
                    return await self._title_from(owner, id, answer)
                except NotFoundError:
                    return None  # it was deleted, or moved, meanwhile
                except JournalError as error:
                    writing.failed(str(error))
                await asyncio.sleep(_TITLE_AGAIN_SECONDS)

    async def _title_from(self, owner: str, id: str, answer: str) -> None:
        journal = await self.journal_of(owner, id)
        info = await journal.get(owner, id)
        if not info.title and not info.title_is_custom and (title := title_of(answer)):
            await journal.update(owner, id, SessionUpdate(title=title))
            self._runtime.feed.tell("updated", owner, id)


async def _cancelled(turn: Turn) -> None:
    try:
        await turn.cancel()
    except OutcomeUnknownError:
        words = f"the turn of session {turn.session_id!r} is stopped, but the journal can't record its end for now"
        raise JournalError(f"{words}; try again later") from None


def _ended_turn(journal: Journal, owner: str, id: str, records: Sequence[Record]) -> Turn | None:
    """The turn of *records*, which has ended; None when it has not."""
    first, last = records[0].seq, records[-1]
    ended = fact_of(last, id)
    if not isinstance(ended, Ended):
        return None
    turn = Turn(last.turn, id, replay=replay_of(journal, owner, id, last.turn), after=first - 1, seq=last.seq)
    transcript = Transcript()
    for record in records:
        fact = readable_fact(record)
        if isinstance(fact, Damaged):
            continue
        added = transcript.apply(record.seq, fact)
        if not isinstance(fact, Began):
            turn.messages += added
    event = events_of(ended, last.turn, id)[-1]
    assert isinstance(event, TurnEnded)
    turn.message_id = last.seq
    turn.end(event)
    return turn
