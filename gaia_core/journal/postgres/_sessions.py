"""What the PostgreSQL journal does with a session's row and its lines, on a given connection.

Each function may run again after a lost connection, so each is idempotent by its natural key or by a token.
"""

import asyncpg

from gaia_core.errors import BusyError, NotFoundError
from gaia_core.journal._contract import missing, storable
from gaia_core.journal._records import Lease, NewSession, Record, SessionInfo, SessionUpdate
from gaia_core.journal._search_words import query_grams, words
from gaia_core.journal._session_row import COLUMNS, changed_columns, info
from gaia_core.journal.postgres._schema import Connection, lock_lines

_PAST = """
WITH RECURSIVE past (line, after, upto, base) AS (
    SELECT s.number, coalesce(l.at, 0), 9223372036854775807, l.base
    FROM gaia_session AS s LEFT JOIN gaia_line AS l ON l.line = s.number WHERE {chosen}
    UNION ALL
    SELECT p.base, coalesce(l.at, 0), p.after, l.base
    FROM past AS p LEFT JOIN gaia_line AS l ON l.line = p.base WHERE p.base IS NOT NULL)
"""
_READ = (
    _PAST.format(chosen="s.owner = $1 AND s.id = $2")
    + """
SELECT r.seq, r.parent, r.kind, r.turn, r.at, coalesce(r.body, payload.body), r.message_count
FROM past JOIN gaia_record AS r
    ON r.line = past.line AND r.seq > greatest(past.after, $3) AND r.seq <= least(past.upto, $4)
    AND ($5::text IS NULL OR r.turn = $5)
LEFT JOIN gaia_payload AS payload ON payload.hash = r.payload
ORDER BY r.seq
"""
)
_COUNT_AT = (
    _PAST.format(chosen="s.number = $1")
    + """
SELECT r.message_count FROM past JOIN gaia_record AS r ON r.line = past.line AND r.seq = $2
WHERE $2 > past.after AND $2 <= past.upto
"""
)
_LINE_OF = _PAST.format(chosen="s.number = $1") + " SELECT line FROM past WHERE $2 > after AND $2 <= upto"  # noqa: S608
_CLAIM = """
WITH taken AS (
    UPDATE gaia_session AS s SET
        epoch = epoch + 1, replica = $3, turn = coalesce($4, turn), mark = $5,
        takeovers = CASE WHEN turn IS NULL THEN 0 ELSE takeovers + 1 - handed_over END, handed_over = 0
    WHERE owner = $1 AND id = $2 AND CASE WHEN $4::text IS NOT NULL THEN turn IS NULL ELSE turn IS NOT NULL
        AND NOT EXISTS
        (SELECT 1 FROM gaia_replica AS r WHERE r.name = s.replica AND r.beat_at > gaia_now() - $6::float8) END
    RETURNING number, epoch, seq, head, message_count, turn, takeovers),
forgotten AS (DELETE FROM gaia_signal USING taken WHERE session = number AND $4 IS NOT NULL),
again AS (UPDATE gaia_signal SET handed_out = 0 FROM taken WHERE session = number AND $4 IS NULL),
known AS (
    INSERT INTO gaia_replica (name, address, agents, since, beat_at, wanted, grants)
    SELECT $3, '', '[]', gaia_now(), gaia_now(), '[]', '[]' FROM taken
    ON CONFLICT (name) DO UPDATE SET since = excluded.since, beat_at = excluded.beat_at
    WHERE gaia_replica.beat_at <= gaia_now() - $6::float8)
SELECT * FROM taken
"""
_CLAIMED = """
SELECT number, epoch, seq, head, message_count, turn, takeovers FROM gaia_session
WHERE owner = $1 AND id = $2 AND mark = $3
"""


_EXPIRE = """
DELETE FROM gaia_session AS gone USING (
    SELECT number, updated_at FROM (
        SELECT number, updated_at, turn,
            sum(size) OVER (PARTITION BY owner ORDER BY updated_at DESC, number DESC) AS total
        FROM gaia_session WHERE surface = ANY ($1::text[])) AS kept
    WHERE (updated_at <= gaia_now() - $2::float8 OR total > $3::bigint) AND turn IS NULL
    ORDER BY updated_at, number LIMIT $4) AS old
WHERE gone.number = old.number AND gone.updated_at = old.updated_at AND gone.turn IS NULL
RETURNING gone.number, gone.owner, gone.id
"""


async def number_of(db: Connection, owner: str, id: str) -> int:
    """The session's number. Raises NotFoundError."""
    number = await db.fetchval("SELECT number FROM gaia_session WHERE owner = $1 AND id = $2", owner, id)
    if number is None:
        raise missing(id)
    return int(number)


