"""Early: a turn's first model request, sent while the claim of its session is still being recorded.

What it answers is told to nobody before the claim is committed (law 9), and runs no tool: only the turn that has the
claim reads it, and only when it would have sent the same request. Else it is closed, which closes the upstream.
"""

import asyncio
import time
from collections.abc import AsyncGenerator

from gaia_core.models import Delta, Model, ModelRequest, Slot


class SpeculativeRequest:
    """Holds its *slot* until it is closed (law 7)."""

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
            self._begin(), name="gaia early request"
        )

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
                    await asyncio.wait((first,))
                if not first.cancelled():
                    first.exception()  # nobody else may ask for it
                self._first = None  # its error would keep the turn's frames, which keep this
            await self.stream.aclose()
        finally:
            self._slot.release()
