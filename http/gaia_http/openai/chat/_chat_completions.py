"""POST /v1/chat/completions: a request's way from its bytes to a running turn, and to the answer's ASGI response."""

import time

import attrs
from litestar.types import ASGIApp, Receive, Scope, Send

from gaia_core import Agent, Runtime, Session
from gaia_core.messages import Message, UserMessage, text_of
from gaia_core.turn import Turn, TurnOptions, TurnRequest
from gaia_http._errors import ApiError, ErrorReply
from gaia_http._json_response import no_response, send_json
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller, caller_of
from gaia_http.door._idempotency import Idempotency
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.openai.chat._chunks import ChunkTranslator
from gaia_http.openai.chat._completion import completion_of
from gaia_http.openai.chat._message_reader import paths_in, transcript_of
from gaia_http.openai.chat._options import options_of, unserved_tools
from gaia_http.openai.chat._suspended_turns import SuspendedTurns
from gaia_http.openai.chat._wire import ChatRequest, decode_request
from gaia_http.operations._metrics import HttpCounts
from gaia_http.request._agent import agent_of
from gaia_http.request._client_tools import told_ignored
from gaia_http.request._part_converter import PartConverter
from gaia_http.request._server_options import configured
from gaia_http.request._session_headers import NamedSession, is_named_task, session_of
from gaia_http.streaming._sse_response import SSEResponse
from gaia_http.streaming._sse_writer import Headers
from gaia_http.streaming._turn_result import ended


class ChatCompletions:
    """The route's handler, for one application."""

    def __init__(
        self, runtime: Runtime, settings: Settings, counts: HttpCounts, parts: PartConverter, idempotency: Idempotency
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._counts = counts
        self._parts = parts
        self._idempotency = idempotency
        self._suspended = SuspendedTurns()

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
            scope, body, lambda: self._respond(scope, wire, body, agent, caller), safe=lambda: _is_safe(agent)
        )

    async def _respond(self, scope: Scope, wire: ChatRequest, body: bytes, agent: Agent, caller: Caller) -> ASGIApp:
        transcript = transcript_of(wire.messages, self._settings.max_messages)
        named = session_of(scope, wire.prompt_cache_key)
        runs = agent
        if _is_task(scope, transcript):
            runs, named = Agent(agent.name, model=agent.model, limits=agent.limits, client_tools="ignore"), None
        options = options_of(wire, runs, self._settings, configured(body, runs, self._runtime))
        transcript = await self._parts.convert(transcript, paths_in(wire.messages or ()), runs, caller.owner)
        transcript = self._suspended.restored(transcript, agent, caller.owner)
        turn = await self._start(runs, named, caller, transcript, options)
        headers: Headers = () if named is None else ((b"x-session-id", named.id.encode()),)
        headers += told_ignored(unserved_tools(wire), runs)
        created = int(time.time())
        if not wire.stream:
            formed = options.response_format is not None
            return _ChatAnswer(self, turn, agent, caller, created, headers, formed)
        chunks = ChunkTranslator(
            turn.id,
            agent,
            created,
            include_usage=bool(wire.stream_options and wire.stream_options.include_usage),
            activity=self._settings.show_activity,
        )
        return SSEResponse(
            turn.id,
            turn.batches(),
            chunks,
            self._settings,
            self._counts,
            headers=headers,
            cancel=turn.cancel,
            before_end=lambda: self.keep(turn, agent, caller),
        )

    async def _start(
        self,
        agent: Agent,
        named: NamedSession | None,
        caller: Caller,
        transcript: tuple[Message, ...],
        options: TurnOptions,
    ) -> Turn:
        if named is None:
            return await self._runtime.once(
                agent, TurnRequest(transcript=transcript, options=options), key=caller.owner
            )
        # The request is the conversation: the session gives its resources, and no record of it is made.
        session = Session(named.id, agent, caller.owner)
        return await self._runtime.start(
            session, TurnRequest(transcript=transcript, options=options), when_busy=named.when_busy
        )

    def keep(self, turn: Turn, agent: Agent, caller: Caller) -> None:
        """Keep the hidden steps of *turn* for its caller, if it waits for its client."""
        self._suspended.keep(turn, agent, caller.owner)


@attrs.frozen(eq=False)
class _ChatAnswer:
    """The ASGI response of a turn that is answered in one piece."""

    route: ChatCompletions
    turn: Turn
    agent: Agent
    caller: Caller
    created: int
    headers: Headers
    formed: bool

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        turn = self.turn
        if not await ended(turn, receive):
            return
        # It has ended: all that there is, in one piece, or in two where its beginning has left the ring.
        events = [event async for batch in turn.batches() for event in batch]
        body = completion_of(turn.id, self.agent, self.created, events, formed=self.formed)
        if isinstance(body, ErrorReply):
            raise ApiError(body)
        self.route.keep(turn, self.agent, self.caller)
        await send_json(send, body, self.headers)


def _is_safe(agent: Agent) -> bool:
    """Whether it does no harm to run a turn of *agent* twice."""
    return all(tool.idempotent or tool.effects <= {"read"} for tool in agent.tools)


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