async def get(db: Connection, owner: str, id: str, *, lock: bool = False) -> SessionInfo:
    """The session as it stands, and stays until the transaction's end with *lock*. Raises NotFoundError."""
    row = await db.fetchrow(
        f"SELECT {COLUMNS} FROM gaia_session WHERE owner = $1 AND id = $2{' FOR UPDATE' if lock else ''}",  # noqa: S608
        owner,
        id,
    )
    if row is None:
        raise missing(id)
    return info(row)


async def create(db: Connection, new: NewSession) -> SessionInfo:
    """Create a session unless it exists."""
    title = storable(new.title)
    await db.execute(
        "INSERT INTO gaia_session (owner, id, agent, fingerprint, title, title_words, metadata, surface, "
        "created_at, updated_at) SELECT $1, $2, $3, $4, $5, $6, $7, $8, now, now FROM gaia_now() AS now "
        "ON CONFLICT (owner, id) DO NOTHING",
        new.owner, new.id, new.agent, new.fingerprint, title, list(words(title)), new.metadata, new.surface,
    )  # fmt: skip
    return await get(db, new.owner, new.id)


async def update(db: Connection, owner: str, id: str, change: SessionUpdate) -> SessionInfo:
    """Set what *change* gives. Raises NotFoundError, BusyError."""
    async with db.transaction():
        found = await get(db, owner, id, lock=True)
        changes: tuple[tuple[str, object], ...] = changed_columns(change)
        if change.title is not None:
            changes = (*changes, ("title_words", list(words(storable(change.title)))))
        if (head := change.head) is not None:
            if found.turn is not None:
                raise BusyError(f"session {id!r} runs a turn; its head moves after it")
            changes = (*changes, ("head", head), ("message_count", await recorded_count(db, found, head)))
        columns = "".join(f", {name} = ${place}" for place, (name, _) in enumerate(changes, 3))
        await db.execute(
            f"UPDATE gaia_session SET updated_at = gaia_now(){columns} WHERE owner = $1 AND id = $2",  # noqa: S608
            owner,
            id,
            *(value for _, value in changes),
        )
        return await get(db, owner, id)


async def recorded_count(db: Connection, session: SessionInfo, seq: int) -> int:
    """The message count at *seq*. Raises NotFoundError when the session has no such record."""
    if not 0 <= seq <= session.seq:
        raise NotFoundError(f"session {session.id!r} has no record {seq}; its last is {session.seq}")
    return await count_at(db, await number_of(db, session.owner, session.id), seq)


async def count_at(db: Connection, number: int, seq: int) -> int:
    """The message count at *seq* in a session's past."""
    return int(await db.fetchval(_COUNT_AT, number, seq) or 0)


async def shares_past(db: Connection, owner: str, id: str) -> bool:
    """Whether the session's line has a base or forks. Raises NotFoundError."""
    number = await number_of(db, owner, id)
    return bool(await db.fetchval("SELECT EXISTS (SELECT 1 FROM gaia_line WHERE line = $1 OR base = $1)", number))


async def fork(db: Connection, owner: str, id: str, new_id: str, at: int | None) -> SessionInfo:
    """A session that shares the records up to *at*. Raises NotFoundError."""
    async with db.transaction():
        await lock_lines(db)
        base = await get(db, owner, id, lock=True)
        last = base.seq if at is None else at
        head = base.head if at is None else at
        count = await recorded_count(db, base, head)
        number = await db.fetchval(
            "INSERT INTO gaia_session (owner, id, agent, fingerprint, title, title_words, title_is_custom, metadata, "
            "surface, created_at, updated_at, head, seq, message_count, base_id, base_at) "
            "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $13, now, now, $9, $10, $11, $12, $10 FROM gaia_now() AS now "
            "ON CONFLICT (owner, id) DO NOTHING RETURNING number",
            owner, new_id, base.agent, base.fingerprint, base.title, list(words(base.title)), base.title_is_custom,
            base.metadata, head, last, count, id, base.surface,
        )  # fmt: skip
        if number is not None and last:
            line = await db.fetchval(_LINE_OF, await number_of(db, owner, id), last)
            await db.execute("INSERT INTO gaia_line (line, base, at) VALUES ($1, $2, $3)", number, line, last)
        return await get(db, owner, new_id)


async def delete(db: Connection, owner: str, id: str, ttl: float) -> None:
    """Erase a session and what no fork shares. Raises NotFoundError, BusyError."""
    async with db.transaction():
        await lock_lines(db)
        row = await db.fetchrow(
            "SELECT number, turn IS NOT NULL AND EXISTS (SELECT 1 FROM gaia_replica AS r WHERE r.name = s.replica "
            "AND r.beat_at > gaia_now() - $3::float8) AS busy FROM gaia_session AS s "
            "WHERE owner = $1 AND id = $2 FOR UPDATE",
            owner,
            id,
            ttl,
        )
        if row is None:
            raise missing(id)
        if row["busy"]:
            raise BusyError(f"session {id!r} runs a turn; cancel it before deleting the session")
        await db.execute("DELETE FROM gaia_session WHERE number = $1", row["number"])
        await db.execute("DELETE FROM gaia_signal WHERE session = $1", row["number"])
        await _trim(db, row["number"])


