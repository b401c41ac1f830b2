"""What every journal does: one suite, in memory, on SQLite and on PostgreSQL."""

import asyncio

import asyncpg
import pytest

from gaia_core.errors import BusyError, FencedError, NotFoundError
from gaia_core.journal import PAYLOAD_BYTES, NewRecord, NewSession, SessionUpdate, SlotDemand, SlotGrant, branch
from gaia_core.journal.sqlite._writer import Writer


def new(id="s", owner="", **given):
    return NewSession(id, owner, "coder", "t1:abc", **given)


def say(text, **given):
    return NewRecord("user", b'{"text":1}', text, visible=True, **given)


def fact(kind="step", body=b"{}", **given):
    return NewRecord(kind, body, **given)


async def record(journal, *records, id="s", owner="", turn="t", done=True):
    """A whole turn that appends *records* one by one."""
    lease = await journal.claim(owner, id, "r1", turn)
    for each in records:
        lease = (await journal.append(lease, (each,))).lease
    return (await journal.append(lease, (), done=done)).lease


async def texts(journal, id="s", **given):
    return [each.seq for each in await journal.read("", id, **given)]


# Sessions.


async def test_a_created_session_is_what_was_asked_for(journal):
    made = await journal.create(new(title="Hello", metadata=b'{"private":false}'))
    assert (made.title, made.metadata, made.seq, made.head, made.message_count) == (
        "Hello",
        b'{"private":false}',
        0,
        0,
        0,
    )
    assert made.created_at == made.updated_at == 1_000_000.0
    assert await journal.get("", "s") == made


async def test_creating_a_session_that_exists_leaves_it_as_it_is(journal):
    made = await journal.create(new(title="First"))
    assert await journal.create(new(title="Second")) == made


async def test_another_owners_session_does_not_exist(journal):
    await journal.create(new(owner="ann"))
    for ask in (
        journal.get("bob", "s"),
        journal.read("bob", "s"),
        journal.update("bob", "s", SessionUpdate(title="x")),
        journal.delete("bob", "s"),
        journal.fork("bob", "s", "f"),
        journal.claim("bob", "s", "r", "t"),
        journal.signal("bob", "s", "cancel"),
        journal.get("ann", "s\0"),
        journal.get("ann", "\ud800"),
    ):
        with pytest.raises(NotFoundError, match="no session"):
            await ask
    assert (await journal.list("bob")) == ((), 0)


@pytest.mark.parametrize("id", ["", "a\0b", "\udc00"])
async def test_an_id_that_no_database_holds_is_refused(journal, id):
    with pytest.raises(ValueError, match="can't name a session"):
        await journal.create(new(id))


async def test_a_title_with_half_a_character_is_mended(journal):
    assert (await journal.create(new(title="a\ud800b\0c"))).title == "a\ufffdb\ufffdc"


async def test_sessions_are_listed_newest_first_in_pages(journal, home):
    for number in range(5):
        await journal.create(new(f"s{number}"))
        await home.advance(1)
    await journal.update("", "s1", SessionUpdate(title="Moved up"))
    rows, total = await journal.list("", limit=2, offset=1)
    assert ([row.id for row in rows], total) == (["s4", "s3"], 5)


async def test_a_list_can_be_of_one_agent(journal):
    await journal.create(new("a"))
    await journal.create(NewSession("b", "", "writer", "t1:x"))
    rows, total = await journal.list("", agent="writer")
    assert ([row.id for row in rows], total) == (["b"], 1)


async def test_a_list_can_be_of_one_surface(journal, home):
    await journal.create(new("a", metadata=b'{"surface":"x"}'))  # what the metadata says is the caller's own
    assert (await journal.create(new("b", surface="x"))).surface == "x"
    await home.advance(1)
    assert (await journal.fork("", "b", "c")).surface == "x"
    for surface, ids in (("", ["a"]), ("x", ["c", "b"]), ("y", []), (None, ["c", "b", "a"])):
        rows, total = await journal.list("", surface=surface)
        assert ([row.id for row in rows], total) == (ids, len(ids)), surface
    assert (await journal.update("", "a", SessionUpdate(surface="x"))).surface == "x"
    assert (await journal.list("", surface="x"))[1] == 3


