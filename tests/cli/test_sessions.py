"""`gaia sessions`: conversations in the journal, without a server."""

import asyncio
import json
import subprocess
import sys

import pytest

from gaia_core import call
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.nesting import MAX_NESTING

FIRST = "11112222-0000-4000-8000-000000000001"
SECOND = "11113333-0000-4000-8000-000000000002"
WRITER = '[agents.writer]\ntools = [{ use = "files", root = ".", write = true, approve = ["delete_file"] }]\n'


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


@pytest.fixture
def on_journal(tmp_path):
    """Do something with the journal."""

    def on_journal(work):
        async def run():
            async with SQLiteJournal(tmp_path / "journal.sqlite") as journal:
                return await work(journal)

        return asyncio.run(run())

    return on_journal


@pytest.fixture
def two(record, tmp_path):
    """Two sessions: one with a tool, a later one with two messages."""
    (tmp_path / "notes.txt").write_text("Buy milk.\n")
    record("Let me look.", id="other", agent="writer", config=WRITER)
    record(call("read_file", path="notes.txt"), "Buy **milk**.", id=FIRST, says=("What is in notes.txt?",))
    record("Hello Ada.", "You are Ada.", id=SECOND, says=("I am Ada.", "Who am I?"))


def test_the_list_is_newest_first(two, invoke):
    header, *listed = rows(invoke("sessions", "list"))

    assert header == ["id", "updated", "messages", "agent", "state", "title"]
    assert [(row[0], *row[2:]) for row in listed] == [
        (SECOND, "4", "assistant", "idle", "Hello Ada."),
        (FIRST, "2", "assistant", "idle", "Buy milk."),
        ("other", "2", "writer", "idle", "Let me look."),
    ]
    assert listed[0][1].endswith("+00:00")


def test_the_list_of_some(two, invoke):
    assert [row[0] for row in rows(invoke("sessions", "list", "--limit", "1"))[1:]] == [SECOND]
    assert [row[0] for row in rows(invoke("sessions", "list", "--agent", "writer"))[1:]] == ["other"]


def test_a_search_finds_the_words_of_titles_and_messages(two, invoke):
    assert [row[0] for row in rows(invoke("sessions", "search", "ada", "who"))[1:]] == [SECOND]
    assert rows(invoke("sessions", "search", "nobody"))[1:] == []


def test_a_conversation_is_shown_as_it_was(two, invoke):
    shown = invoke("sessions", "show", FIRST).splitlines()

    assert shown[0].startswith("[1] ")
    assert shown[1:] == [
        "> What is in notes.txt?",
        "[6] assistant",
        '→ read_file(path="notes.txt")',
        "← Buy milk.",
        "Buy **milk**.",
    ]


def test_turns_are_apart(two, invoke):
    shown = invoke("sessions", "show", SECOND).split("\n\n")

    assert len(shown) == 2
    assert shown[0].endswith("> I am Ada.\n[3] assistant\nHello Ada.")
    assert shown[1].endswith("> Who am I?\n[6] assistant\nYou are Ada.\n")


def test_the_facts_are_lines_of_json(two, invoke):
    facts = [json.loads(line) for line in invoke("sessions", "show", "--json", FIRST).splitlines()]

    assert [line["seq"] for line in facts] == [1, 2, 3, 4, 5, 6]
    assert [line["fact"]["type"] for line in facts] == ["began", "answered", "started", "done", "answered", "ended"]
    assert facts[0]["fact"]["message"] == {"role": "user", "content": "What is in notes.txt?"}


def test_the_beginning_of_an_id_is_enough(two, invoke):
    assert "Who am I?" in invoke("sessions", "show", "11113")
    invoke(
        "sessions", "show", "1111", code=1, err=f"2 sessions begin with '1111': {SECOND}, {FIRST}. Type more of the id"
    )
    invoke("sessions", "show", "9", code=1, err="there is no session '9'; `gaia sessions list` shows")
    invoke("sessions", "show", "", code=1, err="there is no session ''")


def test_an_export_in_markdown(two, invoke):
    text = invoke("sessions", "export", SECOND)

    assert text.startswith("# Hello Ada.\n\n## User (20")
    assert text.endswith(")\n\nYou are Ada.\n")


def test_an_export_in_json_can_be_imported(two, invoke, tmp_path):
    assert invoke("sessions", "export", FIRST, "--format", "json", "-o", "out.json") == ""
    exported = json.loads((tmp_path / "out.json").read_text())
    new = invoke("sessions", "import", "out.json").strip()

    assert list(exported) == ["format", "session", "messages"]
    assert exported["messages"][1]["agent_steps"][0]["tool"] == "read_file"
    assert new != FIRST
    assert rows(invoke("sessions", "list"))[1][0] == new
    assert invoke("sessions", "show", new).splitlines()[1:] == [
        "> What is in notes.txt?",
        "[3] assistant",
        "Buy **milk**.",
    ]


def test_an_import_begins_a_journal(invoke):
    said = {"session": {"title": "Talk", "agent_type": "gone"}, "messages": [{"role": "user", "content": "Hi"}]}
    new = invoke("sessions", "import", "-", stdin=json.dumps(said)).strip()

    (row,) = rows(invoke("sessions", "list"))[1:]
    assert (row[0], row[3], row[5]) == (new, "assistant", "Talk")


