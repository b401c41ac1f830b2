"""What SQLite's journal does besides: files that are damaged, foreign or newer, erasure, crashes, several processes."""

import asyncio
import os
import queue
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest

from gaia_core.errors import ClosedError, JournalError
from gaia_core.facts import Began, encode_fact
from gaia_core.journal import PAYLOAD_BYTES, NewRecord, NewSession
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.journal.sqlite._erasure import index_levels
from gaia_core.journal.sqlite._schema import APPLICATION_ID, MIGRATIONS
from gaia_core.messages import UserMessage

WRITER = """
import asyncio, sys
from gaia_core.journal import NewRecord, NewSession
from gaia_core.journal.sqlite import SQLiteJournal

async def main(path):
    async with SQLiteJournal(path) as journal:
        async def one(id):
            await journal.create(NewSession(id, "", "coder", "t1:x"))
            lease = await journal.claim("", id, "r1", "t")
            for n in range(1, 1_000_000):
                records = (NewRecord("a", b"%d" % n, "word"), NewRecord("b", b"%d" % n))
                lease = (await journal.append(lease, records)).lease
                print(id, n, flush=True)
        await asyncio.gather(*(one(f"s{n}") for n in range(4)))

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal" / "gaia.db"


async def filled(path, id="s", words="hello", **given):
    """A journal's file with one session in it."""
    async with SQLiteJournal(path, "NORMAL") as journal:
        await journal.create(NewSession(id, "", "coder", "t1:x", **given))
        lease = await journal.claim("", id, "r", "t")
        await journal.append(lease, (NewRecord("user", words.encode(), words, visible=True),), done=True)


async def test_a_reopened_file_has_what_was_recorded(path):
    await filled(path)
    async with SQLiteJournal(path) as journal:
        assert [each.body for each in await journal.read("", "s")] == [b"hello"]


async def test_the_file_is_its_owners_alone(path):
    await filled(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_file_that_is_no_database_is_named_and_kept(path):
    path.parent.mkdir()
    path.write_bytes(b"These are my notes, not a database.\n" * 100)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"gaia\.db.*damaged.*left as it is"):
        await SQLiteJournal(path).open()
    assert path.read_bytes() == before


async def test_a_damaged_file_is_named_and_kept(path):
    await filled(path)
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 100] = b"\xa5" * 100
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"gaia\.db.*damaged"):
        await SQLiteJournal(path).open()
    assert path.read_bytes() == content


async def test_another_programs_database_is_refused(path):
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    with pytest.raises(JournalError, match="another program"):
        await SQLiteJournal(path).open()


async def test_a_newer_schema_is_refused(path):
    await filled(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(JournalError, match=r"schema version 999.*newer"):
        await SQLiteJournal(path).open()


async def test_a_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="can't be opened"):
        await SQLiteJournal(tmp_path / "file" / "gaia.db").open()


async def test_a_closed_journal_says_so(path):
    journal = SQLiteJournal(path)
    with pytest.raises(ClosedError):
        await journal.get("", "s")
    with pytest.raises(ClosedError):
        await journal.create(NewSession("s", "", "coder", "t1:x"))
    await journal.aclose()


async def test_what_is_asked_while_it_closes_is_refused_and_what_was_asked_before_is_done(path):
    journal = SQLiteJournal(path, "NORMAL")
    await journal.open()
    before = asyncio.ensure_future(journal.create(NewSession("before", "", "coder", "t1:x")))
    await asyncio.sleep(0)
    closing_ = asyncio.ensure_future(journal.aclose())
    await asyncio.sleep(0)
    with pytest.raises(ClosedError):
        await journal.create(NewSession("meanwhile", "", "coder", "t1:x"))
    await closing_
    assert (await before).id == "before"


def on_disk(path, word):
    """Which of the journal's files hold the bytes."""
    return [each.name for each in path.parent.iterdir() if word.encode() in each.read_bytes()]


async def test_what_is_deleted_is_gone_from_the_file_and_its_log(path):
    large = b"thymolphthalein" * PAYLOAD_BYTES
    async with SQLiteJournal(path, "NORMAL") as journal:
        for number in range(40):
            await journal.create(NewSession(f"s{number}", "", "coder", "t1:x", f"other {number}"))
            lease = await journal.claim("", f"s{number}", "r", "t")
            text = f"plain words of number{number}"
            await journal.append(lease, (NewRecord("user", text.encode(), text, visible=True),), done=True)
        await journal.create(NewSession("s", "", "coder", "t1:x", "Quinquagesima", b'"sphygmomanometer"'))
        lease = await journal.claim("", "s", "r", "t")
        lease = (await journal.append(lease, (NewRecord("user", b"Xylographer", "Xylographer", visible=True),))).lease
        await journal.append(lease, (NewRecord("tool", large),), done=True)
        secrets = (
            "Quinquagesima",
            "quinquagesima",
            "sphygmomanometer",
            "Xylographer",
            "xylographer",
            "thymolphthalein",
        )
        assert all(on_disk(path, each) for each in secrets)
        await journal.fork("", "s", "f", 1)
        await journal.delete("", "f")
        assert all(on_disk(path, each) for each in secrets)
        await journal.delete("", "s")
        assert [each for each in secrets if on_disk(path, each)] == []
        assert (await journal.list("", query="plain number7"))[1] == 1


