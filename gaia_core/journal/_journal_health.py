"""Journal health: whether the journal can be written just now, as its writers see it.

The recorders of turns and the heartbeat report here. While one of them fails, new recorded turns are refused and the
process is not ready; one log line says when that begins, and one when it is over: when nothing has failed for
`SETTLED_SECONDS`, because on a full disk a small write succeeds now and then.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)

_LATE_SECONDS = 0.5
SLOW_SECONDS = 2.0
"""A write that takes longer counts as failing until it returns: a database out of reach raises nothing for long."""

SETTLED_SECONDS = 5.0
"""How long nothing may fail before the fault counts as over in the log. Turns begin, and /ready is 200, without it."""


class Writing:
    """One write, until it is done or given up. *delayed* is called once, when it first fails or is slow."""

    __slots__ = ("_delayed", "_health", "_timer", "_told")

    def __init__(self, health: "JournalHealth", delayed: Callable[[str], None] | None) -> None:
        self._health = health
        self._delayed = delayed
        self._timer: asyncio.TimerHandle | None = None
        """Runs while it is watched; cancelled by `stop`."""
        self._told = False

    def watch(self, seconds: float) -> None:
        """Let it count as failing after *seconds*."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._look, loop.time() + seconds, seconds)

    def _look(self, due: float, seconds: float) -> None:
        if asyncio.get_running_loop().time() - due > _LATE_SECONDS:
            self.watch(seconds)  # this process stood still, and the answer may be there already
        else:
            self.failed(f"it has not answered for {seconds:g} s")

    def stop(self) -> None:
        """It is done, or given up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def failed(self, reason: str) -> None:
        """It failed, or is slow; it is tried again, or still awaited."""
        self._health.fails(self, reason)
        if not self._told:
            self._told = True
            if self._delayed is not None:
                self._delayed(reason)


class JournalHealth:
    """Belongs to one Runtime. All methods are called on its event loop; none awaits."""

    __slots__ = ("_failing", "_settling", "_since")

    def __init__(self) -> None:
        self._failing: dict[Writing, str] = {}
        """The writes that fail now, and why. Written by `fails` and at the end of `writing`."""
        self._since = 0.0
        """When the fault began, by the loop's clock. Written by `fails`."""
        self._settling: asyncio.TimerHandle | None = None
        """Logs the end of the fault. Set by `_works` when nothing fails any more; cancelled by `fails`."""

    @property
    def trouble(self) -> str | None:
        """Why the journal can't be written; None while it can."""
        return next(iter(self._failing.values()), None)

    @contextmanager
    def writing(
        self,
        delayed: Callable[[str], None] | None = None,
        *,
        proves: bool = False,
        seconds: float | None = SLOW_SECONDS,
    ) -> Iterator[Writing]:
        """A write is made in this block. *proves*: when it is done, the journal works again, whatever else failed (a
        heartbeat, which adds nothing, may be written on a full disk). *seconds*: when it is slow; None: never."""
        writing = Writing(self, delayed)
        if seconds is not None:
            writing.watch(seconds)
        try:
            yield writing
            if proves and self._failing:
                self._works(*self._failing)
        finally:
            writing.stop()
            self._works(writing)

    def _works(self, *writings: Writing) -> None:
        before = len(self._failing)
        for writing in writings:
            self._failing.pop(writing, None)
        if before and not self._failing:
            loop = asyncio.get_running_loop()
            self._settling = loop.call_later(SETTLED_SECONDS, self._settled, loop.time() - self._since)

    def _settled(self, seconds: float) -> None:
        self._settling = None
        _log.warning("the journal can be written again, after %.1f s", seconds)

    def fails(self, writing: Writing, reason: str) -> None:
        """*writing* fails because of *reason*."""
        if self._settling is not None:  # the same fault continues
            self._settling.cancel()
            self._settling = None
        elif not self._failing:
            self._since = asyncio.get_running_loop().time()
            _log.error(
                "the journal can't be written (%s): running turns wait for it, new ones are refused and /ready is 503; "
                "see to its disk or database, nothing has to be restarted",
                reason,
            )
        self._failing[writing] = reason
