"""The schema of the SQLite journal's file, and the migrations that lead to it.

All records share one table, in the order in which they came: bodies are written side by side, and only a small index
has them by session (kept in the session's order, a group of 64 wrote three to four times as many pages). A record's
key is its line's number and its seq in one integer. A *line* is the run of records that one session wrote; a fork's
line refers to its base's, so the line can outlive its session.
"""

import sqlite3
from pathlib import Path

from gaia_core.errors import JournalError
from gaia_core.journal._old_words import words_of_old
from gaia_core.journal._search_words import GRAM_CHARS, words

APPLICATION_ID = 0x67616961  # "gaia"
SEQ_BITS = 32
SEQ_MASK = (1 << SEQ_BITS) - 1

MIGRATIONS = (
    (
        """CREATE TABLE session (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            owner TEXT NOT NULL, id TEXT NOT NULL,
            agent TEXT NOT NULL, fingerprint TEXT NOT NULL,
            title TEXT NOT NULL, title_is_custom INTEGER NOT NULL DEFAULT 0, metadata BLOB NOT NULL,
            created_at REAL NOT NULL, updated_at REAL NOT NULL,
            head INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0, message_count INTEGER NOT NULL DEFAULT 0,
            base_id TEXT, base_at INTEGER,
            turn TEXT, replica TEXT, takeovers INTEGER NOT NULL DEFAULT 0,
            epoch INTEGER NOT NULL DEFAULT 0,
            UNIQUE (owner, id))""",
        "CREATE INDEX session_by_time ON session (owner, updated_at, number)",
        "CREATE INDEX session_held ON session (replica) WHERE replica IS NOT NULL",
        "CREATE TABLE line (line INTEGER PRIMARY KEY, base INTEGER NOT NULL, at INTEGER NOT NULL)",
        "CREATE INDEX line_by_base ON line (base, at)",
        """CREATE TABLE record (
            n INTEGER PRIMARY KEY, key INTEGER NOT NULL,
            parent INTEGER NOT NULL, kind TEXT NOT NULL, turn TEXT NOT NULL, at REAL NOT NULL,
            body BLOB, payload BLOB, message_count INTEGER NOT NULL)""",
        "CREATE UNIQUE INDEX record_by_key ON record (key)",
        "CREATE TABLE payload (hash BLOB PRIMARY KEY, body BLOB NOT NULL)",
        # By itself, because an update of a row rewrites all of it.
        "CREATE TABLE payload_use (hash BLOB PRIMARY KEY, uses INTEGER NOT NULL) WITHOUT ROWID",
        """CREATE VIRTUAL TABLE word USING fts5(
            words, detail = 'none', columnsize = 0, tokenize = "ascii tokenchars '_'")""",
        """CREATE TABLE signal (
            n INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL,
            kind TEXT NOT NULL, data BLOB NOT NULL, handed_out INTEGER NOT NULL DEFAULT 0)""",
        "CREATE INDEX signal_by_session ON signal (session)",
        """CREATE TABLE replica (
            name TEXT PRIMARY KEY, address TEXT NOT NULL, agents BLOB NOT NULL,
            since REAL NOT NULL, beat_at REAL NOT NULL, wanted BLOB NOT NULL, grants BLOB NOT NULL)""",
        """CREATE TABLE job (
            key TEXT PRIMARY KEY, body BLOB NOT NULL, run_at REAL NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0, held_until REAL NOT NULL DEFAULT 0)""",
        "CREATE INDEX job_by_time ON job (run_at, key)",
    ),
    (
        "ALTER TABLE session ADD COLUMN surface TEXT NOT NULL DEFAULT ''",
        # Version 1 recognised the sessions of the Responses API by these bytes of their metadata.
        """UPDATE session SET surface = 'responses' WHERE instr(metadata, CAST('"surface":"responses"' AS BLOB))""",
    ),
    (
        # An attempt's number is never used twice, so that a late answer finds its row or none.
        """CREATE TABLE answer (
            number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
            fingerprint TEXT NOT NULL, replica TEXT NOT NULL, created_at REAL NOT NULL, body BLOB)""",
        "CREATE INDEX answer_by_time ON answer (created_at)",
        # Version 2 kept answers as records of sessions of this owner, which had no title, words or forks. They are
        # not carried over: a request that is sent again across this upgrade runs again.
        """CREATE TEMP TABLE hidden AS
            SELECT n, payload FROM session JOIN record ON key BETWEEN number << 32 AND number << 32 | 4294967295
            WHERE owner = 'gaia idempotency'""",
        """UPDATE payload_use SET uses = payload_use.uses - gone.uses FROM (
            SELECT payload, count(*) AS uses FROM hidden WHERE payload IS NOT NULL GROUP BY payload) AS gone
            WHERE hash = gone.payload""",
        "DELETE FROM payload WHERE hash IN (SELECT hash FROM payload_use WHERE uses <= 0)",
        "DELETE FROM payload_use WHERE uses <= 0",
        "DELETE FROM record WHERE n IN (SELECT n FROM hidden)",
        "DROP TABLE hidden",
        "DELETE FROM signal WHERE session IN (SELECT number FROM session WHERE owner = 'gaia idempotency')",
        "DELETE FROM session WHERE owner = 'gaia idempotency'",
    ),
    (
        # Up to version 3 the index had whole words, and took combining marks for the ends of words.
        "CREATE TEMP TABLE old_word AS SELECT rowid AS n, words FROM word",
        "DROP TABLE word",
        # Case is folded by us. `gram` reads the index, for queries that are shorter than its terms.
        """CREATE VIRTUAL TABLE word USING fts5(
            words, detail = 'none', columnsize = 0, tokenize = "trigram case_sensitive 1")""",
        "CREATE VIRTUAL TABLE gram USING fts5vocab(word, instance)",
        """INSERT INTO word (rowid, words) SELECT old.n, gaia_words_again(old.words,
                coalesce(record.body, payload.body), session.title)
            FROM old_word AS old LEFT JOIN record ON record.key = old.n
            LEFT JOIN payload ON payload.hash = record.payload
            LEFT JOIN session ON session.number = old.n >> 32 AND old.n & 4294967295 = 0""",
        "DROP TABLE old_word",
    ),
    (
        # Set while the turn's holder has released it (`Journal.release`), until the next claim.
        "ALTER TABLE session ADD COLUMN handed_over INTEGER NOT NULL DEFAULT 0",
        # See `_file`: whether the file is whole without its write-ahead log, and which log belongs to it.
        """CREATE TABLE mark (
            whole INTEGER NOT NULL, generation BLOB NOT NULL, previous BLOB NOT NULL,
            writes INTEGER NOT NULL DEFAULT 0)""",
        "INSERT INTO mark (whole, generation, previous) VALUES (1, randomblob(16), x'')",
        # Bytes of the records that the session wrote, and of an answer's body: what retention counts, by owner.
        "ALTER TABLE session ADD COLUMN size INTEGER NOT NULL DEFAULT 0",
        """UPDATE session SET size = coalesce((SELECT sum(length(coalesce(record.body, payload.body)))
            FROM record LEFT JOIN payload ON payload.hash = record.payload
            WHERE key BETWEEN number << 32 AND number << 32 | 4294967295), 0)""",
        "ALTER TABLE answer ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE answer ADD COLUMN size INTEGER NOT NULL DEFAULT 0",
        "UPDATE answer SET size = length(body) WHERE body IS NOT NULL",
        # Conversations of the Responses API are kept until they are deleted, responses are not. Version 4 told them
        # apart by this member of their metadata.
        """UPDATE session SET surface = 'conversations'
            WHERE surface = 'responses' AND instr(metadata, CAST('"conversation":' AS BLOB))""",
    ),
)
"""What leads from one schema version to the next; a version once released is never edited, only followed."""


def indexed(found: tuple[str, ...]) -> str:
    """Words as a row of `word` has them. At its end there is room for the terms that begin with the last characters."""
    return " ".join(found) + " " * (GRAM_CHARS - 1) if found else ""


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date. Raises JournalError."""
    db.create_function("gaia_words_again", 3, _words_again, deterministic=True)
    db.execute("BEGIN IMMEDIATE")
    try:
        version = version_of(db, path)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                db.execute(statement)
        if version < len(MIGRATIONS):
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _words_again(old: str, body: bytes | None, title: str | None) -> str:
    """A row of the index of version 4, by what version 3 had and what it was made from."""
    return indexed(words(title) if title is not None else words_of_old(old.split(), body))


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """The schema's version; 0 for an empty file. Raises JournalError for a foreign or newer one."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and tables:
        raise JournalError(f"{str(path)!r} is another program's database; name another file for the journal")
    if version > len(MIGRATIONS):
        raise JournalError(
            f"the journal {str(path)!r} has schema version {version}, and this program knows {len(MIGRATIONS)}: "
            "a newer one wrote it. Upgrade, or name another file"
        )
    return int(version)
