"""The journal alone: fenced appends a second at 64 sessions, beside a bare SQLite loop that commits in the same groups.

Records of 1 KB, one an append; every session waits for its append before the next. The durability setting stands
beside every figure. PostgreSQL joins in when GAIA_POSTGRES names a database.
"""

import asyncio
import os
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from benchmarks.size import FULL, Size
from benchmarks.table import Row, show
from gaia_core.journal import Journal, MemoryJournal, NewRecord, NewSession
from gaia_core.journal.sqlite import SQLiteJournal

SESSIONS = 64
APPENDS = 200
REPEATS = 3
STORED = 100_000
BODY = b'{"text":"' + b"x" * 1012 + b'"}'


async def appends(journal: Journal, tag: str, sessions: int, count: int) -> tuple[float, float]:
    """Appends a second, and CPU µs each, of *sessions* at once that append *count* times."""
    leases = []
    for number in range(sessions):
        await journal.create(NewSession(f"{tag}{number}", "", "bench", "t1:x"))
        leases.append(await journal.claim("", f"{tag}{number}", "r", "t"))
    records = (NewRecord("step", BODY),)

    async def one(lease) -> None:
        for _ in range(count):
            lease = (await journal.append(lease, records)).lease

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(lease) for lease in leases))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return sessions * count / seconds, cpu / (sessions * count) * 1e6


async def best(make: Callable[[], AbstractAsyncContextManager[Journal]], size: Size) -> tuple[float, float, float]:
    """The best of several: appends a second at 64 sessions, CPU µs each, and ms of an append alone."""
    async with make() as journal:
        await appends(journal, "warm", SESSIONS, 5)
        runs = [await appends(journal, f"s{turn}-", SESSIONS, size(APPENDS)) for turn in range(size(REPEATS))]
        alone = [await appends(journal, f"a{turn}-", 1, size(200)) for turn in range(size(REPEATS))]
    return max(rate for rate, _ in runs), min(cpu for _, cpu in runs), min(1e3 / rate for rate, _ in alone)


def floor(path: Path, synchronous: str, size: Size) -> float:
    """Appends a second of a bare loop: an UPDATE and an INSERT each, a commit for every 64."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("CREATE TABLE session (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL)")
    db.execute("CREATE TABLE record (n INTEGER PRIMARY KEY, key INTEGER UNIQUE, body BLOB)")
    db.executemany("INSERT INTO session VALUES (?, 0)", [(number,) for number in range(SESSIONS)])
    rates, appends_each = [], size(APPENDS)
    for turn in range(size(REPEATS)):
        began = time.perf_counter()
        for seq in range(turn * appends_each, (turn + 1) * appends_each):
            db.execute("BEGIN")
            for number in range(SESSIONS):
                db.execute("UPDATE session SET seq = seq + 1 WHERE id = ? AND seq = ?", (number, seq))
                db.execute("INSERT INTO record (key, body) VALUES (?, ?)", (number << 32 | seq, BODY))
            db.execute("COMMIT")
        rates.append(SESSIONS * appends_each / (time.perf_counter() - began))
    db.close()
    return max(rates)


def stored(path: Path, sessions: int) -> None:
    """Put *sessions* with ten records each into a journal's file."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN")
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO session (owner, id, agent, fingerprint, title, metadata, created_at, updated_at, head, seq) "
        "SELECT '', 'stored' || i, 'bench', 't1:x', 'Title', '{}', i, i, 10, 10 FROM n",
        (sessions,),
    )
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) "
        "INSERT INTO record (key, parent, kind, turn, at, body, message_count) "
        "SELECT number << 32 | i, i - 1, 'step', 't', 1, randomblob(100), 0 FROM session, n WHERE id LIKE 'stored%'"
    )
    db.execute("COMMIT")
    db.close()


async def full_file(folder: Path, size: Size) -> tuple[float, float]:
    """CPU µs an append with ten and with 100,000 stored sessions."""
    costs = []
    for sessions in (10, size(STORED, brief=20)):
        path = folder / f"stored{sessions}.db"
        async with SQLiteJournal(path):
            pass
        stored(path, sessions)
        async with SQLiteJournal(path) as journal:
            await appends(journal, "warm", SESSIONS, 5)
            costs.append(
                min([(await appends(journal, f"s{turn}-", SESSIONS, size(100)))[1] for turn in range(size(REPEATS))])
            )
    return costs[0], costs[1]


def main(size: Size = FULL) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows: list[Row] = []
        for synchronous in ("FULL", "NORMAL"):
            bare = floor(folder / f"floor-{synchronous}.db", synchronous, size)
            path = folder / f"{synchronous}.db"
            rate, cpu, alone = asyncio.run(best(lambda path=path, how=synchronous: SQLiteJournal(path, how), size))
            what = f"SQLite {synchronous}, {SESSIONS} sessions"
            rows += [
                Row(what, rate, "/s", bare, 10_000 if synchronous == "FULL" else None, at_least=True),
                Row(f"SQLite {synchronous}, CPU an append", cpu, "µs"),
                Row(f"SQLite {synchronous}, one session alone", alone, "ms"),
            ]
        rate, cpu, _ = asyncio.run(best(MemoryJournal, size))
        rows += [Row(f"memory, {SESSIONS} sessions", rate, "/s"), Row("memory, CPU an append", cpu, "µs")]
        if address := os.environ.get("GAIA_POSTGRES"):
            from gaia_core.journal.postgres import PostgresJournal

            rate, cpu, alone = asyncio.run(best(lambda: PostgresJournal(address), size))
            rows += [
                Row(f"PostgreSQL (its own setting), {SESSIONS} sessions", rate, "/s"),
                Row("PostgreSQL, CPU an append (ours)", cpu, "µs"),
                Row("PostgreSQL, one session alone", alone, "ms"),
            ]
        few, many = asyncio.run(full_file(folder, size))
        rows.append(Row("SQLite FULL, CPU with 100,000 stored sessions", many, "µs", few, few * 1.2))
        rows.append(Row("memory of the process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB"))
    show("The journal alone, records of 1 KB", rows)