async def test_search_wants_every_word_in_title_or_messages(journal):
    await journal.create(new("s", title="Straße nach Köln_1"))
    await record(journal, say("The QUICK brown fox; naïve 東京 don't"))
    for query in ("quick", "FOX köln_1", "STRASSE", "naïve", "東京", "don t", "  ", "?!", '"', "fox fox"):
        assert (await journal.list("", query=query))[1] == 1, query
    for query in ("quik", "fox wolf", "koln", "2", "naive", "fox*y", "quickbrown", "k b", "strassenach"):
        assert (await journal.list("", query=query))[1] == (query == "k b"), query


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Reconfiguration of the gateway", ("figur", "gate", "way", "con", "re", "g", "ay", "RECONFIGURATION")),
        ("我们明天在北京开会。", ("北京", "明天", "开会", "会", "京开", "我们明天")),
        ("データベースの移行を確認してください", ("データ", "移行", "ベース", "い", "確認し")),
        ("ที่อยู่ของฉันคือกรุงเทพ", ("ที่อยู่", "กรุงเทพ", "เทพ", "ที่", "พ")),
        ("हिन्दी में लिखा", ("हिन्दी", "हिन्", "लि")),
        ("cafe\u0301 \uff21\uff22\uff23\uff11", ("café", "abc1", "fé", "ＡＢＣ")),
        ("a 😀 b", ("a", "b")),
    ],
)
async def test_search_finds_any_part_of_a_word_in_messages_and_titles(journal, text, parts):
    await journal.create(new("s"))
    await record(journal, say(text))
    await journal.create(new("titled", title=text))
    await journal.create(new("other", title="Zzz"))
    for part in parts:
        rows, total = await journal.list("", query=part)
        assert ({row.id for row in rows}, total) == ({"s", "titled"}, 2), part
    for part in ("上海", "ลาว", "qqq", "xx", "q", "अ"):
        assert (await journal.list("", query=part))[1] == 0, part


async def test_search_tells_a_word_from_the_sum_of_its_trigrams(journal):
    await journal.create(new("s"))
    await record(journal, say("abcd bcde cdef"))
    for query, total in (("abcd", 1), ("abcde", 0), ("abcdef", 0), ("bcde", 1), ("x" * 2_000, 0)):
        assert (await journal.list("", query=query))[1] == total, query


async def test_a_very_long_word_is_found_by_its_beginning(journal):
    await journal.create(new("s"))
    long = "".join(f"{n:x}" for n in range(4_000))
    await record(journal, say(long))
    for query, total in ((long, 1), (long[:500], 1), (long[300:800], 1), (long[5_000:5_040], 0)):
        assert (await journal.list("", query=query))[1] == total, query[:20]


async def test_search_forgets_a_title_that_was_changed(journal):
    await journal.create(new(title="Apples"))
    await journal.update("", "s", SessionUpdate(title="Pears"))
    assert (await journal.list("", query="apples"))[1] == 0
    assert (await journal.list("", query="pears"))[1] == 1


async def test_an_update_changes_only_what_is_given(journal, home):
    before = await journal.create(new(title="T"))
    await home.advance(5)
    after = await journal.update(
        "", "s", SessionUpdate(title_is_custom=True, agent="writer", fingerprint="t1:new", metadata=b"[]")
    )
    assert (after.title, after.title_is_custom, after.agent, after.fingerprint, after.metadata) == (
        "T", True, "writer", "t1:new", b"[]",
    )  # fmt: skip
    assert (after.created_at, after.updated_at) == (before.created_at, before.updated_at + 5)


# The record.


async def test_records_are_gapless_and_chained(journal):
    await journal.create(new())
    lease = await journal.claim("", "s", "r1", "t1")
    lease = (await journal.append(lease, (say("a"), fact("b")))).lease
    await journal.append(lease, (fact("c", b'{"x":1}'),), done=True)
    records = await journal.read("", "s")
    assert [(each.seq, each.parent, each.kind, each.turn, each.message_count) for each in records] == [
        (1, 0, "user", "t1", 1),
        (2, 1, "b", "t1", 1),
        (3, 2, "c", "t1", 1),
    ]
    assert records[2].body == b'{"x":1}'
    info = await journal.get("", "s")
    assert (info.seq, info.head, info.message_count, info.turn, info.replica) == (3, 3, 1, None, None)


async def test_updated_at_moves_with_messages_and_ends_of_turns_only(journal, home):
    await journal.create(new())
    lease = await journal.claim("", "s", "r1", "t1")
    await home.advance(1)
    lease = (await journal.append(lease, (fact(),))).lease
    assert (await journal.get("", "s")).updated_at == 1_000_000.0
    lease = (await journal.append(lease, (say("x"),))).lease
    assert (await journal.get("", "s")).updated_at == 1_000_001.0
    await home.advance(1)
    await journal.append(lease, (fact(),), done=True)
    assert (await journal.get("", "s")).updated_at == 1_000_002.0


async def test_a_branch_begins_at_a_given_parent(journal):
    await journal.create(new())
    await record(journal, say("one"), say("two"), say("three"))
    await record(journal, say("another two", parent=1), fact())
    await record(journal, say("another one", parent=0))
    info = await journal.get("", "s")
    assert (info.head, info.seq, info.message_count) == (6, 6, 1)
    moved = await journal.update("", "s", SessionUpdate(head=5))
    assert (moved.head, moved.message_count) == (5, 2)
    whole = await journal.read("", "s")
    assert [each.seq for each in branch(whole, 5)] == [1, 4, 5]
    assert [each.seq for each in branch(whole, 3)] == [1, 2, 3]
    assert (await journal.update("", "s", SessionUpdate(head=0))).message_count == 0
    await record(journal, say("anew"))
    assert (await journal.read("", "s", 6))[0].parent == 0


