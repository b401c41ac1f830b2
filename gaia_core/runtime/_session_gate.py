"""The session gate: at most one turn runs in a session. A turn that comes meanwhile is refused, waits, or interrupts.

A session is claimed before anything is awaited, so two of its turns never meet, and it is free before anybody learns
that its turn ended. The gate keeps the session's open resources, which close when the session was idle for long.
"""

import asyncio
from collections.abc import Callable
from typing import Literal, TypeAlias

from gaia_core.background_tasks import BackgroundTasks
from gaia_core.errors import BusyError, ClosedError
from gaia_core.runtime._session_state import Key, SessionState, WaitingTurn
from gaia_core.turn import OpenResources, ToolThreads

WAITING_TURNS = 16
"""Turns that may wait for one session (`when_busy="queue"`)."""

WhenBusy: TypeAlias = Literal["reject", "queue", "interrupt"]


class SessionGate:
    """Belongs to one Runtime and its event loop. There is no lock: a check of `taken` and its change are one step."""

    def __init__(self, threads: ToolThreads, background: BackgroundTasks) -> None:
        self._threads = threads
        self._background = background
        self._states: dict[Key, SessionState] = {}
        """Added by `claim`. Removed by `free` (nothing is open), `forget`, `drop` and `close`, always before the
        resources' closing is awaited."""
        self.process = OpenResources(threads)
        """The resources that all sessions share."""
        self.opened = False
        """Whether the runtime was ever opened. Written by `Runtime._open`."""
        self.accepting = False
        """Whether turns may claim sessions. Written by Runtime: set when it opens, reset by `drain` and `aclose`."""

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: Key) -> SessionState | None:
        """What the session has in this process, or None."""
        return self._states.get(key)

    async def claim(
        self, key: Key, when_busy: WhenBusy = "reject", queued: Callable[[int], None] | None = None
    ) -> SessionState:
        """Reserve the session for a turn; *queued* is called with the number of turns ahead. BusyError, ClosedError."""
        self._check_accepting()
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = SessionState(OpenResources(self._threads))
        if state.taken:
            await self._wait_for_turn(key, state, when_busy, queued)
        # Here it is free, or `free` has handed it over without resetting `taken`: nobody could take it in between.
        state.taken = True
        return state

    async def _wait_for_turn(
        self, key: Key, state: SessionState, when_busy: WhenBusy, queued: Callable[[int], None] | None
    ) -> None:
        if when_busy == "reject":
            raise BusyError(f"session {key[1]!r} runs a turn already")
        if len(state.waiting) >= WAITING_TURNS:
            raise BusyError(f"session {key[1]!r} has {len(state.waiting)} turns waiting already")
        interrupts = when_busy == "interrupt"
        waiting_turn = WaitingTurn(asyncio.get_running_loop().create_future(), queued, interrupts)
        try:
            if interrupts:
                state.waiting.insert(0, waiting_turn)
                state.tell_positions()
                if state.turn is not None:
                    # The turn that ends here hands the session to the first that waits, which is this one. A turn that
                    # is still being claimed sees `SessionState.interrupted` when it begins.
                    await state.turn.cancel()
            else:
                state.waiting.append(waiting_turn)
                state.tell_positions()
            # `free` resolves this when it hands the session over. The runtime may be closing by then.
            await waiting_turn.free
            self._check_accepting()
        except BaseException:
            if waiting_turn in state.waiting:
                state.waiting.remove(waiting_turn)
                state.tell_positions()
            elif waiting_turn.free.done() and not waiting_turn.free.cancelled():
                # Cancelled, or refused, after the session was handed over: the next one gets it.
                self.free(key, state)
            raise

    def _check_accepting(self) -> None:
        if not self.accepting:
            if not self.opened:
                raise ClosedError("the runtime is not open: write `async with Runtime(…) as runtime:` around its use")
            raise ClosedError("the runtime accepts no new turns: it is closed, or is closing")

    def free(self, key: Key, state: SessionState) -> None:
        """Hand the session to the next turn that waits, or leave it free. One step, without an await."""
        state.turn = None
        state.used_at = asyncio.get_running_loop().time()
        while state.waiting:
            waiting_turn = state.waiting.pop(0)
            if not waiting_turn.free.done():
                waiting_turn.free.set_result(None)
                state.tell_positions()
                return
        state.taken = False
        if not len(state.resources):
            self._states.pop(key, None)

    async def close_resources(self, state: SessionState) -> None:
        """Close what the session has open; what an abandoned thread still uses closes after it."""
        for task in await state.resources.close():
            self._background.hold(task)

    async def forget(self, key: Key) -> None:
        """Close the resources of a session that runs no turn."""
        state = self._states.get(key)
        if state is not None and not state.taken:
            del self._states[key]
            # No longer in `_states`: a turn that begins during this await opens resources of its own.
            await self.close_resources(state)

    async def sweep(self, idle_seconds: float) -> None:
        """Close the resources of sessions that were idle for long."""
        now = asyncio.get_running_loop().time()
        idle = [key for key, each in self._states.items() if not each.taken and now - each.used_at >= idle_seconds]
        # Each `forget` awaits. A session that was claimed meanwhile is left alone: `forget` looks at `taken` again.
        for key in idle:
            await self.forget(key)

    async def drop(self, key: Key, state: SessionState) -> None:
        """Close the resources of a turn that had a state of its own, and remove that state."""
        self._states.pop(key, None)
        await self.close_resources(state)

    async def close(self) -> None:
        """Close what all sessions have open, then what they share."""
        # One by one: a turn that ends during an await may remove its session, too.
        while self._states:
            _, state = self._states.popitem()
            await self.close_resources(state)
        for task in await self.process.close():
            self._background.hold(task)
