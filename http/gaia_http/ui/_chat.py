"""Routes of the conversation: send, answer prompts, cancel. A turn is the runtime's, not its client's.

Attaching to a turn again is in `streaming._resume`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable

import msgspec
from litestar.types import ASGIApp

from gaia_core import BusyError, GaiaError, QueueFullError, Runtime, Session
from gaia_core.journal import SessionUpdate
from gaia_core.runtime import AnswerText, configured
from gaia_core.runtime.sessions.export import metadata_of
from gaia_core.turn import Audience, Turn, TurnRequest
from gaia_http._errors import ApiError, of_turn
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller
from gaia_http.door._keyed_turn import KeyedTurn
from gaia_http.operations._metrics import HttpCounts
from gaia_http.streaming._followed_turn import AnyTurn, FollowedTurn, whole
from gaia_http.transcript._recorded_turns import begin_once, begun_before
from gaia_http.ui._request import UIRequest
from gaia_http.ui._request_bodies import CancelTurn, ConfirmTool, SendMessage, UserInput
from gaia_http.ui._response_bodies import Acknowledged, Active, WholeAnswer
from gaia_http.ui._sessions import SessionRoutes
from gaia_http.ui.streaming._frames import FrameTranslator, frame
from gaia_http.ui.streaming._resume import ResumeRoute, ui_stream

_QUEUE_SECONDS = 5.0
"""When to ask again for a place in a session's own queue."""


