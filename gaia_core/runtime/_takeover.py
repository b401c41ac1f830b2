"""Takeover: this process's heartbeats, and the turns that a dead process left.

At start the turns of this machine's earlier processes, and those that any process left in order, are taken over at
once: a process that is gone needs no time to be given up. Others' are taken over when their heartbeat has expired (see
the journal's contract).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gaia_core.background_tasks import BackgroundTasks
from gaia_core.errors import GaiaError, JournalError
from gaia_core.journal import TTL_SECONDS, Journal, JournalHealth, SessionInfo
from gaia_core.runtime._process_identity import is_dead

_log = logging.getLogger(__name__)

AT_ONCE = 16
"""Turns that are taken over at the same time."""

ORPHANS = 1_000
"""Turns that are taken over between two heartbeats."""

HEARTBEAT = "gaia heartbeat"
"""The background task that beats; the process is not ready while it is down. Started by `Takeover.begin`, cancelled by
`end`. After a GaiaError it beats again soon, and the process is not ready meanwhile; after any other error
BackgroundTasks restarts it."""

_TAKEOVER = "gaia takeover"
_AGAIN_SECONDS = 1.0
"""How soon a heartbeat that failed is made again: so soon does the server take new turns when the journal is back."""


class Takeover:
    """Belongs to one Runtime. *resume* continues a session's turn; *takes*: abandoned turns are resumed unasked."""

    def __init__(
        self,
        journal: Journal,
        replica: str,
        address: str,
        resume: Callable[[SessionInfo], Awaitable[None]],
        poll: Callable[[], Awaitable[None]],
        background: BackgroundTasks,
        health: JournalHealth,
        *,
        takes: bool = True,
        ttl: float = TTL_SECONDS,
    ) -> None:
        self._journal = journal
        self._replica = replica
        self._address = address
        self._resume = resume
        self._poll = poll
        self._takes = takes
        self._ttl = ttl
        self._background = background
        self._health = health
        self._begun = False
        """Set by `begin` after the first beat, reset by `end`: both are called by Runtime when it opens and closes."""
        self.journal_fault = ""
        """Why what the journal records is lost with this process (`Journal.fault`), as the last beat found it."""
        self._taking: asyncio.Task[None] | None = None
        """The takeovers that a beat found, until they are done. Started by `_look_around`, which doesn't wait for them
        (a beat must not be late); cancelled by `end`."""

    async def begin(self, agents: Callable[[], tuple[str, ...]]) -> None:
        """Beat once, take over what this machine's dead processes left, and keep beating. *agents*: their names."""
        await self._journal.beat(self._replica, self._address, agents())
        self._begun = True
        if self._takes:
            dead = tuple(replica.name for replica in await self._journal.replicas() if is_dead(replica.name))
            if dead:
                await self._journal.adopt(dead)
        self._background.keep(HEARTBEAT, lambda: self._beat(agents), essential=True)

    async def end(self) -> None:
        """Stop beating; what is still ours may be taken over at once."""
        if not self._begun:
            return
        self._begun = False
        # First, so that no beat and no takeover follows the release.
        await self._background.stop(HEARTBEAT)
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait((self._taking,))
        with suppress(GaiaError):
            await self._journal.release(self._replica)

    async def _beat(self, agents: Callable[[], tuple[str, ...]]) -> None:
        while True:
            # What follows a beat takes longer with many turns, and is not slow because of that.
            with self._health.writing(seconds=None) as writing:
                while True:
                    await self._written_beat(agents)
                    try:
                        await self._look_around()
                        break
                    except JournalError as error:
                        writing.failed(str(error))
                    except GaiaError as error:
                        _log.warning("the heartbeat failed: %s", error)
                        break
                    await asyncio.sleep(min(_AGAIN_SECONDS, self._ttl / 4))
            await asyncio.sleep(self._ttl / 4)

    async def _look_around(self) -> None:
        """What is done after each beat: look at the journal's file, at signals, and at turns that others left."""
        await self._look_at_the_journal()
        await self._poll()
        if self.journal_fault:
            return  # a turn that is taken over now would leave no record
        if self._takes and (self._taking is None or self._taking.done()):
            orphans = await self._journal.orphans(self._replica, ORPHANS)
            self._taking = asyncio.create_task(self._take(orphans), name=_TAKEOVER) if orphans else None

    async def _written_beat(self, agents: Callable[[], tuple[str, ...]]) -> None:
        """One beat; while the journal fails, again and again."""
        with self._health.writing() as writing:
            while True:
                try:
                    await self._journal.beat(self._replica, self._address, agents())
                except GaiaError as error:
                    writing.failed(str(error))
                else:
                    return
                await asyncio.sleep(min(_AGAIN_SECONDS, self._ttl / 4))

    async def _look_at_the_journal(self) -> None:
        """Notice a journal that was deleted or replaced: one log line, and the process is not ready."""
        fault = await self._journal.fault()
        if fault and fault != self.journal_fault:
            _log.error("%s", fault)
        elif self.journal_fault and not fault:
            _log.warning("the journal's file is back in its place")
        self.journal_fault = fault

    async def _take(self, orphans: tuple[SessionInfo, ...]) -> None:
        # Bounds the records that are in memory at a time.
        gate = asyncio.Semaphore(AT_ONCE)

        async def take(orphan: SessionInfo) -> None:
            async with gate:
                try:
                    await self._resume(orphan)
                except Exception:  # noqa: BLE001  # the others still go on
                    _log.exception("the turn of session %s could not be taken over", orphan.id)

        # A claim that is cancelled halfway is given back.
        async with asyncio.TaskGroup() as group:
            for orphan in orphans:
                group.create_task(take(orphan))
