"""What the PostgreSQL journal does about replicas, orphans, signals and jobs, on a given connection."""

import msgspec

from gaia_core.journal._max_min_shares import grants
from gaia_core.journal._record_positions import fenced
from gaia_core.journal._records import Job, Lease, Replica, SessionInfo, Signal, SlotDemand, SlotGrant, Totals
from gaia_core.journal._session_row import COLUMNS, info
from gaia_core.journal.postgres._schema import Connection, lock_shares
from gaia_core.journal.postgres._sessions import number_of


async def signal(db: Connection, owner: str, id: str, kind: str, data: bytes, mark: int) -> int | None:
    """Leave a signal for the running turn, once for each *mark*. Raises NotFoundError."""
    n = await db.fetchval(
        "WITH running AS (SELECT number FROM gaia_session WHERE owner = $1 AND id = $2 AND turn IS NOT NULL "
        "FOR UPDATE) INSERT INTO gaia_signal (session, kind, data, token) SELECT number, $3, $4, $5 FROM running "
        "ON CONFLICT (token) DO UPDATE SET token = excluded.token RETURNING n",
        owner,
        id,
        kind,
        data,
        mark,
    )
    if n is None:
        await number_of(db, owner, id)
        return None
    return int(n)


async def take_signals(db: Connection, lease: Lease, mark: int) -> tuple[Signal, ...]:
    """The signals that came; with the same *mark* again the same ones. Raises FencedError."""
    async with db.transaction():
        held = await db.fetchval(
            "SELECT 1 FROM gaia_session WHERE number = $1 AND epoch = $2 AND turn IS NOT NULL FOR UPDATE",
            lease.number,
            lease.epoch,
        )
        if held is None:
            raise fenced(lease)
        await db.execute("DELETE FROM gaia_signal WHERE session = $1 AND handed_out NOT IN (0, $2)", lease.number, mark)
        rows = await db.fetch(
            "UPDATE gaia_signal SET handed_out = $2 WHERE session = $1 RETURNING kind, data, n", lease.number, mark
        )
    return tuple(sorted((Signal(*row) for row in rows), key=lambda each: each.n))


async def beat(
    db: Connection, replica: str, address: str, agents: tuple[str, ...], wanted: tuple[SlotDemand, ...], ttl: float
) -> tuple[SlotGrant, ...]:
    """A heartbeat, and the shares that come of it."""
    async with db.transaction():
        await lock_shares(db)
        rows = await db.fetch(
            "SELECT name, wanted, grants FROM gaia_replica WHERE name <> $1 AND beat_at > gaia_now() - $2::float8",
            replica,
            ttl,
        )
        others = tuple(
            (
                row["name"],
                msgspec.json.decode(row["wanted"], type=tuple[SlotDemand, ...]),
                msgspec.json.decode(row["grants"], type=tuple[SlotGrant, ...]),
            )
            for row in rows
        )
        given = grants(replica, wanted, others)
        await db.execute(
            "INSERT INTO gaia_replica AS r (name, address, agents, since, beat_at, wanted, grants) "
            "SELECT $1, $2, $3, now, now, $4, $5 FROM gaia_now() AS now ON CONFLICT (name) DO UPDATE SET "
            "address = excluded.address, agents = excluded.agents, wanted = excluded.wanted, "
            "grants = excluded.grants, beat_at = excluded.beat_at, "
            "since = CASE WHEN r.beat_at > excluded.beat_at - $6::float8 THEN r.since ELSE excluded.since END",
            replica,
            address,
            msgspec.json.encode(agents),
            msgspec.json.encode(wanted),
            msgspec.json.encode(given),
            ttl,
        )
    return given


async def replicas(db: Connection, ttl: float) -> tuple[Replica, ...]:
    """All of them, by name."""
    rows = await db.fetch(
        "SELECT name, address, agents, since, beat_at, beat_at > gaia_now() - $1::float8 AS alive FROM gaia_replica "
        'ORDER BY name COLLATE "C"',
        ttl,
    )
    return tuple(
        Replica(
            row["name"],
            row["address"],
            msgspec.json.decode(row["agents"], type=tuple[str, ...]),
            row["since"],
            row["beat_at"],
            row["alive"],
        )
        for row in rows
    )


