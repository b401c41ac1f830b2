"""What the PostgreSQL journal does with the answers of idempotent requests, on a given connection."""

from gaia_core.journal._records import IdempotentAnswer
from gaia_core.journal.postgres._schema import Connection

_ALIVE = "EXISTS (SELECT 1 FROM gaia_replica AS r WHERE r.name = a.replica AND r.beat_at > gaia_now() - {ttl}::float8)"
_BEGIN = f"""
INSERT INTO gaia_answer AS a (name, fingerprint, replica, number, owner, created_at)
VALUES ($1, $2, $3, $4, $7, gaia_now())
ON CONFLICT (name) DO UPDATE SET
    fingerprint = excluded.fingerprint, replica = excluded.replica, number = excluded.number,
    created_at = excluded.created_at, body = NULL, size = 0
WHERE (a.created_at <= excluded.created_at - $5::float8 AND (a.body IS NOT NULL OR NOT {_ALIVE.format(ttl="$6")}))
"""  # noqa: S608
_FIND = f"SELECT number, fingerprint, {_ALIVE.format(ttl='$2')}, body FROM gaia_answer AS a WHERE name = $1"  # noqa: S608
_SWEEP = f"""
WITH forgotten AS (
    DELETE FROM gaia_answer WHERE number IN (
        SELECT number FROM (
            SELECT number, created_at, replica, body IS NOT NULL AS whole,
                row_number() OVER (ORDER BY created_at DESC, number DESC) AS place,
                sum(size) OVER (PARTITION BY owner ORDER BY created_at DESC, number DESC) AS total
            FROM gaia_answer) AS a
        WHERE (created_at <= gaia_now() - $1::float8 OR place > $2 OR total > $5::bigint)
        AND (whole OR NOT {_ALIVE.format(ttl="$4")}) ORDER BY created_at, number LIMIT $3)
    RETURNING 1)
SELECT count(*) FROM forgotten
"""  # noqa: S608


async def begin(
    db: Connection,
    name: str,
    fingerprint: str,
    replica: str,
    owner: str,
    max_age: float,
    ttl: float,
    mark: int,
) -> IdempotentAnswer:
    """Begin the answer *name*, or the one that there is; with the same *mark*, the attempt's number, the same one."""
    row = None
    while row is None:  # unless the one that was in the way is forgotten between the two statements
        await db.execute(_BEGIN, name, fingerprint, replica, mark, max_age, ttl, owner)
        row = await db.fetchrow(_FIND, name, ttl)
    number, first, alive, body = row
    return IdempotentAnswer(number, first, number == mark, alive, body)


async def put(db: Connection, number: int, body: bytes) -> bool:
    """Keep the whole answer, if the attempt is still there and has no other."""
    put = (
        "UPDATE gaia_answer SET body = $2, size = octet_length($2::bytea) "
        "WHERE number = $1 AND (body IS NULL OR body = $2) RETURNING 1"
    )
    found = await db.fetchval(put, number, body)
    return found is not None


async def drop(db: Connection, number: int) -> None:
    """Forget an attempt."""
    await db.execute("DELETE FROM gaia_answer WHERE number = $1", number)


async def sweep(db: Connection, max_age: float, keep: int, max_bytes: int, limit: int, ttl: float) -> int:
    """Forget what is old, all but the newest *keep*, and what is beyond its owner's bytes; how many."""
    return int(await db.fetchval(_SWEEP, max_age, keep, limit, ttl, max_bytes))
