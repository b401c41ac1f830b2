"""How a session's row becomes a value, for the journals that keep rows."""

from collections.abc import Sequence
from typing import Any

from gaia_core.journal._contract import storable
from gaia_core.journal._records import SessionInfo, SessionUpdate

COLUMNS = (
    "owner, id, agent, fingerprint, title, title_is_custom, metadata, created_at, updated_at, head, seq, "
    "message_count, base_id, base_at, turn, replica, takeovers, surface"
)


def info(row: Sequence[Any]) -> SessionInfo:
    """A row of COLUMNS as a value."""
    return SessionInfo(
        owner=row[0],
        id=row[1],
        agent=row[2],
        fingerprint=row[3],
        title=row[4],
        title_is_custom=bool(row[5]),
        metadata=row[6],
        created_at=row[7],
        updated_at=row[8],
        head=row[9],
        seq=row[10],
        message_count=row[11],
        base=None if row[12] is None else (row[12], row[13]),
        turn=row[14],
        replica=row[15],
        takeovers=row[16],
        surface=row[17],
    )


def changed_columns(change: SessionUpdate) -> tuple[tuple[str, str | bool | bytes], ...]:
    """The columns that *change* sets, each with its value; without the head, which has to be checked."""
    columns: tuple[tuple[str, str | bool | bytes | None], ...] = (
        ("title", None if change.title is None else storable(change.title)),
        ("title_is_custom", change.title_is_custom),
        ("agent", change.agent),
        ("fingerprint", change.fingerprint),
        ("metadata", change.metadata),
        ("surface", change.surface),
    )
    return tuple((name, value) for name, value in columns if value is not None)
