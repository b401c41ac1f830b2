"""The SQLite journal's file: never far behind its log, refused without it, and missed when it is deleted."""

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from gaia_core.errors import JournalError, NotFoundError
from gaia_core.journal import NewSession
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.journal.sqlite import _file as file_room
from gaia_core.journal.sqlite._file import accept_log, explained, log_of

CRASHING = """
import asyncio, sys
from gaia_core.journal import NewSession
from gaia_core.journal.sqlite import SQLiteJournal

async def main(path):
    async with SQLiteJournal(path) as journal:
        await journal.create(NewSession("late", "", "coder", "t1:x"))
        print("there", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""
INCOMPLETE = r"is incomplete.*its write-ahead log 'gaia\.db-wal' was deleted.*gaia journal restore.*accept-missing-log"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal" / "gaia.db"


async def create(journal, *names):
    for name in names:
        await journal.create(NewSession(name, "", "coder", "t1:x"))


async def filled(path, *names):
    async with SQLiteJournal(path) as journal:
        await create(journal, *names)


def in_the_file(path):
    """The sessions that the file itself has, whatever is in its log."""
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db:
        return {row[0] for row in db.execute("SELECT id FROM session")}


def crashed(path):
    """A journal whose process was killed after it had created a session."""
    with subprocess.Popen([sys.executable, "-c", CRASHING, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGKILL)


def copied(path, folder, *endings):
    """A copy as `cp` makes it, of the file and what else *endings* name."""
    folder.mkdir()
    for ending in ("", *endings):
        shutil.copy(path.with_name(path.name + ending), folder / (path.name + ending))
    return folder / path.name


# Checkpoints.


async def test_the_file_itself_has_what_was_committed_before(path):
    """A copy of a running server's file held none of 39 sessions, because its log was moved by size alone."""
    async with SQLiteJournal(path, checkpoint_seconds=0.0) as journal:
        await create(journal, *(f"s{n}" for n in range(39)), "last")
        assert in_the_file(path) >= {f"s{n}" for n in range(39)}


async def test_a_log_is_moved_into_the_file_when_nothing_else_happens(path):
    async with SQLiteJournal(path, checkpoint_seconds=0.0) as journal:
        await create(journal, "alone")
        async with asyncio.timeout(60):
            while "alone" not in in_the_file(path):
                await asyncio.sleep(0.005)


async def test_a_checkpoint_that_a_reader_held_up_is_made_up_for(path):
    async with SQLiteJournal(path, checkpoint_seconds=0.0) as journal:
        await create(journal, "before")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM session").fetchone()
            await create(journal, "meanwhile", "then")
            assert "then" not in in_the_file(path)
        async with asyncio.timeout(60):
            while "then" not in in_the_file(path):
                await asyncio.sleep(0.005)


# A file without the log that belongs to it.


async def test_a_copy_of_the_file_alone_is_refused_until_that_is_accepted(path, tmp_path):
    """It was a valid, empty database, and nobody was warned."""
    async with SQLiteJournal(path, checkpoint_seconds=3_600.0) as journal:
        await create(journal, "lost")
        copy = copied(path, tmp_path / "copy")
    before = copy.read_bytes()

    with pytest.raises(JournalError, match=INCOMPLETE):
        await SQLiteJournal(copy).open()
    assert copy.read_bytes() == before

    accept_log(copy)
    async with SQLiteJournal(copy) as journal:
        with pytest.raises(NotFoundError):
            await journal.get("", "lost")
    assert await ids(path) == ["lost"]


async def test_a_copy_with_its_log_is_whole(path, tmp_path):
    async with SQLiteJournal(path, checkpoint_seconds=3_600.0) as journal:
        await create(journal, "kept")
        copy = copied(path, tmp_path / "copy", "-wal")
    assert await ids(copy) == ["kept"]


