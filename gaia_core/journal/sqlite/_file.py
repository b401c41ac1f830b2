"""The SQLite journal's file: how it is opened and closed, what is refused, and how its loss is noticed.

    file = open_file(path, "FULL")     # blocks; raises JournalError
    file.db                            # the writer's connection
    file.fault()                       # "" or why what is recorded now is lost: the file was deleted or replaced
    file.close()

SQLite keeps what was committed last in a write-ahead log beside the file (`-wal`). A copy of the file alone, or a file
whose log was deleted, is a valid database without it. So the file says in its row `mark` whether it is *whole* without
a log: that is written by the last process that closes it, and taken back, in the file itself, before the first one that
opens it commits anything else. A *generation* tells a log that belongs to another file: the first process that opens a
whole file makes a new one and remembers the *previous*, so the file alone and the file through its log differ by one.

Who is first and who is last is known by a lock on a file of its own (`-lock`), which each process shares while it has
the journal open. Never open the journal's file itself with `open`: closing it again releases all locks that SQLite has
on it in this process (sqlite.org/howtocorrupt.html, 2.2).
"""

import os
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from gaia_core.errors import JournalError
from gaia_core.file_lock import lock_until, share_until, try_lock, unlock
from gaia_core.journal.sqlite._schema import migrate, version_of
from gaia_core.private_files import missing_folders

_BUSY_SECONDS = 30.0
_STATEMENTS_CACHED = 1024
_CHECKED_AT_OPEN_BYTES = 16 << 20
_WRITER_CACHE_KB, _READER_CACHE_KB = 4_096, 512
"""Of pages. The system keeps the file in memory, too: 16 MB for the writer were no quicker than 4."""
_CHECKPOINT_PAGES = 4096
_LOCK_SECONDS = 60.0
_LOCKS = sys.platform != "win32"
"""Whether locks can be shared. Without, it is unknown who closes the file last, and it is never marked."""
_PRIMARY = 0xFF
"""Of an extended result code, the primary one: sqlite.org/rescode.html."""


class JournalFile:
    """An open file. *first*: no other process had it open."""

    def __init__(self, path: Path, db: sqlite3.Connection, lock: int) -> None:
        self.path = path
        self.db = db
        """Used by the writer thread alone."""
        self._lock = lock
        self._identities = {each: _identity(each) for each in (path, log_of(path))}
        """Never changed, so that `fault` may be called by any thread."""

    def fault(self) -> str:
        """Why what is recorded now would be lost with this process; "" when nothing is wrong."""
        for path, known in self._identities.items():
            found = _identity(path)
            if found == known:
                continue
            what = "was deleted or moved away" if found is None else "was replaced by another file"
            return (
                f"the journal's file {str(path)!r} {what} while it was open: what is recorded from then on is lost "
                "when this process stops. Move it back, or restart with the journal that is to be used"
            )
        return ""

    def connect_reader(self) -> sqlite3.Connection:
        """A new connection that can't write. Raises JournalError while another file, or none, is in this one's place.

        Nothing is read before that is known: SQLite deletes the log beside an empty file.
        """
        self._require_place()
        db = _connect(self.path)
        try:
            self._require_place()
        except BaseException:
            db.close()
            raise
        return _prepared(db, "query_only = ON", f"cache_size = -{_READER_CACHE_KB}")

    def _require_place(self) -> None:
        if fault := self.fault():
            raise JournalError(fault)

    def checkpoint(self) -> bool:
        """Move what is in the log into the file; False when somebody reads it meanwhile. Waits for nobody."""
        (_, pages, moved) = self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(pages == moved)

    def close(self) -> None:
        """Close it, and mark it as whole when nobody else has it open. Nothing may be written any more."""
        try:
            if _LOCKS:
                unlock(self._lock)
            # Of two that close at once, the later one gets the lock; a process that opens waits for it.
            if _LOCKS and try_lock(self._lock):
                with suppress(sqlite3.Error):
                    self.db.execute("UPDATE mark SET whole = 1")
                    empty_log(self.db)
        finally:
            self.db.close()
            os.close(self._lock)