async def orphans(db: Connection, replica: str, limit: int, ttl: float) -> tuple[SessionInfo, ...]:
    """Sessions whose holder is dead: it has no heartbeat, or an expired one if *replica* lived long enough to tell."""
    rows = await db.fetch(
        "WITH expired AS (SELECT coalesce((SELECT gaia_now() - $3::float8 FROM gaia_replica AS own "  # noqa: S608
        "WHERE own.name = $1 AND own.beat_at > gaia_now() - $3::float8 AND own.since <= gaia_now() - $3::float8), 0) "
        f"AS at) SELECT {COLUMNS} FROM gaia_session AS s, expired WHERE s.replica IS NOT NULL AND NOT EXISTS "
        "(SELECT 1 FROM gaia_replica AS r WHERE r.name = s.replica AND r.beat_at > expired.at) "
        "ORDER BY s.updated_at, s.number LIMIT $2",
        replica,
        limit,
        ttl,
    )
    return tuple(info(row) for row in rows)


async def adopt(db: Connection, dead: tuple[str, ...]) -> tuple[SessionInfo, ...]:
    """Forget the heartbeats of *dead*; what they hold."""
    await db.execute("DELETE FROM gaia_replica WHERE name = ANY ($1::text[])", list(dead))
    rows = await db.fetch(
        f"SELECT {COLUMNS} FROM gaia_session WHERE replica = ANY ($1::text[]) ORDER BY updated_at, number",  # noqa: S608
        list(dead),
    )
    return tuple(info(row) for row in rows)


async def release(db: Connection, replica: str) -> None:
    """Forget a heartbeat, and mark the turns that its replica hands over."""
    async with db.transaction():
        await db.execute("DELETE FROM gaia_replica WHERE name = $1", replica)
        await db.execute("UPDATE gaia_session SET handed_over = 1 WHERE replica = $1", replica)


async def enqueue(db: Connection, body: bytes, run_at: float, key: str, mark: int) -> bool:
    """Add a job unless its key is there; with the same *mark* again the same answer."""
    added = await db.fetchval(
        "INSERT INTO gaia_job AS j (key, body, run_at, token) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (key) DO UPDATE SET key = excluded.key WHERE j.token = excluded.token RETURNING 1",
        key,
        body,
        run_at,
        mark,
    )
    return added is not None


async def due(db: Connection, limit: int, hold: float) -> tuple[Job, ...]:
    """Hand out jobs whose time has come. One whose answer is lost comes again after *hold*."""
    rows = await db.fetch(
        "UPDATE gaia_job SET attempts = attempts + 1, held_until = gaia_now() + $2::float8 WHERE key IN "
        "(SELECT key FROM gaia_job WHERE run_at <= gaia_now() AND held_until <= gaia_now() "
        "ORDER BY run_at, key LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING key, body, run_at, attempts",
        limit,
        hold,
    )
    return tuple(sorted((Job(*row) for row in rows), key=lambda job: (job.run_at, job.key)))


async def done(db: Connection, job: Job) -> None:
    """Forget a job that nobody else was handed since."""
    await db.execute("DELETE FROM gaia_job WHERE key = $1 AND attempts = $2", job.key, job.attempts)


async def totals(db: Connection, owner: str | None) -> Totals:
    """How much there is of *owner*; None: in all."""
    row = await db.fetchrow(
        "SELECT count(*), coalesce(sum(message_count), 0)::bigint FROM gaia_session "
        "WHERE $1::text IS NULL OR owner = $1",
        owner,
    )
    assert row is not None
    return Totals(*row)


async def stored_bytes(db: Connection, owner: str) -> int:
    """How many bytes the owner's sessions have. PostgreSQL knows a value's length without reading it."""
    # `lines`: those of the sessions, and those that they were forked from, whose sessions may be gone.
    size = await db.fetchval(
        """
        WITH RECURSIVE lines (line) AS (
            SELECT number FROM gaia_session WHERE owner = $1
            UNION SELECT l.base FROM lines JOIN gaia_line AS l ON l.line = lines.line)
        SELECT (SELECT coalesce(sum(octet_length(title) + octet_length(metadata)), 0)
                FROM gaia_session WHERE owner = $1)
            + coalesce(sum(coalesce(octet_length(r.body), octet_length(p.body), 0)), 0)
        FROM lines JOIN gaia_record AS r ON r.line = lines.line LEFT JOIN gaia_payload AS p ON p.hash = r.payload
        """,
        owner,
    )
    return int(size or 0)