async def test_a_parent_or_head_that_is_no_record_is_refused(journal):
    await journal.create(new())
    lease = await journal.claim("", "s", "r1", "t")
    for parent in (2, -1):
        with pytest.raises(NotFoundError, match="record"):
            await journal.append(lease, (fact(), fact(parent=5 if parent == 2 else -1)))
    await journal.append(lease, (fact(),), done=True)
    for head in (2, -1):
        with pytest.raises(NotFoundError, match="record"):
            await journal.update("", "s", SessionUpdate(head=head))
    assert await texts(journal) == [1]


async def test_the_head_does_not_move_while_a_turn_runs(journal):
    await journal.create(new())
    await record(journal, fact(), done=False)
    with pytest.raises(BusyError):
        await journal.update("", "s", SessionUpdate(head=0))
    assert (await journal.update("", "s", SessionUpdate(title="Named meanwhile"))).title == "Named meanwhile"


async def test_reading_in_parts(journal):
    await journal.create(new())
    await record(journal, *(fact() for _ in range(6)))
    assert await texts(journal, after_seq=2) == [3, 4, 5, 6]
    assert await texts(journal, after_seq=2, upto=4) == [3, 4]
    assert await texts(journal, after_seq=6) == []
    assert await texts(journal, upto=0) == []


async def test_the_records_of_one_turn(journal):
    await journal.create(new())
    await record(journal, say("one"), fact("a"), turn="t1")
    await record(journal, say("two"), fact("b"), fact("c"), turn="t2")
    await journal.fork("", "s", "f", 4)
    await record(journal, say("three"), turn="t3", id="f")
    assert await texts(journal, turn="t2") == [3, 4, 5]
    assert await texts(journal, turn="t2", after_seq=3, upto=4) == [4]
    assert await texts(journal, turn="t2", upto=4) == [3, 4]
    assert await texts(journal, "f", turn="t2") == [3, 4]
    assert await texts(journal, "f", turn="t1") == [1, 2]
    assert await texts(journal, turn="t3") == []
    with pytest.raises(NotFoundError):
        await journal.read("", "none", turn="t1")


async def test_large_bodies_come_back_whole(journal):
    await journal.create(new())
    large = b'"' + b"x" * (PAYLOAD_BYTES + 1) + b'"'
    await record(journal, fact(body=large), fact(body=large), fact(body=b"1"))
    assert [each.body for each in await journal.read("", "s")] == [large, large, b"1"]


# The fence.


async def test_a_running_turn_keeps_others_out(journal):
    await journal.create(new())
    assert await journal.claim("", "s", "r1", "t1") is not None
    assert await journal.claim("", "s", "r2", "t2") is None
    assert await journal.claim("", "s", "r1", "t3") is None
    assert await journal.claim("", "s", "r2", None) is None


async def test_there_is_nothing_to_take_over_where_no_turn_runs(journal):
    await journal.create(new())
    assert await journal.claim("", "s", "r1", None) is None


async def test_a_lease_is_good_for_one_append(journal):
    await journal.create(new())
    lease = await journal.claim("", "s", "r1", "t")
    results = await asyncio.gather(*(journal.append(lease, (fact(str(n)),)) for n in range(5)), return_exceptions=True)
    assert sum(isinstance(result, FencedError) for result in results) == 4
    assert await texts(journal) == [1]


async def test_of_two_holders_one_succeeds(journal, home):
    await journal.create(new())
    old = await journal.claim("", "s", "r1", "t")
    await home.advance(16)
    other = await home.open()
    taken = await other.claim("", "s", "r2", None)
    assert (taken.epoch, taken.turn, taken.takeovers) == (old.epoch + 1, "t", 1)
    results = await asyncio.gather(
        journal.append(old, (fact("old"),)), other.append(taken, (fact("new"),)), return_exceptions=True
    )
    assert isinstance(results[0], FencedError)
    assert [each.kind for each in await journal.read("", "s")] == ["new"]
    with pytest.raises(FencedError, match="epoch 1"):
        await journal.take_signals(old)


async def test_a_lease_ends_with_its_turn_and_with_its_session(journal):
    await journal.create(new())
    lease = await record(journal, fact())
    with pytest.raises(FencedError):
        await journal.append(lease, (fact(),))
    await journal.delete("", "s")
    await journal.create(new())
    again = await journal.claim("", "s", "r1", "t")
    assert again.number != lease.number
    with pytest.raises(FencedError):
        await journal.append(lease, (fact(),))


async def test_many_sessions_append_at_once(journal):
    async def one(number):
        await journal.create(new(f"s{number}"))
        lease = await journal.claim("", f"s{number}", "r1", f"t{number}")
        for step in range(10):
            lease = (await journal.append(lease, (fact(f"{number}.{step}"), fact()))).lease
        await journal.append(lease, (), done=True)

    await asyncio.gather(*(one(number) for number in range(64)))
    for number in range(64):
        records = await journal.read("", f"s{number}")
        assert [each.seq for each in records] == list(range(1, 21))
        assert [each.kind for each in records[::2]] == [f"{number}.{step}" for step in range(10)]
    stats = journal.stats()
    assert (stats.appends, stats.records, stats.fenced) == (64 * 11, 64 * 20, 0)
    assert stats.latency[-1][1] <= stats.appends


