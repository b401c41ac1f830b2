"""The PostgreSQL journal's schema, and the migrations that lead to it. Tables are those of the SQLite journal.

All times come from gaia_now(), the database's clock.
"""

from typing import TypeAlias

import asyncpg

from gaia_core.errors import JournalError
from gaia_core.journal._old_words import words_of_old
from gaia_core.journal._search_words import grams, words

Connection: TypeAlias = "asyncpg.Connection"

_LOCK = 0x67616961  # "gaia"
_GRAMS_SINCE = 4
_AT_ONCE = 200

MIGRATIONS = (
    """
    CREATE FUNCTION gaia_now() RETURNS double precision LANGUAGE sql VOLATILE
        AS 'SELECT extract(epoch FROM clock_timestamp())::double precision';
    CREATE TABLE gaia_session (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        owner text NOT NULL, id text NOT NULL,
        agent text NOT NULL, fingerprint text NOT NULL,
        title text NOT NULL, title_words text[] NOT NULL, title_is_custom boolean NOT NULL DEFAULT false,
        metadata bytea NOT NULL,
        created_at double precision NOT NULL, updated_at double precision NOT NULL,
        head bigint NOT NULL DEFAULT 0, seq bigint NOT NULL DEFAULT 0, message_count bigint NOT NULL DEFAULT 0,
        base_id text, base_at bigint,
        turn text, replica text, takeovers integer NOT NULL DEFAULT 0,
        epoch bigint NOT NULL DEFAULT 0, mark bigint NOT NULL DEFAULT 0,
        UNIQUE (owner, id)) WITH (fillfactor = 70);
    CREATE INDEX gaia_session_by_time ON gaia_session (owner, updated_at, number);
    CREATE INDEX gaia_session_held ON gaia_session (replica) WHERE replica IS NOT NULL;
    CREATE TABLE gaia_line (line bigint PRIMARY KEY, base bigint NOT NULL, at bigint NOT NULL);
    CREATE INDEX gaia_line_by_base ON gaia_line (base, at);
    CREATE TABLE gaia_record (
        line bigint NOT NULL, seq bigint NOT NULL,
        parent bigint NOT NULL, kind text NOT NULL, turn text NOT NULL, at double precision NOT NULL,
        body bytea, payload bytea, message_count bigint NOT NULL, words text[],
        PRIMARY KEY (line, seq));
    CREATE INDEX gaia_record_words ON gaia_record USING gin (words) WHERE words IS NOT NULL;
    CREATE TABLE gaia_payload (hash bytea PRIMARY KEY, uses bigint NOT NULL, body bytea NOT NULL);
    CREATE TABLE gaia_signal (
        n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, session bigint NOT NULL,
        kind text NOT NULL, data bytea NOT NULL, token bigint NOT NULL UNIQUE, handed_out bigint NOT NULL DEFAULT 0);
    CREATE INDEX gaia_signal_by_session ON gaia_signal (session);
    CREATE TABLE gaia_replica (
        name text PRIMARY KEY, address text NOT NULL, agents bytea NOT NULL,
        since double precision NOT NULL, beat_at double precision NOT NULL,
        wanted bytea NOT NULL, grants bytea NOT NULL);
    CREATE TABLE gaia_job (
        key text PRIMARY KEY, body bytea NOT NULL, run_at double precision NOT NULL,
        attempts integer NOT NULL DEFAULT 0, held_until double precision NOT NULL DEFAULT 0,
        token bigint NOT NULL);
    CREATE INDEX gaia_job_by_time ON gaia_job (run_at, key);
    """,
    # Version 1 recognised the sessions of the Responses API by these bytes of their metadata.
    """
    ALTER TABLE gaia_session ADD COLUMN surface text NOT NULL DEFAULT '';
    UPDATE gaia_session SET surface = 'responses'
        WHERE position(convert_to('"surface":"responses"', 'UTF8') in metadata) > 0;
    """,
    # An attempt's number is never used twice, so that a late answer finds its row or none. Version 2 kept answers as
    # records of sessions of this owner, which had no title, words or forks. They are not carried over: a request that
    # is sent again across this upgrade runs again.
    """
    CREATE TABLE gaia_answer (
        name text PRIMARY KEY, number bigint NOT NULL UNIQUE, fingerprint text NOT NULL, replica text NOT NULL,
        created_at double precision NOT NULL, body bytea);
    CREATE INDEX gaia_answer_by_time ON gaia_answer (created_at);
    WITH hidden AS (DELETE FROM gaia_session WHERE owner = 'gaia idempotency' RETURNING number),
        signals AS (DELETE FROM gaia_signal USING hidden WHERE session = number),
        gone AS (DELETE FROM gaia_record USING hidden WHERE line = number RETURNING payload),
        used AS (SELECT payload, count(*) AS uses FROM gone WHERE payload IS NOT NULL GROUP BY payload)
    UPDATE gaia_payload AS p SET uses = p.uses - used.uses FROM used WHERE p.hash = used.payload;
    DELETE FROM gaia_payload WHERE uses <= 0;
    """,
    # Up to version 3 the index had whole words. Arrays need no extension (pg_trgm), which the database's owner may not
    # be allowed to create. `_index_again` fills the column.
    """
    ALTER TABLE gaia_record ADD COLUMN grams text[];
    DROP INDEX gaia_record_words;
    """,
    # Set while the turn's holder has released it (`Journal.release`), until the next claim.
    """
    ALTER TABLE gaia_session ADD COLUMN handed_over integer NOT NULL DEFAULT 0;
    -- Bytes of the records that the session wrote, and of an answer's body: what retention counts, by owner.
    ALTER TABLE gaia_session ADD COLUMN size bigint NOT NULL DEFAULT 0;
    UPDATE gaia_session AS s SET size = t.size FROM (
        SELECT r.line, sum(octet_length(coalesce(r.body, p.body))) AS size FROM gaia_record AS r
        LEFT JOIN gaia_payload AS p ON p.hash = r.payload GROUP BY r.line) AS t WHERE t.line = s.number;
    ALTER TABLE gaia_answer ADD COLUMN owner text NOT NULL DEFAULT '', ADD COLUMN size bigint NOT NULL DEFAULT 0;
    UPDATE gaia_answer SET size = octet_length(body) WHERE body IS NOT NULL;
    -- Conversations of the Responses API are kept until they are deleted, responses are not. Version 4 told them
    -- apart by this member of their metadata.
    UPDATE gaia_session SET surface = 'conversations'
        WHERE surface = 'responses' AND position(convert_to('"conversation":', 'UTF8') in metadata) > 0;
    """,
)
"""What leads from one schema version to the next; a version once released is never edited, only followed."""