async def expire(
    db: Connection, surfaces: tuple[str, ...], max_age: float, max_bytes: int, limit: int
) -> tuple[tuple[str, str], ...]:
    """Erase old sessions and those beyond their owner's bytes: see Journal.expire."""
    async with db.transaction():
        await lock_lines(db)
        gone = await db.fetch(_EXPIRE, list(surfaces), max_age, max_bytes, limit)
        numbers = [row["number"] for row in gone]
        await db.execute("DELETE FROM gaia_signal WHERE session = ANY ($1::bigint[])", numbers)
        for number in numbers:
            await _trim(db, number)
    return tuple([(row["owner"], row["id"]) for row in gone])


async def _trim(db: Connection, line: int) -> None:
    """Drop what of a line without a session no fork shares, and with its last fork the line and its base's rest."""
    while await db.fetchval("SELECT 1 FROM gaia_session WHERE number = $1", line) is None:
        kept = await db.fetchval("SELECT max(at) FROM gaia_line WHERE base = $1", line)
        await db.execute(
            "WITH gone AS (DELETE FROM gaia_record WHERE line = $1 AND seq > $2 RETURNING payload), "
            "used AS (SELECT payload, count(*) AS uses FROM gone WHERE payload IS NOT NULL GROUP BY payload) "
            "UPDATE gaia_payload AS p SET uses = p.uses - used.uses FROM used WHERE p.hash = used.payload",
            line,
            kept or 0,
        )
        await db.execute("DELETE FROM gaia_payload WHERE uses <= 0")
        if kept is not None:
            return
        base = await db.fetchval("DELETE FROM gaia_line WHERE line = $1 RETURNING base", line)
        if base is None:
            return
        line = base


async def find(
    db: Connection, owner: str, query: str, limit: int, offset: int, agent: str | None, surface: str | None
) -> tuple[tuple[SessionInfo, ...], int]:
    """A page of sessions, and how many there are."""
    where: list[str] = ["owner = $1"]
    values: list[object] = [storable(owner)]
    for column, wanted in (("agent", agent), ("surface", surface)):
        if wanted is not None:
            values.append(wanted)
            where.append(f"{column} = ${len(values)}")
    for part in words(query):
        values += [part, list(query_grams(part))]
        place, pieces = f"${len(values) - 1}::text", f"${len(values)}::text[]"
        # A word in a line is in every fork whose past reaches it; a word in a title in that session alone.
        where.append(
            f"(strpos(array_to_string(title_words, ' '), {place}) > 0 "  # noqa: S608
            "OR number IN (WITH RECURSIVE reach (line, first) AS ("
            f"SELECT line, min(seq) FROM gaia_record WHERE grams @> {pieces} "
            f"AND strpos(array_to_string(words, ' '), {place}) > 0 GROUP BY line "
            "UNION SELECT l.line, reach.first FROM reach JOIN gaia_line AS l ON l.base = reach.line "
            "AND l.at >= reach.first) SELECT line FROM reach))"
        )
    chosen = " AND ".join(where)
    total = await db.fetchval(f"SELECT count(*) FROM gaia_session WHERE {chosen}", *values)  # noqa: S608
    rows = await db.fetch(
        f"SELECT {COLUMNS} FROM gaia_session WHERE {chosen} "  # noqa: S608
        f"ORDER BY updated_at DESC, number DESC LIMIT ${len(values) + 1} OFFSET ${len(values) + 2}",
        *values,
        limit,
        offset,
    )
    return tuple(info(row) for row in rows), int(total)


async def read(
    db: Connection,
    owner: str,
    id: str,
    after: int,
    upto: int | None,
    turn: str | None,
) -> tuple[Record, ...]:
    """The records between *after* and *upto*, of one *turn* or of all, in one statement and so one snapshot."""
    last = 1 << 62 if upto is None else upto
    rows: list[asyncpg.Record] = await db.fetch(_READ, owner, id, after, last, turn)
    if not rows:
        await number_of(db, owner, id)
    return tuple(Record(*row) for row in rows)


async def claim(
    db: Connection, owner: str, id: str, replica: str, turn: str | None, ttl: float, mark: int
) -> Lease | None:
    """Begin a turn, or take one over; with the same *mark* again the same answer. Raises NotFoundError."""
    row = await db.fetchrow(_CLAIM, owner, id, replica, turn, mark, ttl)
    row = row if row is not None else await db.fetchrow(_CLAIMED, owner, id, mark)
    if row is None:
        await number_of(db, owner, id)
        return None
    number, epoch, seq, head, count, running, takeovers = row
    return Lease(owner, id, number, epoch, seq, head, count, running, takeovers, replica, head)
