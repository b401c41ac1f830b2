"""/v1/conversations: a conversation that responses go on with, and its items.

| route | |
|---|---|
| POST / | a new one, with items at its beginning |
| GET, POST, DELETE /{id} | what it is; change its metadata; erase it |
| GET, POST /{id}/items | a page of its items; add some |
| GET, DELETE /{id}/items/{item} | one item; leave one out |

A conversation is a session in the journal, its items are those of its responses and those that were added, which are
turns without a model's answer. An item that is deleted is no longer listed and reaches no model (`_deleted_items`); the
record keeps it, because what is recorded is never rewritten (delete the conversation to erase it).
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from litestar.connection import Request
from litestar.types import ASGIApp

from gaia_core import Agent, BusyError, GaiaError, NotFoundError, Runtime
from gaia_core.facts import Began, Ended
from gaia_core.journal import SessionInfo
from gaia_core.messages import Message, Usage
from gaia_core.session import new_id
from gaia_core.turn import record_of
from gaia_http._errors import ApiError, invalid
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller, caller_of
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.openai.responses._ids import Ref
from gaia_http.openai.responses._pagination import json, nothing, page
from gaia_http.openai.responses.input._input_items import read_items, waiting_calls
from gaia_http.openai.responses.input._wire import decode_items
from gaia_http.openai.responses.stored._deleted_items import conversation_base
from gaia_http.openai.responses.stored._request_note import (
    CONVERSATIONS,
    RequestNote,
    SessionMetadata,
    decode_note,
    encode_note,
    input_items,
    kept_of,
)
from gaia_http.openai.responses.stored._stored_responses import ResponseStore, folded
from gaia_http.request._decoding import decode_body, given
from gaia_http.request._fields import check_count, missing_at, shortened
from gaia_http.request._metadata import check_metadata
from gaia_http.request._part_converter import PartConverter

_MOST_ITEMS = 20
_PREFIX = "conv_"
_NOTHING = msgspec.Raw(b"")
_ADDED = Ended("completed", "", "stop", Usage(), 0)


class _Create(msgspec.Struct, frozen=True, gc=False):
    items: msgspec.Raw = _NOTHING
    metadata: dict[str, str] | None = None


_create_decoder = msgspec.json.Decoder(_Create)


class Conversations:
    """The handlers of one application."""

    def __init__(self, runtime: Runtime, settings: Settings, store: ResponseStore, parts: PartConverter) -> None:
        self._runtime = runtime
        self._parts = parts
        self._settings = settings
        self._store = store

    # Conversations.

    async def create(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """A new conversation."""
        body = await self._body(request)
        if body is None:
            return nothing
        check_metadata(body.metadata)
        caller = caller_of(request.scope)
        owner = caller.owner
        agent = self._runtime.catalog.agent(self._runtime.catalog.default_agent)
        kept = SessionMetadata(conversation=msgspec.Raw(msgspec.json.encode(body.metadata or {})))
        conversation = f"{_PREFIX}{new_id()}"
        messages = await self._read(body.items, caller) if given(body.items) else ()  # before anything is made
        metadata = msgspec.json.encode(kept)
        await self._runtime.open(agent, conversation, owner=owner, metadata=metadata, surface=CONVERSATIONS)
        if given(body.items):
            try:
                await self._add(owner, conversation, body.items, messages)
            except GaiaError:  # nothing is left of a conversation that could not be made
                with suppress(GaiaError):
                    await self._runtime.sessions.delete(owner, conversation)
                raise
        return json(_shape(await self._runtime.sessions.get(owner, conversation)))

    async def get(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """A conversation."""
        return json(_shape(await self._info(request)))

    async def update(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Change its metadata."""
        body = await self._body(request)
        if body is None:
            return nothing
        check_metadata(body.metadata)
        info = await self._info(request)
        if body.metadata is None:
            return json(_shape(info))
        raw = msgspec.Raw(msgspec.json.encode(body.metadata))
        return json(
            _shape(
                await self._store.keep(
                    info.owner, info.id, lambda kept: msgspec.structs.replace(kept, conversation=raw)
                )
            )
        )

    async def delete(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Erase it, with its responses."""
        info = await self._info(request)
        await self._runtime.sessions.delete(info.owner, info.id)
        return json({"id": info.id, "object": "conversation.deleted", "deleted": True})

    # Items.

    async def list_items(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """A page of its items."""
        return json(page(request, await self._items(await self._info(request))))

    async def add_items(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Add items at its end."""
        body = await self._body(request)
        if body is None:
            return nothing
        info = await self._info(request)
        if not given(body.items):
            raise missing_at("items")
        base = await conversation_base(self._runtime, info, self._settings)
        messages = await self._read(body.items, caller_of(request.scope), base.messages)
        added = await self._add(info.owner, info.id, body.items, messages)
        return json(
            {
                "object": "list",
                "data": added,
                "first_id": added[0]["id"] if added else None,
                "last_id": added[-1]["id"] if added else None,
                "has_more": False,
            }
        )

    async def get_item(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """One item."""
        return json(await self._item(request, await self._info(request)))

    async def delete_item(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Leave an item out: of the list, and of what models are told."""
        info = await self._info(request)
        item = await self._item(request, info)
        changed = await self._store.keep(
            info.owner,
            info.id,
            lambda kept: msgspec.structs.replace(kept, left_out=(*kept.left_out, item["id"])),
        )
        return json(_shape(changed))

    async def _item(self, request: Request[Any, Any, Any], info: SessionInfo) -> dict[str, Any]:
        item_id = request.path_params["item_id"]
        found = next((item for item in await self._items(info) if item["id"] == item_id), None)
        if found is None:
            raise _missing(f"there is no item {shortened(item_id)!r} in this conversation")
        return found

    async def _items(self, info: SessionInfo) -> list[dict[str, Any]]:
        """All items, oldest first."""
        kept = kept_of(info)
        by_turn: dict[str, list[Any]] = {}
        for record, fact in await self._runtime.sessions.facts(info.owner, info.id, strict=True):
            by_turn.setdefault(record.turn, []).append((record, fact))
        items: list[dict[str, Any]] = []
        for turn, facts in by_turn.items():
            began = facts[0][1]
            note = decode_note(began.note) if isinstance(began, Began) else None
            part = 0
            while note is not None:
                ref = Ref(info.id, turn, part)
                output, _, _ = folded(ref, note, facts)
                items += [*input_items(ref, note), *output.items]
                part += 1
                note = kept.note(Ref(info.id, turn, part).name)
        return [item for item in items if item["id"] not in kept.left_out]

    async def _read(self, raw: msgspec.Raw, caller: Caller, before: Sequence[Message] = ()) -> tuple[Message, ...]:
        """What the items say behind *before*, with the parts that any agent of the caller's can take."""
        items = decode_items(raw, "items")
        check_count("items", len(items), "items", _MOST_ITEMS)
        read = read_items(items, self._settings, waiting_calls(before), param="items")
        return await self._parts.convert(read.messages, read.part_paths, await self._most_able(caller), caller.owner)

    async def _most_able(self, caller: Caller) -> Agent:
        """The caller's agent that accepts the most kinds of input, the default agent first among equals. It decides
        what a conversation may hold, because only a later response says which agent continues it."""
        catalog = self._runtime.catalog
        agents = [agent for agent in catalog.agents if caller.may_use(agent.name)]
        agents.sort(key=lambda agent: agent.name != catalog.default_agent)
        able = [(len(await self._parts.inputs(agent)), -n) for n, agent in enumerate(agents)]
        return agents[-max(able)[1]] if able else catalog.agent(catalog.default_agent)

    async def _add(self, owner: str, id: str, raw: msgspec.Raw, messages: tuple[Message, ...]) -> list[dict[str, Any]]:
        """A turn of what was said elsewhere: its items, and no answer."""
        info = await self._runtime.sessions.get(owner, id)
        note = RequestNote(created=int(time.time()), model=info.agent, echo=msgspec.Raw(b"{}"), items=raw, added=True)
        began = Began(info.agent, info.fingerprint, "", input=messages, note=encode_note(note))
        await self._runtime.storage.admit(owner, size=len(record_of(began).body))
        journal = await self._runtime.sessions.journal_of(owner, id)
        turn = f"turn_{new_id()}"
        lease = await journal.claim(owner, id, self._runtime.replica, turn)
        if lease is None:
            raise BusyError(f"conversation {id!r} has a running response; try again when that has ended")
        await journal.append(lease, (record_of(began), record_of(_ADDED)), done=True)
        return input_items(Ref(id, turn), note)

    # Reading.

    async def _body(self, request: Request[Any, Any, Any]) -> _Create | None:
        check_headers(request.scope["headers"])
        try:
            body = await read_body(request.receive, self._settings)
        except ClientGone:
            return None
        return decode_body(body or b"{}", _create_decoder)

    async def _info(self, request: Request[Any, Any, Any]) -> SessionInfo:
        """The conversation of the path. Raises ApiError 404."""
        conversation = request.path_params["conversation_id"]
        try:
            info = await self._runtime.sessions.get(caller_of(request.scope).owner, conversation)
        except NotFoundError:
            info = None
        if info is None or not kept_of(info).is_conversation:
            raise _missing(f"there is no conversation {shortened(conversation)!r}")
        return info


def _shape(info: SessionInfo) -> dict[str, Any]:
    metadata = msgspec.json.decode(kept_of(info).conversation)
    return {"id": info.id, "object": "conversation", "created_at": int(info.created_at), "metadata": metadata}


def _missing(words: str) -> ApiError:
    return invalid(words, code="not_found", status=404)
