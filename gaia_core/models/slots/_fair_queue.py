"""Who is next: the order in which those who wait are served. No clock, no task, no slot: an order and nothing else.

Two classes wait apart, interactive before background. Inside a class the keys (owners) take turns, inside a key its
sessions, and inside a session it is first come, first served: a key with many requests waits behind its own, and other
keys do not. Background work does not starve: while it waits, every `BACKGROUND_EVERY`th request that is served is a
background request.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

BACKGROUND_EVERY = 8
"""While both classes wait, one of this many served requests is a background request."""

T = TypeVar("T")


class FairQueue(Generic[T]):
    """See the module's text. An item stands in it once at most; items are told apart by identity."""

    def __init__(self) -> None:
        self._interactive = _Class[T]()
        self._background = _Class[T]()
        self._passed = 0

    def __len__(self) -> int:
        return self._interactive.length + self._background.length

    def waiting(self, *, background: bool) -> int:
        """How many of that class wait."""
        return (self._background if background else self._interactive).length

    def push(self, item: T, key: str, session: str, *, background: bool) -> None:
        """Let *item* wait as the last of its session."""
        (self._background if background else self._interactive).push(item, key, session)

    def first(self) -> T | None:
        """The next item; None when the queue is empty. It changes only by a pop, or when a better class gets one."""
        return self._next_class().first()

    def pop(self) -> None:
        """Take out who is next; its key and its session go to the end of their rounds."""
        chosen = self._next_class()
        chosen.pop()
        if chosen is self._background or not self._background.length:
            self._passed = 0
        else:
            self._passed += 1

    def remove(self, item: T, key: str, session: str, *, background: bool) -> bool:
        """Take *item* out, wherever it stands; whether it was there. The turns of others stay as they are."""
        removed = (self._background if background else self._interactive).remove(item, key, session)
        if not self._background.length:
            self._passed = 0
        return removed

    def order(self) -> Iterator[T]:
        """All that wait, in the order in which they would be popped if nobody else came."""
        interactive, background = self._interactive.order(), self._background.order()
        passed, both = self._passed, self._background.length
        for item in interactive:
            if both and passed >= BACKGROUND_EVERY - 1:
                yield next(background)
                passed, both = 0, both - 1
            yield item
            passed += 1
        yield from background

    def _next_class(self) -> "_Class[T]":
        due = self._passed >= BACKGROUND_EVERY - 1
        if self._background.length and (due or not self._interactive.length):
            return self._background
        return self._interactive


class _Class(Generic[T]):
    """Round robin over keys, then over the sessions of a key. Empty rows are dropped at once: they hold no memory."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, OrderedDict[str, deque[T]]] = OrderedDict()
        self.length = 0
        """How many wait."""

    def push(self, item: T, key: str, session: str) -> None:
        self._keys.setdefault(key, OrderedDict()).setdefault(session, deque()).append(item)
        self.length += 1

    def first(self) -> T | None:
        for sessions in self._keys.values():
            for row in sessions.values():
                return row[0]
        return None

    def pop(self) -> None:
        key, sessions = self._keys.popitem(last=False)
        session, row = sessions.popitem(last=False)
        row.popleft()
        if row:
            sessions[session] = row
        if sessions:
            self._keys[key] = sessions
        self.length -= 1

    def remove(self, item: T, key: str, session: str) -> bool:
        sessions = self._keys.get(key)
        row = sessions.get(session) if sessions is not None else None
        if sessions is None or row is None or item not in row:
            return False
        row.remove(item)
        if not row:
            del sessions[session]
        if not sessions:
            del self._keys[key]
        self.length -= 1
        return True

    def order(self) -> Iterator[T]:
        return _in_turns(tuple(_in_turns(sessions.values())) for sessions in self._keys.values())


def _in_turns(rows: Iterable[Iterable[T]]) -> Iterator[T]:
    """The first of each row, the second of each row that has one, and so on."""
    left = [iter(row) for row in rows]
    while left:
        going_on = []
        for row in left:
            for item in row:
                yield item
                going_on.append(row)
                break
        left = going_on