async def migrate(db: Connection, where: str) -> None:
    """Bring the schema up to date, one replica at a time. Raises JournalError for a newer schema."""
    async with db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await db.execute("CREATE TABLE IF NOT EXISTS gaia_schema (version integer NOT NULL)")
        version = await db.fetchval("SELECT max(version) FROM gaia_schema") or 0
        if version > len(MIGRATIONS):
            raise JournalError(
                f"the journal at {where} has schema version {version}, and this program knows {len(MIGRATIONS)}: "
                "a newer one wrote it. Upgrade, or name another database"
            )
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            await db.execute(script)
            if number == _GRAMS_SINCE:
                await _index_again(db)
            await db.execute("INSERT INTO gaia_schema (version) VALUES ($1)", number)


async def _index_again(db: Connection) -> None:
    """Give each record and title of older versions its words again, and its grams; then build the index."""
    last = (-1, -1)
    while rows := await db.fetch(
        "SELECT r.line, r.seq, r.words, coalesce(r.body, p.body) AS body FROM gaia_record AS r "
        "LEFT JOIN gaia_payload AS p ON p.hash = r.payload WHERE r.words IS NOT NULL AND (r.line, r.seq) > ($1, $2) "
        "ORDER BY r.line, r.seq LIMIT $3",
        *last,
        _AT_ONCE,
    ):
        changes = []
        for row in rows:
            found = words_of_old(row["words"], row["body"])
            changes.append((row["line"], row["seq"], found, grams(found)))
        await db.executemany("UPDATE gaia_record SET words = $3, grams = $4 WHERE line = $1 AND seq = $2", changes)
        last = (rows[-1]["line"], rows[-1]["seq"])
    titles = await db.fetch("SELECT number, title FROM gaia_session WHERE title <> ''")
    await db.executemany(
        "UPDATE gaia_session SET title_words = $2 WHERE number = $1",
        [(row["number"], words(row["title"])) for row in titles],
    )
    await db.execute("CREATE INDEX gaia_record_grams ON gaia_record USING gin (grams) WHERE grams IS NOT NULL")


async def lock_lines(db: Connection) -> None:
    """Until the transaction ends, no other fork or delete runs: a delete decides by the forks that it sees whether
    records are shared, and a fork made meanwhile would refer to records that are being deleted."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK + 1)


async def lock_shares(db: Connection) -> None:
    """Until the transaction ends, no other heartbeat runs: each reads the grants of the others before it makes its own,
    and two at once could grant the same slots."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK + 2)