async def test_the_word_index_is_written_anew_before_it_has_too_many_levels(path, monkeypatch):
    monkeypatch.setattr("gaia_core.journal.sqlite._erasure.MOST_LEVELS", 8)
    await filled(path, "kept", " ".join(f"kept{n}" for n in range(2_000)) + " words")
    await filled(path, "deleted", "deleted words")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for n in range(20):  # as many commits and erasures do that come in turn
            db.execute("INSERT INTO word (rowid, words) VALUES (?, 'other')", (n + 1 << 40,))
            db.execute("INSERT INTO word (word, rank) VALUES ('merge', -256)")
        assert index_levels(db) > 8
    async with SQLiteJournal(path) as journal:
        await journal.delete("", "deleted")
        found, total = await journal.list("", query="words")
        assert ([each.id for each in found], total) == (["kept"], 1)
    with closing(sqlite3.connect(path)) as db:
        assert index_levels(db) <= 2
        db.execute("INSERT INTO word (word) VALUES ('integrity-check')")
    assert b"deleted words" not in path.read_bytes()


async def test_erasing_waits_for_who_reads_the_log_and_nobody_waits_for_it(path):
    await filled(path, words="sesquipedalian")
    async with SQLiteJournal(path, "NORMAL") as journal:
        await journal.create(NewSession("t", "", "coder", "t1:x"))
        lease = await journal.claim("", "t", "r", "t")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM record").fetchone()
        deletion = asyncio.create_task(journal.delete("", "s"))
        for _ in range(20):
            lease = (await journal.append(lease, (NewRecord("k", b"{}"),))).lease
        assert not deletion.done()
        reader.close()
        await deletion
        assert on_disk(path, "sesquipedalian") == []


async def test_what_a_fork_shares_stays_and_the_rest_is_gone(path):
    async with SQLiteJournal(path, "NORMAL") as journal:
        await journal.create(NewSession("s", "", "coder", "t1:x"))
        lease = await journal.claim("", "s", "r", "t")
        for word in ("sharedword", "privateword"):
            lease = (await journal.append(lease, (NewRecord("user", word.encode(), word, visible=True),))).lease
        await journal.append(lease, (), done=True)
        await journal.fork("", "s", "f", 1)
        await journal.delete("", "s")
        assert on_disk(path, "privateword") == []
        assert [each.body for each in await journal.read("", "f")] == [b"sharedword"]
        await journal.delete("", "f")
        assert on_disk(path, "sharedword") == []


async def test_a_large_body_is_on_disk_once(path):
    large = os.urandom(PAYLOAD_BYTES * 8)
    async with SQLiteJournal(path, "NORMAL") as journal:
        await journal.create(NewSession("s", "", "coder", "t1:x"))
        lease = await journal.claim("", "s", "r", "t")
        for _ in range(20):
            lease = (await journal.append(lease, (NewRecord("tool", large),))).lease
    assert path.stat().st_size < len(large) * 2


def acknowledged(process, count):
    """Read *count* lines of what the process says it has appended; the last number by session."""
    last = {}
    for _ in range(count):
        name, n = process.stdout.readline().split()
        last[name] = int(n)
    return last


@pytest.mark.parametrize("lines", [1, 7, 60, 400])
async def test_after_kill_nine_what_was_acknowledged_is_there_without_gaps(path, lines):
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as process:
        last = acknowledged(process, lines)
        process.send_signal(signal.SIGKILL)
    async with SQLiteJournal(path) as journal:
        for name, n in last.items():
            records = await journal.read("", name)
            assert [each.seq for each in records] == list(range(1, len(records) + 1))
            assert len(records) >= 2 * n
            assert [each.body for each in records[::2]] == [each.body for each in records[1::2]]
            assert (await journal.get("", name)).seq == len(records)
        assert await journal.adopt(("r1",))
        lease = await journal.claim("", "s0", "r2", None)
        await journal.append(lease, (NewRecord("failed", b"{}"),), done=True)


