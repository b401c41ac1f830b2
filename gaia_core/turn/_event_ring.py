"""The ring: a turn's latest events in memory, bounded, each with the id by which a reader comes back.

An id is `seq:epoch:i`: the record after which the event was told, the lease under which, and its number since that
record. What a record tells comes first (i from 0), then what is live only. So an id still means something when the
ring has forgotten the event, or when the process that told it is gone: whatever the journal has after `seq`.
"""

from collections.abc import Sequence
from typing import Self

import msgspec

from gaia_core.errors import EventIdError
from gaia_core.events import ClientCallDelta, Event, ReasoningDelta, TextDelta
from gaia_core.frozen_types import refusal

RING_EVENTS = 8_192
"""Events that a turn keeps for its readers; one that lags further is sent on from the record."""

_DIGITS = 18


class EventId(msgspec.Struct, frozen=True, gc=False, order=True):
    """Where an event stands in a session's stream; `str()` and `parse` are its form on the wire."""

    seq: int
    epoch: int
    index: int

    def __post_init__(self) -> None:
        if not (type(self.seq) is int and type(self.epoch) is int and type(self.index) is int):
            raise refusal(self)

    def __str__(self) -> str:
        return f"{self.seq}:{self.epoch}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The id that *text* says. Raises EventIdError, naming the text."""
        parts = text.split(":")
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) <= _DIGITS for part in parts):
            raise EventIdError(f"{text[:80]!r} is no event id; ids are of the form seq:epoch:index")
        return cls(*map(int, parts))


class EventRing:
    """Events by position: they count from 0, and the earliest are forgotten when there are more than *most*.

    Written by `Turn.tell` and `Turn.emit` only, on the turn's event loop. No method awaits, so each is one step for all
    readers. Between two awaits of a reader, positions stay valid; after an await, compare with `first` again.
    """

    __slots__ = ("_events", "_lost", "_marks", "_most", "first")

    def __init__(self, seq: int, epoch: int, most: int = RING_EVENTS) -> None:
        self._most = most
        self._events: list[Event] = []
        """Extended by `add`; `_forget` removes the earliest."""
        self._marks: list[tuple[int, int, int]] = [(0, seq, epoch)]  # position, seq, epoch
        """One for each record, oldest first. Appended by `mark`; `_forget` removes those of dropped sections, but never
        the last one."""
        self._lost: list[Event] = []
        """Text and calls' arguments of the first section that were dropped from the ring, some pieces for each time.
        Written by `_forget`."""
        self.first = 0
        """The position of the earliest event that is kept. Only grows, in `_forget`."""

    @property
    def end(self) -> int:
        """The position after the last event."""
        return self.first + len(self._events)

    def mark(self, seq: int, epoch: int) -> None:
        """What is added from now on comes after the record *seq*."""
        self._marks.append((self.first + len(self._events), seq, epoch))

    def add(self, events: Sequence[Event]) -> None:
        """Add *events*; the earliest are forgotten when there are too many."""
        self._events += events
        if len(self._events) > self._most + (self._most >> 3):  # an eighth at a time, so that it costs little
            self._forget(len(self._events) - self._most)

    def _forget(self, count: int) -> None:
        """Forget the *count* earliest events, but for the text since the last record: that stands nowhere else."""
        while len(self._marks) > 1 and self._marks[1][0] <= self.first + count:
            del self._marks[0]
            self._lost.clear()
        gone = self._events[max(0, self._marks[0][0] - self.first) : count]
        self._lost += _joined(gone)
        del self._events[:count]
        self.first += count

    def since(self, position: int) -> list[Event]:
        """The events from *position* on, which must not be forgotten yet."""
        return self._events[position - self.first :]

    def section(self, seq: int = 0) -> tuple[int, int, int]:
        """The earliest kept events that were told after the record *seq* or a later one: the position at which their
        section begins (which may be forgotten), its record's seq, and the epoch. The last section if all are earlier.
        """
        return next((mark for mark in self._marks if mark[1] >= seq), self._marks[-1])

    def lost(self) -> tuple[Event, ...]:
        """The text that was sent since the section's record and dropped from the ring, in one piece of each kind, and
        likewise the arguments of each of the client's calls."""
        return tuple(_joined(self._lost))

    def numbered(self, position: int) -> list[tuple[EventId, Event]]:
        """The events from *position* on, each with its id."""
        marks, found = self._marks, []
        last = len(marks) - 1
        at = last
        while marks[at][0] > position:
            at -= 1
        for event in self.since(position):
            while at < last and marks[at + 1][0] <= position:
                at += 1
            begin, seq, epoch = marks[at]
            found.append((EventId(seq, epoch, position - begin), event))
            position += 1
        return found

    def id_at(self, position: int) -> EventId:
        """The id of the event at *position*."""
        at, seq, epoch = next(mark for mark in reversed(self._marks) if mark[0] <= position)
        return EventId(seq, epoch, position - at)

    def told(self, event_id: EventId) -> list[Event] | None:
        """The events since the record of *event_id*, up to that event; None when that isn't known (any more)."""
        position = self.position_after(event_id)
        if position is None:
            return None
        begin = position - event_id.index - 1
        lost = self.lost() if begin < self.first else ()
        return [*lost, *self._events[max(0, begin - self.first) : position - self.first]]

    def position_after(self, event_id: EventId) -> int | None:
        """The position that follows *event_id*, or None when it isn't known here (any more)."""
        following = self.end
        for at, seq, epoch in reversed(self._marks):
            if (seq, epoch) == (event_id.seq, event_id.epoch):
                position = at + event_id.index + 1
                return position if self.first <= position <= following else None
            following = at
        return None


def _joined(events: Sequence[Event]) -> list[Event]:
    """The text of *events*, in one piece of each kind, and one for each of the client's calls; other events are left
    out."""
    texts = [
        kind(text)
        for kind in (ReasoningDelta, TextDelta)
        if (text := "".join([event.text for event in events if type(event) is kind]))
    ]
    calls: dict[str, list[ClientCallDelta]] = {}
    for event in events:
        if type(event) is ClientCallDelta:
            calls.setdefault(event.call_id, []).append(event)
    whole = [
        ClientCallDelta(call_id, told[0].tool, "".join([each.arguments for each in told]))
        for call_id, told in calls.items()
    ]
    return [*texts, *whole]
