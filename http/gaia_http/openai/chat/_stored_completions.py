"""Stored chat completions (`store: true`), kept in the journal: each is a session of its own, with one turn.

The turn's first record has the completion as it was sent and the request's messages; the session's metadata has the
client's. A completion belongs to its owner; another caller's does not exist. One is stored before its client sees it
as complete, and only if it is: a turn that failed leaves nothing.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from gaia_core import Agent, DamagedRecordError, GaiaError, JournalError, NotFoundError, Runtime
from gaia_core.events import ErrorInfo, Event, TurnEnded
from gaia_core.facts import Began, Ended
from gaia_core.journal import NewSession, SessionInfo, SessionUpdate
from gaia_core.turn import record_of
from gaia_http._errors import encoded, invalid
from gaia_http.openai.chat._chunks import completion_id
from gaia_http.openai.chat._wire import ChatRequest, WireMessage
from gaia_http.request._fields import shortened
from gaia_http.streaming._followed_turn import AnyTurn, whole

_log = logging.getLogger(__name__)

CHAT = "chat_completions"
"""The surface of their sessions; the UI lists these only on request."""

_PAGE = 200


class _CompletionNote(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a completion: as it was sent, and the messages of its request."""

    completion: msgspec.Raw
    messages: tuple[WireMessage, ...]


class _KeptMetadata(msgspec.Struct, frozen=True, gc=False):
    metadata: dict[str, str] = {}


_note_decoder = msgspec.json.Decoder(_CompletionNote)
_metadata_decoder = msgspec.json.Decoder(_KeptMetadata)

Record = Callable[[Sequence[Event]], Awaitable[None]]
"""Stores what the whole events of a turn came to."""


class CompletionStore:
    """The stored completions of one application."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def keep(self, owner: str, agent: Agent, turn: AnyTurn, request: ChatRequest, completion: bytes) -> None:
        """Store the *completion* of *turn*, which has ended. Raises JournalError."""
        ended = turn.ended
        assert ended is not None
        name = completion_id(turn.id)
        journal = self._runtime.journal
        metadata = encoded(_KeptMetadata(request.metadata or {}))
        await journal.create(NewSession(name, owner, agent.name, agent.fingerprint, "", metadata, CHAT))
        note = encoded(_CompletionNote(msgspec.Raw(completion), request.messages or ()))
        began = Began(agent.name, agent.fingerprint, "", note=note)
        end = Ended("completed", ended.text, ended.finish_reason, ended.usage, ended.steps)
        lease = await journal.claim(owner, name, self._runtime.replica, turn.id)
        if lease is None:
            raise JournalError(f"the completion {name!r} is being stored already")
        await journal.append(lease, (record_of(began), record_of(end)), done=True)

    async def completion(self, owner: str, id: str) -> bytes:
        """The completion *id* of *owner*, encoded. Raises ApiError 404."""
        return _told(await self._note(owner, id), await self._info(owner, id))

    async def messages(self, owner: str, id: str) -> list[dict[str, Any]]:
        """The messages of its request, oldest first. Raises ApiError 404."""
        note = await self._note(owner, id)
        return [_message(id, n, message) for n, message in enumerate(note.messages)]

    async def update(self, owner: str, id: str, metadata: dict[str, str]) -> bytes:
        """Replace its metadata; the completion, encoded. Raises ApiError 404."""
        note = await self._note(owner, id)
        change = SessionUpdate(metadata=encoded(_KeptMetadata(metadata)))
        return _told(note, await self._runtime.sessions.update(owner, id, change))

    async def delete(self, owner: str, id: str) -> None:
        """Erase it. Raises ApiError 404."""
        await self._info(owner, id)
        await self._runtime.sessions.delete(owner, id)

    async def find(self, owner: str, model: str | None, metadata: dict[str, str]) -> list[SessionInfo]:
        """The sessions of the owner's completions, oldest first: those of *model*, and with all of *metadata*."""
        found: list[SessionInfo] = []
        total, offset = 1, 0
        while offset < total:
            rows, total = await self._runtime.sessions.list(owner, limit=_PAGE, offset=offset, surface=CHAT)
            if not rows:
                break
            offset += len(rows)
            found += [row for row in rows if model in (None, row.agent) and metadata.items() <= _metadata(row).items()]
        return sorted({row.id: row for row in found}.values(), key=lambda row: (row.created_at, row.id))

    async def told(self, infos: Sequence[SessionInfo]) -> list[msgspec.Raw]:
        """The completions of *infos*; one that was deleted meanwhile, or is damaged, is left out."""
        told: list[msgspec.Raw] = []
        for info in infos:
            try:
                note = await self._noted(info.owner, info.id)
            except DamagedRecordError as error:
                _log.warning("a stored completion is left out of a list: %s", error)
                continue
            if note is not None:
                told.append(msgspec.Raw(_told(note, info)))
        return told

    async def _info(self, owner: str, id: str) -> SessionInfo:
        try:
            info = await self._runtime.sessions.get(owner, id)
        except NotFoundError:
            raise _missing(id) from None
        if info.surface != CHAT:
            raise _missing(id)
        return info

    async def _note(self, owner: str, id: str) -> _CompletionNote:
        await self._info(owner, id)
        note = await self._noted(owner, id)
        if note is None:
            raise _missing(id)
        return note

    async def _noted(self, owner: str, id: str) -> _CompletionNote | None:
        """None: it is not there, or its process died before it was stored."""
        try:
            facts = await self._runtime.sessions.facts(owner, id, strict=True)
        except NotFoundError:
            return None
        began = next((fact for _, fact in facts if isinstance(fact, Began)), None)
        return _note_decoder.decode(began.note) if began is not None else None


async def recorded_batches(turn: AnyTurn, record: Record) -> AsyncGenerator[Sequence[Event], None]:
    """The batches of *turn*, whose end follows once *record* has stored what it came to; else it becomes a failure."""
    async with aclosing(turn.batches()) as batches:
        async for batch in batches:
            last = batch[-1] if batch else None
            if not isinstance(last, TurnEnded):
                yield batch
                continue
            try:
                await record(await whole(turn.batches()))
            except GaiaError as error:
                why = ErrorInfo("journal", f"the completion can't be stored: {error}", retryable=True)
                failed = msgspec.structs.replace(last, status="failed", client_calls=(), error=why)
                yield [*batch[:-1], failed]
                return
            yield batch


def _missing(id: str) -> Exception:
    words = f"there is no chat completion {shortened(id)!r}; it may have been deleted, or was created without store"
    return invalid(words, code="not_found", status=404)


def _metadata(info: SessionInfo) -> dict[str, str]:
    try:
        return _metadata_decoder.decode(info.metadata).metadata
    except msgspec.DecodeError:  # damaged; the completion itself can be read
        return {}


def _told(note: _CompletionNote, info: SessionInfo) -> bytes:
    return bytes(note.completion)[:-1] + b',"metadata":' + encoded(_metadata(info)) + b"}"


def _message(id: str, n: int, message: WireMessage) -> dict[str, Any]:
    """A message of the request as the API lists it: its text, and its parts where it has some."""
    given: dict[str, Any] = _without_nulls(msgspec.to_builtins(message))
    content = message.content
    parts = None
    if isinstance(content, tuple):
        parts = given["content"]
        given["content"] = "\n".join([part.text for part in content if part.text is not None]) or None
    return {"content": None, "refusal": None, **given, "id": f"{id}-{n}", "content_parts": parts}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list | tuple) else value
