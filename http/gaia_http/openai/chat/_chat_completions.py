"""POST /v1/chat/completions: a request's way from its bytes to a running turn, and to the answer's ASGI response."""

import time
from collections.abc import Sequence

from litestar.types import ASGIApp, Receive, Scope

from gaia_core import Agent, Runtime
from gaia_core.events import Event
from gaia_core.messages import Message, UserMessage, text_of
from gaia_http._errors import ErrorReply
from gaia_http._json_response import no_response
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller, caller_of
from gaia_http.door._idempotency import Idempotency
from gaia_http.door._keyed_turn import KeyedTurn
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.openai.chat._chunks import ChunkTranslator
from gaia_http.openai.chat._completion import completion_of
from gaia_http.openai.chat._message_reader import paths_in, transcript_of
from gaia_http.openai.chat._options import options_of, unserved_tools
from gaia_http.openai.chat._stored_completions import CompletionStore, recorded_batches
from gaia_http.openai.chat._wire import ChatRequest, decode_request
from gaia_http.operations._metrics import HttpCounts
from gaia_http.request._agent import agent_of
from gaia_http.request._client_tools import told_ignored
from gaia_http.request._part_converter import PartConverter
from gaia_http.request._server_options import configured
from gaia_http.request._session_headers import is_named_task, session_of
from gaia_http.streaming._sse_response import SSEResponse
from gaia_http.transcript._transcript_turns import TranscriptTurns, UnstreamedAnswer, session_headers


class ChatCompletions:
    """The route's handler, for one application."""

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        counts: HttpCounts,
        parts: PartConverter,
        idempotency: Idempotency,
        store: CompletionStore,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._counts = counts
        self._idempotency = idempotency
        self._turns = TranscriptTurns(runtime, parts)
        self._store = store

    async def handle(self, scope: Scope, receive: Receive) -> ASGIApp:
        """Begin the turn that a request asks for; returns the response that tells of it."""
        check_headers(scope["headers"])
        try:
            body = await read_body(receive, self._settings)
        except ClientGone:
            return no_response
        wire = decode_request(body)
        caller = caller_of(scope)
        agent = agent_of(self._runtime, wire.model, caller)
        return await self._idempotency.response(
            scope, body, lambda keyed: self._respond(scope, wire, body, agent, caller, keyed)
        )

    async def _respond(
        self, scope: Scope, wire: ChatRequest, body: bytes, agent: Agent, caller: Caller, keyed: KeyedTurn | None
    ) -> ASGIApp:
        transcript = transcript_of(wire.messages, self._settings.max_messages)
        named = session_of(scope, wire.prompt_cache_key)
        runs = agent
        if _is_task(scope, transcript):
            runs, named = Agent(agent.name, model=agent.model, limits=agent.limits, client_tools="ignore"), None
        options = options_of(wire, runs, self._settings, configured(body, runs, self._runtime))
        if wire.store:  # before a model works for it; its answer is counted with the next look
            await self._runtime.storage.admit(caller.owner, objects=1, size=len(body))
        turn = await self._turns.start(
            runs, caller, named, transcript, paths_in(wire.messages or ()), options, suspended_as=agent, keyed=keyed
        )
        headers = session_headers(named) + told_ignored(unserved_tools(wire), runs)
        created = keyed.created if keyed is not None else int(time.time())
        formed = options.response_format is not None

        def completion(events: Sequence[Event]) -> bytes | ErrorReply:
            return completion_of(turn.id, agent, created, events, formed=formed)

        async def record(events: Sequence[Event]) -> None:
            if isinstance(made := completion(events), bytes):
                await self._store.keep(caller.owner, agent, turn, wire, made)

        batches = recorded_batches(turn, record) if wire.store else turn.batches()
        if not wire.stream:
            return UnstreamedAnswer(turn, completion, lambda: self._turns.keep(turn, agent, caller), headers, batches)
        chunks = ChunkTranslator(
            turn.id,
            agent,
            created,
            include_usage=bool(wire.stream_options and wire.stream_options.include_usage),
            activity=self._settings.show_activity,
            formed=formed,
        )
        return SSEResponse(
            turn.id,
            batches,
            chunks,
            self._settings,
            self._counts,
            headers=headers,
            cancel=turn.cancel,
            before_end=lambda: self._turns.keep(turn, agent, caller),
        )


def _is_task(scope: Scope, transcript: tuple[Message, ...]) -> bool:
    """Whether Open WebUI asks for a title, tags or follow-ups: the model alone answers that, without tools or session.

    Source: such a request's header has the task's name, where that is set up; its prompt begins with `### Task:`. So
    does an ordinary message of a chat that has files or searches the web, but there the sources follow in `<context>`
    (Open WebUI's DEFAULT_RAG_TEMPLATE).
    """
    if (named := is_named_task(scope)) is not None:
        return named
    last = transcript[-1]
    if not isinstance(last, UserMessage):
        return False
    text = text_of(last.content)
    return text.startswith("### Task:") and "<context>" not in text