def open_file(path: Path, synchronous: str) -> JournalFile:
    """Open the file, or create it for its owner's eyes only, and bring its schema up to date. Raises JournalError."""
    if path.is_dir():
        raise JournalError(f"the journal {str(path)!r} can't be opened: Is a directory; name a file in it")
    lock = lock_file(path)
    try:
        first = _LOCKS and try_lock(lock)
        if first:
            check_log(path)
        else:
            share_file(lock, path)
        _create(path)
        db = _opened(path, synchronous)
        try:
            if first:
                _mark(db)
                share_file(lock, path)  # until here, others that open it wait
            return JournalFile(path, db, lock)
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        os.close(lock)
        raise explained(path, error, "opened") from error
    except BaseException:
        os.close(lock)
        raise


def share_file(lock: int, path: Path) -> None:
    """Share *lock*, the one of the file *path*: from now on it counts as open. Raises JournalError."""
    if not share_until(lock, time.monotonic() + _LOCK_SECONDS):
        raise JournalError(
            f"the journal {str(path)!r} has been upgraded, restored or vacuumed by another process for "
            f"{_LOCK_SECONDS:g} s; try again when that has ended"
        )


def lock_file(path: Path) -> int:
    """A descriptor of the file that processes lock while they have the journal open. Raises JournalError."""
    try:
        missing_folders(path.parent)
        return os.open(path.with_name(f"{path.name}-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"the journal {str(path)!r} can't be opened: {error.strerror}: {path.parent}") from error


def lock_alone(path: Path, work: str) -> int:
    """The lock, when no process has the journal open. Raises JournalError, which names the *work* that needs it."""
    lock = lock_file(path)
    if not lock_until(lock, time.monotonic()):
        os.close(lock)
        raise JournalError(f"the journal {str(path)!r} can't be {work}: another process has it open. Stop that first")
    return lock


def log_of(path: Path) -> Path:
    """The write-ahead log of the file *path*."""
    return path.with_name(f"{path.name}-wal")


def check_log(path: Path) -> None:
    """Raise JournalError for a file whose write-ahead log is missing, or beside which that of another file is. No
    process may have it open."""
    log = log_of(path)
    written = _size(log)
    if not _size(path):
        if written:
            raise JournalError(
                f"the journal {str(path)!r} is missing, but its write-ahead log {log.name!r} is there: put the file "
                "back, restore a backup (gaia journal restore), or move the log away to begin a new journal"
            )
        return
    alone = _read_mark(path, "immutable=1")
    if alone is None:
        return  # an older version's, or no journal: that shows when it is opened
    whole, generation, _ = alone
    if written is None and not whole:
        raise JournalError(
            f"the journal {str(path)!r} is incomplete: it was copied while it was in use, or its write-ahead log "
            f"{log.name!r} was deleted, with what was recorded last. Put the log back beside it, or restore a backup "
            "(gaia journal restore FILE). To go on without what is missing: gaia journal check --accept-missing-log"
        )
    if written:
        through = _read_mark(path, "mode=ro")
        if through is None or generation not in through[1:]:
            raise JournalError(
                f"the write-ahead log {str(log)!r} belongs to another file than {path.name!r}: put the file back that "
                "it belongs to, or move the log away"
            )


def accept_log(path: Path) -> None:
    """Mark the file as whole, although its log is missing. No process may have it open. Raises JournalError."""
    try:
        with closing(connect(path)) as db:
            db.execute("UPDATE mark SET whole = 1")
            empty_log(db)
    except sqlite3.Error as error:
        raise explained(path, error, "written") from error


def mark_whole(db: sqlite3.Connection) -> None:
    """Make the file of *db*, a copy, one of its own that is whole without a log."""
    db.execute("UPDATE mark SET whole = 1, generation = randomblob(16), previous = x''")


def _mark(db: sqlite3.Connection) -> None:
    """From here on the file is not whole without its log. In the file itself before anything else is committed.

    After a crash it says so already, and the generation stays: the file may not have the last one yet.
    """
    db.execute("UPDATE mark SET whole = 0, previous = generation, generation = randomblob(16) WHERE whole")
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def write_mark(db: sqlite3.Connection) -> None:
    """Write the mark once more: so the log holds it, and shows to which file it belongs. *writes* changes, because
    SQLite does not write what is as it was."""
    db.execute("UPDATE mark SET writes = writes + 1")


def _read_mark(path: Path, mode: str) -> tuple[int, bytes, bytes] | None:
    """Whole, generation and previous; with *mode* `immutable=1` as the file has them, with `mode=ro` through its log.

    None: there is no mark. Neither mode changes the file: a read-only connection moves nothing out of the log.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as db:
            found = db.execute("SELECT whole, generation, previous FROM mark").fetchone()
    except sqlite3.Error:
        return None
    return None if found is None else (found[0], found[1], found[2])


def _create(path: Path) -> None:
    """Create the file, for its owner's eyes only, unless it is there. Raises JournalError."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise JournalError(f"the journal {str(path)!r} can't be created: {error.strerror}: {path.parent}") from error


def _opened(path: Path, synchronous: str) -> sqlite3.Connection:
    """The writer's connection to a checked file of the present version."""
    db = connect(path)
    try:
        version_of(db, path)  # before anything is changed: it may be another program's
        for setting in (
            "journal_mode = WAL",
            f"synchronous = {synchronous}",
            f"cache_size = -{_WRITER_CACHE_KB}",
            f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
        ):
            db.execute(f"PRAGMA {setting}")
        _check(db, path)
        migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    """A small file is checked whole: a large one would hold up the start, and tells by errors when it is read."""
    if path.stat().st_size <= _CHECKED_AT_OPEN_BYTES:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise damaged(path, verdict)


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the file, which is there, that can write. Deleted rows are overwritten with zeros."""
    return _prepared(_connect(path, _STATEMENTS_CACHED), "secure_delete = ON")


def _connect(path: Path, statements: int = 128) -> sqlite3.Connection:
    """It never creates the file: an empty one in the place of one that was moved away costs the log beside it."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=statements,
    )


def _prepared(db: sqlite3.Connection, *settings: str) -> sqlite3.Connection:
    try:
        for setting in settings:
            db.execute(f"PRAGMA {setting}")
    except BaseException:
        db.close()
        raise
    return db


def empty_log(db: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the file and cut it to nothing; True when somebody reads or writes meanwhile.

    Waits for nobody: other commits must not wait for a reader.
    """
    db.execute("PRAGMA busy_timeout = 0")
    try:
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")
    return bool(busy)


def damaged(path: Path, why: object) -> JournalError:
    """The error for a file that SQLite can't read."""
    return JournalError(
        f"the journal {str(path)!r} is damaged ({why}); it was left as it is. Restore a backup of it (gaia journal "
        "restore), name another file, or move it away (with its -wal file) to begin a new one"
    )


def explained(path: Path, error: sqlite3.Error, doing: str) -> JournalError:
    """The error for a failed operation on the file, which could not be *doing*: `opened`, `read`, `written`."""
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return damaged(path, error)
    hints = {
        sqlite3.SQLITE_READONLY: f"make the file and its folder writable for this user ({_user()}), or name another "
        "file for the journal",
        sqlite3.SQLITE_CANTOPEN: f"make sure that this user ({_user()}) may write in its folder",
        sqlite3.SQLITE_FULL: "free space on its file system",
        sqlite3.SQLITE_BUSY: "end the program that locks it",
    }
    hint = hints.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY)
    return JournalError(f"the journal {str(path)!r} can't be {doing}: {error}{f'; {hint}' if hint else ''}")


def _user() -> str:
    return f"uid {os.getuid()}" if hasattr(os, "getuid") else "you"


def _identity(path: Path) -> tuple[int, int] | None:
    """The device and inode of the file *path*; None if there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size(path: Path) -> int | None:
    """None: there is no such file."""
    try:
        return path.stat().st_size
    except OSError:
        return None
