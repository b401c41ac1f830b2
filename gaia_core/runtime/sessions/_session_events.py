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
    """Belongs to one Runtime and its event loop."""

    __slots__ = ("_closed", "_watchers")

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()
        self._closed = False

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
    __slots__ = ("_changes", "_closed", "_woken", "owner")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._changes: deque[SessionChange] = deque(maxlen=_MOST)
        self._woken = asyncio.Event()
        self._closed = False

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
