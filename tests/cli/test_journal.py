"""`gaia journal`: a backup of a running journal, what is damaged, and how one comes back."""

import asyncio
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from gaia_core.errors import JournalError
from gaia_core.journal import PAYLOAD_BYTES, NewRecord, NewSession
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.journal.sqlite._file import log_of
from gaia_core.journal.sqlite._maintenance import back_up, check, restore
from gaia_core.journal.sqlite._schema import APPLICATION_ID, MIGRATIONS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


async def fill(journal, *names, body=b'{"type":"resumed","attempt":1}'):
    for name in names:
        await journal.create(NewSession(name, "", "a", "f"))
        lease = await journal.claim("", name, "r", "t")
        await journal.append(lease, (NewRecord("resumed", body),), done=True)


def on(path, work=lambda _journal: asyncio.sleep(0)):
    async def run():
        async with SQLiteJournal(path, checkpoint_seconds=3_600.0) as journal:
            return await work(journal)

    return asyncio.run(run())


def ids(path):
    return sorted(info.id for info in on(path, lambda journal: journal.list(""))[0])


def test_a_journal_is_backed_up_while_it_is_in_use(invoke, path, tmp_path):
    target = tmp_path / "backup.sqlite"

    async def work(journal):
        await fill(journal, "one", "two")
        said = await asyncio.to_thread(invoke, "journal", "backup", str(target))
        await fill(journal, "later")
        return said

    said = on(path, work)

    assert said.startswith(f"{path} is backed up: {target}, ")
    assert [each.name for each in tmp_path.iterdir() if "backup" in each.name] == ["backup.sqlite"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert ids(target) == ["one", "two"]
    assert ids(path) == ["later", "one", "two"]


def test_a_backup_after_a_crash_has_what_is_in_the_log_and_leaves_that_alone(path, tmp_path):
    folder = tmp_path / "crashed"
    folder.mkdir()

    async def work(journal):
        await fill(journal, "late")
        for file in (path, log_of(path)):
            shutil.copy(file, folder)

    on(path, work)
    left = folder / path.name
    before = left.read_bytes(), log_of(left).read_bytes()

    back_up(left, tmp_path / "backup")

    assert (left.read_bytes(), log_of(left).read_bytes()) == before
    assert ids(tmp_path / "backup") == ["late"]


def test_a_backup_does_not_overwrite(invoke, path, tmp_path):
    on(path)
    (tmp_path / "mine").write_text("mine")
    invoke("journal", "backup", str(tmp_path / "mine"), code=1, err="exists; name a new file")
    assert (tmp_path / "mine").read_text() == "mine"


def test_an_older_versions_journal_is_backed_up_as_it_is(path, tmp_path):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.create_function("gaia_words_again", 3, lambda *_: "")
        for version in MIGRATIONS[:4]:
            for statement in version:
                db.execute(statement)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 4")

    back_up(path, tmp_path / "backup")

    with closing(sqlite3.connect(tmp_path / "backup")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (4,)
    assert ids(tmp_path / "backup") == []


def test_what_is_damaged_is_named_by_session_and_record(invoke, path):
    async def work(journal):
        await fill(journal, "good", "bad", "text")
        await fill(journal, "large", "lost", body=b'{"type":"resumed","attempt":1}' + b" " * PAYLOAD_BYTES)
        await journal.fork("", "bad", "fork")

    on(path, work)
    healthy = invoke("journal", "check")
    assert "sessions: 6, records: 5, " in healthy
    assert healthy.endswith("schema version 5; problems: none\n")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        damage = "UPDATE record SET body = ? WHERE key >> 32 = (SELECT number FROM session WHERE id = ?)"
        db.execute(damage, (b'{"type":"resum', "bad"))
        db.execute(damage, ("text", "text"))
        db.execute("UPDATE payload SET body = CAST(body || ' ' AS BLOB)")

    said = invoke("journal", "check", code=1).splitlines()

    assert said[0].startswith("session 'bad', session 'fork': record 1 (resumed) is damaged: ")
    assert said[1] == "session 'text': record 1 (resumed) is damaged: it has no body"
    assert said[2] == "session 'large': record 1 (resumed) is damaged: its payload is another one than was recorded"
    assert said[3].startswith("session 'lost': record 1 (resumed) is damaged: its payload")
    assert said[4].endswith("schema version 5; problems: 4")


def test_a_damaged_file_is_named_and_not_backed_up(invoke, path, tmp_path):
    on(path, lambda journal: fill(journal, *(f"s{n}" for n in range(50))))
    content = bytearray(path.read_bytes())
    content[-4096:] = b"\xa5" * 4096
    path.write_bytes(content)

    assert "problems: none" not in invoke("journal", "check", code=1)
    invoke("journal", "backup", str(tmp_path / "backup"), code=1, err="is damaged")
    assert not list(tmp_path.glob("*backup*"))


def test_a_backup_is_restored_and_what_was_there_is_kept(invoke, path, tmp_path):
    on(path, lambda journal: fill(journal, "old"))
    back_up(path, tmp_path / "backup")
    on(path, lambda journal: fill(journal, "new"))

    said = invoke("journal", "restore", str(tmp_path / "backup"))

    kept = said.strip().rpartition("kept as ")[2]
    assert ids(path) == ["old"]
    assert ids(Path(kept)) == ["new", "old"]
    assert ids(tmp_path / "backup") == ["old"]


def test_a_restored_journal_has_not_the_log_of_the_one_before(path, tmp_path):
    on(path, lambda journal: fill(journal, "old"))
    back_up(path, tmp_path / "backup")
    folder = tmp_path / "crashed"
    folder.mkdir()

    async def work(journal):
        await fill(journal, "new")
        for file in (path, log_of(path)):
            shutil.copy(file, folder)

    on(path, work)
    left = folder / path.name

    kept = restore(left, tmp_path / "backup")

    assert ids(left) == ["old"]
    assert ids(kept) == ["new", "old"]


def test_what_is_no_whole_journal_is_not_restored(invoke, path, tmp_path):
    on(path, lambda journal: fill(journal, "mine"))
    (tmp_path / "notes").write_text("These are my notes.\n" * 100)
    (tmp_path / "empty").touch()
    with closing(sqlite3.connect(tmp_path / "other", isolation_level=None)) as db:
        db.execute("CREATE TABLE theirs (x)")
    copy = tmp_path / "copy"

    async def work(journal):
        await fill(journal, "lost")
        shutil.copy(path, copy)

    on(path, work)
    for name, why in (
        ("notes", "is damaged"),
        ("empty", "is no journal: it is empty"),
        ("other", "is another program's database"),
        ("copy", "is incomplete"),
    ):
        invoke("journal", "restore", str(tmp_path / name), code=1, err=why)
    assert ids(path) == ["lost", "mine"]
    assert not list(tmp_path.glob(".*"))


def test_a_journal_in_use_is_neither_restored_nor_vacuumed(invoke, path, tmp_path):
    on(path)
    back_up(path, tmp_path / "backup")

    async def work(_journal):
        for arguments in (("restore", str(tmp_path / "backup")), ("vacuum",), ("check", "--accept-missing-log")):
            await asyncio.to_thread(invoke, "journal", *arguments, code=1, err="another process has it open")

    on(path, work)


def test_a_vacuumed_journal_is_smaller_and_whole(invoke, path, tmp_path):
    async def work(journal):
        for n in range(20):
            await fill(journal, f"s{n}", body=b"%d" % n * PAYLOAD_BYTES)
        for n in range(1, 20):
            await journal.delete("", f"s{n}")

    on(path, work)
    before = path.stat().st_size

    said = invoke("journal", "vacuum")

    assert path.stat().st_size < before / 4
    assert " before, " in said
    assert not log_of(path).exists()
    assert ids(path) == ["s0"]


def test_a_missing_log_is_accepted_on_request(invoke, path, tmp_path):
    copy = tmp_path / "copy.sqlite"

    async def work(journal):
        await fill(journal, "lost")
        shutil.copy(path, copy)

    on(path, work)
    place = ("--journal", str(copy))
    invoke("journal", "check", *place, code=1, err="is incomplete")

    assert invoke("journal", "check", "--accept-missing-log", *place).endswith("problems: none\n")

    assert ids(copy) == []
    assert ids(path) == ["lost"]


@pytest.mark.parametrize("command", [("backup", "x"), ("check",), ("restore", __file__), ("vacuum",)])
def test_other_journals_have_other_tools(invoke, command, tmp_path):
    invoke("journal", *command, "--journal", "memory", code=1, err="a journal in memory has no file")
    url = "postgresql://me:secret@host/db"
    said = invoke("journal", *command, "--journal", url, code=1, err="has its own tools for that: use ")
    assert "secret" not in said


@pytest.mark.parametrize("command", [("backup", "x"), ("check",), ("vacuum",)])
def test_a_journal_that_is_not_there_is_not_created(invoke, command, path):
    invoke("journal", *command, code=1, err=f"there is no journal '{path}'")
    assert not path.exists()


def test_reading_a_journal_keeps_it_as_open(path):
    """Else the last server that closes would mark the file as whole while it is read, and another could replace it."""
    on(path, lambda journal: fill(journal, "s"))
    assert check(path).problems == ()
    with pytest.raises(JournalError, match="no journal"):
        check(path.with_name("none"))
