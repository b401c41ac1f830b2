"""Resume: GET /api/chat/attach. A client that reconnects receives what followed its `Last-Event-ID`, then the rest."""

import asyncio
from collections.abc import AsyncGenerator

from litestar.types import ASGIApp

from gaia_core import NotFoundError, Runtime
from gaia_core.turn import Turn
from gaia_http._errors import encoded
from gaia_http._settings import Settings
from gaia_http.operations._metrics import HttpCounts
from gaia_http.streaming._sse_response import SSEResponse, Verbatim
from gaia_http.ui._request import UIRequest
from gaia_http.ui.streaming._frames import FrameId, FrameTranslator

_LOOK_SECONDS = 0.1
"""How often a stream looks whether a turn that another process left was taken over."""

_OUTCOME_UNKNOWN = (
    b"data: "
    + encoded(
        {
            "type": "outcome_unknown",
            "message": "How this turn ends is not known here for now. Attach to the session again.",
        }
    )
    + b"\n\n"
)
"""The last frame of a stream that has no end. It has no id: a client attaches again after the frame before it."""


def ui_stream(session_id: str, source: AsyncGenerator[bytes, None], settings: Settings, counts: HttpCounts) -> ASGIApp:
    """A response that begins at once. No turn depends on it: a client that disconnects loses its stream only."""
    return SSEResponse(f"session {session_id}", source, Verbatim(), settings, counts, first=b"")


class ResumeRoute:
    """The route of one application."""

    def __init__(self, runtime: Runtime, settings: Settings, counts: HttpCounts) -> None:
        self._runtime = runtime
        self._settings = settings
        self._counts = counts

    async def attach(self, call: UIRequest) -> ASGIApp:
        """The events after `Last-Event-ID` (header, or `last_event_id` in the query), then live."""
        session_id = call.text("session_id")
        given = call.header("last-event-id") or call.text("last_event_id")
        seen = FrameId.parse(given) if given else None
        turn = await self._follow(call.owner, session_id, seen)
        steps = await self._steps(call.owner, session_id, turn)
        first = FrameTranslator(lambda: turn.message_id if turn is not None else 0, steps=steps)
        rest = b""
        if turn is not None and seen is not None:
            rest = await _resumed(first, turn, seen)
            if first.done and not rest:  # all of that turn was seen: what runs now comes next
                turn, seen = self._runtime.running(call.owner, session_id), None
                first = FrameTranslator(lambda: turn.message_id if turn is not None else 0, steps=steps)
                if turn is None:
                    raise _nothing_runs(session_id)
        source = self._attached(call.owner, session_id, turn, seen, first, rest)
        return ui_stream(session_id, source, self._settings, self._counts)

    async def _follow(self, owner: str, session_id: str, seen: FrameId | None) -> Turn | None:
        """The turn that a client may follow; None: one that will be taken over. NotFoundError when there is none."""
        turn = await self._runtime.sessions.follow(owner, session_id, seen.event if seen is not None else None)
        if turn is not None and turn.ended is not None and seen is None and turn.task is None:
            raise _nothing_runs(session_id)
        return turn

    async def _steps(self, owner: str, session_id: str, turn: Turn | None) -> int | None:
        if turn is not None and turn.step_limit is not None:
            return turn.step_limit
        try:
            return (await self._runtime.sessions.open(owner, session_id)).agent.limits.steps
        except NotFoundError:  # its agent is gone
            return None

    async def _attached(
        self, owner: str, session_id: str, turn: Turn | None, seen: FrameId | None, frames: FrameTranslator, rest: bytes
    ) -> AsyncGenerator[bytes, None]:
        if turn is None:
            turn = await self._taken_over(owner, session_id, seen)
            if turn is None:
                return
            frames = _frames_of(turn, await self._steps(owner, session_id, turn))
            if seen is not None:
                rest = await _resumed(frames, turn, seen)
        if rest:
            yield rest
        if frames.done:
            return
        async for data in self.followed(owner, turn, seen, frames):
            yield data

    async def followed(
        self, owner: str, turn: Turn, seen: FrameId | None, frames: FrameTranslator
    ) -> AsyncGenerator[bytes, None]:
        """The frames of *turn* after the *seen* one, which *frames* knows, to its end, also where another process
        continues it. When that is not known here, the last frame is `outcome_unknown`."""
        last = seen.event if seen is not None else None
        while True:
            async for batch in turn.frames(last):
                last = batch[-1][0]
                if data := frames.take(batch):
                    yield data
            if frames.done:
                return
            seen = FrameId.whole(last) if last is not None else None
            lost = turn.handed_over and not turn.suspended
            taken = await self._taken_over(owner, turn.session_id, seen) if lost else None
            if taken is None:
                yield _OUTCOME_UNKNOWN
                return
            turn = taken
            frames = _frames_of(turn, frames.steps)
            if seen is not None and (rest := await _resumed(frames, turn, seen)):
                yield rest

    async def _taken_over(self, owner: str, session_id: str, seen: FrameId | None) -> Turn | None:
        """Wait until a turn that another process left is run here, or has ended; None when neither will be."""
        while self._runtime.accepting:
            try:
                turn = await self._runtime.sessions.follow(owner, session_id, seen.event if seen is not None else None)
            except NotFoundError:
                return None
            if turn is not None:
                return turn
            await asyncio.sleep(_LOOK_SECONDS)
        return None


def _frames_of(turn: Turn, steps: int | None) -> FrameTranslator:
    return FrameTranslator(lambda: turn.message_id, steps=steps)


async def _resumed(frames: FrameTranslator, turn: Turn, seen: FrameId) -> bytes:
    """Bring *frames* to where the reader stands; what is left of the frames of the last event that it saw."""
    before, event = await turn.told(seen.event)
    frames.fold(before)
    return frames.rest(seen, event) if event is not None else b""


def _nothing_runs(session_id: str) -> NotFoundError:
    return NotFoundError(f"session {session_id!r} runs no turn")
