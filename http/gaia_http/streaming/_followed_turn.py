"""FollowedTurn: a recorded turn, wherever it runs. Its reader doesn't end with the process that began it.

    turn = FollowedTurn(runtime, owner, session_id, turn_id)
    if await turn.exists(): ...                  # else it was never begun
    async for batch in turn.batches(): ...       # from the first event; waits while another process has it

While another process runs it, its events come when it has ended, or when this process takes it over.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TypeAlias

from gaia_core import ClosedError, NotFoundError, Runtime
from gaia_core.events import Event, Reset, TurnEnded
from gaia_core.messages import Message
from gaia_core.turn import Frame, Turn

_LOOK_SECONDS = 0.1


class FollowedTurn:
    """See above. Belongs to one request. *turn*: as it runs here, if it does."""

    def __init__(self, runtime: Runtime, owner: str, session_id: str, id: str, turn: Turn | None = None) -> None:
        self.id = id
        self.session_id = session_id
        self._runtime = runtime
        self._owner = owner
        self._turn = turn
        """As it was found last. Written by `_found`."""

    @property
    def ended(self) -> TurnEnded | None:
        """How it ended, once that is known here."""
        turn = self._turn
        return turn.ended if turn is not None and not turn.handed_over else None

    @property
    def messages(self) -> tuple[Message, ...]:
        """See Turn."""
        return self._turn.messages if self._turn is not None else ()

    @property
    def message_id(self) -> int:
        """See Turn."""
        return self._turn.message_id if self._turn is not None else 0

    async def exists(self) -> bool:
        """Whether it was begun, by any process. Raises JournalError."""
        try:
            self._turn = await self._runtime.sessions.turn(self._owner, self.session_id, self.id)
        except NotFoundError:
            return False
        return True

    async def found(self) -> Turn:
        """The turn, as soon as it runs here or has ended. Raises ClosedError when this process stops before."""
        while self._turn is None or self._turn.handed_over:
            self._turn = await self._runtime.sessions.turn(self._owner, self.session_id, self.id)
            if self._turn is None:
                if not self._runtime.accepting:
                    raise ClosedError("the server stops; send the request again with the same Idempotency-Key")
                await asyncio.sleep(_LOOK_SECONDS)
        return self._turn

    async def result(self) -> TurnEnded:
        """How it ended."""
        while True:
            turn = await self.found()
            ended = await turn.result()
            if not turn.handed_over:
                return ended

    async def batches(self) -> AsyncGenerator[Sequence[Event], None]:
        """Its events from the first one; after a `Reset` once more from the first one."""
        again = False
        while True:
            turn = await self.found()
            if again:
                yield (Reset(0),)
            again = True
            async for batch in turn.batches():
                yield batch
            if self.ended is not None:
                return

    async def frames(self) -> AsyncGenerator[Sequence[Frame], None]:
        """The same with ids; where another process continued it, the `Reset` says from which record on."""
        last = None
        while True:
            turn = await self.found()
            async for frames in turn.frames(last):
                last = frames[-1][0]
                yield frames
            if self.ended is not None:
                return

    async def cancel(self) -> None:
        """Do nothing: it is not its client's."""


AnyTurn: TypeAlias = Turn | FollowedTurn
"""A turn that is its client's, or one that continues without it."""


async def whole(batches: AsyncGenerator[Sequence[Event], None]) -> list[Event]:
    """All events of *batches*, each once."""
    events: list[Event] = []
    async for batch in batches:
        for event in batch:
            if type(event) is Reset:
                events = []
            else:
                events.append(event)
    return events