# Forks.


async def test_a_fork_shares_the_past_and_nothing_after(journal):
    await journal.create(new(title="Base"))
    await record(journal, say("alpha"), say("beta"), say("gamma"))
    fork = await journal.fork("", "s", "f", 2)
    assert (fork.seq, fork.head, fork.message_count, fork.base, fork.title) == (2, 2, 2, ("s", 2), "Base")
    await record(journal, say("delta"), id="f")
    await record(journal, say("epsilon"))
    assert [(r.seq, r.parent, r.message_count) for r in await journal.read("", "f")] == [
        (1, 0, 1),
        (2, 1, 2),
        (3, 2, 3),
    ]
    assert await texts(journal) == [1, 2, 3, 4]
    for query, ids in (("beta", {"s", "f"}), ("gamma", {"s"}), ("delta", {"f"}), ("epsilon", {"s"})):
        rows, total = await journal.list("", query=query)
        assert ({row.id for row in rows}, total) == (ids, len(ids)), query


async def test_forks_of_forks_read_through(journal):
    await journal.create(new("a"))
    await record(journal, *(say(f"a{n}") for n in range(4)), id="a")
    await journal.fork("", "a", "b", 3)
    await record(journal, *(say(f"b{n}") for n in range(3)), id="b")
    await journal.fork("", "b", "c", 5)
    await journal.fork("", "b", "d", 2)
    await record(journal, say("c0", parent=2), id="c")
    await record(journal, say("d0"), id="d")
    assert await texts(journal, "c", after_seq=1, upto=5) == [2, 3, 4, 5]
    assert await texts(journal, "c") == [1, 2, 3, 4, 5, 6]
    assert await texts(journal, "c", upto=3) == [1, 2, 3]
    assert (await journal.get("", "c")).message_count == 3
    assert {row.id for row in (await journal.list("", query="b1"))[0]} == {"b", "c"}
    assert {row.id for row in (await journal.list("", query="a1"))[0]} == {"a", "b", "c", "d"}
    assert {row.id for row in (await journal.list("", query="a2"))[0]} == {"a", "b", "c"}


async def test_a_fork_of_all_keeps_the_head(journal):
    await journal.create(new())
    await record(journal, say("one"), say("two"))
    await journal.update("", "s", SessionUpdate(head=1))
    fork = await journal.fork("", "s", "f")
    assert (fork.seq, fork.head, fork.message_count) == (2, 1, 1)


async def test_a_fork_at_nothing_is_empty_and_a_fork_at_no_record_is_refused(journal):
    await journal.create(new())
    await record(journal, fact())
    assert (await journal.fork("", "s", "f", 0)).seq == 0
    assert await texts(journal, "f") == []
    with pytest.raises(NotFoundError, match="no record 2"):
        await journal.fork("", "s", "g", 2)


async def test_a_forks_title_is_its_own(journal):
    await journal.create(new(title="Plums"))
    await journal.fork("", "s", "f")
    await journal.update("", "f", SessionUpdate(title="Cherries"))
    assert [row.id for row in (await journal.list("", query="plums"))[0]] == ["s"]


async def test_the_shared_past_outlives_the_base_until_the_last_fork_goes(journal):
    await journal.create(new("a"))
    large = b'"' + b"y" * PAYLOAD_BYTES + b'"'
    await record(journal, fact(body=large), say("second"), say("third"), id="a")
    await journal.fork("", "a", "b", 2)
    await journal.fork("", "b", "c", 1)
    await journal.delete("", "a")
    assert (await journal.read("", "b"))[0].body == large
    assert (await journal.list("", query="second"))[1] == 1
    await journal.delete("", "b")
    assert [each.body for each in await journal.read("", "c")] == [large]
    await journal.create(new("a"))
    assert await texts(journal, "a") == []
    await journal.delete("", "c")
    assert (await journal.list("", query="second"))[1] == 0
    assert (await journal.totals()).sessions == 1


async def test_deleting_is_refused_while_a_living_replica_runs_a_turn(journal, home):
    await journal.create(new())
    await journal.claim("", "s", "r1", "t")
    with pytest.raises(BusyError):
        await journal.delete("", "s")
    await home.advance(16)
    await journal.delete("", "s")
    with pytest.raises(NotFoundError):
        await journal.get("", "s")


async def test_totals_count_sessions_and_their_messages(journal):
    await journal.create(new("a"))
    await journal.create(new("b", owner="ann"))
    await record(journal, say("x"), fact(), say("y"), id="a")
    found = [await journal.totals(owner) for owner in (None, "", "ann", "bob")]
    assert [(totals.sessions, totals.messages) for totals in found] == [(2, 2), (1, 2), (1, 0), (0, 0)]


