"""What the SQLite journal does with a session's row and its lines: each function is part of somebody's transaction.

A function that raises a GaiaError has written nothing, so that it can share a transaction with others.
"""

import sqlite3

from gaia_core.errors import BusyError, NotFoundError
from gaia_core.journal._contract import missing, storable
from gaia_core.journal._records import Lease, NewSession, Record, SessionInfo, SessionUpdate
from gaia_core.journal._search_words import GRAM_CHARS, query_grams, words
from gaia_core.journal._session_row import COLUMNS, changed_columns, info
from gaia_core.journal.sqlite._schema import SEQ_BITS, SEQ_MASK, indexed

_ALIVE = "EXISTS (SELECT 1 FROM replica WHERE name = session.replica AND beat_at > ?)"


def number_of(db: sqlite3.Connection, owner: str, id: str) -> int:
    """The session's number. Raises NotFoundError."""
    row = db.execute("SELECT number FROM session WHERE owner = ? AND id = ?", (owner, id)).fetchone()
    if row is None:
        raise missing(id)
    return int(row[0])


def get(db: sqlite3.Connection, owner: str, id: str) -> SessionInfo:
    """The session as it stands. Raises NotFoundError."""
    row = db.execute(f"SELECT {COLUMNS} FROM session WHERE owner = ? AND id = ?", (owner, id)).fetchone()  # noqa: S608
    if row is None:
        raise missing(id)
    return info(row)


def create(db: sqlite3.Connection, new: NewSession, now: float) -> SessionInfo:
    """Create a session unless it exists."""
    title = storable(new.title)
    row = db.execute(
        "INSERT INTO session (owner, id, agent, fingerprint, title, metadata, surface, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING number",
        (new.owner, new.id, new.agent, new.fingerprint, title, new.metadata, new.surface, now, now),
    ).fetchone()
    if row is not None:
        _name(db, row[0], title)
    return get(db, new.owner, new.id)


def _name(db: sqlite3.Connection, number: int, title: str) -> None:
    """Let search find the title; it stands before the line's first record."""
    db.execute("DELETE FROM word WHERE rowid = ?", (number << SEQ_BITS,))
    if found := indexed(words(title)):
        db.execute("INSERT INTO word (rowid, words) VALUES (?, ?)", (number << SEQ_BITS, found))


def update(db: sqlite3.Connection, owner: str, id: str, change: SessionUpdate, now: float) -> SessionInfo:
    """Set what *change* gives. Raises NotFoundError, BusyError."""
    number = number_of(db, owner, id)
    changes: tuple[tuple[str, object], ...] = (*changed_columns(change), ("updated_at", now))
    if (head := change.head) is not None:
        if get(db, owner, id).turn is not None:
            raise BusyError(f"session {id!r} runs a turn; its head moves after it")
        changes = (*changes, ("head", head), ("message_count", recorded_count(db, owner, id, head)))
    columns = ", ".join(f"{name} = ?" for name, _ in changes)
    db.execute(
        f"UPDATE session SET {columns} WHERE number = ?",  # noqa: S608
        (*(value for _, value in changes), number),
    )
    if change.title is not None:
        _name(db, number, storable(change.title))
    return get(db, owner, id)


def recorded_count(db: sqlite3.Connection, owner: str, id: str, seq: int) -> int:
    """The message count at *seq*. Raises NotFoundError when the session has no such record."""
    last = get(db, owner, id).seq
    if not 0 <= seq <= last:
        raise NotFoundError(f"session {id!r} has no record {seq}; its last is {last}")
    return count_at(db, number_of(db, owner, id), seq)


def count_at(db: sqlite3.Connection, line: int, seq: int) -> int:
    """The message count at *seq* in a line's past."""
    if not seq:
        return 0
    owner = _line_of(db, line, seq)
    (count,) = db.execute("SELECT message_count FROM record WHERE key = ?", (owner << SEQ_BITS | seq,)).fetchone()
    return int(count)


def _line_of(db: sqlite3.Connection, line: int, seq: int) -> int:
    """Which line of a past wrote the record *seq*; 0 for seq 0 of a past that ends there."""
    while (base := db.execute("SELECT base, at FROM line WHERE line = ?", (line,)).fetchone()) and seq <= base[1]:
        line = base[0]
    return line


def segments(db: sqlite3.Connection, line: int) -> tuple[tuple[int, int, int], ...]:
    """The past of a line, newest first: (line, after this seq, up to this seq)."""
    found: list[tuple[int, int, int]] = []
    upto = SEQ_MASK
    while (base := db.execute("SELECT base, at FROM line WHERE line = ?", (line,)).fetchone()) is not None:
        found.append((line, base[1], upto))
        line, upto = base
    return (*found, (line, 0, upto))


def shares_past(db: sqlite3.Connection, owner: str, id: str) -> bool:
    """Whether the session's line has a base or forks. Raises NotFoundError."""
    number = number_of(db, owner, id)
    found = db.execute("SELECT 1 FROM line WHERE line = ? OR base = ? LIMIT 1", (number, number)).fetchone()
    return found is not None


