"""From a request to a running turn: which conversation it continues, and where its response is stored.

| request | turn |
|---|---|
| previous_response_id | after that response: in its session, or in a fork where that is busy or has continued |
| conversation | at the end of that conversation |
| `mcp_approval_response` in the input | the turn that waits for it continues; what it does then is the response |
| a session header (X-Session-Id, …) | the input is the whole conversation; the session gives its resources |
| none of these | a session of its own; with `store: false` none |
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import msgspec
from litestar.enums import ScopeType
from litestar.types import Scope

from gaia_core import Agent, BusyError, GaiaError, NotFoundError, Runtime, Session
from gaia_core.facts import Began
from gaia_core.messages import Content, Message, UserMessage
from gaia_core.runtime import configured
from gaia_core.session import new_id
from gaia_core.turn import Audience, Turn, TurnOptions, TurnRequest
from gaia_http._errors import ApiError, encoded, invalid
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller
from gaia_http.door._keyed_turn import KeyedTurn
from gaia_http.openai.responses._approvals import Approvals
from gaia_http.openai.responses._ids import Ref, parse_item
from gaia_http.openai.responses._request_state import Base, Begun, Taken, Warmed
from gaia_http.openai.responses.input._input_items import approvals_in, read_items, waiting_calls
from gaia_http.openai.responses.input._options import custom_names, echo_of, options_of, unserved_tools
from gaia_http.openai.responses.input._wire import CreateRequest, WireItem, conversation_id, decode_items
from gaia_http.openai.responses.output._response_events import ResponseEvents
from gaia_http.openai.responses.stored._deleted_items import conversation_base
from gaia_http.openai.responses.stored._request_note import (
    RESPONSES,
    RequestNote,
    SessionMetadata,
    decode_note,
    encode_note,
    input_items,
    kept_of,
)
from gaia_http.openai.responses.stored._stored_responses import ResponseStore, StoredResponse, missing
from gaia_http.request._agent import agent_of
from gaia_http.request._client_tools import told_ignored
from gaia_http.request._decoding import given
from gaia_http.request._fields import invalid_at, missing_at, shortened
from gaia_http.request._part_converter import PartConverter
from gaia_http.request._session_headers import NamedSession, session_of
from gaia_http.streaming._followed_turn import AnyTurn, FollowedTurn
from gaia_http.transcript._recorded_turns import begin_keyed, begin_once

_NOT_FOUND = "previous_response_not_found"


class ResponseCreation:
    """Begins the responses of one application."""

    def __init__(self, runtime: Runtime, settings: Settings, store: ResponseStore, parts: PartConverter) -> None:
        self._runtime = runtime
        self._parts = parts
        self._approvals = Approvals(runtime, store)
        self._settings = settings
        self._store = store

    async def begin(
        self,
        request: CreateRequest,
        caller: Caller,
        scope: Scope,
        base: tuple[Message, ...] | None = None,
        keyed: KeyedTurn | None = None,
    ) -> Begun:
        """Begin what *request* asks for. *base*: the conversation so far, where no journal has it. *keyed*: its turn is
        that one, and is begun unless it was before.

        Raises ApiError, and what `Runtime.start` does.
        """
        owner = caller.owner
        if keyed is not None and (begun := await self._begun_before(request, owner, scope, keyed)) is not None:
            return begun
        if request.store is not False:
            self._runtime.check_journal()
        request, items = await self._resolved(request, owner)
        approvals = approvals_in(items)
        if approvals:
            begun = await self._approvals.answered(request, owner, items, approvals, again=keyed is not None)
            if begun is not None:
                return begun if keyed is None else attrs.evolve(begun, turn=None, owned=False)
        background, store = bool(request.background), request.store is not False
        if background and not store:
            raise invalid_at("background", "a response in background must be stored: leave out store: false")
        taken = await self._taken(request, caller, items, base)
        agent, found = taken.agent, taken.base
        streamed = bool(request.stream) or scope["type"] == ScopeType.WEBSOCKET
        options = options_of(request, agent, self._settings, streamed=streamed)
        note = self._note(request, taken, background=background, store=store)
        ignored = told_ignored(unserved_tools(request), agent)
        named = session_of(scope, request.prompt_cache_key) if found is None and base is None else None
        if not store or (base is not None and found is None):
            note = msgspec.structs.replace(note, store=False)
            turn = await self._unrecorded(agent, owner, named, taken.said, options, note, keyed)
            return self._begun(owner, Ref("", turn.id), note, turn, named, said=taken.said, ignored=ignored)
        if keyed is None:
            turn = await self._recorded(agent, owner, found, named, taken.messages, options, note)
            return self._begun(owner, Ref(turn.session_id, turn.id), note, turn, named, ignored=ignored)
        turn = await self._recorded_once(agent, owner, found, named, taken.messages, options, note, keyed)
        begun = self._begun(owner, Ref(turn.session_id, turn.id), note, turn, named, ignored=ignored)
        return attrs.evolve(begun, owned=False)

    async def _begun_before(self, request: CreateRequest, owner: str, scope: Scope, keyed: KeyedTurn) -> Begun | None:
        """The response of the turn, if any process has begun it."""
        named = session_of(scope, request.prompt_cache_key)
        places = (keyed.session, conversation_id(request.conversation))
        for session in filter(None, places):
            try:
                info = await self._runtime.sessions.get(owner, session)
                facts = await self._runtime.sessions.facts_of_turn(owner, session, keyed.id)
            except NotFoundError:
                continue
            began = facts[0][1] if facts else None
            note = decode_note(began.note) if isinstance(began, Began) else None
            if note is None:
                continue
            keyed.recorded_in = session
            ignored = told_ignored(unserved_tools(request), configured(self._runtime.catalog, info, note.model))
            if note.store:
                begun = self._begun(owner, Ref(session, keyed.id), note, None, named, ignored=ignored)
                return attrs.evolve(begun, owned=False)
            turn = FollowedTurn(self._runtime, owner, session, keyed.id)
            return self._begun(owner, Ref("", keyed.id), note, turn, named, ignored=ignored)
        return None

    async def warmed(self, request: CreateRequest, caller: Caller, base: tuple[Message, ...] | None) -> Warmed:
        """What *request* brings, taken in and not answered."""
        request, items = await self._resolved(request, caller.owner)
        taken = await self._taken(request, caller, items, base)
        options_of(request, taken.agent, self._settings)
        ref = Ref("", f"turn_{new_id()}")
        output = ResponseEvents(ref, self._note(request, taken, background=False, store=False))
        return Warmed(ref=ref, messages=taken.said, told=(*output.begin(), *output.complete()))

    async def conversation(self, request: CreateRequest, caller: Caller) -> tuple[Agent, tuple[Message, ...]]:
        """The agent and the whole conversation that *request* speaks of."""
        request, items = await self._resolved(request, caller.owner)
        taken = await self._taken(request, caller, items, None)
        return taken.agent, taken.said

    async def _taken(
        self, request: CreateRequest, caller: Caller, items: tuple[WireItem, ...], base: tuple[Message, ...] | None
    ) -> Taken:
        owner = caller.owner
        previous = await self._previous(request, owner) if base is None else None
        conversation = conversation_id(request.conversation)
        if conversation is not None and request.previous_response_id is not None:
            raise invalid(
                "conversation and previous_response_id exclude each other: send one of them",
                param="conversation",
                code="mutually_exclusive_parameters",
            )
        if conversation is not None and request.store is False:
            raise invalid(
                "store: a conversation keeps its responses; leave store out, or send the whole conversation as input",
                param="store",
                code="unsupported_value",
            )
        agent = self._agent(request, caller, previous)
        found = await self._base(owner, previous, conversation)
        before = base if base is not None else found.messages if found is not None else ()
        read = read_items(items, self._settings, waiting_calls(before))
        messages = await self._parts.convert(read.messages, read.part_paths, agent, owner)
        if not messages and not before:
            raise missing_at("input", "; send a text or items")
        return Taken(agent=agent, base=found, before=before, messages=messages, conversation=conversation)

    def _begun(
        self,
        owner: str,
        ref: Ref,
        note: RequestNote,
        turn: AnyTurn | None,
        named: NamedSession | None = None,
        said: tuple[Message, ...] = (),
        ignored: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Begun:
        return Begun(
            owner=owner,
            ref=ref,
            note=note,
            turn=turn,
            owned=not note.background,
            session_id=named.id if named is not None else None,
            store=self._store,
            said=said,
            ignored=ignored,
        )

    def _agent(self, request: CreateRequest, caller: Caller, previous: StoredResponse | None) -> Agent:
        inherited = previous.note.model if previous is not None else None
        return agent_of(self._runtime, request.model if request.model is not None else inherited, caller)

    def _note(self, request: CreateRequest, taken: Taken, *, background: bool, store: bool) -> RequestNote:
        shown = self._settings.show_activity != "off"
        return RequestNote(
            created=int(time.time()),
            model=taken.agent.name,
            echo=echo_of(request),
            items=request.input,
            custom=custom_names(request),
            background=background,
            store=store,
            previous=request.previous_response_id,
            conversation=taken.conversation,
            reasoned=shown and self._settings.response_tools == "reasoning",
            quiet=not shown,
            omitted=taken.base.omitted if taken.base is not None else (),
        )

    # What the request continues.

    async def _previous(self, request: CreateRequest, owner: str) -> StoredResponse | None:
        if request.previous_response_id is None:
            return None
        try:
            stored = await self._store.find(owner, request.previous_response_id)
        except ApiError:
            raise missing(request.previous_response_id, param="previous_response_id", code=_NOT_FOUND) from None
        if stored.running and not stored.output.parked:
            raise invalid(
                f"the response {shortened(stored.ref.id)!r} is not complete yet",
                param="previous_response_id",
                code="response_not_complete",
            )
        return stored

    async def _base(self, owner: str, previous: StoredResponse | None, conversation: str | None) -> Base | None:
        if previous is not None:
            return Base(previous.ref.session, previous.end, await self._store.history(previous))
        if conversation is None:
            return None
        try:
            info = await self._runtime.sessions.get(owner, conversation)
        except NotFoundError:
            info = None
        if info is None or not kept_of(info).is_conversation:
            words = f"there is no conversation {shortened(conversation)!r}"
            raise invalid(words, param="conversation", code="conversation_not_found", status=404)
        return await conversation_base(self._runtime, info, self._settings)

    async def _resolved(self, request: CreateRequest, owner: str) -> tuple[CreateRequest, tuple[WireItem, ...]]:
        """*request* with the stored items that its input refers to, and all its items."""
        items = decode_items(request.input) if given(request.input) else ()
        if all(item.type != "item_reference" for item in items):
            return request, items
        sent = msgspec.json.decode(request.input, type=tuple[msgspec.Raw, ...])
        resolved = [
            await self._item(owner, item.id, f"input[{n}]") if item.type == "item_reference" else sent[n]
            for n, item in enumerate(items)
        ]
        raw = msgspec.Raw(encoded(resolved))
        return msgspec.structs.replace(request, input=raw), decode_items(raw)

    async def _item(self, owner: str, item_id: str | None, param: str) -> msgspec.Raw:
        """The stored item of that id. Raises ApiError 404."""
        found = parse_item(item_id or "")
        try:
            stored = await self._store.find(owner, found.response.id) if found is not None else None
        except ApiError:
            stored = None
        if stored is not None and found is not None:
            items = input_items(stored.ref, stored.note) if found.of_input else stored.output.response["output"]
            named = next((each for each in items if each.get("id") == item_id), None)
            if named is not None:
                return msgspec.Raw(encoded(named))
        raise invalid_at(f"{param}.id", f"there is no item {shortened(item_id or '')!r}", "item_not_found", 404)

    # Turns.

    async def _unrecorded(
        self,
        agent: Agent,
        owner: str,
        named: NamedSession | None,
        messages: tuple[Message, ...],
        options: TurnOptions,
        note: RequestNote,
        keyed: KeyedTurn | None,
    ) -> AnyTurn:
        """A turn that leaves no response; with a key it is recorded until its answer is kept."""
        request = TurnRequest(transcript=messages, options=options)
        if keyed is not None:
            request = attrs.evolve(request, note=encode_note(note))
            return await begin_keyed(self._runtime, agent, owner, named, request, keyed)
        if named is None:
            return await self._runtime.once(agent, request, key=owner)
        return await self._runtime.start(Session(named.id, agent, owner), request, when_busy=named.when_busy)

    async def _recorded(
        self,
        agent: Agent,
        owner: str,
        base: Base | None,
        named: NamedSession | None,
        messages: tuple[Message, ...],
        options: TurnOptions,
        note: RequestNote,
    ) -> Turn:
        content, more = _split(messages)

        async def start(id: str, parent: int | None) -> Turn:
            return await self._runtime.start(
                Session(id, agent, owner),
                TurnRequest(
                    content,
                    audience=Audience.BACKGROUND if note.background else Audience.CLIENT,
                    parent=parent,
                    options=options,
                    input=more,
                    note=encode_note(note),
                    edits=base.edits if base is not None else (),
                ),
            )

        if base is not None:
            return await self._continued(owner, base, start, conversation=note.conversation is not None)
        if named is not None and await self._is_free(owner, named.id):
            fresh = not await self._runtime.sessions.exists(owner, named.id)
            await self._runtime.open(agent, named.id, owner=owner, surface=RESPONSES)
            try:
                return await (self._first(owner, named.id, start(named.id, 0)) if fresh else start(named.id, 0))
            except BusyError:
                pass  # the input is the whole conversation: another session does as well
        own = new_id()
        await self._runtime.open(agent, own, owner=owner, surface=RESPONSES)
        return await self._first(owner, own, start(own, None))

    async def _first(self, owner: str, session_id: str, starting: Awaitable[Turn]) -> Turn:
        """The first turn of a session that was made for it; a turn that may not begin leaves no session behind."""
        try:
            return await starting
        except BusyError:
            raise  # somebody else's turn runs in it
        except GaiaError:
            with suppress(GaiaError):
                await self._runtime.sessions.delete(owner, session_id)
            raise

    async def _recorded_once(
        self,
        agent: Agent,
        owner: str,
        base: Base | None,
        named: NamedSession | None,
        messages: tuple[Message, ...],
        options: TurnOptions,
        note: RequestNote,
        keyed: KeyedTurn,
    ) -> FollowedTurn:
        """The turn *keyed*: in its conversation, or in a session whose id every process knows."""
        content, more = _split(messages)
        place = keyed.session
        if base is None:
            await self._runtime.open(agent, place, owner=owner, surface=RESPONSES)
        elif note.conversation is not None:
            place = base.info_id
        else:
            await self._runtime.sessions.fork(owner, base.info_id, place, at=base.at)
            await self._store.keep(owner, place, lambda _: SessionMetadata(since=base.at), RESPONSES)
        session = Session(named.id if named is not None else place, agent, owner)
        asked = TurnRequest(
            content,
            audience=Audience.BACKGROUND if note.background else Audience.RETURNING,
            options=options,
            input=more,
            note=encode_note(note),
            edits=base.edits if base is not None else (),
            record=place,
            id=keyed.id,
        )
        when_busy = named.when_busy if named is not None else "reject"
        return await begin_once(
            self._runtime, session, keyed, place, lambda: self._runtime.start(session, asked, when_busy=when_busy)
        )

    async def _is_free(self, owner: str, session_id: str) -> bool:
        """Whether responses may be recorded in the session: another surface's conversation is left as it is."""
        if self._runtime.running(owner, session_id) is not None:
            return False
        try:
            return (await self._runtime.sessions.get(owner, session_id)).surface == RESPONSES
        except NotFoundError:
            return True

    async def _continued(
        self, owner: str, base: Base, start: Callable[[str, int | None], Awaitable[Turn]], *, conversation: bool
    ) -> Turn:
        """A turn after the record of *base*: in its session, or in a fork of it."""
        sessions = self._runtime.sessions
        info = await sessions.get(owner, base.info_id)
        if conversation:
            return await start(base.info_id, None)
        # A response that was asked for by another's id belongs to no conversation, and isn't put in one.
        free = info.turn is None and self._runtime.running(owner, info.id) is None
        if free and info.head == base.at and not kept_of(info).is_conversation:
            try:
                return await start(base.info_id, base.at)
            except BusyError:
                pass  # somebody else was quicker
        forked = await sessions.fork(owner, base.info_id, at=base.at)
        await self._store.keep(owner, forked.id, lambda _: SessionMetadata(since=base.at), RESPONSES)
        return await self._first(owner, forked.id, start(forked.id, base.at))


def _split(messages: tuple[Message, ...]) -> tuple[Content | None, tuple[Message, ...]]:
    """A last message of the user as the turn's own, and what comes before it."""
    if messages and isinstance(last := messages[-1], UserMessage) and last.name is None:
        return last.content, messages[:-1]
    return None, messages
