"""Routes of sessions: listing and changing them, their messages and branches, carrying them in and out."""

from collections.abc import Sequence
from uuid import uuid4

import msgspec

from gaia_core import NotFoundError, Runtime
from gaia_core.journal import SessionInfo, SessionUpdate
from gaia_core.runtime import SessionMessage, before_turn, end_of_turn, last_end, messages_of
from gaia_core.runtime.sessions.export import (
    UNTITLED,
    ExportedSession,
    SessionExport,
    SessionExtras,
    SessionImport,
    export,
    metadata_of,
    shape_of,
    take_in,
)
from gaia_http._errors import ApiError, ErrorReply
from gaia_http.door._caller import Caller
from gaia_http.ui._agents import default_agent
from gaia_http.ui._request import UIRequest
from gaia_http.ui._request_bodies import CreateSession, ForkSession, MoveHead, SetPrivate, UpdateSession
from gaia_http.ui._response_bodies import Deleted, MessageList, SessionList
from gaia_http.ui._settings_store import SettingsStore

_MOST_SESSIONS = 200
_MOST_MESSAGES = 10_000


class SessionRoutes:
    """The routes of one application."""

    def __init__(self, runtime: Runtime, store: SettingsStore) -> None:
        self._runtime = runtime
        self._store = store
        self._sessions = runtime.sessions

    # One session and many.

    async def list(self, call: UIRequest) -> SessionList:
        """A page of sessions; those that clients of the Responses API made only where `responses=true` asks."""
        limit, offset = call.number("limit", 50, _MOST_SESSIONS), call.number("offset", 0, 2**53)
        surface = None if call.text("responses") == "true" else ""
        rows, total = await self._sessions.list(
            call.owner, query=call.text("q"), limit=limit, offset=offset, surface=surface
        )
        return SessionList(tuple([await self._shape(row) for row in rows]), total)

    async def create(self, call: UIRequest) -> ExportedSession:
        """A new session."""
        body = await call.body(CreateSession)
        agent = self.agent_name(body.agent_type, call.caller)
        model = body.model or (await self._store.settings()).custom_model
        metadata = SessionExtras(model, body.system_prompt, body.document_ids or (), body.device)
        title = "" if body.title is None or body.title.strip() in ("", UNTITLED) else body.title
        session_id = str(uuid4())
        await self._runtime.open(
            agent,
            session_id,
            owner=call.owner,
            private=bool(body.private),
            title=title,
            metadata=msgspec.json.encode(metadata),
        )
        self._runtime.feed.tell("updated", call.owner, session_id)
        return await self.one(call.owner, session_id)

    async def get(self, call: UIRequest) -> ExportedSession:
        """A session."""
        return await self.one(call.owner, call.path("id"))

    async def change(self, call: UIRequest) -> ExportedSession:
        """Change what the body gives."""
        body = await call.body(UpdateSession)
        owner, session_id = call.owner, call.path("id")
        info = await self._sessions.get(owner, session_id)
        agent = self.agent_name(body.agent_type, call.caller) if body.agent_type is not None else None
        metadata = metadata_of(info)
        if body.system_prompt is not None:
            metadata = msgspec.structs.replace(metadata, system_prompt=body.system_prompt)
        if body.document_ids is not None:
            metadata = msgspec.structs.replace(metadata, document_ids=body.document_ids)
        custom = body.title_is_custom
        if custom is None and body.title is not None:
            custom = True
        if body.private is not None:
            await self._sessions.set_private(owner, session_id, private=body.private)
        await self._sessions.update(
            owner,
            session_id,
            SessionUpdate(
                title=body.title,
                title_is_custom=custom,
                agent=agent,
                metadata=msgspec.json.encode(metadata) if metadata != metadata_of(info) else None,
            ),
        )
        return await self.one(owner, session_id)

    async def delete(self, call: UIRequest) -> Deleted:
        """Erase a session, after its running turn was cancelled and has ended."""
        await self._sessions.delete(call.owner, call.path("id"))
        return Deleted(deleted=True)

    async def private(self, call: UIRequest) -> ExportedSession:
        """Move a session into memory only, or back."""
        body = await call.body(SetPrivate)
        owner, session_id = call.owner, call.path("id")
        wanted = body.private
        if wanted is None:
            wanted = not await self._sessions.is_private(owner, session_id)
        await self._sessions.set_private(owner, session_id, private=wanted)
        return await self.one(owner, session_id)

    async def activate(self, call: UIRequest) -> ExportedSession:
        """Tell those who watch the sessions to show this one."""
        session = await self.one(call.owner, call.path("id"))
        self._runtime.feed.tell("activated", call.owner, session.id)
        return session

    # Messages and branches.

    async def messages(self, call: UIRequest) -> MessageList:
        """A page of a session's messages."""
        limit, offset = call.number("limit", 100, _MOST_MESSAGES), call.number("offset", 0, 2**53)
        before = call.number("before", 0, 2**53) if call.text("before") else None
        messages = await self._messages(call.owner, call.path("id"))
        return MessageList(tuple(_page(messages, limit, offset, before)), len(messages))

    async def delete_message(self, call: UIRequest) -> Deleted:
        """Go back to before the message's turn; what came from there on stays in the journal as another branch."""
        owner, session_id = call.owner, call.path("id")
        facts = await self._sessions.facts(owner, session_id)
        was = await self._sessions.get(owner, session_id)
        info = await self._sessions.update(owner, session_id, SessionUpdate(head=before_turn(facts, call.message_id())))
        return Deleted(deleted=True, count=was.message_count - info.message_count)

    async def head(self, call: UIRequest) -> ExportedSession:
        """Go on after another message, of any branch."""
        body = await call.body(MoveHead)
        owner, session_id = call.owner, call.path("id")
        at = await self.record_of(owner, session_id, body.message_id)
        await self._sessions.update(owner, session_id, SessionUpdate(head=at))
        return await self.one(owner, session_id)

    async def fork(self, call: UIRequest) -> ExportedSession:
        """A new session that shares the past, up to a message's turn or to the last whole one."""
        body = await call.body(ForkSession)
        owner, session_id = call.owner, call.path("id")
        at = await self.record_of(owner, session_id, body.message_id) if body.message_id is not None else None
        if at is None and (await self._sessions.get(owner, session_id)).turn is not None:
            at = last_end(await self._sessions.facts(owner, session_id))
        return await self._shape(await self._sessions.fork(owner, session_id, str(uuid4()), at))

    async def record_of(self, owner: str, session_id: str, message_id: int) -> int:
        """The record after which a conversation continues *message_id*. Raises NotFoundError."""
        journal = await self._sessions.journal_of(owner, session_id)
        return end_of_turn(await journal.read(owner, session_id), message_id)

    # Carrying.

    async def export(self, call: UIRequest) -> SessionExport:
        """A conversation as Markdown or JSON."""
        kind = call.text("format", "markdown")
        if kind not in ("markdown", "json"):
            message = f"format must be markdown or json, not {kind[:80]!r}"
            raise ApiError(ErrorReply(status=400, message=message, code="invalid_value"))
        session = await self.one(call.owner, call.path("id"))
        return export(session, await self._sessions.facts(call.owner, session.id), as_json=kind == "json")

    async def take_in(self, call: UIRequest) -> ExportedSession:
        """A new session from a JSON export: its texts, not what was done for them.

        An agent that this server doesn't have is replaced by its own; a message of the system joins the prompt.
        """
        body = await call.body(SessionImport)
        row, said = take_in(self._runtime.catalog, call.owner, body)
        await self._sessions.write(row, said, private=body.session.private)
        if body.session.title_is_custom:
            await self._sessions.update(call.owner, row.id, SessionUpdate(title_is_custom=True))
        return await self.one(call.owner, row.id)

    # Shapes.

    async def one(self, owner: str, session_id: str) -> ExportedSession:
        """The session as its clients know it."""
        return await self._shape(await self._sessions.get(owner, session_id))

    async def _shape(self, info: SessionInfo) -> ExportedSession:
        private = await self._sessions.is_private(info.owner, info.id)
        return shape_of(self._runtime.catalog, info, private=private)

    async def _messages(self, owner: str, session_id: str) -> tuple[SessionMessage, ...]:
        return messages_of(session_id, await self._sessions.facts(owner, session_id))

    def agent_name(self, wanted: str | None, caller: Caller) -> str:
        """The agent of that name, or the caller's default one. Raises 400, with the nearest name, and 403."""
        catalog = self._runtime.catalog
        name = wanted or default_agent(catalog, caller)
        try:
            found = catalog.agent(name).name
        except NotFoundError as error:
            message = f"agent_type: {error}"
            raise ApiError(ErrorReply(status=400, message=message, code="unknown_agent")) from None
        caller.check_agent(found)
        return found


def _page(messages: Sequence[SessionMessage], limit: int, offset: int, before: int | None) -> Sequence[SessionMessage]:
    """A page, oldest first: from *offset* on, or the newest of those before a message's id."""
    if before is None:
        return messages[offset : offset + limit]
    earlier = [message for message in messages if message.id < before]
    end = max(0, len(earlier) - offset)
    return earlier[max(0, end - limit) : end]
