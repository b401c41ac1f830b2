"""Speculative request: a turn's first model request, sent while the claim of its session is still being recorded.

None of its deltas is sent before the claim is committed (law 9), and it runs no tool: only the turn that holds the
claim reads it, and only if that turn would send the same request. Otherwise it is closed, which closes the upstream
response.

What it is worth end to end: without it, the first token of a recorded turn comes later by the time that a commit takes.
First token of a turn of the UI API, SQLite FULL, in paired runs (`python -m benchmarks paired`, CPython 3.11):

| the model's first token after | 5 ms | 10 ms | 20 ms | 50 ms |
|---|---|---|---|---|
| without it, busy disk (4 ms to sync 4 KB; 60 pairs) | +43 % | +35 % | +26 % | +13 % |
| 95 % confidence | 23 to 52 | 30 to 46 | 20 to 29 | 10 to 15 |
| without it, quiet disk (0.7 ms later; 30 pairs) | +10 % | +8 % | +4 % | +1 % |

It costs 4 % of the instructions of such a turn. A chat request of /v1, which is not recorded, never has one.
"""

import asyncio
import time
from collections.abc import AsyncGenerator

from gaia_core.models import Delta, Model, ModelRequest, Slot


class SpeculativeRequest:
    """Holds its *slot* until it is closed (law 7).

    Made by the task that starts the turn, before the claim. That task closes it when the claim fails; the turn's task
    closes it after use, or in `run_turn` at the latest.
    """

    __slots__ = ("_first", "_slot", "began", "model", "request", "stream")

    def __init__(self, model: Model, request: ModelRequest, slot: Slot) -> None:
        self.model = model
        self.request = request
        self.began = time.monotonic()
        """When it was sent, on the monotonic clock."""
        self.stream: AsyncGenerator[tuple[Delta, ...], None] = model.stream(request)
        """What follows the first batch."""
        self._slot = slot
        self._first: asyncio.Task[tuple[Delta, ...]] | None = asyncio.create_task(
            self._begin(), name="gaia speculative request"
        )
        """Receives the first batch. Awaited by `first`; cancelled and awaited by `aclose`, which then sets it to None.
        Its error is raised by `first`, and dropped by `aclose` when `first` was not called."""

    async def _begin(self) -> tuple[Delta, ...]:
        return await anext(self.stream, ())

    async def first(self) -> tuple[Delta, ...]:
        """The first batch; empty when there is none. Not after `aclose`. Raises what the model raises."""
        first = self._first
        assert first is not None
        # Not awaited itself: if it ends in its own way when it is cancelled, its reader's cancellation would be lost.
        await asyncio.wait((first,))
        try:
            return first.result()
        finally:
            del first  # its error's traceback has this frame

    async def aclose(self) -> None:
        """Close the model's stream, then give the slot back. Idempotent."""
        try:
            if (first := self._first) is not None:
                if not first.done():
                    first.cancel()
                    # The generator runs in that task until then, and a running generator can't be closed.
                    await asyncio.wait((first,))
                if not first.cancelled():
                    first.exception()  # nobody else may ask for it
                self._first = None  # its error would keep the turn's frames, which keep this
            await self.stream.aclose()
        finally:
            # Only now: the upstream response is closed, or this task was cancelled a second time.
            self._slot.release()
