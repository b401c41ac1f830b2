"""The feed: what happens to sessions, told to whoever watches, so that nobody polls."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
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


class Feed:
    """Belongs to one Runtime and its event loop."""

    __slots__ = ("_watchers",)

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()

    def tell(self, kind: ChangeKind, owner: str, id: str) -> None:
        """Tell those who watch *owner*'s sessions."""
        for watcher in self._watchers:
            if watcher.owner == owner:
                watcher.put(SessionChange(kind, owner, id))

    async def watch(self, owner: str) -> AsyncIterator[SessionChange]:
        """The changes of *owner*'s sessions from now on, without end."""
        watcher = _Watcher(owner)
        self._watchers.add(watcher)
        try:
            while True:
                yield await watcher.get()
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    __slots__ = ("_changes", "_woken", "owner")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._changes: deque[SessionChange] = deque(maxlen=_MOST)
        self._woken = asyncio.Event()

    def put(self, change: SessionChange) -> None:
        self._changes.append(change)
        self._woken.set()

    async def get(self) -> SessionChange:
        while not self._changes:
            self._woken.clear()
            await self._woken.wait()
        return self._changes.popleft()
