"""Where new records go: their seqs, parents and message counts, which every journal works out alike."""

from collections.abc import Callable

import msgspec

from gaia_core.errors import FencedError, NotFoundError
from gaia_core.journal._records import Lease, NewRecord


class PositionedRecord(msgspec.Struct, frozen=True, gc=False):
    """A new record's place in the session."""

    seq: int
    parent: int
    message_count: int


def earlier_parents(lease: Lease, records: tuple[NewRecord, ...]) -> tuple[int, ...]:
    """The recorded parents whose message counts the lease doesn't know."""
    return tuple(
        record.parent
        for record in records
        if record.parent is not None and 0 < record.parent <= lease.seq and record.parent != lease.head
    )


def position_records(
    lease: Lease, records: tuple[NewRecord, ...], count_at: Callable[[int], int] | None = None
) -> tuple[PositionedRecord, ...]:
    """The places of *records* after *lease*; *count_at* gives the message count at a recorded seq.

    Raises NotFoundError for a parent that is no earlier record.
    """
    placed: list[PositionedRecord] = []
    parent, count = lease.head, lease.message_count
    for seq, record in enumerate(records, lease.seq + 1):
        if record.parent is not None and record.parent != parent:
            parent = record.parent
            if not 0 <= parent < seq:
                raise NotFoundError(f"session {lease.id!r} has no record {parent} before {seq} to branch from")
            if parent == lease.head:
                count = lease.message_count
            elif parent > lease.seq:
                count = placed[parent - lease.seq - 1].message_count
            else:
                count = count_at(parent) if parent and count_at is not None else 0
        count += record.visible
        placed.append(PositionedRecord(seq, parent, count))
        parent = seq
    return tuple(placed)


def advanced(lease: Lease, placed: tuple[PositionedRecord, ...]) -> Lease:
    """The lease after its records were appended."""
    if not placed:
        return lease
    last = placed[-1]
    return msgspec.structs.replace(lease, seq=last.seq, head=last.seq, message_count=last.message_count)


def fenced(lease: Lease) -> FencedError:
    """The error for a lease that no longer holds."""
    return FencedError(
        f"the lease of session {lease.id!r} (epoch {lease.epoch}, seq {lease.seq}) is no longer held by "
        f"{lease.replica!r}; drop the turn {lease.turn!r}"
    )
