"""What an operator does with a journal's file: back it up while servers use it, check, restore and vacuum it.

Everything here blocks, and is used by the command line only. `back_up` and `check` read the file as another process of
it would, and change nothing; `restore` and `vacuum` need it alone. All raise JournalError.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import attrs
import msgspec

from gaia_core.errors import JournalError
from gaia_core.facts import decode_fact
from gaia_core.file_lock import try_lock
from gaia_core.frozen_types import made_once
from gaia_core.journal.sqlite._file import (
    accept_log,
    check_log,
    connect,
    damaged,
    empty_log,
    explained,
    lock_alone,
    lock_file,
    log_of,
    mark_whole,
    share_file,
)
from gaia_core.journal.sqlite._schema import APPLICATION_ID, SEQ_BITS, SEQ_MASK, version_of
from gaia_core.session import new_id

_MOST_PROBLEMS = 100
_MARKED_SINCE = 5


@attrs.frozen
class JournalReport:
    """What `check` found: how much there is, and what is wrong, in words."""

    __attrs_pre_init__ = made_once

    version: int
    sessions: int
    records: int
    size: int
    """Of the file, in bytes."""
    problems: tuple[str, ...]


def back_up(path: Path, target: Path) -> int:
    """Copy the journal *path*, as it is at one moment, to the new file *target*, which needs no write-ahead log; its
    size in bytes. Servers go on writing meanwhile."""
    _must_exist(path)
    with _opened(path), _reading(path) as db:
        _copy(db, target, path)
    return target.stat().st_size


def check(path: Path) -> JournalReport:
    """Read everything that is in the journal *path*."""
    _must_exist(path)
    try:
        with _opened(path), _reading(path) as db:
            problems = _structure(db)
            (sessions,) = db.execute("SELECT count(*) FROM session").fetchone()
            (records,) = db.execute("SELECT count(*) FROM record").fetchone()
            problems += tuple(_damaged_records(db)) if not problems else ()
            return JournalReport(version_of(db, path), sessions, records, path.stat().st_size, problems)
    except sqlite3.Error as error:
        raise explained(path, error, "read") from error


def accept_missing_log(path: Path) -> None:
    """Let the journal *path* be opened although its write-ahead log is missing: what that held is lost."""
    lock = lock_alone(path, "changed")
    try:
        if log_of(path).exists():
            raise JournalError(f"the journal {str(path)!r} has its write-ahead log; nothing is to be accepted")
        accept_log(path)
    finally:
        os.close(lock)


def restore(path: Path, backup: Path) -> Path | None:
    """Put a copy of the journal *backup* in the place of *path*; what was there is kept under the name returned."""
    _must_exist(backup)
    lock = lock_alone(path, "restored")
    try:
        check_log(backup)
        part = path.with_name(f".{path.name}.{new_id()[:8]}")
        with _reading(backup) as db:
            _copy(db, part, backup)
        kept = None
        if path.exists() or log_of(path).exists():
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            kept = path.with_name(f"{path.name}.before-restore-{stamp}")
            # The log first: a file without it is refused, a log beside another file is, too.
            for old, new in ((log_of(path), log_of(kept)), (path, kept)):
                with suppress(FileNotFoundError):
                    old.rename(new)
        with suppress(FileNotFoundError):
            path.with_name(f"{path.name}-shm").unlink()
        part.replace(path)
    except OSError as error:
        raise JournalError(f"the journal {str(path)!r} can't be replaced: {error.strerror}") from error
    else:
        return kept
    finally:
        os.close(lock)


def vacuum(path: Path) -> tuple[int, int]:
    """Write the journal *path* anew, without the space that deleted sessions left; its size in bytes before and after.

    Needs as much free space as the file takes.
    """
    _must_exist(path)
    lock = lock_alone(path, "vacuumed")
    try:
        check_log(path)
        before = path.stat().st_size
        with closing(connect(path)) as db:
            version = version_of(db, path)
            db.execute("VACUUM")
            if version >= _MARKED_SINCE:
                db.execute("UPDATE mark SET whole = 1")
            empty_log(db)
        return before, path.stat().st_size
    except sqlite3.Error as error:
        raise explained(path, error, "vacuumed") from error
    finally:
        os.close(lock)


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise JournalError(f"there is no journal {str(path)!r}")


@contextmanager
def _opened(path: Path) -> Iterator[None]:
    """The journal *path* counts as open."""
    lock = lock_file(path)
    try:
        if try_lock(lock):
            check_log(path)
        share_file(lock, path)
        yield
    finally:
        os.close(lock)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one moment of the journal *path*, whatever version it has."""
    try:
        # Read-only: another connection that closes last would move the log into the file and delete it.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            version_of(db, path)
            if db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                raise JournalError(f"{str(path)!r} is no journal: it is empty")
            db.execute("BEGIN")
            yield db
    except sqlite3.Error as error:
        raise explained(path, error, "read") from error


def _copy(db: sqlite3.Connection, target: Path, source: Path) -> None:
    """Write what *db* sees to the new file *target*, check it, and let it appear as a whole."""
    part = target.with_name(f".{target.name}.{new_id()[:8]}")
    if target.exists():
        raise JournalError(f"{str(target)!r} exists; name a new file")
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(part, isolation_level=None)) as made:
            db.backup(made)
            if version_of(made, part) >= _MARKED_SINCE:
                mark_whole(made)
            made.execute("PRAGMA journal_mode = DELETE")
            problems = _structure(made)
        if problems:
            raise damaged(source, problems[0])
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise JournalError(f"{str(target)!r} can't be written: {error.strerror}") from error
    except sqlite3.Error as error:
        raise explained(source, error, "copied") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _structure(db: sqlite3.Connection) -> tuple[str, ...]:
    """What SQLite finds wrong with the file."""
    found = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})")]
    return () if found == ["ok"] else tuple(found)


def _damaged_records(db: sqlite3.Connection) -> Iterator[str]:
    """The records that can't be read, each with the sessions whose past it is."""
    rows = db.execute(
        "SELECT key, kind, record.body, record.payload, payload.body FROM record "
        "LEFT JOIN payload ON payload.hash = record.payload ORDER BY key"
    )
    told = 0
    for key, kind, body, name, large in rows:
        if (why := _why_damaged(body, name, large)) and told < _MOST_PROBLEMS:
            told += 1
            line, seq = key >> SEQ_BITS, key & SEQ_MASK
            yield f"{_sessions_of(db, line, seq)}: record {seq} ({kind}) is damaged: {why}"


def _why_damaged(body: object, name: bytes | None, large: object) -> str:
    # Whatever its column's type, SQLite keeps what it was given.
    if name is not None:
        if large is None:
            return "its payload is missing"
        if not isinstance(large, bytes) or hashlib.sha256(large).digest() != name:
            return "its payload is another one than was recorded"
        body = large
    if not isinstance(body, bytes):
        return "it has no body"
    try:
        decode_fact(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        return str(error)
    return ""


def _sessions_of(db: sqlite3.Connection, line: int, seq: int) -> str:
    rows = db.execute(
        "WITH RECURSIVE reach (line) AS (SELECT ?1 UNION SELECT line.line FROM line JOIN reach ON line.base = "
        "reach.line WHERE line.at >= ?2) SELECT owner, id FROM session JOIN reach ON number = reach.line ORDER BY id",
        (line, seq),
    ).fetchall()
    named = [f"session {name!r}{f' of {owner!r}' if owner else ''}" for owner, name in rows]
    return ", ".join(named) or "no session"