async def test_stored_bytes_are_those_of_the_owners_records(journal):
    large = b'{"x":"' + b"a" * 100_000 + b'"}'
    await journal.create(NewSession("a", "", "agent", "a1:0", "Grüße", b'{"some":"metadata"}'))
    before = await journal.stored_bytes("")
    await journal.create(new("b", owner="ann"))
    await record(journal, fact(body=b'{"k":1}'), fact(body=large), id="a")

    assert before == len("Grüße".encode()) + len(b'{"some":"metadata"}')
    assert await journal.stored_bytes("") == before + len(b'{"k":1}') + len(large)
    assert await journal.stored_bytes("ann") == len(new("b").metadata) + len(new("b").title)
    assert await journal.stored_bytes("bob") == 0


async def test_what_forks_share_is_stored_once_and_stays_when_its_first_session_is_deleted(journal):
    await journal.create(new("a"))
    await record(journal, fact(body=b'{"k":1}'), fact(body=b'{"k":22}'), id="a")
    one = await journal.stored_bytes("")
    own = len(new("a").metadata) + len(new("a").title)
    await journal.fork("", "a", "b")
    await journal.fork("", "b", "c", 1)

    assert await journal.stored_bytes("") == one + 2 * own
    await journal.delete("", "a")
    assert await journal.stored_bytes("") == one + own
    await journal.delete("", "b")
    await journal.delete("", "c")
    assert await journal.stored_bytes("") == 0


# Signals.


async def test_signals_reach_the_holder_once_in_order(journal):
    await journal.create(new())
    lease = await journal.claim("", "s", "r1", "t")
    first = await journal.signal("", "s", "steer", b'"left"')
    assert await journal.signal("", "s", "cancel") > first
    appended = await journal.append(lease, (fact(),))
    assert [(each.kind, each.data) for each in appended.signals] == [("steer", b'"left"'), ("cancel", b"{}")]
    assert await journal.take_signals(appended.lease) == ()
    await journal.signal("", "s", "approve", b"1")
    assert [each.kind for each in await journal.take_signals(appended.lease)] == ["approve"]
    last = await journal.append(appended.lease, (), done=True)
    assert last.signals == ()


async def test_a_signal_belongs_to_the_turn_that_runs(journal):
    await journal.create(new())
    assert await journal.signal("", "s", "cancel") is None
    lease = await journal.claim("", "s", "r1", "t1")
    await journal.signal("", "s", "steer")
    ended = await journal.append(lease, (), done=True)
    assert [each.kind for each in ended.signals] == ["steer"]
    assert await journal.signal("", "s", "cancel") is None
    again = await journal.claim("", "s", "r1", "t2")
    assert (await journal.append(again, (fact(),))).signals == ()


async def test_whoever_takes_over_gets_the_signals_that_nothing_was_recorded_of(journal, home):
    await journal.create(new())
    lease = await journal.claim("", "s", "r1", "t")
    await journal.signal("", "s", "one")
    lease = (await journal.append(lease, (fact(),))).lease
    lease = (await journal.append(lease, (fact("follows from one"),))).lease
    await journal.signal("", "s", "two")
    assert len(await journal.take_signals(lease)) == 1
    await journal.signal("", "s", "three")
    await home.advance(16)
    taken = await journal.claim("", "s", "r2", None)
    assert [each.kind for each in await journal.take_signals(taken)] == ["two", "three"]


# Replicas.


async def test_a_replica_is_alive_by_its_heartbeats(journal, home):
    await journal.beat("r1", "10.0.0.1:80", ("t1:abc",))
    (replica,) = await journal.replicas()
    assert (replica.name, replica.address, replica.agents, replica.alive) == ("r1", "10.0.0.1:80", ("t1:abc",), True)
    await home.advance(16)
    assert [each.alive for each in await journal.replicas()] == [False]


async def test_orphans_show_to_who_has_lived_a_full_ttl(journal, home):
    await journal.create(new())
    await journal.claim("", "s", "r1", "t")
    await home.advance(16)
    await journal.beat("r2", "")
    assert await journal.orphans("r2") == ()
    for _ in range(3):
        await home.advance(4)
        assert await journal.orphans("r2") == ()
        await journal.beat("r2", "")
    await home.advance(4)
    (orphan,) = await journal.orphans("r2")
    assert (orphan.id, orphan.turn, orphan.replica) == ("s", "t", "r1")
    assert (await journal.claim("", "s", "r2", None)).takeovers == 1
    assert await journal.orphans("r2") == ()


async def test_a_gap_in_ones_own_heartbeats_begins_the_ttl_anew(journal, home):
    await journal.create(new())
    await journal.claim("", "s", "r1", "t")
    await journal.beat("r2", "")
    await home.advance(16)
    await journal.beat("r2", "")
    assert await journal.orphans("r2") == ()
    assert await journal.orphans("stranger") == ()