async def test_after_a_crash_the_log_belongs_to_it_and_its_loss_is_told(path, tmp_path):
    await filled(path, "early")
    crashed(path)
    whole = copied(path, tmp_path / "copy", "-wal")
    assert await ids(whole) == ["early", "late"]

    log_of(path).unlink()
    with pytest.raises(JournalError, match=INCOMPLETE):
        await SQLiteJournal(path).open()


async def test_a_file_that_was_closed_in_order_needs_no_log(path, tmp_path):
    await filled(path, "kept")
    assert not log_of(path).exists()
    assert await ids(copied(path, tmp_path / "copy")) == ["kept"]


async def test_only_the_last_one_that_closes_it_marks_the_file_as_whole(path, tmp_path):
    last = SQLiteJournal(path, checkpoint_seconds=0.0)
    await last.open()
    await filled(path, "first")
    await create(last, "then", "and then")
    with pytest.raises(JournalError, match=INCOMPLETE):
        await SQLiteJournal(copied(path, tmp_path / "during")).open()

    await last.aclose()

    assert await ids(copied(path, tmp_path / "after")) == ["and then", "first", "then"]


async def test_another_program_that_closes_it_last_changes_nothing(path):
    with closing(sqlite3.connect(path.parent.parent / "other.db")):
        pass
    await filled(path, "kept")
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM session").fetchone()
        await filled(path, "more")
        other.execute("SELECT count(*) FROM session").fetchone()
    assert await ids(path) == ["kept", "more"]


@pytest.mark.parametrize("journals", [2, 8])
async def test_of_many_that_close_at_once_one_is_the_last(path, journals):
    opened = [SQLiteJournal(path) for _ in range(journals)]
    await asyncio.gather(*(each.open() for each in opened))
    await asyncio.gather(*(create(each, f"s{n}") for n, each in enumerate(opened)))
    await asyncio.gather(*(each.aclose() for each in opened))

    assert not log_of(path).exists()
    assert len(await ids(path)) == journals


async def test_a_process_that_dies_while_it_opens_the_file_harms_nothing(path, tmp_path, monkeypatch):
    """The mark was committed to the log and not moved into the file yet, once and again."""
    await filled(path, "kept")
    monkeypatch.setattr(file_room.JournalFile, "checkpoint", lambda _file: True)

    def marked(db):
        db.execute("UPDATE mark SET whole = 0, previous = generation, generation = randomblob(16) WHERE whole")

    monkeypatch.setattr(file_room, "_mark", marked)
    for n in range(3):
        async with SQLiteJournal(path) as journal:
            await create(journal, f"more {n}")
            path = copied(path, tmp_path / f"copy {n}", "-wal")
    monkeypatch.undo()
    assert await ids(path) == ["kept", "more 0", "more 1", "more 2"]


async def test_the_log_of_another_file_is_refused_and_both_are_kept(path, tmp_path):
    async with SQLiteJournal(path, checkpoint_seconds=3_600.0) as journal:
        await create(journal, "one")
        one = copied(path, tmp_path / "one", "-wal")
    other = tmp_path / "other" / "gaia.db"
    await filled(other, "other")
    shutil.copy(log_of(one), log_of(other))
    before = other.read_bytes(), log_of(other).read_bytes()

    with pytest.raises(JournalError, match=r"gaia\.db-wal' belongs to another file than 'gaia\.db'"):
        await SQLiteJournal(other).open()

    assert (other.read_bytes(), log_of(other).read_bytes()) == before


@pytest.mark.parametrize("emptied", [False, True])
async def test_a_log_without_its_file_is_refused_and_kept(path, emptied):
    """SQLite deletes such a log, and begins anew."""
    await filled(path, "early")
    crashed(path)
    path.unlink()
    if emptied:
        path.touch()

    with pytest.raises(JournalError, match=r"is missing, but its write-ahead log 'gaia\.db-wal' is there"):
        await SQLiteJournal(path).open()

    assert log_of(path).stat().st_size > 0
    assert path.exists() == emptied


async def ids(path):
    async with SQLiteJournal(path) as journal:
        return sorted(info.id for info in (await journal.list(""))[0])