async def test_two_processes_share_a_file(path):
    async with SQLiteJournal(path) as journal:
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as process:
            try:
                acknowledged(process, 20)
                await journal.create(NewSession("mine", "", "coder", "t1:x"))
                lease = await journal.claim("", "mine", "r2", "t")
                for _ in range(20):
                    lease = (await journal.append(lease, (NewRecord("k", b"{}"),))).lease
                assert await journal.claim("", "s0", "r2", None) is None
            finally:
                process.send_signal(signal.SIGKILL)
        assert len(await journal.read("", "mine")) == 20


async def test_closing_finishes_what_was_asked_for(path):
    journal = SQLiteJournal(path, "NORMAL")
    await journal.open()
    await journal.create(NewSession("s", "", "coder", "t1:x"))
    lease = await journal.claim("", "s", "r", "t")
    append = asyncio.create_task(journal.append(lease, (NewRecord("k", b"{}"),)))
    await asyncio.sleep(0)
    await journal.aclose()
    assert (await append).lease.seq == 1
    await journal.aclose()


class TakenMeanwhile(queue.SimpleQueue):
    """Idle readers, of which another thread takes the last one just after somebody has looked."""

    def empty(self) -> bool:
        return False


async def test_an_idle_reader_that_another_thread_takes_first_is_made_up_for(path, monkeypatch):
    await filled(path)
    async with SQLiteJournal(path) as journal:
        monkeypatch.setattr(journal, "_readers", TakenMeanwhile())
        assert [each.body for each in await journal.read("", "s")] == [b"hello"]


async def test_synchronous_is_checked():
    with pytest.raises(ValueError, match="FULL or NORMAL"):
        SQLiteJournal("x", "off")


def file_of_version_1(path):
    """A journal's file as the first schema had it, open for rows of that time."""
    path.parent.mkdir()
    db = sqlite3.connect(path, isolation_level=None)
    for statement in MIGRATIONS[0]:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")
    return db


OLD_SESSION = (
    "INSERT INTO session (owner, id, agent, fingerprint, title, metadata, created_at, updated_at, seq, head, "
    "message_count) VALUES (?, ?, 'coder', 't1:x', '', ?, 1, 1, 1, 1, 1) RETURNING number"
)


async def test_a_file_of_version_1_gets_surfaces_from_its_metadata(path):
    with closing(file_of_version_1(path)) as db:
        for name, metadata in (("talk", b'{"model":"m"}'), ("api", b'{"surface":"responses","deleted":[]}')):
            db.execute(OLD_SESSION, ("", name, metadata)).fetchone()
    async with SQLiteJournal(path) as journal:
        assert [row.id for row in (await journal.list("", surface=""))[0]] == ["talk"]
        assert [row.id for row in (await journal.list("", surface="responses"))[0]] == ["api"]


async def test_a_file_of_version_1_loses_its_hidden_sessions_and_nothing_else(path):
    with closing(file_of_version_1(path)) as db:
        for owner, name, payload in (
            ("", "talk", b"1"),
            ("gaia idempotency", "x", b"1"),
            ("gaia idempotency", "y", b"2"),
        ):
            (number,) = db.execute(OLD_SESSION, (owner, name, b"{}")).fetchone()
            db.execute(
                "INSERT INTO record (key, parent, kind, turn, at, payload, message_count) "
                "VALUES (?, 0, 'k', 't', 1, ?, 1)",
                (number << 32 | 1, payload),
            )
        for payload, uses in ((b"1", 2), (b"2", 1)):
            db.execute("INSERT INTO payload_use VALUES (?, ?)", (payload, uses))
            db.execute("INSERT INTO payload VALUES (?, ?)", (payload, b"body " + payload))
    async with SQLiteJournal(path) as journal:
        assert (await journal.totals()).sessions == 1
        assert [each.body for each in await journal.read("", "talk")] == [b"body 1"]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT hash, uses FROM payload_use").fetchall() == [(b"1", 1)]
        counts = [
            db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("session", "record", "payload")
        ]
        assert counts == [1, 1, 1]


async def test_what_a_sweep_forgets_is_gone_from_the_file_and_its_log(path):
    async with SQLiteJournal(path, "NORMAL") as journal:
        begun = await journal.answer_begin("a", "b1:x", "r", max_age=60.0)
        await journal.answer_put(begun.number, b"Sphygmomanometer")
        assert on_disk(path, "Sphygmomanometer")
        assert await journal.answer_sweep(max_age=0.0, keep=0, max_bytes=0) == 1
        assert on_disk(path, "Sphygmomanometer") == []


def file_of_version_3(path):
    """A journal's file as version 3 had it, open for rows of that time."""
    db = file_of_version_1(path)
    for statement in (*MIGRATIONS[1], *MIGRATIONS[2]):
        db.execute(statement)
    db.execute("PRAGMA user_version = 3")
    return db


