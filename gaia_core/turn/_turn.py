"""Turn: the handle of one turn. Any number of readers follow its events; leaving a reader changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from gaia_core.errors import NotFoundError
from gaia_core.events import Event, TurnEnded
from gaia_core.messages import Message

T = TypeVar("T")


class Turn:
    """One turn, running or ended.

        async for event in turn.events(): ...       # from the first; after=N skips N
        ended = await turn.result()
        await turn.cancel()                         # returns when nothing of it runs any more

    Made by `Runtime.start`. It is also where the loop puts what happens.
    """

    def __init__(self, turn_id: str, session_id: str) -> None:
        self.id = turn_id
        self.session_id = session_id
        self.messages: tuple[Message, ...] = ()
        """What the turn has added to the conversation so far, the user's message left out."""
        self.task: asyncio.Task[None] | None = None
        self.ended: TurnEnded | None = None
        self.begun = False
        self.cancelling = False
        self._log: list[Event] = []
        self._readers: list[asyncio.Future[None]] = []
        self._awaiting_end: list[asyncio.Future[None]] = []
        self._approvals: dict[str, asyncio.Future[tuple[bool, str]]] = {}
        self._questions: dict[str, asyncio.Future[str]] = {}

    def __repr__(self) -> str:
        return f"<Turn {self.id} of session {self.session_id}: {self.ended.status if self.ended else 'running'}>"

    # Reading.

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """The events from the first one (without the first *after*), until and with `TurnEnded`."""
        async for batch in self.batches(after):
            for event in batch:
                yield event

    async def batches(self, after: int | None = None) -> AsyncIterator[Sequence[Event]]:
        """The same, what came together in one piece: for surfaces that write it together."""
        position = after or 0
        while True:
            if position < len(self._log):
                batch = self._log[position:]
                position = len(self._log)
                yield batch
            elif self.ended is not None:
                return
            else:
                await _wait_in(self._readers)

    async def result(self) -> TurnEnded:
        """How the turn ended. Cancelling the caller doesn't cancel the turn."""
        while self.ended is None:
            await _wait_in(self._awaiting_end)
        return self.ended

    # Steering.

    async def cancel(self) -> TurnEnded:
        """End the turn: the upstream response is closed, its tools are cancelled. Returns when it has ended."""
        if self.ended is None and not self.cancelling:
            self.cancelling = True
            if self.task is not None and self.begun:  # a task that is cancelled before it began would never end the turn
                self.task.cancel()
        return await self.result()

    def decide(self, approval_id: str, approved: bool, reason: str = "") -> None:
        """Answer the `ApprovalRequested` of that id, and no other. Raises NotFoundError when it isn't open."""
        _answer(self._approvals, approval_id, (bool(approved), reason), "approval")

    def answer(self, request_id: str, value: str) -> None:
        """Answer the `InputRequested` of that id. Raises NotFoundError when it isn't open."""
        _answer(self._questions, request_id, value, "question")

    # For the loop.

    def emit(self, *events: Event) -> None:
        """Append *events* and wake the readers."""
        self._log += events
        if self._readers:
            _wake(self._readers)

    def end(self, event: TurnEnded) -> None:
        """Append the last event."""
        self.ended = event
        self.emit(event)
        _wake(self._awaiting_end)

    async def approval(self, approval_id: str, seconds: float) -> tuple[bool, str] | None:
        """Wait for `decide`; None after *seconds*."""
        return await _answered(self._approvals, approval_id, seconds)

    async def input(self, request_id: str, seconds: float) -> str | None:
        """Wait for `answer`; None after *seconds*."""
        return await _answered(self._questions, request_id, seconds)


async def _wait_in(waiters: list[asyncio.Future[None]]) -> None:
    waiter = asyncio.get_running_loop().create_future()
    waiters.append(waiter)
    try:
        await waiter
    finally:
        if waiter in waiters:
            waiters.remove(waiter)


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()


def _answer(open_requests: dict[str, asyncio.Future[T]], request_id: str, value: T, what: str) -> None:
    future = open_requests.get(request_id)
    if future is None or future.done():
        raise NotFoundError(f"there is no open {what} {request_id!r}: it was answered, has expired, or never was")
    future.set_result(value)


async def _answered(open_requests: dict[str, asyncio.Future[T]], request_id: str, seconds: float) -> T | None:
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    open_requests[request_id] = future
    try:
        async with asyncio.timeout(seconds):
            return await future
    except TimeoutError:
        return None
    finally:
        del open_requests[request_id]
