"""What PostgreSQL's journal does besides: lost connections, restarts, lost answers, addresses that stay secret."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from benchmarks.postgres import reserved_port
from gaia_core.errors import FencedError, JournalError
from gaia_core.facts import Began, encode_fact
from gaia_core.journal import NewRecord, NewSession
from gaia_core.journal.postgres import PostgresJournal
from gaia_core.journal.postgres._schema import MIGRATIONS
from gaia_core.messages import UserMessage


async def begun(journal, id="s"):
    await journal.create(NewSession(id, "", "coder", "t1:x"))
    return await journal.claim("", id, "r", "t")


def fact(kind="k"):
    return NewRecord(kind, b"{}")


async def test_appends_go_on_over_an_immediate_restart(own_postgres):
    async with PostgresJournal(own_postgres.dsn) as journal:

        async def one(number):
            lease = await begun(journal, f"s{number}")
            for step in range(30):
                lease = (await journal.append(lease, (fact(str(step)),))).lease
                appended.set()
            return lease

        appended = asyncio.Event()
        tasks = [asyncio.create_task(one(number)) for number in range(8)]
        await appended.wait()
        await asyncio.to_thread(own_postgres.stop)
        await asyncio.to_thread(own_postgres.start)
        await asyncio.gather(*tasks)
        for number in range(8):
            records = await journal.read("", f"s{number}")
            assert [each.kind for each in records] == [str(step) for step in range(30)]


@pytest.fixture
async def schema(postgres, numbers):
    name = f"own_{next(numbers)}"
    db = await asyncpg.connect(postgres.dsn)
    await db.execute(f"CREATE SCHEMA {name}")
    yield name
    await db.execute(f"DROP SCHEMA {name} CASCADE")
    await db.close()


def through(relay, schema, **options):
    address = f"postgresql://gaia:pass-word@127.0.0.1:{relay.own_port}/postgres?search_path={schema}"
    return PostgresJournal(address, **options)


def carries(marker):
    return lambda data: marker in data


async def test_an_append_whose_answer_was_lost_is_there_once(postgres, schema, relay):
    async with relay(postgres.port) as link, through(link, schema) as journal:
        lease = await begun(journal)
        lease = (await journal.append(lease, (fact("first"),))).lease
        await journal.signal("", "s", "steer", b'"left"')
        link.lose = carries(b"marker-of-the-lost")
        appended = await journal.append(lease, (fact("marker-of-the-lost"), fact("third")), done=True)
        assert link.lost == 1
        assert [each.data for each in appended.signals] == [b'"left"']
        assert [each.kind for each in await journal.read("", "s")] == ["first", "marker-of-the-lost", "third"]
        with pytest.raises(FencedError):
            await journal.append(appended.lease, (fact(),))


async def test_an_append_that_failed_after_its_answer_was_lost_may_be_made_again(postgres, schema, relay):
    async with relay(postgres.port) as link, through(link, schema, patience=0.1) as journal:
        lease = await begun(journal)
        await journal.signal("", "s", "steer", b'"left"')
        link.lose = lost_and_cut(link, b"marker-of-the-lost")
        records = (fact("marker-of-the-lost"), fact("second"))
        with pytest.raises(JournalError):
            await journal.append(lease, records)
        assert link.lost == 1

        await link.mend()
        appended = await journal.append(lease, records)
        assert [each.data for each in appended.signals] == [b'"left"']
        assert [each.kind for each in await journal.read("", "s")] == ["marker-of-the-lost", "second"]
        with pytest.raises(FencedError):
            await journal.append(lease, (fact("another"),))
        await journal.append(appended.lease, (fact("third"),), done=True)
        assert [each.kind for each in await journal.read("", "s")][2:] == ["third"]


def lost_and_cut(link, marker):
    """Loses the answer to what carries *marker*, and no connection is made after it."""

    def lose(data):
        if marker not in data:
            return False
        link.refuse()
        return True

    return lose


async def test_a_claim_signal_or_job_whose_answer_was_lost_counts_once(postgres, schema, relay):
    async with relay(postgres.port) as link, through(link, schema) as journal:
        for name in ("warm", "s"):
            await journal.create(NewSession(name, "", "coder", "t1:x"))
        await journal.claim("", "warm", "r", "t")
        link.lose = carries(b"turn-of-the-lost")
        lease = await journal.claim("", "s", "r", "turn-of-the-lost")
        assert (lease.epoch, lease.turn) == (1, "turn-of-the-lost")
        await journal.signal("", "warm", "x")
        link.lose = carries(b"signal-of-the-lost")
        assert await journal.signal("", "s", "signal-of-the-lost") is not None
        assert len(await journal.take_signals(lease)) == 1
        await journal.enqueue(b"", 1.0, "warm")
        link.lose = carries(b"job-of-the-lost")
        assert await journal.enqueue(b"", 1.0, "job-of-the-lost")
        assert link.lost == 3


async def test_a_newer_schema_is_refused(postgres, schema):
    dsn = f"{postgres.dsn}?search_path={schema}"
    async with PostgresJournal(dsn):
        pass
    db = await asyncpg.connect(dsn)
    await db.execute("INSERT INTO gaia_schema VALUES (999)")
    await db.close()
    with pytest.raises(JournalError, match=r"schema version 999.*newer"):
        await PostgresJournal(dsn).open()


async def test_replicas_that_start_together_migrate_once(postgres, schema):
    journals = [PostgresJournal(f"{postgres.dsn}?search_path={schema}") for _ in range(4)]
    await asyncio.gather(*(each.open() for each in journals))
    await begun(journals[0])
    assert (await journals[3].get("", "s")).turn == "t"
    for each in journals:
        await each.aclose()


@pytest.mark.parametrize("dsn", ["postgresql://u:pass-word@127.0.0.1:1/db", "http://u:pass-word@x/", "x://pass-word:y"])
async def test_a_database_out_of_reach_is_named_without_its_password(dsn, caplog):
    journal = PostgresJournal(dsn, patience=0)
    with pytest.raises(JournalError) as raised:
        await journal.open()
    said = f"{raised.value} {raised.value.__cause__} {journal!r} {caplog.text}"
    assert "pass-word" not in said
    await journal.aclose()


async def test_deleted_rows_are_deleted(postgres, schema):
    dsn = f"{postgres.dsn}?search_path={schema}"
    async with PostgresJournal(dsn) as journal:
        lease = await begun(journal)
        await journal.append(lease, (NewRecord("k", b"x" * 40_000, "word"), fact()), done=True)
        await journal.fork("", "s", "f", 1)
        await journal.delete("", "s")
        await journal.delete("", "f")
        db = await asyncpg.connect(dsn)
        for table in ("session", "record", "payload", "line", "signal"):
            assert await db.fetchval(f"SELECT count(*) FROM gaia_{table}") == 0, table
        await db.close()


OLD_SESSION = (
    "INSERT INTO gaia_session (owner, id, agent, fingerprint, title, title_words, metadata, created_at, updated_at, "
    "seq, head, message_count) VALUES ($1, $2, 'coder', 't1:x', '', '{}', $3, 1, 1, 1, 1, 1) RETURNING number"
)


@pytest.fixture
async def version_1(postgres, schema):
    """The address of a schema as the first version had it, and a connection for rows of that time."""
    dsn = f"{postgres.dsn}?search_path={schema}"
    db = await asyncpg.connect(dsn)
    await db.execute("CREATE TABLE gaia_schema (version integer NOT NULL); INSERT INTO gaia_schema VALUES (1);")
    await db.execute(MIGRATIONS[0])
    yield dsn, db
    await db.close()


async def test_a_schema_of_version_1_gets_surfaces_from_its_metadata(version_1):
    dsn, db = version_1
    for name, metadata in (("talk", b'{"model":"m"}'), ("api", b'{"surface":"responses","deleted":[]}')):
        await db.fetchval(OLD_SESSION, "", name, metadata)
    async with PostgresJournal(dsn) as journal:
        assert [row.id for row in (await journal.list("", surface=""))[0]] == ["talk"]
        assert [row.id for row in (await journal.list("", surface="responses"))[0]] == ["api"]


async def test_a_schema_of_version_1_loses_its_hidden_sessions_and_nothing_else(version_1):
    dsn, db = version_1
    for owner, name, payload in (("", "talk", b"1"), ("gaia idempotency", "x", b"1"), ("gaia idempotency", "y", b"2")):
        number = await db.fetchval(OLD_SESSION, owner, name, b"{}")
        await db.execute(
            "INSERT INTO gaia_record (line, seq, parent, kind, turn, at, payload, message_count) "
            "VALUES ($1, 1, 0, 'k', 't', 1, $2, 1)",
            number,
            payload,
        )
    for payload, uses in ((b"1", 2), (b"2", 1)):
        await db.execute("INSERT INTO gaia_payload (hash, uses, body) VALUES ($1, $2, $3)", payload, uses, b"body")
    async with PostgresJournal(dsn) as journal:
        assert (await journal.totals()).sessions == 1
        assert [each.body for each in await journal.read("", "talk")] == [b"body"]
    assert [tuple(row) for row in await db.fetch("SELECT hash, uses FROM gaia_payload")] == [(b"1", 1)]
    assert await db.fetchval("SELECT count(*) FROM gaia_record") == 1


async def test_an_answer_whose_beginning_was_lost_is_begun_once(postgres, schema, relay):
    async with relay(postgres.port) as link, through(link, schema) as journal:
        await journal.answer_begin("warm", "b1:x", "r", max_age=60.0)
        link.lose = carries(b"answer-of-the-lost")
        begun = await journal.answer_begin("answer-of-the-lost", "b1:x", "r", max_age=60.0)
        assert (link.lost, begun.begun) == (1, True)
        assert await journal.answer_put(begun.number, b"1")


async def test_a_schema_of_version_3_is_searched_by_parts_of_its_words(version_1):
    dsn, db = version_1
    await db.execute(MIGRATIONS[1] + MIGRATIONS[2])
    await db.execute("INSERT INTO gaia_schema VALUES (2), (3)")
    fact_of_then = encode_fact(Began("coder", "t1:x", "m", message=UserMessage("ที่อยู่ของฉันคือกรุงเทพ")))
    for name, body, said in (
        ("plain", b"{}", ["reconfiguration", "gateway"]),
        ("thai", fact_of_then, ["ท", "อย", "ของฉ", "นค", "อกร", "งเทพ"]),
    ):
        number = await db.fetchval(OLD_SESSION, "", name, b"{}")
        await db.execute(
            "UPDATE gaia_session SET title = 'हिन्दी', title_words = ARRAY['ह', 'न', 'द'] WHERE number = $1", number
        )
        await db.execute(
            "INSERT INTO gaia_record (line, seq, parent, kind, turn, at, body, message_count, words) "
            "VALUES ($1, 1, 0, 'k', 't', 1, $2, 1, $3)",
            number,
            body,
            said,
        )
    async with PostgresJournal(dsn) as journal:
        for query, ids in (
            ("figur", {"plain"}), ("way", {"plain"}), ("re", {"plain"}), ("อยู่", {"thai"}), ("กรุงเทพ", {"thai"}),
            ("हिन्", {"plain", "thai"}), ("nothing", set()),
        ):  # fmt: skip
            assert {row.id for row in (await journal.list("", query=query))[0]} == ids, query


async def test_a_role_without_superuser_rights_can_migrate_and_search(postgres, schema):
    db = await asyncpg.connect(postgres.dsn)
    await db.execute(f"CREATE ROLE plain_{schema} LOGIN; CREATE SCHEMA plain_{schema} AUTHORIZATION plain_{schema}")
    try:
        host = urlsplit(postgres.dsn)
        dsn = f"postgresql://plain_{schema}@{host.hostname}:{host.port}{host.path}?search_path=plain_{schema}"
        async with PostgresJournal(dsn) as journal:
            await journal.create(NewSession("s", "", "coder", "t1:x", "我们明天在北京开会"))
            assert (await journal.list("", query="北京"))[1] == 1
    finally:
        await db.execute(f"DROP SCHEMA plain_{schema} CASCADE; DROP ROLE plain_{schema}")
        await db.close()


async def test_a_schema_of_version_4_gets_sizes_owners_and_conversations(version_1):
    dsn, db = version_1
    for version, script in enumerate(MIGRATIONS[1:4], 2):
        await db.execute(script)
        await db.execute("INSERT INTO gaia_schema (version) VALUES ($1)", version)
    for name, surface, metadata in (
        ("response", "responses", b'{"notes":[]}'),
        ("talk", "responses", b'{"conversation":{"a":"b"}}'),
        ("chat", "", b"{}"),
    ):
        number = await db.fetchval(OLD_SESSION, "ann", name, metadata)
        await db.execute("UPDATE gaia_session SET surface = $1 WHERE number = $2", surface, number)
        await db.execute(
            "INSERT INTO gaia_record (line, seq, parent, kind, turn, at, body, payload, message_count) "
            "VALUES ($1, 1, 0, 'k', 't', 1, $2, NULL, 1), ($1, 2, 1, 'k', 't', 1, NULL, 'large', 1)",
            number,
            b"x" * 30,
        )
    await db.execute("INSERT INTO gaia_payload (hash, uses, body) VALUES ('large', 3, $1)", b"x" * 70)
    await db.execute(
        "INSERT INTO gaia_answer (name, number, fingerprint, replica, created_at, body) "
        "VALUES ('a', 1, 'b1:x', 'r', gaia_now() - 1, $1), ('b', 2, 'b1:x', 'r', gaia_now(), $1)",
        b"x" * 40,
    )
    async with PostgresJournal(dsn) as journal:
        assert [row.id for row in (await journal.list("ann", surface="conversations"))[0]] == ["talk"]
        forever = float("inf")
        assert await journal.expire(("responses",), max_age=forever, max_bytes=100) == ()
        assert await journal.expire(("responses", ""), max_age=forever, max_bytes=100) == (("ann", "response"),)
        assert await journal.answer_sweep(max_age=forever, keep=9, max_bytes=40) == 1
        assert (await journal.answer_begin("b", "b1:x", "r", max_age=forever)).body == b"x" * 40
    assert [tuple(row) for row in await db.fetch("SELECT size, handed_over FROM gaia_session")] == [(100, 0)] * 2


async def test_an_opening_that_waits_for_the_database_is_logged_once(caplog):
    with reserved_port() as port:
        journal = PostgresJournal(f"postgresql://gaia@127.0.0.1:{port}/x", patience=0.2)
        with pytest.raises(JournalError, match="was unreachable for"):
            await journal.open()

    (line,) = (record.getMessage() for record in caplog.records)
    assert (
        f"the journal at 127.0.0.1:{port}/x can't be reached (ConnectionRefusedError); this is tried for 0.2 s" == line
    )
