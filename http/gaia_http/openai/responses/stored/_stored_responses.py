"""Stored responses: found by their id in the journal, and told again from it, or as they go on.

A response belongs to the owner of its session; another caller's does not exist. One that was deleted is not told any
more; its record goes with the last response of its session.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import attrs
import msgspec

from gaia_core import NotFoundError, Runtime
from gaia_core.events import ErrorInfo, Event, Reset, TurnEnded
from gaia_core.facts import Began, Fact, events_of
from gaia_core.journal import Record, SessionInfo, SessionUpdate
from gaia_core.messages import Message, Usage
from gaia_http._errors import ApiError, ErrorReply
from gaia_http.openai.responses._ids import Ref, parse_response
from gaia_http.openai.responses.output._response_events import ResponseEvents
from gaia_http.openai.responses.stored._request_note import (
    RESPONSES,
    RequestNote,
    SessionMetadata,
    decode_note,
    kept_of,
    merged,
)
from gaia_http.request._fields import shortened

_LOOK_SECONDS = 0.25
_LEFT = TurnEnded(
    "failed",
    "",
    "stop",
    Usage(),
    0,
    error=ErrorInfo("interrupted", "the process that ran the response ended, and no other process continues it"),
)


@attrs.frozen
class StoredResponse:
    """A response as it stands. *end*: the record after which a conversation continues it."""

    owner: str
    ref: Ref
    info: SessionInfo
    note: RequestNote
    began: Began
    output: ResponseEvents
    end: int
    running: bool
    """Its turn has no end in the record."""


class ResponseStore:
    """The stored responses of one application."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = asyncio.Lock()

    async def find(self, owner: str, id: str) -> StoredResponse:
        """The response *id* of *owner*. Raises ApiError 404."""
        ref = parse_response(id)
        found = await self._find(owner, ref) if ref is not None and ref.session else None
        if found is None:
            raise missing(id)
        return found

    async def _find(self, owner: str, ref: Ref) -> StoredResponse | None:
        try:
            info = await self._runtime.sessions.get(owner, ref.session)
        except NotFoundError:
            return None
        kept = kept_of(info)
        if ref.name in kept.deleted:
            return None
        facts = await self._runtime.sessions.facts_of_turn(owner, ref.session, ref.turn)
        began = next((fact for _, fact in facts if isinstance(fact, Began)), None)
        note = decode_note(began.note) if began is not None else None
        if began is None or note is None or note.added:
            return None
        if ref.part:
            note = kept.note(ref.name)
            if note is None:
                return None
        output, end, ended = folded(ref, note, facts)
        return StoredResponse(owner, ref, info, note, began, output, end, not ended)

    async def keep(
        self,
        owner: str,
        session_id: str,
        change: Callable[[SessionMetadata], SessionMetadata],
        surface: str | None = None,
    ) -> SessionInfo:
        """Change what is kept of a session's responses beside its record, and its *surface* if given.

        One change at a time.
        """
        async with self._lock:
            info = await self._runtime.sessions.get(owner, session_id)
            metadata = merged(info, change(kept_of(info)))
            return await self._runtime.sessions.update(
                owner, session_id, SessionUpdate(metadata=metadata, surface=surface)
            )

    async def delete(self, stored: StoredResponse) -> None:
        """Forget the response, and end what it still does; its session is erased when it was the last one there."""
        owner, ref = stored.owner, stored.ref
        following = Ref(ref.session, ref.turn, ref.part + 1).name
        if stored.running and kept_of(stored.info).note(following) is None:  # else the turn is that one's by now
            await self.cancel(stored)
        # The last one is deleted with its session, in one step: if that fails, the client finds the response again and
        # can repeat the request.
        info = await self._runtime.sessions.get(owner, ref.session)
        if not await self._is_last(info, ref):
            info = await self.keep(
                owner, ref.session, lambda kept: msgspec.structs.replace(kept, deleted=(*kept.deleted, ref.name))
            )
            if not await self._is_last(info, ref):  # unless another one was deleted meanwhile
                return
        await self._runtime.sessions.delete(owner, ref.session)

    async def _is_last(self, info: SessionInfo, ref: Ref) -> bool:
        """Whether the session of *ref* has no other response and nothing else that is to stay."""
        kept = kept_of(info)
        if info.surface != RESPONSES or kept.is_conversation:
            return False
        facts = await self._runtime.sessions.facts(info.owner, ref.session)
        names = {Ref(ref.session, record.turn).name for record, _ in facts if record.seq > kept.since}
        names.update(name for name, _ in kept.notes)
        return names <= {*kept.deleted, ref.name} and self._runtime.running(info.owner, ref.session) is None

    async def cancel(self, stored: StoredResponse) -> None:
        """End the response's turn, if it still runs."""
        owner, ref = stored.owner, stored.ref
        turn = self._runtime.running(owner, ref.session)
        if turn is not None:
            if turn.id == ref.turn:
                await turn.cancel()
            return
        info = await self._runtime.sessions.get(owner, ref.session)
        if info.turn == ref.turn:
            await self._runtime.sessions.cancel(owner, ref.session)

    async def history(self, stored: StoredResponse) -> tuple[Message, ...]:
        """The messages of the conversation up to the response's end."""
        return await self._runtime.sessions.messages_at(stored.owner, stored.ref.session, stored.end)

    async def batches(self, owner: str, ref: Ref) -> AsyncGenerator[Sequence[Event], None]:
        """The events of the response's turn, from the first one, wherever it runs; ends without a `TurnEnded` when
        this process stops and another will go on."""
        while True:
            turn = self._runtime.running(owner, ref.session)
            if turn is not None and turn.id == ref.turn:
                yield (Reset(0),)  # its events come from the first one, and what was yielded before them is void
                async for batch in turn.batches():
                    yield batch
                if not turn.handed_over or not self._runtime.accepting:
                    return
                # Another process continues it.
            try:
                info = await self._runtime.sessions.get(owner, ref.session)
                facts = await self._runtime.sessions.facts_of_turn(owner, ref.session, ref.turn)
            except NotFoundError:
                yield (_LEFT,)
                return
            events = [event for record, fact in facts for event in events_of(fact, record.turn, ref.session)]
            yield (Reset(0), *events)
            if events and isinstance(events[-1], TurnEnded):
                return
            if info.turn != ref.turn:
                turn = self._runtime.running(owner, ref.session)
                if turn is None or turn.id != ref.turn:
                    yield (_LEFT,)
                    return
                continue
            if not self._runtime.accepting:
                return
            await asyncio.sleep(_LOOK_SECONDS)


def folded(ref: Ref, note: RequestNote, facts: Sequence[tuple[Record, Fact]]) -> tuple[ResponseEvents, int, bool]:
    """The response as its turn's *facts* tell it, the record where it ends so far, and whether its turn has ended."""
    output = ResponseEvents(ref, note)
    told = [(record.seq, event) for record, fact in facts for event in events_of(fact, ref.turn, ref.session)]
    end = facts[-1][0].seq
    for index, (seq, event) in enumerate(told):
        output.step(event, told[index + 1][1] if index + 1 < len(told) else None)
        if output.done:
            end = seq
            break
    return output, end, bool(told) and isinstance(told[-1][1], TurnEnded)


def missing(id: str, *, param: str | None = None, code: str = "not_found") -> ApiError:
    """The error for a response that isn't there, or is another caller's."""
    words = f"there is no response {shortened(id)!r}; it may have been deleted, or was not stored"
    return ApiError(ErrorReply(status=404, message=words, param=param, code=code))
