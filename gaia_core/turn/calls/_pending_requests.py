"""Pending requests: the approvals and questions of a turn that wait for a person, each answered once, by its own id."""

import asyncio
from typing import TypeAlias

import msgspec

from gaia_core.errors import AnsweredError, NotFoundError
from gaia_core.events import GrantScope


class Decision(msgspec.Struct, frozen=True, gc=False):
    """A person's answer to a request for approval."""

    approved: bool
    reason: str = ""
    scope: GrantScope = "once"


Answer: TypeAlias = Decision | str

APPROVAL, QUESTION = "appr_", "ask_"
"""How the ids of the two kinds of requests begin."""


def check_kind(request_id: str, kind: str) -> None:
    """Raise NotFoundError for an id of the other kind: an approval is not answered by words, nor a question by yes."""
    if not request_id.startswith(kind):
        what = "approval" if kind == APPROVAL else "question"
        raise NotFoundError(f"{request_id[:80]!r} is no {what}; their ids begin with {kind!r}")


class _OpenQuestion:
    """A request that is open. Its futures are awaited through `shield`: a cancelled reader must not cancel them."""

    __slots__ = ("answer", "settled")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Answer] = loop.create_future()
        """Set once, by `give`, from a client's task."""
        self.settled: asyncio.Future[bool] = loop.create_future()
        """Set once, by `settle`, from the task of the call: whether the answer was recorded."""


class PendingRequests:
    """Requests by id: `ask` opens one (before its event is sent), `wait` waits, `give` answers, `settle` reports that
    the answer is recorded.

    All on one event loop. Each check and the change that follows it are one step, without an await, so a request has
    one answer, also when two clients answer it at the same time.
    """

    __slots__ = ("_closed", "_open", "withdrawn")

    def __init__(self) -> None:
        self._open: dict[str, _OpenQuestion] = {}
        """Written by `ask` (the turn's tasks, and the task that resumes a turn) and `settle`."""
        self._closed: dict[str, None] = {}
        """The ids of requests that take no answer any more. Written by `wait` when it times out, by `settle`, and by
        `withdraw`."""
        self.withdrawn: set[str] = set()
        """Those of them that were asked for another configuration of the agent, and are asked again. Written by
        `withdraw`."""

    @property
    def open(self) -> tuple[str, ...]:
        """The ids that wait for an answer, oldest first."""
        return tuple(key for key, request in self._open.items() if not request.answer.done())

    @property
    def asked(self) -> tuple[str, ...]:
        """The ids of all that the turn asked in this process, open or not."""
        return tuple({**self._closed, **dict.fromkeys(self._open)})

    def knows(self, request_id: str) -> bool:
        """Whether the turn asked this, in this process."""
        return request_id in self._open or request_id in self._closed

    def ask(self, request_id: str) -> None:
        """Open a request; without effect on one that is open."""
        if request_id not in self._open:
            self._open[request_id] = _OpenQuestion()

    async def wait(self, request_id: str, seconds: float) -> Answer | None:
        """The answer to *request_id*; None after *seconds*. The request stays until `settle`."""
        request = self._open[request_id]
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await asyncio.shield(request.answer)
        except TimeoutError:
            if request.answer.done():  # in the same moment
                return request.answer.result()
            # In the step in which the time is over: an answer that comes while the timeout is being recorded is
            # refused.
            self._closed[request_id] = None
            return None

    def settle(self, request_id: str, *, recorded: bool = True) -> None:
        """The answer, or that there was none in time, is recorded; or never will be."""
        self._closed[request_id] = None
        if (request := self._open.pop(request_id, None)) is not None and not request.settled.done():
            request.settled.set_result(recorded)

    def withdraw(self, request_id: str) -> None:
        """The agent has changed since this was asked, by another process: it takes no answer, and is asked again."""
        self._closed[request_id] = None
        self.withdrawn.add(request_id)

    def close(self) -> None:
        """The turn is over: nothing that is still open can be answered."""
        for request_id in tuple(self._open):
            self.settle(request_id, recorded=False)

    async def give(self, request_id: str, answer: Answer) -> None:
        """Answer *request_id*; returns when that is recorded.

        Raises NotFoundError for an id that the turn never asked, AnsweredError when it was answered or has expired.
        """
        request = self._open.get(request_id)
        if request is None or request.answer.done() or request_id in self._closed:
            if request_id in self._closed or request is not None:
                raise AnsweredError(f"{request_id!r} was answered already or has expired")
            raise NotFoundError(f"there is no open request {request_id[:80]!r}")
        request.answer.set_result(answer)
        # A client that is cancelled here has answered all the same. The turn's end settles what is open, so this ends.
        if not await asyncio.shield(request.settled):
            raise AnsweredError(f"the turn ended before the answer to {request_id!r} could be taken")