async def test_a_file_of_version_3_is_searched_by_parts_of_its_words(path):
    said = "ที่อยู่ของฉันคือกรุงเทพ"
    fact = encode_fact(Began("coder", "t1:x", "m", message=UserMessage(said)))
    with closing(file_of_version_3(path)) as db:
        for name, body, words in (("plain", b"{}", "reconfiguration gateway"), ("thai", fact, "ท อย ของฉ นค อกร งเทพ")):
            (number,) = db.execute(OLD_SESSION, ("", name, b"{}")).fetchone()
            db.execute("UPDATE session SET title = 'हिन्दी' WHERE number = ?", (number,))
            db.execute("INSERT INTO word (rowid, words) VALUES (?, 'ह न द')", (number << 32,))
            db.execute(
                "INSERT INTO record (key, parent, kind, turn, at, body, message_count) "
                "VALUES (?, 0, 'k', 't', 1, ?, 1)",
                (number << 32 | 1, body),
            )
            db.execute("INSERT INTO word (rowid, words) VALUES (?, ?)", (number << 32 | 1, words))
    async with SQLiteJournal(path) as journal:
        for query, ids in (
            ("figur", {"plain"}), ("way", {"plain"}), ("re", {"plain"}), ("อยู่", {"thai"}), ("กรุงเทพ", {"thai"}),
            ("हिन्", {"plain", "thai"}), ("nothing", set()),
        ):  # fmt: skip
            assert {row.id for row in (await journal.list("", query=query))[0]} == ids, query


async def test_a_deleted_session_leaves_no_trigram_in_the_file_or_its_log(path):
    async with SQLiteJournal(path, "NORMAL") as journal:
        await journal.create(NewSession("kept", "", "coder", "t1:x", "other words"))
        await journal.create(NewSession("s", "", "coder", "t1:x", "qjx"))
        lease = await journal.claim("", "s", "r", "t")
        await journal.append(lease, (NewRecord("user", b"{}", "zvk 東京都", visible=True),), done=True)
        assert (await journal.list("", query="zv"))[1] == 1
        assert on_disk(path, "qjx")
        await journal.delete("", "s")
        assert [on_disk(path, each) for each in ("qjx", "zvk", "東京都", "京都 ")] == [[]] * 4
        with closing(sqlite3.connect(path)) as db:
            terms = {term for (term,) in db.execute("SELECT term FROM gram")}
        assert terms
        assert all(term in "other words  " for term in terms)


async def test_a_file_of_version_4_gets_sizes_owners_and_conversations(path):
    with closing(file_of_version_1(path)) as db:
        db.create_function("gaia_words_again", 3, lambda *_: "")
        for statement in (each for version in MIGRATIONS[1:4] for each in version):
            db.execute(statement)
        db.execute("PRAGMA user_version = 4")
        for name, surface, metadata in (
            ("response", "responses", b'{"notes":[]}'),
            ("talk", "responses", b'{"conversation":{"a":"b"}}'),
            ("chat", "", b"{}"),
        ):
            (number,) = db.execute(OLD_SESSION, ("ann", name, metadata)).fetchone()
            db.execute("UPDATE session SET surface = ? WHERE number = ?", (surface, number))
            record = "INSERT INTO record (key, parent, kind, turn, at, body, payload, message_count) VALUES "
            db.execute(f"{record} (?, 0, 'k', 't', 1, ?, NULL, 1)", (number << 32 | 1, b"x" * 30))
            db.execute(f"{record} (?, 1, 'k', 't', 1, NULL, x'01', 1)", (number << 32 | 2,))
        db.execute("INSERT INTO payload_use VALUES (x'01', 3)")
        db.execute("INSERT INTO payload VALUES (x'01', ?)", (b"x" * 70,))
        answer = "INSERT INTO answer (name, fingerprint, replica, created_at, body) VALUES (?, 'b1:x', 'r', ?, ?)"
        db.execute(answer, ("a", 1, b"x" * 40))
        db.execute(answer, ("b", 2, b"x" * 40))

    async with SQLiteJournal(path, clock=lambda: 10.0) as journal:
        assert [row.id for row in (await journal.list("ann", surface="conversations"))[0]] == ["talk"]
        assert [each.seq for each in await journal.read("ann", "talk")] == [1, 2]
        assert await journal.expire(("responses",), max_age=100.0, max_bytes=100) == ()
        assert await journal.expire(("responses", ""), max_age=100.0, max_bytes=100) == (("ann", "response"),)
        assert await journal.answer_sweep(max_age=100.0, keep=9, max_bytes=40) == 1
        assert (await journal.answer_begin("b", "b1:x", "r", max_age=100.0)).body == b"x" * 40
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT size, handed_over FROM session").fetchall() == [(100, 0)] * 2
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
