"""POST /api/chat and /api/generate: a request's way from its bytes to a running turn, and to the answer's ASGI
response."""

from litestar.types import ASGIApp, Receive, Scope

from gaia_core import Agent, Runtime
from gaia_http._json_response import no_response, send_json
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller, caller_of
from gaia_http.door._idempotency import Idempotency
from gaia_http.door._keyed_turn import KeyedTurn
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.ollama._answer import NDJSON, OllamaAnswer, Shape, loaded_answer
from gaia_http.ollama._message_reader import ConversationReader, check_generate
from gaia_http.ollama._models import agent_called
from gaia_http.ollama._options import options_of, shows_thinking, unserved_tools
from gaia_http.ollama._wire import (
    OllamaChatRequest,
    OllamaGenerateRequest,
    OllamaRequest,
    OllamaTool,
    decode_chat,
    decode_generate,
)
from gaia_http.operations._metrics import HttpCounts
from gaia_http.request._client_tools import told_ignored
from gaia_http.request._part_converter import PartConverter
from gaia_http.request._session_headers import session_of
from gaia_http.streaming._sse_response import SSEResponse
from gaia_http.transcript._content_blocks import ContentBlocks
from gaia_http.transcript._transcript_turns import TranscriptTurns, UnstreamedAnswer, session_headers


class OllamaChat:
    """The handlers of both routes, for one application."""

    def __init__(
        self, runtime: Runtime, settings: Settings, counts: HttpCounts, parts: PartConverter, idempotency: Idempotency
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._counts = counts
        self._idempotency = idempotency
        self._turns = TranscriptTurns(runtime, parts)

    async def chat(self, scope: Scope, receive: Receive) -> ASGIApp:
        """Begin the turn that a conversation asks for."""
        body = await self._body(scope, receive)
        if body is None:
            return no_response
        request = decode_chat(body)
        agent = agent_called(self._runtime, request.model, caller_of(scope))
        if not request.messages:
            return _loaded(request, "chat")

        async def respond(keyed: KeyedTurn | None) -> ASGIApp:
            conversation = ConversationReader()
            conversation.read(request.messages or (), self._settings.max_messages)
            return await self._respond(scope, request, "chat", conversation, request.tools, agent, keyed)

        return await self._idempotency.response(scope, body, respond)

    async def generate(self, scope: Scope, receive: Receive) -> ASGIApp:
        """Begin the turn that a prompt asks for."""
        body = await self._body(scope, receive)
        if body is None:
            return no_response
        request = decode_generate(body)
        agent = agent_called(self._runtime, request.model, caller_of(scope))
        if not request.prompt and not request.images:
            return _loaded(request, "generate")
        check_generate(request)

        async def respond(keyed: KeyedTurn | None) -> ASGIApp:
            conversation = ConversationReader()
            conversation.prompt(request)
            return await self._respond(scope, request, "generate", conversation, None, agent, keyed)

        return await self._idempotency.response(scope, body, respond)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None when the client has disconnected."""
        check_headers(scope["headers"], curl=True)
        try:
            return await read_body(receive, self._settings)
        except ClientGone:
            return None

    async def _respond(
        self,
        scope: Scope,
        request: OllamaRequest,
        shape: Shape,
        conversation: ConversationReader,
        tools: tuple[OllamaTool, ...] | None,
        agent: Agent,
        keyed: KeyedTurn | None,
    ) -> ASGIApp:
        caller: Caller = caller_of(scope)
        named = session_of(scope)
        options = options_of(request, tools, agent, self._settings)
        turn = await self._turns.start(
            agent, caller, named, conversation.messages, conversation.paths, options, keyed=keyed
        )
        blocks = ContentBlocks(
            turn.id,
            thinking=shows_thinking(request),
            activity=self._settings.show_activity == "reasoning",
            formed=options.response_format is not None,
        )
        answer = OllamaAnswer(request.model or agent.name, shape, blocks)
        headers = session_headers(named) + told_ignored(unserved_tools(tools), agent)
        if request.stream is False:
            return UnstreamedAnswer(turn, answer.whole, lambda: self._turns.keep(turn, agent, caller), headers)
        status, own = NDJSON
        return SSEResponse(
            turn.id,
            turn.batches(),
            answer,
            self._settings,
            self._counts,
            head=(status, (*own, *headers)),
            cancel=turn.cancel,
            before_end=lambda: self._turns.keep(turn, agent, caller),
        )


def _loaded(request: OllamaChatRequest | OllamaGenerateRequest, shape: Shape) -> ASGIApp:
    """Clients load a model by asking nothing of it, and unload it with `keep_alive: 0`: an agent is always there."""
    reason = "unload" if request.keep_alive in (0, "0", "0s") else "load"
    body = loaded_answer(request.model or "", shape, reason)
    return lambda _scope, _receive, send: send_json(send, body)
