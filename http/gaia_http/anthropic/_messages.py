"""POST /v1/messages and /v1/messages/count_tokens: a request's way from its bytes to a running turn, and to the
answer's ASGI response."""

from litestar.types import ASGIApp, Receive, Scope

from gaia_core import Agent, Runtime
from gaia_core.events import ErrorInfo
from gaia_core.models import ModelError
from gaia_http._errors import ApiError, encoded, of_turn
from gaia_http._json_response import no_response, send_json
from gaia_http._settings import Settings
from gaia_http.anthropic._message_object import message_of
from gaia_http.anthropic._message_reader import TranscriptReader
from gaia_http.anthropic._options import (
    check_max_tokens,
    check_thread,
    counted_options,
    options_of,
    shows_thinking,
    unserved_tools,
)
from gaia_http.anthropic._stream_events import MessageTranslator
from gaia_http.anthropic._wire import CALL_PREFIX, MessagesRequest, decode_request
from gaia_http.door._caller import Caller, caller_of
from gaia_http.door._envelope import request_id_of
from gaia_http.door._idempotency import Idempotency
from gaia_http.door._keyed_turn import KeyedTurn
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.operations._metrics import HttpCounts
from gaia_http.request._agent import agent_of
from gaia_http.request._client_tools import told_ignored
from gaia_http.request._part_converter import PartConverter
from gaia_http.request._session_headers import session_of
from gaia_http.streaming._sse_response import SSEResponse
from gaia_http.streaming._sse_writer import PING
from gaia_http.transcript._content_blocks import ContentBlocks
from gaia_http.transcript._transcript_turns import TranscriptTurns, UnstreamedAnswer, session_headers


class Messages:
    """The handlers of both routes, for one application."""

    def __init__(
        self, runtime: Runtime, settings: Settings, counts: HttpCounts, parts: PartConverter, idempotency: Idempotency
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._counts = counts
        self._parts = parts
        self._idempotency = idempotency
        self._turns = TranscriptTurns(runtime, parts, CALL_PREFIX)

    async def create(self, scope: Scope, receive: Receive) -> ASGIApp:
        """Begin the turn that a request asks for; returns the response that tells of it."""
        read = await self._read(scope, receive)
        if read is None:
            return no_response
        body, request, caller, agent = read
        return await self._idempotency.response(
            scope, body, lambda keyed: self._respond(scope, request, agent, caller, keyed)
        )

    async def count_tokens(self, scope: Scope, receive: Receive) -> ASGIApp:
        """How many tokens the first model request of such a message would have, the agent's own words and tools
        included; an estimate where its model doesn't count. Nothing is stored, and no model answers."""
        read = await self._read(scope, receive)
        if read is None:
            return no_response
        _, request, caller, agent = read
        transcript = TranscriptReader(request, self._settings.max_messages)
        options = counted_options(request, agent, self._settings)
        messages = await self._parts.convert(transcript.messages, transcript.paths, agent, caller.owner)
        try:
            usage = await self._runtime.models.count_tokens(agent, messages, options)
        except ModelError as error:
            why = ErrorInfo(error.kind, str(error), error.retryable, error.retry_after, error.status)
            raise ApiError(of_turn(why, tools_ran=False)) from None
        counted = encoded({"input_tokens": usage.input_tokens})
        return lambda _scope, _receive, send: send_json(send, counted)

    async def _read(self, scope: Scope, receive: Receive) -> tuple[bytes, MessagesRequest, Caller, Agent] | None:
        """The body, what it says, who asks, and whom; None when the client has disconnected."""
        check_headers(scope["headers"])
        try:
            body = await read_body(receive, self._settings)
        except ClientGone:
            return None
        request = decode_request(body)
        check_thread(request)
        caller = caller_of(scope)
        return body, request, caller, agent_of(self._runtime, request.model, caller)

    async def _respond(
        self, scope: Scope, request: MessagesRequest, agent: Agent, caller: Caller, keyed: KeyedTurn | None
    ) -> ASGIApp:
        check_max_tokens(request)
        thinking = shows_thinking(request.thinking)
        transcript = TranscriptReader(request, self._settings.max_messages)
        named = session_of(scope)
        options = options_of(request, agent, self._settings)
        turn = await self._turns.start(
            agent, caller, named, transcript.messages, transcript.paths, options, keyed=keyed
        )
        blocks = ContentBlocks(
            turn.id,
            thinking=thinking,
            activity=self._settings.show_activity == "reasoning",
            formed=options.response_format is not None,
            prefix=CALL_PREFIX,
        )
        headers = session_headers(named) + told_ignored(unserved_tools(request), agent)
        stops = request.stop_sequences or ()
        if not request.stream:
            return UnstreamedAnswer(
                turn,
                lambda events: message_of(blocks, turn.id, agent, events, stops),
                lambda: self._turns.keep(turn, agent, caller),
                headers,
            )
        return SSEResponse(
            turn.id,
            turn.batches(),
            MessageTranslator(turn.id, agent, blocks, request_id_of(scope), stops),
            self._settings,
            self._counts,
            headers=headers,
            heartbeat=PING,
            cancel=turn.cancel,
            before_end=lambda: self._turns.keep(turn, agent, caller),
        )
