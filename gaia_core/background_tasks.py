"""Supervision: the background tasks of one owner, so that none of them fails unseen (law 8).

    background = BackgroundTasks()
    background.keep("gaia heartbeat", beat, essential=True)   # for the owner's whole life; restarted when it fails
    background.run("gaia title", title_from(session))         # once; a failure is one log line
    background.tasks                                          # what runs, what failed and how often
    await background.aclose()                                 # cancels all and waits for them

The owner creates one, starts tasks through it and closes it. A task's failure never reaches who started it: it is
logged with its trace, counted, and shown by `tasks` (metrics, readiness). All methods are called on one event loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import attrs
import msgspec

_log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""A task that ran for so long before it failed is restarted after the first pause again."""

_CANCEL_SECONDS = 10.0


class TaskReport(msgspec.Struct, frozen=True, gc=False):
    """A kept task: whether it runs now (else it waits for its restart), its failures so far, and the last one."""

    name: str
    essential: bool
    running: bool
    failures: int = 0
    error: str = ""


@attrs.define(eq=False)
class _KeptTask:
    """A long-lived task. Written by its own task only; `tasks` reads it."""

    name: str
    work: Callable[[], Awaitable[None]]
    essential: bool
    running: bool = True
    failures: int = 0
    error: str = ""

    def report(self) -> TaskReport:
        return TaskReport(self.name, self.essential, self.running, self.failures, self.error)


class BackgroundTasks:
    """Owned by what creates it, which closes it. *first_pause*: seconds before the first restart; it doubles."""

    __slots__ = ("_first_pause", "_kept", "_tasks")

    def __init__(self, first_pause: float = FIRST_PAUSE_SECONDS) -> None:
        self._first_pause = first_pause
        self._kept: dict[asyncio.Task[None], _KeptTask] = {}
        """The tasks of `keep`, until `stop` or `aclose`."""
        self._tasks: set[asyncio.Task[None]] = set()
        """The tasks of `run` and `hold`, until they are done."""

    def keep(self, name: str, work: Callable[[], Awaitable[None]], *, essential: bool = False) -> None:
        """Run *work* until `aclose`; when it fails, restart it after a pause. When it returns, it is done.

        *essential*: the owner is not ready while the task is down.
        """
        kept = _KeptTask(name, work, essential)
        task = asyncio.create_task(self._supervised(kept), name=name)
        self._kept[task] = kept
        task.add_done_callback(lambda done: self._kept.pop(done, None))

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* once; when it fails, log it."""
        self.hold(asyncio.create_task(self._logged(name, work), name=name))

    def hold(self, task: "asyncio.Task[None]") -> None:
        """Hold *task*, which somebody else created, until it is done; `settle` and `aclose` include it."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def tasks(self) -> tuple[TaskReport, ...]:
        """The kept tasks, in the order in which they were started."""
        return tuple(each.report() for each in self._kept.values())

    @property
    def down(self) -> tuple[TaskReport, ...]:
        """The essential tasks that failed and wait for their restart."""
        return tuple(each for each in self.tasks if each.essential and not each.running)

    async def stop(self, name: str) -> None:
        """Cancel the kept task *name*, if there is one, and wait until it has ended."""
        await self._cancel(tuple(task for task, kept in self._kept.items() if kept.name == name))

    async def settle(self, seconds: float) -> bool:
        """Give the tasks of `run` and `hold` *seconds* to end, then cancel the rest; whether all had ended by then."""
        if not self._tasks:
            return True
        _, late = await asyncio.wait(tuple(self._tasks), timeout=seconds)
        for task in late:
            task.cancel()
        return not late

    async def aclose(self) -> None:
        """Cancel all tasks and wait until they have ended. Idempotent."""
        while tasks := (*self._kept, *self._tasks):
            await self._cancel(tasks)

    async def _cancel(self, tasks: tuple["asyncio.Task[None]", ...]) -> None:
        left = set(tasks)
        while left:
            for task in left:
                task.cancel()
            # Again after a while: what ends in the same moment may take the cancellation for its own.
            _, left = await asyncio.wait(left, timeout=_CANCEL_SECONDS)

    async def _supervised(self, kept: _KeptTask) -> None:
        loop = asyncio.get_running_loop()
        pause = self._first_pause
        while True:
            began = loop.time()
            try:
                await kept.work()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is logged, counted and restarted
                if loop.time() - began >= STEADY_SECONDS:
                    pause = self._first_pause
                kept.running, kept.error = False, f"{type(error).__name__}: {error}"
                kept.failures += 1
                _log.exception("the background task %r failed; it restarts in %g s", kept.name, pause)
            else:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            kept.running = True

    async def _logged(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001  # whatever it is, it is logged
            _log.exception("the background task %r failed; it is not run again", name)