def fork(db: sqlite3.Connection, owner: str, id: str, new_id: str, at: int | None, now: float) -> SessionInfo:
    """A session that shares the records up to *at*. Raises NotFoundError."""
    base = get(db, owner, id)
    last = base.seq if at is None else at
    head = base.head if at is None else at
    count = recorded_count(db, owner, id, head)
    row = db.execute(
        "INSERT INTO session (owner, id, agent, fingerprint, title, title_is_custom, metadata, surface, "
        "created_at, updated_at, head, seq, message_count, base_id, base_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING number",
        (
            owner, new_id, base.agent, base.fingerprint, base.title, base.title_is_custom, base.metadata, base.surface,
            now, now, head, last, count, id, last,
        ),
    ).fetchone()  # fmt: skip
    if row is not None:
        if last:
            line = _line_of(db, number_of(db, owner, id), last)
            db.execute("INSERT INTO line (line, base, at) VALUES (?, ?, ?)", (row[0], line, last))
        _name(db, row[0], base.title)
    return get(db, owner, new_id)


def delete(db: sqlite3.Connection, owner: str, id: str, alive_after: float) -> None:
    """Erase a session and what no fork shares. Raises NotFoundError, BusyError."""
    row = db.execute(
        f"SELECT number, turn IS NOT NULL AND {_ALIVE} FROM session WHERE owner = ? AND id = ?",  # noqa: S608
        (alive_after, owner, id),
    ).fetchone()
    if row is None:
        raise missing(id)
    number, busy = row
    if busy:
        raise BusyError(f"session {id!r} runs a turn; cancel it before deleting the session")
    db.execute("DELETE FROM session WHERE number = ?", (number,))
    db.execute("DELETE FROM signal WHERE session = ?", (number,))
    db.execute("DELETE FROM word WHERE rowid = ?", (number << SEQ_BITS,))
    _trim(db, number)


def expired(
    db: sqlite3.Connection, surfaces: tuple[str, ...], updated_before: float, max_bytes: int, limit: int
) -> tuple[tuple[str, str, float], ...]:
    """Owner, id and time of the sessions to delete: see Journal.expire."""
    marks = ", ".join("?" * len(surfaces))
    rows = db.execute(
        "SELECT owner, id, updated_at FROM (SELECT owner, id, number, updated_at, turn, sum(size) OVER "  # noqa: S608
        "(PARTITION BY owner ORDER BY updated_at DESC, number DESC) AS total FROM session "
        f"WHERE surface IN ({marks})) WHERE (updated_at <= ? OR total > ?) AND turn IS NULL "
        "ORDER BY updated_at, number LIMIT ?",
        (*surfaces, updated_before, max_bytes, limit),
    )
    return tuple([(row[0], row[1], row[2]) for row in rows])


def delete_expired(db: sqlite3.Connection, chosen: tuple[tuple[str, str, float], ...]) -> tuple[tuple[str, str], ...]:
    """Erase those that were not used since they were chosen; which."""
    gone: list[tuple[str, str]] = []
    unused = "SELECT 1 FROM session WHERE owner = ? AND id = ? AND updated_at = ? AND turn IS NULL"
    for owner, name, updated_at in chosen:
        if db.execute(unused, (owner, name, updated_at)).fetchone() is not None:
            delete(db, owner, name, 0.0)
            gone.append((owner, name))
    return tuple(gone)


def _trim(db: sqlite3.Connection, line: int) -> None:
    """Drop what of a line without a session no fork shares, and with its last fork the line and its base's rest."""
    while db.execute("SELECT 1 FROM session WHERE number = ?", (line,)).fetchone() is None:
        (kept,) = db.execute("SELECT max(at) FROM line WHERE base = ?", (line,)).fetchone()
        _erase(db, line, kept or 0)
        if kept is not None:
            return
        base = db.execute("DELETE FROM line WHERE line = ? RETURNING base", (line,)).fetchone()
        if base is None:
            return
        line = base[0]


def _erase(db: sqlite3.Connection, line: int, after: int) -> None:
    span = (line << SEQ_BITS | (after + 1), line << SEQ_BITS | SEQ_MASK)
    uses = db.execute(
        "SELECT count(*), payload FROM record WHERE key BETWEEN ? AND ? AND payload IS NOT NULL GROUP BY payload", span
    ).fetchall()
    for count, name in uses:
        db.execute("UPDATE payload_use SET uses = uses - ? WHERE hash = ?", (count, name))
        if db.execute("DELETE FROM payload_use WHERE hash = ? AND uses <= 0", (name,)).rowcount:
            db.execute("DELETE FROM payload WHERE hash = ?", (name,))
    db.execute("DELETE FROM record WHERE key BETWEEN ? AND ?", span)
    db.execute("DELETE FROM word WHERE rowid BETWEEN ? AND ?", span)