async def test_what_a_released_replica_holds_is_anybodys_at_once(journal):
    await journal.create(new())
    await journal.claim("", "s", "r1", "t")
    await journal.beat("r2", "")
    assert await journal.orphans("r2") == ()

    await journal.release("r1")

    (orphan,) = await journal.orphans("r2")
    assert orphan.id == "s"
    assert await journal.claim("", "s", "r2", None) is not None
    assert await journal.orphans("r2") == ()


async def test_a_claim_may_bring_its_first_records(journal):
    await journal.create(new())
    lease = await journal.claim("", "s", "r1", "t", (fact("one"), fact("two")))
    assert (lease.seq, lease.head) == (2, 2)
    assert [record.turn for record in await journal.read("", "s")] == ["t", "t"]
    assert await journal.claim("", "s", "r1", "t2", (fact("never"),)) is None
    assert (await journal.append(lease, (fact("three"),), done=True)).lease.seq == 3

    with pytest.raises(NotFoundError):
        await journal.claim("", "s", "r1", "t3", (NewRecord("x", b"{}", parent=99),))
    assert (await journal.get("", "s")).turn is None
    branched = await journal.claim("", "s", "r1", "t4", (NewRecord("x", b"{}", parent=1),))
    assert (await journal.read("", "s", 3))[0].parent == 1
    assert branched.seq == 4


async def test_who_shares_a_past_is_known(journal):
    for name in ("s", "alone"):
        await journal.create(new(name))
        await record(journal, fact(), id=name)
    await journal.fork("", "s", "f")

    assert [await journal.shares_past("", name) for name in ("s", "f", "alone")] == [True, True, False]
    await journal.delete("", "f")
    assert not await journal.shares_past("", "s")
    with pytest.raises(NotFoundError):
        await journal.shares_past("other", "s")


async def test_an_orphans_turn_is_taken_over_before_another_begins(journal, home):
    await journal.create(new())
    await journal.claim("", "s", "r1", "t1")
    await home.advance(16)
    assert await journal.claim("", "s", "r2", "t2") is None
    lease = await journal.claim("", "s", "r2", None)
    await journal.append(lease, (fact("failed"),), done=True)
    assert (await journal.claim("", "s", "r2", "t2")).takeovers == 0


async def test_the_dead_of_this_machine_are_adopted_at_once(journal):
    await journal.create(new("a"))
    await journal.create(new("b"))
    await journal.claim("", "a", "before", "t1")
    await journal.claim("", "b", "alive", "t2")
    assert [each.id for each in await journal.adopt(("before",))] == ["a"]
    assert await journal.claim("", "a", "after", None) is not None
    assert await journal.claim("", "b", "after", None) is None


async def test_a_released_replica_hands_over_at_once(journal):
    await journal.create(new())
    await journal.claim("", "s", "r1", "t")
    await journal.release("r1")
    assert await journal.replicas() == ()
    assert await journal.claim("", "s", "r2", None) is not None


async def test_an_orderly_hand_over_is_no_takeover_and_a_crash_is(journal, home):
    """Three restarts of a server gave up a turn that waited for its approval."""
    await journal.create(new())
    await journal.claim("", "s", "r0", "t")
    for n in range(1, 6):
        await journal.release(f"r{n - 1}")
        assert (await journal.claim("", "s", f"r{n}", None)).takeovers == 0

    await home.advance(16)
    assert (await journal.claim("", "s", "dies", None)).takeovers == 1
    await journal.adopt(("dies",))
    assert (await journal.claim("", "s", "stops", None)).takeovers == 2
    await journal.release("stops")
    lease = await journal.claim("", "s", "r6", None)
    assert lease.takeovers == (await journal.get("", "s")).takeovers == 2


async def test_a_hand_over_is_of_the_turns_that_the_replica_holds(journal, home):
    for name in ("a", "b", "c"):
        await journal.create(new(name))
    await journal.claim("", "a", "one", "t1")
    await journal.claim("", "b", "other", "t2")
    ended = await journal.claim("", "c", "one", "t3")
    await journal.append(ended, (), done=True)

    await journal.release("one")
    await journal.claim("", "c", "other", "t4")
    await home.advance(16)

    assert [(await journal.claim("", name, "new", None)).takeovers for name in ("a", "b", "c")] == [0, 1, 1]


async def test_slots_are_shared_max_min_and_never_overdrawn(journal, home):
    def want(slots):
        return (SlotDemand("m", slots, 10),)

    assert await journal.beat("a", "", (), want(8)) == (SlotGrant("m", 8),)
    assert await journal.beat("b", "", (), want(8)) == (SlotGrant("m", 2),)
    assert await journal.beat("a", "", (), want(8)) == (SlotGrant("m", 5),)
    assert await journal.beat("b", "", (), want(8)) == (SlotGrant("m", 5),)
    assert await journal.beat("b", "", (), want(1)) == (SlotGrant("m", 1),)
    assert await journal.beat("a", "", (), (*want(20), SlotDemand("n", 3, 2))) == (SlotGrant("m", 9), SlotGrant("n", 2))
    await home.advance(16)
    assert await journal.beat("b", "", (), want(10)) == (SlotGrant("m", 10),)


