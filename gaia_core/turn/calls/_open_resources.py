"""Open resources: each is opened at its first use, shared by equal recipes, and closed once, in reverse order.

Each resource lives in a task of its own that opens it, waits, and closes it. So a context manager is left by the task
that entered it (one with a cancel scope inside requires that), and cancelling the caller doesn't cancel the opening.
"""

import asyncio
import inspect
import logging
from collections.abc import Iterable
from typing import Any

from gaia_core.tools import Recipe
from gaia_core.turn.calls._tool_threads import ThreadCall, ToolThreads

_log = logging.getLogger(__name__)


class _OpenResource:
    """One resource, from opening to closing. Made by `OpenResources.get`, whose caller shares it with others."""

    def __init__(self, recipe: Recipe, threads: ToolThreads) -> None:
        loop = asyncio.get_running_loop()
        self._recipe = recipe
        self._threads = threads
        self._stop = asyncio.Event()
        """Set by `stop`."""
        self._is_async = inspect.isasyncgenfunction(recipe.factory)
        self.strays: list[asyncio.Future[None]] = []
        """What has to finish before it closes. Appended by `OpenResources.close_after`, and no longer once it is
        being closed."""
        self.value: asyncio.Future[Any] = loop.create_future()
        """Set once, by its task: the resource, or what opening it raised. Callers await it through `shield`."""
        self.task = loop.create_task(self._keep(), name=f"resource {recipe.name}")
        """Its keeper, which `_close` awaits. `stop` cancels it while an asynchronous recipe opens, and
        `BackgroundTasks.settle` when it waits too long for a stray. A failure to open is the callers' error; one to
        close is logged."""

    @property
    def failed(self) -> bool:
        """Whether its opening has failed."""
        return self.value.done() and (self.value.cancelled() or self.value.exception() is not None)

    def stop(self) -> None:
        """Close it; one that is still opening, and can be stopped, is not waited for."""
        self._stop.set()
        if self._is_async and not self.value.done():
            self.task.cancel()

    async def _keep(self) -> None:
        opened = self._recipe.open()
        advance = self._advance_async if inspect.isasyncgen(opened) else self._advance_sync
        try:
            value = await advance(opened)
        except BaseException as error:
            self.value.set_exception(error)
            self.value.exception()  # retrieved, also when no caller waits any more
            if not isinstance(error, Exception):
                raise
            return
        self.value.set_result(value)
        try:
            # Open. A stray that doesn't end in time is cancelled with the runtime (`BackgroundTasks.settle`).
            await self._stop.wait()
            for stray in self.strays:
                await stray
        finally:
            try:
                await advance(opened, closing=True)
            except Exception:  # noqa: BLE001  # the others still close
                _log.exception("closing the resource %s failed", self._recipe.name)

    async def _advance_async(self, opened: Any, *, closing: bool = False) -> Any:
        try:
            value = await anext(opened)
        except StopAsyncIteration:
            if closing:
                return None
            raise RuntimeError(f"resource {self._recipe.name} yielded nothing") from None
        if closing:
            await opened.aclose()
            raise RuntimeError(f"resource {self._recipe.name} yielded twice")
        return value

    async def _advance_sync(self, opened: Any, *, closing: bool = False) -> Any:
        done = object()
        value = await self._threads.submit(f"resource {self._recipe.name}", lambda: next(opened, done)).result
        if closing and value is not done:
            opened.close()
            raise RuntimeError(f"resource {self._recipe.name} yielded twice")
        if value is done and not closing:
            raise RuntimeError(f"resource {self._recipe.name} yielded nothing")
        return value


class OpenResources:
    """The open resources of one scope: of a session, or of the process."""

    __slots__ = ("_keepers", "_threads")

    def __init__(self, threads: ToolThreads) -> None:
        self._threads = threads
        self._keepers: dict[Recipe, _OpenResource] = {}
        """In the order of opening. Added by `get` (the tasks of calls), removed by `get` when opening failed, and by
        `close` and `discard` before they await anything: a later `get` opens a new one."""

    def __len__(self) -> int:
        return len(self._keepers)

    async def get(self, recipe: Recipe) -> Any:
        """The resource of *recipe*, opened if it isn't. Raises what opening it raised; the next call tries again."""
        keeper = self._keepers.get(recipe)
        if keeper is None or keeper.failed:
            # One that failed is still here if all who waited for it were cancelled meanwhile.
            keeper = self._keepers[recipe] = _OpenResource(recipe, self._threads)
        elif keeper.value.done():
            return keeper.value.result()
        try:
            # Several calls may wait here. Cancelling one of them leaves the opening to the others.
            return await asyncio.shield(keeper.value)
        except Exception:
            # Another waiter may have removed it already, and a later call may have opened it anew.
            if self._keepers.get(recipe) is keeper:
                del self._keepers[recipe]
            raise

    def close_after(self, recipe: Recipe, call: ThreadCall) -> None:
        """Close the resource of *recipe* only when the abandoned *call*, which uses it, has ended."""
        if (keeper := self._keepers.get(recipe)) is not None:
            keeper.strays.append(call.finished)

    async def close(self) -> tuple[asyncio.Task[None], ...]:
        """Close everything, the last opened first, also when cancelled meanwhile.

        Returns the tasks of resources that an abandoned thread still uses; they close when it ends.
        """
        keepers = tuple(reversed(self._keepers.values()))
        self._keepers.clear()
        return await self._closed(keepers)

    async def discard(self, recipes: Iterable[Recipe]) -> tuple[asyncio.Task[None], ...]:
        """Close those of *recipes* that are open, as `close` does."""
        wanted = frozenset(recipes)
        keepers = tuple(keeper for recipe, keeper in reversed(self._keepers.items()) if recipe in wanted)
        for recipe in wanted:
            self._keepers.pop(recipe, None)
        return await self._closed(keepers)

    async def _closed(self, keepers: tuple[_OpenResource, ...]) -> tuple[asyncio.Task[None], ...]:
        if not keepers:
            return ()
        # A task of its own, so that cancelling the caller doesn't stop the closing halfway; its errors are logged by
        # the keepers. A second cancellation, in the `except` below, does cancel it.
        closing = asyncio.ensure_future(_close(keepers))
        try:
            return await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise


async def _close(keepers: tuple[_OpenResource, ...]) -> tuple[asyncio.Task[None], ...]:
    late = []
    for keeper in keepers:
        # One after the other: a resource may need those that were opened before it.
        keeper.stop()
        if any(not stray.done() for stray in keeper.strays):
            late.append(keeper.task)
        else:
            await asyncio.wait((keeper.task,))
    return tuple(late)
