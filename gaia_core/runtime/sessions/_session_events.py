"""The feed: what happens to sessions, sent to its subscribers, so that clients need not poll."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Literal, TypeAlias

import msgspec

ChangeKind: TypeAlias = Literal["activated", "updated", "deleted", "turn_started", "turn_ended"]

_MOST = 256
"""Changes that wait for one watcher; one that lags further misses the oldest."""


class SessionChange(msgspec.Struct, frozen=True, gc=False):
    """Something happened to the session *id* of *owner*."""

    kind: ChangeKind
    owner: str
    id: str


class SessionEvents:
    """Belongs to one Runtime and its event loop. `tell` and `close` await nothing: the set is stable."""

    __slots__ = ("_closed", "_watchers")

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()
        """Each `watch` adds its own and removes it, in the task of its reader."""
        self._closed = False
        """Set by `close`. Read after each wait of `watch`."""

    def tell(self, kind: ChangeKind, owner: str, id: str) -> None:
        """Tell those who watch *owner*'s sessions."""
        for watcher in self._watchers:
            if watcher.owner == owner:
                watcher.put(SessionChange(kind, owner, id))

    async def watch(self, owner: str) -> AsyncGenerator[SessionChange, None]:
        """The changes of *owner*'s sessions from now on, until the feed closes."""
        watcher = _Watcher(owner)
        self._watchers.add(watcher)
        try:
            while not self._closed and (change := await watcher.get()) is not None:
                yield change
        finally:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """End every watcher, after what waits for it: nothing more will happen here. Idempotent."""
        self._closed = True
        for watcher in self._watchers:
            watcher.close()


class _Watcher:
    """One subscriber: written by the tasks that tell, read by the one task of its reader."""

    __slots__ = ("_changes", "_closed", "_woken", "owner")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._changes: deque[SessionChange] = deque(maxlen=_MOST)
        """Appended by `put`, taken by `get`. When it is full, the oldest is dropped."""
        self._woken = asyncio.Event()
        """Set by `put` and `close`; cleared by `get` in the step in which it found nothing."""
        self._closed = False
        """Set by `close`; `get` first returns what waits."""

    def put(self, change: SessionChange) -> None:
        self._changes.append(change)
        self._woken.set()

    def close(self) -> None:
        self._closed = True
        self._woken.set()

    async def get(self) -> SessionChange | None:
        while not self._changes:
            if self._closed:
                return None
            self._woken.clear()
            await self._woken.wait()
        return self._changes.popleft()