class ChatRoutes:
    """The routes of one application."""

    def __init__(
        self, runtime: Runtime, sessions: SessionRoutes, resume: ResumeRoute, settings: Settings, counts: HttpCounts
    ) -> None:
        self._runtime = runtime
        self._resume = resume
        self._sessions = sessions
        self._settings = settings
        self._counts = counts
        self._starting: set[asyncio.Task[AnyTurn]] = set()

    # Sending.

    async def send(self, call: UIRequest) -> ASGIApp | WholeAnswer:
        """Begin a turn, and tell of it as it goes or when it has ended."""
        body = await call.body(SendMessage)
        if (keyed := call.keyed) is not None:
            before = await begun_before(self._runtime, call.owner, keyed, body.session_id)
            if before is not None:
                return await self._begun_before(call.owner, before, body)
        if not await self._runtime.sessions.is_private(call.owner, body.session_id):
            self._runtime.check_journal()
        session = await self._prepared(call.caller, body)
        parent = body.parent_id
        if parent is not None:
            parent = await self._sessions.record_of(call.owner, session.id, parent)
        self._runtime.models.check_room(session.agent.model)
        starting = Starting()
        task = asyncio.create_task(self._begin(session, body, parent, starting, keyed), name="gaia send")
        self._keep(task)
        await asyncio.wait((task, starting.waits), return_when=asyncio.FIRST_COMPLETED)
        if task.done() and (error := task.exception()) is not None:
            if isinstance(error, BusyError) and body.when_busy != "reject":
                raise QueueFullError(str(error), _QUEUE_SECONDS) from None
            raise error
        if not body.stream:
            return await self._whole(await asyncio.shield(task))
        frames = self._started(call.owner, task, starting, session.agent.limits.steps)
        return ui_stream(session.id, frames, self._settings, self._counts)

    async def _begin(
        self, session: Session, body: SendMessage, parent: int | None, starting: "Starting", keyed: KeyedTurn | None
    ) -> AnyTurn:
        request = TurnRequest(
            body.message, audience=Audience.INTERACTIVE, parent=parent, id=keyed.id if keyed is not None else ""
        )

        def start() -> Awaitable[Turn]:
            return self._runtime.start(session, request, when_busy=body.when_busy, queued=starting.moved)

        if keyed is None:
            return await start()
        return await begin_once(self._runtime, session, keyed, session.id, start)

    async def _begun_before(self, owner: str, turn: FollowedTurn, body: SendMessage) -> ASGIApp | WholeAnswer:
        """The answer of a turn that the same request has begun before."""
        if not body.stream:
            return await self._whole(turn)
        return ui_stream(body.session_id, self._frames(owner, turn), self._settings, self._counts)

    async def _frames(self, owner: str, turn: AnyTurn, steps: int | None = None) -> AsyncGenerator[bytes, None]:
        frames = FrameTranslator(lambda: turn.message_id, steps=steps)
        if isinstance(turn, Turn):
            async for data in self._resume.followed(owner, turn, None, frames):
                yield data
            return
        async for batch in turn.frames():
            if data := frames.take(batch):
                yield data

    async def _prepared(self, caller: Caller, body: SendMessage) -> Session:
        """The session, with what the body changes of it. Raises NotFoundError, 400 for an unknown agent, 403."""
        sessions, owner = self._runtime.sessions, caller.owner
        info = await sessions.get(owner, body.session_id)
        if self._runtime.running(owner, info.id) is not None and body.when_busy == "reject":
            raise BusyError(f"session {info.id!r} runs a turn already; when_busy may be queue or interrupt")
        agent = self._sessions.agent_name(body.agent_type, caller) if body.agent_type is not None else info.agent
        caller.check_agent(agent)
        metadata = metadata_of(info)
        ids = body.document_ids if body.document_ids is not None else metadata.document_ids
        if agent != info.agent or ids != metadata.document_ids:
            encoded = msgspec.json.encode(msgspec.structs.replace(metadata, document_ids=ids))
            info = await sessions.update(owner, info.id, SessionUpdate(agent=agent, metadata=encoded))
        return Session(info.id, configured(self._runtime.catalog, info), owner)

    def _keep(self, task: "asyncio.Task[AnyTurn]") -> None:
        """Let *task* begin its turn, also when no request waits for it any more."""
        self._starting.add(task)

        def over(done: "asyncio.Task[AnyTurn]") -> None:
            self._starting.discard(done)
            if not done.cancelled():
                done.exception()  # retrieved, also when no request waits any more

        task.add_done_callback(over)

    async def _started(
        self, owner: str, task: "asyncio.Task[AnyTurn]", starting: "Starting", steps: int
    ) -> AsyncGenerator[bytes, None]:
        """The frames of the turn that *task* begins; while it waits for its session, its place."""
        while not task.done():
            if (position := starting.take()) is not None:
                yield frame({"type": "queued", "position": position})
            await asyncio.wait((task, starting.waits), return_when=asyncio.FIRST_COMPLETED)
        try:
            turn = task.result()
        except GaiaError as error:
            yield frame({"type": "error", "content": str(error)})
            yield frame({"type": "done", "message_id": None, "content": "", "finish_reason": None})
            return
        async for data in self._frames(owner, turn, steps):
            yield data

    async def _whole(self, turn: AnyTurn) -> WholeAnswer:
        ended = await turn.result()
        tally = AnswerText()
        for event in await whole(turn.batches()):
            tally.take(event)
        if ended.status == "failed" and ended.error is not None:
            raise ApiError(of_turn(ended.error, tools_ran=tally.tools_ran))
        usage = ended.usage
        tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        tokens["total_tokens"] = usage.total_tokens
        return WholeAnswer(turn.message_id or None, tally.shown(ended), (), tokens)

    # Steering.

    async def confirm(self, call: UIRequest) -> Acknowledged:
        """Answer a prompt for approval, once."""
        body = await call.body(ConfirmTool)
        await self._runtime.sessions.decide(
            call.owner,
            body.session_id,
            body.confirm_id,
            body.approved,
            body.reason or "",
            scope=body.scope or "once",
        )
        return Acknowledged("ok", approved=body.approved)

    async def user_input(self, call: UIRequest) -> Acknowledged:
        """Answer a tool's question, once."""
        body = await call.body(UserInput)
        await self._runtime.sessions.answer(call.owner, body.session_id, body.request_id, body.value)
        return Acknowledged("ok")

    async def cancel(self, call: UIRequest) -> Acknowledged:
        """End the session's turn; answered when nothing of it runs any more."""
        body = await call.body(CancelTurn)
        if self._runtime.running(call.owner, body.session_id) is None:
            await self._runtime.sessions.get(call.owner, body.session_id)
        return Acknowledged("ok", cancelled=await self._runtime.sessions.cancel(call.owner, body.session_id))

    async def active(self, call: UIRequest) -> Active:
        """The sessions that run a turn of their own here."""
        running = self._runtime.running_turns
        return Active(tuple(key[1] for key, turn in running if key[0] == call.owner and turn.journal is not None))


class Starting:
    """Where a turn stands that waits for its session. *waits* is done when there is news."""

    def __init__(self) -> None:
        self.waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._position: int | None = None

    def moved(self, position: int) -> None:
        """Take note of the place; 1 is next."""
        self._position = position
        if not self.waits.done():
            self.waits.set_result(None)

    def take(self) -> int | None:
        """The place, if it is news."""
        position, self._position = self._position, None
        self.waits = asyncio.get_running_loop().create_future()
        return position
