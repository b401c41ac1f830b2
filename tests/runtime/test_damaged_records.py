"""One damaged record costs itself: it is named, and the rest of its session can be read."""

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from gaia_core import Agent, Catalog, DamagedRecordError, JournalError, Runtime, ScriptedModel, scripted
from gaia_core.events import TextDelta, TurnEnded
from gaia_core.facts import Damaged
from gaia_core.journal import branch
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.runtime import messages_of, replay
from gaia_core.runtime.sessions.export import export, shape_of
from gaia_core.turn import Audience, TurnRequest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "j.db"


@pytest.fixture
def opened(path):
    @asynccontextmanager
    async def opened(model):
        catalog = Catalog.of(Agent("a"), models={"local": model})
        async with Runtime(catalog, SQLiteJournal(path), ttl=3_600) as runtime:
            yield runtime

    return opened


def damage(path, seq, body=b'{"type":"answ'):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute("UPDATE record SET body = ? WHERE key & 4294967295 = ?", (body, seq)).rowcount == 1


async def talk(opened, *answers):
    async with opened(scripted(*answers)) as runtime:
        session = await runtime.open("a", id="s")
        for n, _ in enumerate(answers, 1):
            await (await runtime.start(session, f"Question {n}")).result()


@pytest.mark.parametrize("body", [b'{"type":"answ', b"\xff\xfe", b"", "text", None])
async def test_the_rest_of_the_session_is_read_and_says_which_record_is_damaged(opened, path, body):
    """All of it was `500 the server failed`."""
    await talk(opened, "One.", "Two.")
    damage(path, 5, body)  # 1 to 3: the first turn; 4 to 6: the second

    async with opened(scripted("More.")) as runtime:
        facts = await runtime.sessions.facts("", "s")
        info = await runtime.sessions.get("", "s")
        exported = export(shape_of(runtime.catalog, info), facts, as_json=False).content
        assert [row.id for row in (await runtime.sessions.list(""))[0]] == ["s"]
        turn = await runtime.sessions.attach("", "s")
        assert isinstance([event async for event in turn.events()][-1], TurnEnded)

    assert [type(fact) is Damaged for _, fact in facts] == [False] * 4 + [True, False]
    shown = [(each.id, each.role, each.content) for each in messages_of("s", facts)]
    assert [shown[n] for n in (0, 1, 2, 4)] == [
        (1, "user", "Question 1"), (3, "assistant", "One."), (4, "user", "Question 2"), (6, "assistant", shown[4][2]),
    ]  # fmt: skip
    assert shown[3][2].startswith("(Record 5 of this conversation, 'answered', is damaged and can't be shown: ")
    assert "(Record 5 of this conversation, 'answered', is damaged" in exported


async def test_whoever_acts_on_it_is_told_the_session_and_the_record(opened, path):
    await talk(opened, "One.", "Two.")
    damage(path, 5)
    words = r"session 's': record 5 \(answered\) is damaged: .*restore a backup or fork the session before it"

    async with opened(scripted("Three.")) as runtime:
        session = await runtime.open("a", id="s")
        for act in (
            lambda: runtime.history(session),
            lambda: runtime.start(session, "Go on"),
            lambda: runtime.sessions.set_private("", "s", private=True),
        ):
            with pytest.raises(DamagedRecordError, match=words):
                await act()
        with pytest.raises(DamagedRecordError) as raised:
            await runtime.sessions.facts("", "s", strict=True)
        assert (raised.value.session, raised.value.seq) == ("s", 5)

        # What is before it goes on, in a fork.
        await runtime.sessions.fork("", "s", "fork", 3)
        turn = await runtime.start(await runtime.open("a", id="fork"), "Go on")
        assert (await turn.result()).text == "Three."


async def test_a_turn_that_was_left_with_a_damaged_record_ends_and_the_session_is_free(opened, path):
    """It was tried again and again, and the session was busy for the life of the process."""

    async def endless(_request):
        yield TextDelta("on and on")
        await asyncio.Event().wait()

    async with opened(ScriptedModel(endless)) as runtime:
        turn = await runtime.start(await runtime.open("a", id="s"), TurnRequest("go", audience=Audience.BACKGROUND))
        async for event in turn.events():
            if isinstance(event, TextDelta):
                break
    damage(path, 1)

    async with opened(scripted("x")) as runtime:
        async with asyncio.timeout(60):
            while (await runtime.sessions.get("", "s")).turn is not None:
                await asyncio.sleep(0.005)
        records = await runtime.journal.read("", "s")
    ended = json.loads(records[-1].body)
    assert ended["status"] == "failed"
    assert "session 's': record 1 (began) is damaged" in ended["error"]["message"]


async def test_a_damaged_session_is_not_replayed(opened, path):
    await talk(opened, "One.")
    damage(path, 2)
    async with opened(scripted("x")) as runtime:
        facts = await runtime.sessions.facts("", "s")
        with pytest.raises(Exception, match=r"can't be replayed: its record 2 is damaged"):
            replay(facts, lambda began: runtime.catalog.agent(began.agent))


async def test_a_record_that_is_missing_is_named(opened, path):
    await talk(opened, "One.", "Two.")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM record WHERE key & 4294967295 = 4")
    async with opened(scripted("x")) as runtime:
        records = await runtime.journal.read("", "s")
        with pytest.raises(JournalError, match="record 6 of the session is missing, or the one before it"):
            branch(records, 6)