@pytest.mark.parametrize("content", ["{", "[]", '{"session": {}}', '{"session": {}, "messages": [{"role": "x"}]}'])
def test_what_is_no_export(invoke, tmp_path, content):
    (tmp_path / "in.json").write_text(content)

    invoke("sessions", "import", "in.json", code=1, err="Error: in.json: this is no JSON export of a session: ")


@pytest.mark.parametrize("levels", [MAX_NESTING, MAX_NESTING + 1, 100_000])
def test_an_import_may_be_nested_up_to_the_limit(invoke, tmp_path, levels):
    deep = "[" * (levels - 1) + "]" * (levels - 1)
    (tmp_path / "in.json").write_text(f'{{"session": {{}}, "messages": [], "more": {deep}}}')

    if levels == MAX_NESTING:
        assert invoke("sessions", "import", "in.json")
    else:
        words = "in.json: this is no JSON export of a session: nested deeper than 128 levels, in more[0][0][0]"
        invoke("sessions", "import", "in.json", code=1, err=words)


def test_a_fork_shares_the_past(two, invoke):
    whole = invoke("sessions", "fork", SECOND).strip()
    part = invoke("sessions", "fork", SECOND, "--at", "1").strip()

    assert invoke("sessions", "show", whole) == invoke("sessions", "show", SECOND)
    assert "Hello Ada." in invoke("sessions", "show", part)
    assert "Who am I?" not in invoke("sessions", "show", part)
    invoke("sessions", "fork", SECOND, "--at", "2", code=1, err="there is no message 2 in this session")


def test_deleting_needs_a_yes(two, invoke):
    invoke("sessions", "delete", FIRST, code=2, err="can't be confirmed: pass --yes")
    assert invoke("sessions", "delete", FIRST, "--yes") == ""

    invoke("sessions", "show", FIRST, code=1, err="there is no session")


def test_a_session_whose_turn_runs_elsewhere_is_not_deleted(two, invoke, on_journal):
    assert on_journal(lambda journal: journal.claim("", FIRST, "elsewhere", "turn_1"))

    assert rows(invoke("sessions", "list", "--agent", "assistant"))[2][4] == "running"
    invoke("sessions", "delete", FIRST, "-y", code=1, err=f"session {FIRST} runs a turn in another process (elsewhere)")
    assert invoke("sessions", "show", FIRST)


def test_a_turn_that_a_dead_process_left_is_in_nobodys_way(two, invoke, on_journal):
    script = "from gaia_core.runtime import replica_name; print(replica_name())"
    dead = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True).stdout.strip()
    assert on_journal(lambda journal: journal.claim("", FIRST, dead, "turn_1"))

    invoke("sessions", "delete", FIRST, "-y")


def test_a_turn_that_waits_is_shown_as_far_as_it_is(record, invoke):
    record(call("delete_file", path="a.txt"), id=FIRST, agent="writer", config=WRITER)
    shown = invoke("sessions", "show", FIRST).splitlines()

    assert shown[1:] == ["> Hi", "[…] writer has not answered yet", '→ delete_file(path="a.txt")']
    assert rows(invoke("sessions", "list"))[1][4] == "running"
    shared = invoke("sessions", "fork", FIRST).strip()
    assert invoke("sessions", "show", shared) == "", "what is not said yet can't be shared"


def test_nothing_was_kept_yet(invoke, tmp_path, monkeypatch):
    invoke(
        "sessions",
        "list",
        code=1,
        err=f"Error: there is no journal {tmp_path / 'journal.sqlite'}: nothing was recorded",
    )
    assert not (tmp_path / "journal.sqlite").exists()
    monkeypatch.setenv("GAIA_JOURNAL", "memory")
    invoke("sessions", "list", code=1, err="a journal in memory can't be read by another process")


def test_what_is_no_journal(invoke, tmp_path):
    (tmp_path / "other.sqlite").write_bytes(b"something else" * 100)

    invoke("sessions", "list", "--journal", "other.sqlite", code=1, err="Error: ")


async def test_at_a_terminal(commands, terminal, record):
    await asyncio.to_thread(record, "Seen.", id=FIRST)
    await asyncio.to_thread(record, "Hello \x1b[31mAda.", id=SECOND)
    program = terminal("sessions", "list", "--limit", "1")
    assert await program.ended() == 0
    listed = program.screen.text.splitlines()
    shown = terminal("sessions", "show", SECOND)
    assert await shown.ended() == 0
    deleting = terminal("sessions", "delete", SECOND)
    await deleting.until("Erase")
    deleting.type("y\r")
    assert await deleting.ended() == 0
    left = terminal("sessions", "search", "hello")
    assert await left.ended() == 0

    assert listed[0].split() == ["id", "updated", "messages", "agent", "state", "title"]
    assert listed[1].startswith(f"{SECOND[:8]}  20")
    assert listed[1].endswith("2         assistant  idle   Hello \\u001b[31mAda.")
    assert listed[2] == "1 of 2; --limit shows more"
    assert shown.screen.text.endswith("> Hi\n[3] assistant\nHello �[31mAda.")
    assert "2 messages?" in deleting.screen.text
    assert left.screen.text == "There are no such sessions."
