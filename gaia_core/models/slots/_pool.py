"""Slots: how many requests a model takes at once, and how many tokens they may need together (law 7).

One pool for everything that calls a model. A slot belongs to one model request, from admission until its upstream
response is closed:

    with await pool.acquire(SlotRequest(key, session), moved):
        ...                                                   # the request

Who is next is `_fair_queue`'s to say. The pool serves strictly in that order: a request that needs more tokens than
are free just now is not passed by a smaller one, so that it is served at last.

There is no lock and no task here: all of it runs on the runtime's event loop, and every change of the pool's state is
made between two awaits. The one await is that of a waiter for its slot, in `acquire`.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from gaia_core.errors import QueueFullError
from gaia_core.models._protocol import ModelError
from gaia_core.models.slots._fair_queue import FairQueue

_log = logging.getLogger(__name__)

_SMOOTHING = 0.2
_FIRST_GUESS_SECONDS = 5.0


class SlotRequest(msgspec.Struct, frozen=True, gc=False):
    """Who asks for a slot, and what for.

    *key* is the owner and *session* his conversation: those whose turns the queue keeps fair. *background*: nobody
    waits for the answer. *tokens*: what the request needs of the context, its prompt and its longest answer
    together; counts only in a pool with a budget.
    """

    key: str
    session: str
    background: bool = False
    tokens: int = 0


class Slot:
    """A slot that is held. Given back by `release` or at the end of a `with`; once, however often either happens."""

    __slots__ = ("_pool", "taken", "tokens")

    def __init__(self, pool: "SlotPool", tokens: int, taken: float) -> None:
        self._pool: SlotPool | None = pool
        """None once released. Set by the task that holds the slot, or by `_leave` for a waiter that was cancelled."""
        self.tokens = tokens
        self.taken = taken
        """When it was handed out, by the pool's clock."""

    def release(self) -> None:
        """Give it back."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool._take_back(self)  # noqa: SLF001  # the two are one thing

    def __enter__(self) -> None:
        return

    def __exit__(self, *_exc: object) -> None:
        self.release()


class _Waiter:
    """A request in the queue. Made by the task that waits; that task removes it when it is cancelled."""

    __slots__ = ("admitted", "moved", "position", "request")

    def __init__(self, request: SlotRequest, moved: Callable[[int], None]) -> None:
        self.request = request
        self.moved = moved
        self.position = 0
        """The position that `moved` received last. Set by whichever task changed the queue."""
        self.admitted: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        """Given its slot by whichever task frees one (`_serve`); cancelled with the task that waits."""


class SlotBudgetError(ModelError):
    """A request that exceeds the model's configured `context_tokens` by itself. No endpoint has refused it."""