# Background work.


async def test_a_job_is_handed_out_when_its_time_has_come_to_one(journal, home):
    assert await journal.enqueue(b"later", 1_000_010.0, "k2")
    assert await journal.enqueue(b"now", 999_999.0, "k1")
    assert not await journal.enqueue(b"again", 1.0, "k1")
    (job,) = await journal.due()
    assert (job.key, job.body, job.attempts) == ("k1", b"now", 1)
    assert await journal.due() == ()
    await journal.done(job)
    assert await journal.enqueue(b"anew", 1_000_020.0, "k1")
    await home.advance(30)
    assert [each.key for each in await journal.due(limit=5)] == ["k2", "k1"]


async def test_a_job_that_nobody_finished_comes_again(journal, home):
    await journal.enqueue(b"", 1.0, "k")
    (first,) = await journal.due(hold=10)
    await home.advance(11)
    (second,) = await journal.due(hold=10)
    assert second.attempts == 2
    await journal.done(first)
    assert not await journal.enqueue(b"", 1.0, "k")
    await journal.done(second)
    assert await journal.enqueue(b"", 1.0, "k")


# Answers of idempotent requests.

DAY = 86_400.0


async def begin(journal, name="a", fingerprint="b1:x", replica="r1", owner=""):
    return await journal.answer_begin(name, fingerprint, replica, max_age=DAY, owner=owner)


async def test_an_answer_is_begun_once_and_found_from_then_on(journal, home):
    await journal.beat("r1", "")
    made = await begin(journal)
    assert (made.begun, made.body, made.alive) == (True, None, True)
    meanwhile = await begin(await home.open(), fingerprint="b1:y", replica="r2")
    assert (meanwhile.begun, meanwhile.number, meanwhile.fingerprint) == (False, made.number, "b1:x")
    assert (meanwhile.body, meanwhile.alive) == (None, True)
    large = b"x" * (PAYLOAD_BYTES + 1)
    assert await journal.answer_put(made.number, large)
    assert (await begin(journal)).body == large
    assert (await begin(journal, name="b")).begun


async def test_of_many_at_once_one_begins_an_answer(journal, home):
    other = await home.open()
    found = await asyncio.gather(*(begin(each) for each in (journal, other) * 10))
    assert sum(each.begun for each in found) == 1
    assert len({each.number for each in found}) == 1


async def test_an_answer_that_was_dropped_is_begun_again(journal):
    first = await begin(journal)
    await journal.answer_drop(first.number)
    second = await begin(journal, fingerprint="b1:y")
    assert second.begun
    await journal.answer_drop(first.number)
    assert not await journal.answer_put(first.number, b"late")
    assert (await begin(journal)).number == second.number


async def test_an_answer_of_a_dead_replica_stays_begun(journal, home):
    await journal.beat("r1", "")
    first = await begin(journal)
    await home.advance(16)
    found = await begin(journal, replica="r2")
    assert (found.begun, found.number, found.alive, found.body) == (False, first.number, False, None)


async def test_the_first_answer_of_an_attempt_stays(journal):
    made = await begin(journal)
    assert await journal.answer_put(made.number, b"first")
    assert await journal.answer_put(made.number, b"first")  # as after a commit of unknown outcome
    assert not await journal.answer_put(made.number, b"second")
    assert (await begin(journal)).body == b"first"


async def test_an_old_answer_is_replaced_unless_it_is_being_made(journal, home):
    whole, running = await begin(journal, "whole"), await begin(journal, "running")
    await journal.answer_put(whole.number, b"1")
    await home.advance(DAY - 1)
    assert not (await begin(journal, "whole")).begun
    await home.advance(1)
    await journal.beat("r1", "")
    assert (await begin(journal, "whole")).begun
    assert (await begin(journal, "running")).number == running.number


async def test_a_sweep_forgets_old_answers_and_the_oldest_of_too_many(journal, home):
    async def sweep(**given):
        return await journal.answer_sweep(max_age=DAY, max_bytes=1_000, **{"keep": 10, **given})

    for name in "abcdef":
        await journal.answer_put((await begin(journal, name)).number, name.encode())
        await home.advance(1)
    assert await sweep() == 0
    assert await sweep(keep=5) == 1
    await home.advance(DAY - 4)
    await journal.beat("r1", "")
    running = await begin(journal, "running")
    assert await sweep(limit=1) == 1
    assert await sweep() == 1
    assert [(await begin(journal, name)).begun for name in "cdef"] == [True, False, False, False]
    await journal.beat("r1", "")
    assert await sweep(keep=0) == 3
    assert not (await begin(journal, "running")).begun
    assert await journal.answer_put(running.number, b"1")


async def test_answers_are_no_sessions(journal):
    await journal.answer_put((await begin(journal)).number, b"1")
    totals = await journal.totals()
    assert (totals.sessions, totals.messages) == (0, 0)


