"""`gaia chat` in sessions that last: a new one, one to go on with, one of which nothing stays."""

import asyncio

import pytest

from gaia_core import call
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.runtime import messages_of, read_facts

ID = "11112222-0000-4000-8000-000000000001"
WRITER = '[agents.writer]\ntools = [{ use = "files", root = ".", write = true, approve = ["delete_file"] }]\n'


@pytest.fixture
def kept(tmp_path):
    """The sessions that are kept, newest first."""

    async def kept():
        async with SQLiteJournal(tmp_path / "journal.sqlite") as journal:
            return (await journal.list(""))[0]

    return kept


@pytest.fixture
def said(tmp_path):
    """What was said in a session: who, and what."""

    async def said(id: str):
        async with SQLiteJournal(tmp_path / "journal.sqlite") as journal:
            messages = messages_of(id, await read_facts(journal, "", id))
            return [(message.role, message.content) for message in messages]

    return said


@pytest.fixture
async def left(record, tmp_path, endpoint):
    """What a call would delete that waits for its approval, in a session that a stopped process left."""
    config = (tmp_path / "gaia.toml").read_text() + WRITER
    (tmp_path / "a.txt").write_text("a")
    await asyncio.to_thread(
        record, "Hello Ada.", call("delete_file", path="a.txt"), id=ID, says=("I am Ada.", "Delete a."), config=WRITER
    )
    (tmp_path / "gaia.toml").write_text(config)
    endpoint.answers = [["It is gone."]]
    return tmp_path / "a.txt"


async def test_each_message_is_a_session_to_go_on_with(endpoint, gaia, kept):
    endpoint.answers = [["Hello Ada."], ["You are Ada."]]
    await gaia("chat", "I am Ada.")
    (session,) = await kept()
    code, out, err = await gaia("chat", "--session", session.id[:6], "Who am I?")

    assert (code, out, err) == (0, "You are Ada.\n", "")
    assert [message["content"] for message in endpoint.asked[1]["messages"][1:]] == [
        "I am Ada.",
        "Hello Ada.",
        "Who am I?",
    ]
    (session,) = await kept()
    assert (session.title, session.message_count, session.turn) == ("Hello Ada.", 4, None)


async def test_a_private_one_leaves_nothing(endpoint, gaia, tmp_path):
    assert (await gaia("chat", "--private", "Hi"))[:2] == (0, "Hello.\n")

    assert {path.name for path in tmp_path.iterdir()} == {"gaia.toml"}


@pytest.mark.parametrize("option", [("--session", "1"), ("--journal", "j.db")])
async def test_a_private_one_goes_with_no_kept_one(endpoint, gaia, option):
    code, _, err = await gaia("chat", "--private", *option, "Hi")

    assert code == 2
    assert "Error: --private records nothing; it can't be combined with --session or --journal" in err


async def test_another_place(endpoint, gaia, tmp_path):
    await gaia("chat", "--journal", "mine.db", "Hi")

    assert (tmp_path / "mine.db").exists()
    assert not (tmp_path / "journal.sqlite").exists()


async def test_no_such_session(endpoint, gaia):
    code, _, err = await gaia("chat", "--session", "9", "Hi")

    assert code == 1
    assert err == "Error: there is no session '9'; `gaia sessions list` shows the existing ones\n"


async def test_the_session_keeps_its_agent_until_another_is_named(endpoint, gaia, kept, tmp_path):
    config = tmp_path / "gaia.toml"
    agents = '[agents.a]\ninstructions = "A."\n[agents.b]\ninstructions = "B."\n'
    config.write_text(f'default_agent = "a"\n{config.read_text()}{agents}')
    await gaia("chat", "Hi", "--agent", "b")
    (session,) = await kept()
    await gaia("chat", "--session", session.id, "Hi")
    await gaia("chat", "--session", session.id, "--agent", "a", "Hi")
    await gaia("chat", "--session", session.id, "Hi")

    assert [asked["messages"][0]["content"] for asked in endpoint.asked] == ["B.", "B.", "A.", "A."]


async def test_a_session_that_is_in_use_elsewhere(endpoint, gaia, record, tmp_path):
    config = (tmp_path / "gaia.toml").read_text()
    await asyncio.to_thread(record, "Hello.", id=ID)
    (tmp_path / "gaia.toml").write_text(config)
    async with SQLiteJournal(tmp_path / "journal.sqlite") as journal:
        assert await journal.claim("", ID, "elsewhere", "turn_1")
        code, _, err = await gaia("chat", "--session", ID, "Hi")

    assert code == 1
    assert err == f"Error: session {ID} has a turn that has not ended; continue it at a terminal\n"
    assert endpoint.asked == []


async def test_at_a_terminal_it_begins_with_what_was_said_last(endpoint, terminal, record, tmp_path):
    config = (tmp_path / "gaia.toml").read_text()
    answers = ["Hello.", "Yes.", "No. " * 100, "One\n\n- two"]
    await asyncio.to_thread(record, *answers, id=ID, says=("Hi", "Right?", "Wrong?", "List."))
    (tmp_path / "gaia.toml").write_text(config)
    program = terminal("chat", "--session", ID[:4])
    screen = await program.prompt()
    program.type("Go on.\r")
    await program.until("Hello.\n>")
    program.type("\x04")

    assert await program.ended() == 0
    shown = screen.split("lists the commands\n")[1]
    assert shown.startswith("… 2 earlier messages\n> Right?\n  Yes.\n> Wrong?\n  No. No. ")
    assert shown.endswith("No. …\n> List.\n  One - two\n>")
    assert program.screen.text.endswith(f"\ncontinue with: gaia chat --session {ID[:8]}")
    assert len(endpoint.asked[0]["messages"]) == 10


async def test_who_says_nothing_leaves_no_session(endpoint, terminal, kept):
    program = terminal("chat")
    await program.prompt()
    program.type("\x04")

    assert await program.ended() == 0
    assert "--session" not in program.screen.text
    assert await kept() == ()


@pytest.mark.parametrize(("answer", "there"), [("y", False), ("it is mine", True)])
async def test_an_approval_that_a_stopped_process_left_is_asked_here(left, endpoint, terminal, said, answer, there):
    program = terminal("chat", "--session", ID)
    screen = await program.until("or why not:")
    program.type(f"{answer}\r")
    await program.until("It is gone.\n>")
    program.type("\x04")

    assert await program.ended() == 0
    assert "> I am Ada.\n  Hello Ada.\n> Delete a.\n" in screen
    assert '→ delete_file(path="a.txt")\n? delete_file always needs approval:\n' in screen
    assert left.exists() is there
    assert (await said(ID))[2:] == [("user", "Delete a."), ("assistant", "It is gone.")]


async def test_an_approval_that_nobody_can_give_here_stays(left, endpoint, gaia, kept):
    code, _, err = await gaia("chat", "--session", ID, "And?")

    assert code == 1
    assert "continue it at a terminal" in err
    assert left.exists()
    (session,) = await kept()
    assert session.turn is not None


async def test_another_sessions_turn_is_left_alone(left, endpoint, gaia, kept):
    assert (await gaia("chat", "Hi"))[0] == 0

    assert {session.id: session.turn is not None for session in await kept()}[ID]
    assert len(endpoint.asked) == 1
