"""The journal: the append-only record of sessions. In this version it lives in memory and ends with the process.

The contract is small on purpose: the runtime asks for nothing else, so that a durable journal can take its place.
"""

from typing import Protocol

import msgspec

from gaia_core.errors import NotFoundError
from gaia_core.messages import Message, Usage


class Record(msgspec.Struct, frozen=True, gc=False):
    """A finished step's facts: the messages that it added, and what it cost."""

    seq: int
    turn_id: str
    messages: tuple[Message, ...]
    usage: Usage = Usage()


class Journal(Protocol):
    """What a runtime needs of a record. Sessions are addressed by owner and id: another owner's does not exist."""

    async def create(self, session_id: str, owner: str) -> None:
        """Begin a session's record; a record that exists stays as it is."""
        ...

    async def append(
        self, session_id: str, owner: str, turn_id: str, messages: tuple[Message, ...], usage: Usage
    ) -> int:
        """Add a record; returns its seq, which counts from 1 without gaps. Raises NotFoundError."""
        ...

    async def read(self, session_id: str, owner: str, after_seq: int = 0) -> tuple[Record, ...]:
        """The records after *after_seq*, oldest first. Raises NotFoundError."""
        ...

    async def delete(self, session_id: str, owner: str) -> None:
        """Erase a session's record. Raises NotFoundError."""
        ...


class MemoryJournal:
    """A journal in this object's memory."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], list[Record]] = {}

    async def create(self, session_id: str, owner: str) -> None:
        """See Journal."""
        self._records.setdefault((owner, session_id), [])

    async def append(
        self, session_id: str, owner: str, turn_id: str, messages: tuple[Message, ...], usage: Usage
    ) -> int:
        """See Journal."""
        records = self._of(session_id, owner)
        records.append(Record(len(records) + 1, turn_id, messages, usage))
        return len(records)

    async def read(self, session_id: str, owner: str, after_seq: int = 0) -> tuple[Record, ...]:
        """See Journal."""
        return tuple(self._of(session_id, owner)[after_seq:])

    async def delete(self, session_id: str, owner: str) -> None:
        """See Journal."""
        self._of(session_id, owner)
        del self._records[owner, session_id]

    def _of(self, session_id: str, owner: str) -> list[Record]:
        try:
            return self._records[owner, session_id]
        except KeyError:
            raise NotFoundError(f"there is no session {session_id!r}") from None