async def test_a_sweep_forgets_the_oldest_answers_beyond_their_owners_bytes(journal, home):
    async def kept(name, owner, body):
        await journal.answer_put((await begin(journal, name, owner=owner)).number, body)
        await home.advance(1)

    async def names():
        return {name for name in "abcdx" if not (await begin(journal, name, fingerprint="b1:look")).begun}

    await kept("x", "other", b"x" * 90)
    for name in "abcd":
        await kept(name, "ann", name.encode() * 40)
    assert await journal.answer_sweep(max_age=DAY, keep=10, max_bytes=160) == 0
    assert await journal.answer_sweep(max_age=DAY, keep=10, max_bytes=100, limit=1) == 1
    assert await journal.answer_sweep(max_age=DAY, keep=10, max_bytes=100) == 1
    assert await names() == {"c", "d", "x"}


# Retention.


async def stored(journal, home, name, owner="", size=100, **given):
    await journal.create(new(name, owner, **{"surface": "stored", **given}))
    await record(journal, fact(body=b"x" * (size - 2)), fact(), id=name, owner=owner)
    await home.advance(10)


async def left(journal, owner=""):
    return sorted(info.id for info in (await journal.list(owner))[0])


async def expire(journal, *surfaces, **given):
    return await journal.expire(surfaces or ("stored",), **{"max_age": DAY, "max_bytes": 10_000, **given})


async def test_sessions_of_a_surface_expire_by_age(journal, home):
    for name in "abc":
        await stored(journal, home, name)
    await stored(journal, home, "chat", surface="")
    await stored(journal, home, "other", surface="other")
    assert await expire(journal, max_age=1_000) == ()
    assert await expire(journal, max_age=float("inf")) == ()

    assert await expire(journal, max_age=45) == (("", "a"),)
    await record(journal, fact(), id="b", turn="t2")  # is used again
    assert await expire(journal, "stored", "other", max_age=10) == (("", "c"), ("", "other"))
    assert await left(journal) == ["b", "chat"]
    with pytest.raises(NotFoundError):
        await journal.read("", "a")


async def test_the_oldest_sessions_beyond_their_owners_bytes_expire(journal, home):
    for name in "abcd":
        await stored(journal, home, name, "ann")
    await stored(journal, home, "x", "bob", size=PAYLOAD_BYTES * 2)
    await stored(journal, home, "chat", "ann", size=5_000, surface="")

    assert await expire(journal, max_bytes=400) == (("bob", "x"),)
    assert await expire(journal, max_bytes=250, limit=1) == (("ann", "a"),)
    assert await expire(journal, max_bytes=250) == (("ann", "b"),)
    assert await expire(journal, max_bytes=250) == ()
    assert await left(journal, "ann") == ["c", "chat", "d"]
    assert await left(journal, "bob") == []


async def test_a_session_that_runs_a_turn_does_not_expire(journal, home):
    await stored(journal, home, "s")
    lease = await journal.claim("", "s", "r1", "t2", (fact(body=b"x" * 100),))
    await home.advance(DAY * 2)
    assert await expire(journal, max_bytes=0) == ()

    await journal.append(lease, (), done=True)

    assert await expire(journal, max_bytes=0) == (("", "s"),)


async def test_what_a_fork_shares_outlives_the_session_that_expires(journal, home):
    await stored(journal, home, "s")
    await journal.fork("", "s", "fork")
    await home.advance(10)
    await record(journal, fact(body=b"x" * 40), id="fork", turn="t2")

    assert await expire(journal, max_bytes=50) == (("", "s"),)
    assert [each.seq for each in await journal.read("", "fork")] == [1, 2, 3]
    assert await expire(journal, max_bytes=39) == (("", "fork"),)


async def test_any_number_expires_in_batches(journal, home):
    for n in range(25):
        await stored(journal, home, f"s{n}")
    await home.advance(DAY)
    batches = []
    while gone := await expire(journal, limit=10):
        batches.append(len(gone))
    assert batches == [10, 10, 5]
    assert await left(journal) == []


async def test_of_many_that_open_a_journal_at_once_one_does(make_home, monkeypatch):
    """Each looked whether it was open, and opened it then: all but the last one's connections were lost."""
    home = make_home()
    opened = []
    monkeypatch.setattr(
        Writer, "start", lambda self, file, start=Writer.start: (opened.append(file), start(self, file))
    )
    create_pool = asyncpg.create_pool
    monkeypatch.setattr(asyncpg, "create_pool", lambda *a, **k: (opened.append(a), create_pool(*a, **k))[1])
    journal = await home.open()
    await journal.aclose()
    opened.clear()

    await asyncio.gather(*(journal.open() for _ in range(5)))
    await journal.create(new())
    await asyncio.gather(journal.aclose(), journal.aclose())
    await asyncio.gather(journal.open(), journal.aclose(), journal.open())
    assert await journal.create(new("t")) is not None

    assert len(opened) <= 3
    await home.close()
