"""What the SQLite journal does with the answers of idempotent requests; each function is part of a transaction."""

import sqlite3

from gaia_core.journal._records import IdempotentAnswer

_ALIVE = "EXISTS (SELECT 1 FROM replica WHERE replica.name = answer.replica AND beat_at > ?)"


def begin(
    db: sqlite3.Connection,
    name: str,
    fingerprint: str,
    replica: str,
    owner: str,
    max_age: float,
    now: float,
    ttl: float,
) -> IdempotentAnswer:
    """Begin the answer *name*, or the one that there is and that isn't to be replaced."""
    row = db.execute(
        f"SELECT number, fingerprint, created_at, {_ALIVE}, body FROM answer WHERE name = ?",  # noqa: S608
        (now - ttl, name),
    ).fetchone()
    if row is not None:
        number, first, created_at, alive, body = row
        old = now - created_at >= max_age and (body is not None or not alive)
        if not old:
            return IdempotentAnswer(number, first, False, bool(alive), body)
        forget(db, (number,))
    # A new row, not a changed one: its number fences off the process that made the answer before.
    number, alive = db.execute(
        "INSERT INTO answer (name, fingerprint, replica, owner, created_at) VALUES (?, ?, ?, ?, ?) "  # noqa: S608
        f"RETURNING number, {_ALIVE}",
        (name, fingerprint, replica, owner, now, now - ttl),
    ).fetchone()
    return IdempotentAnswer(number, fingerprint, True, bool(alive), None)


def put(db: sqlite3.Connection, number: int, body: bytes) -> bool:
    """Keep the whole answer, if the attempt is still there and has no other."""
    put = "UPDATE answer SET body = ?1, size = ?3 WHERE number = ?2 AND (body IS NULL OR body = ?1)"
    return db.execute(put, (body, number, len(body))).rowcount == 1


def expired(
    db: sqlite3.Connection, began_before: float, keep: int, max_bytes: int, limit: int, alive_after: float
) -> tuple[int, ...]:
    """The answers to forget: those that began at *began_before* or earlier, all but the newest *keep*, and of each
    owner all but the newest that have *max_bytes* together."""
    rows = db.execute(
        "SELECT number FROM (SELECT number, created_at, replica, body IS NOT NULL AS whole, "  # noqa: S608
        "row_number() OVER (ORDER BY created_at DESC, number DESC) AS place, "
        "sum(size) OVER (PARTITION BY owner ORDER BY created_at DESC, number DESC) AS total FROM answer) AS answer "
        f"WHERE (created_at <= ? OR place > ? OR total > ?) AND (whole OR NOT {_ALIVE}) "
        "ORDER BY created_at, number LIMIT ?",
        (began_before, keep, max_bytes, alive_after, limit),
    ).fetchall()
    return tuple([row[0] for row in rows])


def forget(db: sqlite3.Connection, numbers: tuple[int, ...]) -> None:
    """Delete those answers, where they are still there."""
    db.executemany("DELETE FROM answer WHERE number = ?", [(number,) for number in numbers])
