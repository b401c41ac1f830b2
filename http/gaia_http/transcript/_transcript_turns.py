"""Begin turns on a client's own transcript, and answer them in one piece.

turn = await turns.start(agent, caller, session_of(scope), transcript, paths, options)
return UnstreamedAnswer(turn, lambda events: …, lambda: turns.keep(turn, agent, caller))
"""

from collections.abc import AsyncGenerator, Callable, Sequence

import attrs
from litestar.types import Receive, Scope, Send

from gaia_core import Agent, Runtime, Session
from gaia_core.events import Event
from gaia_core.messages import Message
from gaia_core.turn import TurnOptions, TurnRequest
from gaia_http._errors import ApiError, ErrorReply
from gaia_http._json_response import send_json
from gaia_http.door._caller import Caller
from gaia_http.door._keyed_turn import KeyedTurn
from gaia_http.request._part_converter import PartConverter, PathsOfParts
from gaia_http.request._session_headers import NamedSession
from gaia_http.streaming._followed_turn import AnyTurn, whole
from gaia_http.streaming._sse_writer import Headers
from gaia_http.streaming._turn_result import ended
from gaia_http.transcript._recorded_turns import begin_keyed, begun_before
from gaia_http.transcript._suspended_turns import SuspendedTurns


class TranscriptTurns:
    """The turns of one protocol's route, for one application. *prefix*: of the ids that clients' calls get."""

    def __init__(self, runtime: Runtime, parts: PartConverter, prefix: str = "call") -> None:
        self._runtime = runtime
        self._parts = parts
        self._prefix = prefix
        self._suspended = SuspendedTurns()

    async def start(
        self,
        agent: Agent,
        caller: Caller,
        named: NamedSession | None,
        transcript: tuple[Message, ...],
        paths: PathsOfParts,
        options: TurnOptions,
        *,
        suspended_as: Agent | None = None,
        keyed: KeyedTurn | None = None,
    ) -> AnyTurn:
        """Begin a turn of *agent* on *transcript*, whose parts stand at *paths*.

        *suspended_as*: the agent whose suspended turns the transcript continues, where that is another one. *keyed*:
        the turn is that one, and is begun unless it was before. Raises ApiError for parts that can't be converted, and
        as `Runtime.start` does.
        """
        if keyed is not None:
            begun = await begun_before(self._runtime, caller.owner, keyed, keyed.session)
            if begun is not None:
                return begun
        transcript = await self._parts.convert(transcript, paths, agent, caller.owner)
        transcript = self._suspended.restored(transcript, suspended_as or agent, caller.owner)
        request = TurnRequest(transcript=transcript, options=options)
        if keyed is not None:
            return await begin_keyed(self._runtime, agent, caller.owner, named, request, keyed)
        if named is None:
            return await self._runtime.once(agent, request, key=caller.owner)
        # The request is the conversation: the session gives its resources, and no record of it is made.
        session = Session(named.id, agent, caller.owner)
        return await self._runtime.start(session, request, when_busy=named.when_busy)

    def keep(self, turn: AnyTurn, agent: Agent, caller: Caller) -> None:
        """Keep the hidden steps of *turn* for its caller, if it waits for its client."""
        self._suspended.keep(turn, agent, caller.owner, self._prefix)


@attrs.frozen(eq=False)
class UnstreamedAnswer:
    """The ASGI response of a turn that is answered in one piece. *answer*: of its events; *keep*: called before it is
    sent; *batches*: the events, where those of the turn itself are not to be taken."""

    turn: AnyTurn
    answer: Callable[[Sequence[Event]], bytes | ErrorReply]
    keep: Callable[[], None]
    headers: Headers = ()
    batches: AsyncGenerator[Sequence[Event], None] | None = None

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        turn = self.turn
        if not await ended(turn, receive):
            return
        batches = self.batches if self.batches is not None else turn.batches()
        # It has ended: all that there is, in one piece, or in two where its beginning has left the ring.
        events = await whole(batches)
        body = self.answer(events)
        if isinstance(body, ErrorReply):
            raise ApiError(body)
        self.keep()
        await send_json(send, body, self.headers)


def session_headers(named: NamedSession | None) -> Headers:
    """The response headers that name the session of a request."""
    return () if named is None else ((b"x-session-id", named.id.encode()),)