def find(
    db: sqlite3.Connection, owner: str, query: str, limit: int, offset: int, agent: str | None, surface: str | None
) -> tuple[tuple[SessionInfo, ...], int]:
    """A page of sessions, and how many there are."""
    where, values = ["owner = ?"], [owner]
    for column, wanted in (("agent", agent), ("surface", surface)):
        if wanted is not None:
            where.append(f"{column} = ?")
            values.append(wanted)
    for part in words(query):
        matching, given = _rows_with(part)
        # A word in a line is in every fork whose past reaches it; a word in a title (seq 0) in that session alone.
        where.append(
            f"number IN (WITH RECURSIVE hit(n) AS MATERIALIZED ({matching}), reach(line, first) AS ("  # noqa: S608
            f"SELECT n >> {SEQ_BITS}, min(n & {SEQ_MASK}) FROM hit WHERE n & {SEQ_MASK} > 0 GROUP BY n >> {SEQ_BITS} "
            "UNION SELECT line.line, reach.first FROM reach JOIN line ON line.base = reach.line "
            "AND line.at >= reach.first) SELECT line FROM reach "
            f"UNION SELECT n >> {SEQ_BITS} FROM hit WHERE n & {SEQ_MASK} = 0)"
        )
        values += given
    chosen = " AND ".join(where)
    (total,) = db.execute(f"SELECT count(*) FROM session WHERE {chosen}", values).fetchone()  # noqa: S608
    rows = db.execute(
        f"SELECT {COLUMNS} FROM session WHERE {chosen} "  # noqa: S608
        "ORDER BY updated_at DESC, number DESC LIMIT ? OFFSET ?",
        (*values, limit, offset),
    ).fetchall()
    return tuple(info(row) for row in rows), total


def _rows_with(part: str) -> tuple[str, list[str]]:
    """A query for the rows of `word` with a word that has *part*, and its values."""
    if len(part) < GRAM_CHARS:
        # A term that begins with it; the tokenizer makes none of a text this short, so the index is read directly.
        return "SELECT DISTINCT doc FROM gram WHERE term >= ? AND term < ?", [part, part + "\U0010ffff"]
    wanted = " AND ".join(f'"{gram}"' for gram in query_grams(part))
    if len(part) == GRAM_CHARS:
        return "SELECT rowid FROM word WHERE word MATCH ?", [wanted]
    return "SELECT rowid FROM word WHERE word MATCH ? AND instr(words, ?)", [wanted, part]


def read(
    db: sqlite3.Connection,
    owner: str,
    id: str,
    after: int,
    upto: int | None,
    turn: str | None,
) -> tuple[Record, ...]:
    """The records between *after* and *upto*, of one *turn* or of all."""
    last = SEQ_MASK if upto is None else min(upto, SEQ_MASK)
    past = segments(db, number_of(db, owner, id))
    found: list[Record] = []
    for line, begin, end in reversed(past):
        first, stop = max(begin, after, 0) + 1, min(end, last)
        if first > stop:
            continue
        rows = db.execute(
            f"SELECT key & {SEQ_MASK}, parent, kind, turn, at, coalesce(record.body, payload.body), "  # noqa: S608
            "message_count FROM record LEFT JOIN payload ON payload.hash = record.payload "
            f"WHERE key BETWEEN ? AND ? AND (? IS NULL OR turn = ?) ORDER BY key",
            (line << SEQ_BITS | first, line << SEQ_BITS | stop, turn, turn),
        ).fetchall()
        found += [Record(*row) for row in rows]
    return tuple(found)


def claim(
    db: sqlite3.Connection, owner: str, id: str, replica: str, turn: str | None, now: float, ttl: float
) -> Lease | None:
    """Begin a turn, or take one over. Raises NotFoundError."""
    free = "turn IS NULL" if turn is not None else f"turn IS NOT NULL AND NOT {_ALIVE}"
    row = db.execute(
        "UPDATE session SET epoch = epoch + 1, replica = ?, turn = coalesce(?, turn), "  # noqa: S608
        "takeovers = CASE WHEN turn IS NULL THEN 0 ELSE takeovers + 1 - handed_over END, handed_over = 0 "
        f"WHERE owner = ? AND id = ? AND {free} "
        "RETURNING number, epoch, seq, head, message_count, turn, takeovers",
        (replica, turn, owner, id, *(() if turn is not None else (now - ttl,))),
    ).fetchone()
    if row is None:
        number_of(db, owner, id)
        return None
    if turn is not None:
        db.execute("DELETE FROM signal WHERE session = ?", (row[0],))
    else:
        db.execute("UPDATE signal SET handed_out = 0 WHERE session = ?", (row[0],))
    db.execute(
        "INSERT INTO replica (name, address, agents, since, beat_at, wanted, grants) "
        "VALUES (?, '', '[]', ?, ?, '[]', '[]') ON CONFLICT DO UPDATE SET since = excluded.since, "
        "beat_at = excluded.beat_at WHERE replica.beat_at <= ?",
        (replica, now, now, now - ttl),
    )
    number, epoch, seq, head, count, running, takeovers = row
    return Lease(owner, id, number, epoch, seq, head, count, running, takeovers, replica, head)


def unclaim(db: sqlite3.Connection, lease: Lease) -> None:
    """Give a claim back that came to nothing."""
    db.execute("UPDATE session SET turn = NULL, replica = NULL WHERE number = ?", (lease.number,))