# While it is open.


async def test_a_file_that_is_deleted_is_missed(path):
    async with SQLiteJournal(path) as journal:
        assert await journal.fault() == ""
        kept = path.with_name("kept")
        path.rename(kept)
        assert "gaia.db' was deleted or moved away while it was open" in await journal.fault()
        kept.rename(path)
        assert await journal.fault() == ""
    assert await journal.fault() == ""


async def test_a_file_that_is_replaced_is_missed(path, tmp_path):
    await filled(tmp_path / "other.db")
    async with SQLiteJournal(path) as journal:
        (tmp_path / "other.db").replace(path)
        assert "gaia.db' was replaced by another file while it was open" in await journal.fault()


@pytest.mark.parametrize("instead", ["nothing", "an empty file", "another journal"])
async def test_who_reads_while_the_file_is_away_costs_nothing(path, tmp_path, instead):
    """The first read opens the first reader: that made an empty file, beside which SQLite deleted the log."""
    await filled(tmp_path / "other.db", "other")
    kept = path.with_name("kept")
    async with SQLiteJournal(path) as journal:
        await create(journal, "s")
        path.rename(kept)
        if instead == "an empty file":
            path.touch()
        elif instead == "another journal":
            shutil.copy(tmp_path / "other.db", path)
        with pytest.raises(JournalError, match=r"gaia\.db' was .* while it was open"):
            await journal.get("", "s")
        assert path.exists() == (instead != "nothing")
        kept.replace(path)

        assert await journal.fault() == ""
        assert (await journal.get("", "s")).id == "s"
        await create(journal, "t")
    assert await ids(path) == ["s", "t"]


async def test_a_log_that_is_deleted_is_missed(path):
    async with SQLiteJournal(path) as journal:
        await create(journal, "s")
        assert await journal.fault() == ""
        log_of(path).unlink()
        assert "gaia.db-wal' was deleted" in await journal.fault()


async def test_a_log_that_is_emptied_is_the_same_log(path):
    async with SQLiteJournal(path) as journal:
        await create(journal, "s")
        await journal.delete("", "s")
        assert log_of(path).stat().st_size == 0
        assert await journal.fault() == ""


async def test_opening_it_once_more_takes_no_lock_from_the_first(path):
    """To close a descriptor of the file released SQLite's locks on it, and another process could take its log away."""
    async with SQLiteJournal(path) as one, SQLiteJournal(path):
        await create(one, "s")
        script = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('PRAGMA journal_mode = DELETE')"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "database is locked" in done.stderr
        assert log_of(path).exists()


# Refusals.


async def test_another_programs_database_is_left_as_it_is(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()

    with pytest.raises(JournalError, match="another program's database; name another file"):
        await SQLiteJournal(path).open()

    assert path.read_bytes() == before  # it was switched to write-ahead logging


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (sqlite3.SQLITE_READONLY, r"gaia\.db' can't be opened: no; make the file and its folder writable"),
        (sqlite3.SQLITE_READONLY | 4 << 8, "make the file and its folder writable"),
        (sqlite3.SQLITE_CANTOPEN, "may write in its folder"),
        (sqlite3.SQLITE_FULL, "free space"),
        (sqlite3.SQLITE_BUSY, "end the program that locks it"),
        (sqlite3.SQLITE_ERROR, "can't be opened: no$"),
    ],
)
def test_an_error_of_sqlite_says_what_to_do(path, code, hint):
    error = sqlite3.OperationalError("no")
    error.sqlite_errorcode = code
    with pytest.raises(JournalError, match=hint):
        raise explained(path, error, "opened")


async def test_a_file_that_can_not_be_written_is_refused_in_words(path, monkeypatch):
    await filled(path, "s")
    connect = sqlite3.connect

    def read_only(file, **given):
        return connect(file.replace("mode=rw", "mode=ro"), **given)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(JournalError, match=r"can't be opened: attempt to write a readonly database; make the file"):
        await SQLiteJournal(path).open()