class SlotPool:
    """The slots of one model. Belongs to one Runtime and its event loop.

    *slots* requests run at once; with *context_tokens*, only as many as need no more tokens than that together. At
    most *queue* wait: background work is refused when that many wait in all, an interactive request only when that many
    interactive ones do, so that background work keeps no interactive request out. *clock* gives seconds.
    """

    def __init__(
        self,
        model: str,
        slots: int,
        queue: int,
        context_tokens: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._slots = slots
        self._queue = queue
        self._context_tokens = context_tokens
        self._clock = clock
        self._held: set[Slot] = set()
        """The slots in use: added by `_hand_out`, removed by the task that releases one."""
        self._tokens = 0
        """The sum of the held slots' tokens; changes together with `_held`."""
        self._waiting: FairQueue[_Waiter] = FairQueue()
        """Those in the queue. It may hold waiters whose task was cancelled and has not run since (`_serve`)."""
        self._hold_seconds = _FIRST_GUESS_SECONDS
        """How long slots are held, smoothed; updated at each release."""

    @property
    def slots(self) -> int:
        """Slots in all."""
        return self._slots

    @property
    def busy(self) -> int:
        """Slots in use."""
        return len(self._held)

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def context_tokens(self) -> int | None:
        """What the running requests may need together; None: that is not counted."""
        return self._context_tokens

    @property
    def tokens(self) -> int:
        """What the running requests need together, as they said; 0 when that is not counted."""
        return self._tokens

    @property
    def retry_after(self) -> float:
        """Seconds until those who wait now should be served, from how long slots were held lately; at least 1.

        Slots that are held for longer than was usual count too: a model that became slow shows at once.
        """
        held = len(self._held)
        now = self._clock()
        usual = self._hold_seconds
        if held:
            usual = max(usual, sum(now - slot.taken for slot in self._held) / held)
        # When the tokens are what is short, fewer run at once than there are slots.
        at_once = held if self._waiting and held else self._slots
        return max(1.0, round(usual * (len(self._waiting) + 1) / at_once, 1))

    async def acquire(self, request: SlotRequest, moved: Callable[[int], None]) -> Slot:
        """Wait for a slot for *request*.

        *moved* is called with the position in the queue, at first and whenever it changes; 1 is next. Raises
        QueueFullError, which says when to retry, and ModelError("context_length") for what could never run.
        """
        if self._context_tokens is not None and request.tokens > self._context_tokens:
            raise SlotBudgetError(
                "context_length",
                f"the request needs about {request.tokens} tokens, prompt and answer together, and model "
                f"{self._model!r} has context_tokens = {self._context_tokens} for all that run at once; "
                "send a shorter conversation or a smaller max_tokens",
            )
        if not self._waiting and self._fits(request):
            return self._hand_out(request)
        waiter = _Waiter(request, moved)
        self._push(waiter)
        self._serve()
        if refused := not waiter.admitted.done() and self._too_many(request):
            self._remove(waiter)
        self._tell_positions()
        if refused:
            raise self._full()
        try:
            # While this task waits, another one may hand it a slot and a third may cancel it before it runs again:
            # `_leave` then gives that slot back.
            return await waiter.admitted
        except BaseException:
            self._leave(waiter)
            raise

    def acquire_now(self, request: SlotRequest) -> Slot | None:
        """A slot for *request* when one is free and no request waits; else None."""
        return self._hand_out(request) if not self._waiting and self._fits(request) else None

    def check_room(self) -> None:
        """Raise QueueFullError when an interactive request that came now would find neither a slot nor a place."""
        if len(self._held) >= self._slots and self._waiting.waiting(background=False) >= self._queue:
            raise self._full()

    def _too_many(self, request: SlotRequest) -> bool:
        counted = len(self._waiting) if request.background else self._waiting.waiting(background=False)
        return counted > self._queue

    def _full(self) -> QueueFullError:
        tokens = f" ({self._tokens} of {self._context_tokens} tokens)" if self._context_tokens is not None else ""
        return QueueFullError(
            f"model {self._model!r} has {len(self._held)} slots in use{tokens} and {len(self._waiting)} requests "
            f"waiting; try again in {self.retry_after:g} s",
            self.retry_after,
        )

    def _fits(self, request: SlotRequest) -> bool:
        if len(self._held) >= self._slots:
            return False
        return self._context_tokens is None or self._tokens + request.tokens <= self._context_tokens

    def _hand_out(self, request: SlotRequest) -> Slot:
        slot = Slot(self, request.tokens if self._context_tokens is not None else 0, self._clock())
        self._held.add(slot)
        self._tokens += slot.tokens
        return slot

    def _take_back(self, slot: Slot) -> None:
        self._held.discard(slot)
        self._tokens -= slot.tokens
        self._hold_seconds += _SMOOTHING * (self._clock() - slot.taken - self._hold_seconds)
        if self._waiting and self._serve():
            self._tell_positions()

    def _serve(self) -> bool:
        """Hand out what is free to those who are next; whether somebody left the queue."""
        moved = False
        while (waiter := self._waiting.first()) is not None:
            gone = waiter.admitted.done()  # cancelled, and its task has not run since
            if not gone and not self._fits(waiter.request):
                break
            moved = True
            if gone:
                self._remove(waiter)  # not popped: who never ran has used up nobody's turn
                continue
            self._waiting.pop()
            waiter.admitted.set_result(self._hand_out(waiter.request))
        return moved

    def _leave(self, waiter: _Waiter) -> None:
        """*waiter*'s task was cancelled: in the queue, or with a slot that it was given and will never use."""
        if waiter.admitted.done() and not waiter.admitted.cancelled():
            waiter.admitted.result().release()
        elif self._remove(waiter):
            self._serve()  # it may have been next, and too large for what was free
            self._tell_positions()

    def _push(self, waiter: _Waiter) -> None:
        asked = waiter.request
        self._waiting.push(waiter, asked.key, asked.session, background=asked.background)

    def _remove(self, waiter: _Waiter) -> bool:
        asked = waiter.request
        return self._waiting.remove(waiter, asked.key, asked.session, background=asked.background)

    def _tell_positions(self) -> None:
        """Tell those who moved."""
        for position, waiter in enumerate(self._waiting.order(), 1):
            if waiter.position != position:
                waiter.position = position
                try:
                    waiter.moved(position)
                except Exception:  # noqa: BLE001  # the queue must go on, whatever a caller's callback does
                    _log.exception("a callback for the position in the queue of model %r failed", self._model)
