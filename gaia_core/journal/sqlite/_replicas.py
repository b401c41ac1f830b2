"""What the SQLite journal does about replicas, orphans, signals and jobs; each function is part of a transaction."""

import sqlite3

import msgspec

from gaia_core.journal._contract import missing
from gaia_core.journal._max_min_shares import grants
from gaia_core.journal._record_positions import fenced
from gaia_core.journal._records import Job, Lease, Replica, SessionInfo, Signal, SlotDemand, SlotGrant, Totals
from gaia_core.journal._session_row import COLUMNS, info
from gaia_core.journal.sqlite._writer import hand_out


def signal(db: sqlite3.Connection, owner: str, id: str, kind: str, data: bytes) -> int | None:
    """Leave a signal for the running turn. Raises NotFoundError."""
    row = db.execute("SELECT number, turn FROM session WHERE owner = ? AND id = ?", (owner, id)).fetchone()
    if row is None:
        raise missing(id)
    if row[1] is None:
        return None
    return db.execute("INSERT INTO signal (session, kind, data) VALUES (?, ?, ?)", (row[0], kind, data)).lastrowid


def take_signals(db: sqlite3.Connection, lease: Lease) -> tuple[Signal, ...]:
    """The signals that came. Raises FencedError."""
    held = db.execute(
        "SELECT 1 FROM session WHERE number = ? AND epoch = ? AND turn IS NOT NULL", (lease.number, lease.epoch)
    ).fetchone()
    if held is None:
        raise fenced(lease)
    return hand_out(db, [lease.number]).get(lease.number, ())


def beat(
    db: sqlite3.Connection,
    replica: str,
    address: str,
    agents: tuple[str, ...],
    wanted: tuple[SlotDemand, ...],
    now: float,
    ttl: float,
) -> tuple[SlotGrant, ...]:
    """A heartbeat, and the shares that come of it."""
    rows = db.execute(
        "SELECT name, wanted, grants FROM replica WHERE name <> ? AND beat_at > ?", (replica, now - ttl)
    ).fetchall()
    others = tuple(
        (
            name,
            msgspec.json.decode(theirs, type=tuple[SlotDemand, ...]),
            msgspec.json.decode(granted, type=tuple[SlotGrant, ...]),
        )
        for name, theirs, granted in rows
    )
    given = grants(replica, wanted, others)
    db.execute(
        "INSERT INTO replica (name, address, agents, since, beat_at, wanted, grants) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET address = excluded.address, agents = excluded.agents, wanted = excluded.wanted, "
        "grants = excluded.grants, beat_at = excluded.beat_at, "
        "since = CASE WHEN replica.beat_at > ? THEN replica.since ELSE excluded.since END",
        (
            replica,
            address,
            msgspec.json.encode(agents),
            now,
            now,
            msgspec.json.encode(wanted),
            msgspec.json.encode(given),
            now - ttl,
        ),
    )
    return given


def replicas(db: sqlite3.Connection, alive_after: float) -> tuple[Replica, ...]:
    """All of them, by name."""
    rows = db.execute(
        "SELECT name, address, agents, since, beat_at, beat_at > ? FROM replica ORDER BY name", (alive_after,)
    ).fetchall()
    return tuple(
        Replica(row[0], row[1], msgspec.json.decode(row[2], type=tuple[str, ...]), row[3], row[4], bool(row[5]))
        for row in rows
    )


def orphans(db: sqlite3.Connection, replica: str, limit: int, now: float, ttl: float) -> tuple[SessionInfo, ...]:
    """Sessions whose holder is dead: it has no heartbeat, or an expired one if *replica* lived long enough to tell."""
    steady = db.execute(
        "SELECT 1 FROM replica WHERE name = ? AND beat_at > ? AND since <= ?", (replica, now - ttl, now - ttl)
    ).fetchone()
    rows = db.execute(
        f"SELECT {COLUMNS} FROM session WHERE replica IS NOT NULL AND NOT EXISTS "  # noqa: S608
        "(SELECT 1 FROM replica AS r WHERE r.name = session.replica AND r.beat_at > ?) "
        "ORDER BY updated_at, number LIMIT ?",
        (now - ttl if steady is not None else 0.0, limit),
    ).fetchall()
    return tuple(info(row) for row in rows)


def adopt(db: sqlite3.Connection, dead: tuple[str, ...]) -> tuple[SessionInfo, ...]:
    """Forget the heartbeats of *dead*; what they hold."""
    names = msgspec.json.encode(dead).decode()
    db.execute("DELETE FROM replica WHERE name IN (SELECT value FROM json_each(?))", (names,))
    rows = db.execute(
        f"SELECT {COLUMNS} FROM session WHERE replica IN (SELECT value FROM json_each(?)) "  # noqa: S608
        "ORDER BY updated_at, number",
        (names,),
    ).fetchall()
    return tuple(info(row) for row in rows)


def release(db: sqlite3.Connection, replica: str) -> None:
    """Forget a heartbeat, and mark the turns that its replica hands over."""
    db.execute("DELETE FROM replica WHERE name = ?", (replica,))
    db.execute("UPDATE session SET handed_over = 1 WHERE replica = ?", (replica,))


def enqueue(db: sqlite3.Connection, body: bytes, run_at: float, key: str) -> bool:
    """Add a job unless its key is there."""
    added = db.execute(
        "INSERT INTO job (key, body, run_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (key, body, run_at)
    )
    return added.rowcount == 1


def due(db: sqlite3.Connection, limit: int, hold: float, now: float) -> tuple[Job, ...]:
    """Hand out jobs whose time has come."""
    rows = db.execute(
        "UPDATE job SET attempts = attempts + 1, held_until = ? WHERE key IN "
        "(SELECT key FROM job WHERE run_at <= ? AND held_until <= ? ORDER BY run_at, key LIMIT ?) "
        "RETURNING key, body, run_at, attempts",
        (now + hold, now, now, limit),
    ).fetchall()
    return tuple(sorted((Job(*row) for row in rows), key=lambda job: (job.run_at, job.key)))


def done(db: sqlite3.Connection, job: Job) -> None:
    """Forget a job that nobody else was handed since."""
    db.execute("DELETE FROM job WHERE key = ? AND attempts = ?", (job.key, job.attempts))


def totals(db: sqlite3.Connection, owner: str | None) -> Totals:
    """How much there is of *owner*; None: in all."""
    select = "SELECT count(*), coalesce(sum(message_count), 0) FROM session WHERE ?1 IS NULL OR owner = ?1"
    return Totals(*db.execute(select, (owner,)).fetchone())


def stored_bytes(db: sqlite3.Connection, owner: str) -> int:
    """How many bytes the owner's sessions have. SQLite knows a blob's length without reading it."""
    # `lines`: those of the sessions, and those that they were forked from, whose sessions may be gone.
    select = """
        WITH RECURSIVE lines (line) AS (
            SELECT number FROM session WHERE owner = ?1
            UNION SELECT line.base FROM lines JOIN line ON line.line = lines.line)
        SELECT (SELECT coalesce(sum(length(CAST(title AS BLOB)) + length(metadata)), 0) FROM session WHERE owner = ?1)
            + coalesce(sum(coalesce(length(record.body), length(payload.body), 0)), 0)
        FROM lines JOIN record ON record.key BETWEEN lines.line << 32 AND lines.line << 32 | 4294967295
        LEFT JOIN payload ON payload.hash = record.payload"""
    (size,) = db.execute(select, (owner,)).fetchone()
    return int(size)
