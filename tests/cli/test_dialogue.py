"""`gaia chat` in a real terminal: pasting, slash commands, what was typed before, completion."""

import json
import stat

import pytest

AGENTS = (
    '[agents.assistant]\n[agents.reviewer]\ndescription = "Reads diffs."\n[models.other]\nurl = "{url}"\nmodel = "o"\n'
)


def paste(text: str) -> str:
    """What a terminal sends for a pasted text; line feeds are sent as returns."""
    text = text.replace("\n", "\r")
    return f"\x1b[200~{text}\x1b[201~"


@pytest.fixture
def two_agents(endpoint, tmp_path):
    path = tmp_path / "gaia.toml"
    url = path.read_text().split('"')[1]
    path.write_text(path.read_text() + AGENTS.format(url=url))


async def test_a_pasted_text_of_many_lines_is_one_message(endpoint, terminal):
    program = terminal("chat")
    await program.prompt()
    program.type(paste("def f():\n    return 1\n\nprint(f())"))
    await program.until("print(f())")
    assert endpoint.asked == []
    program.type("\r")
    await program.until("Hello.\n>")

    assert [asked["messages"][-1]["content"] for asked in endpoint.asked] == ["def f():\n    return 1\n\nprint(f())"]


async def test_alt_enter_begins_a_new_line(endpoint, terminal):
    program = terminal("chat")
    await program.prompt()
    program.type("one\x1b\rtwo\r")
    await program.until("Hello.\n>")

    assert endpoint.asked[0]["messages"][-1]["content"] == "one\ntwo"


async def test_help_lists_every_command_and_asks_nobody(endpoint, terminal):
    program = terminal("chat")
    await program.prompt()
    program.type("/help\r")
    screen = await program.until(lambda text: "/quit" in text and text.endswith("\n>"))

    for name in ("/help", "/new", "/sessions", "/agent", "/model", "/tools", "/save", "/quit"):
        assert f"\n  {name}" in screen
    assert endpoint.asked == []


async def test_an_unknown_command_is_named_and_not_sent(endpoint, terminal):
    program = terminal("chat")
    await program.prompt()
    program.type("/modle\r")
    await program.until(lambda text: "there is no command /modle. Did you mean '/model'?" in text)
    await program.prompt()
    program.type("/etc/hosts says what?\r")
    await program.until("Hello.\n>")

    assert [asked["messages"][-1]["content"] for asked in endpoint.asked] == ["/etc/hosts says what?"]


async def test_a_new_session_and_back(endpoint, terminal, tmp_path):
    program = terminal("chat")
    await program.prompt()
    program.type("I am Ada.\r")
    await program.until("Hello.\n>")
    program.type("/new\r")
    screen = await program.until(lambda text: "goes back to it" in text and text.endswith("\n>"))
    first = screen.split("left ")[1][:8]
    program.type("Who am I?\r")
    await program.until(lambda text: text.count("Hello.") == 2 and text.endswith("\n>"))
    program.type("/sessions\r")
    await program.until(lambda text: f"\n  {first}  " in text and text.endswith("\n>"))
    program.type(f"/sessions {first}\r")
    await program.until(lambda text: text.count("I am Ada.") > 1 and text.endswith("\n>"))
    program.type("And now?\r")
    await program.until(lambda text: text.count("And now?") == 1 and text.count("Hello.") > 3 and text.endswith("\n>"))

    said = [[message["content"] for message in asked["messages"][1:]] for asked in endpoint.asked]
    assert said == [["I am Ada."], ["Who am I?"], ["I am Ada.", "Hello.", "And now?"]]


async def test_another_agent_and_another_model(two_agents, endpoint, terminal):
    program = terminal("chat")
    await program.prompt()
    program.type("/agent\r")
    listed = await program.until(lambda text: "Reads diffs." in text and text.endswith("\n>"))
    program.type("/agent reviewer\r")
    await program.until(lambda text: "\nreviewer · " in text and text.endswith("\n>"))
    program.type("/model other\r")
    await program.until(lambda text: "\nreviewer · o at " in text and text.endswith("\n>"))
    program.type("Hi\r")
    await program.until("Hello.\n>")
    program.type("/model nothing\r")
    await program.until("✗ ")
    await program.prompt()
    program.type("\x04")
    assert await program.ended() == 0
    again = terminal("chat", "--session", program.screen.text.split("--session ")[1][:8], "Again")
    assert await again.ended() == 0

    assert "* assistant" in listed
    assert [asked["model"] for asked in endpoint.asked] == ["o", "o"], "it stays with the session"


async def test_the_option_model(two_agents, endpoint, gaia):
    code, _, _ = await gaia("chat", "--model", "other", "Hi")
    unknown = await gaia("chat", "--model", "othr", "Hi")

    assert (code, [asked["model"] for asked in endpoint.asked]) == (0, ["o"])
    assert unknown[0] == 1
    assert "Did you mean 'other'" in unknown[2]


async def test_tools_and_saving(endpoint, terminal, tmp_path):
    program = terminal("chat")
    await program.prompt()
    program.type("/tools\r")
    await program.until(lambda text: "  read_file  (read)" in text and text.endswith("\n>"))
    program.type("/save talk.json\r")
    await program.until(lambda text: "nothing to save" in text and text.endswith("\n>"))
    program.type("Hi\r")
    await program.until("Hello.\n>")
    for name in ("talk.json", "talk.md", "talk.md"):
        program.type(f"/save {name}\r")
        await program.prompt()
    await program.until("talk.md exists; nothing was written")

    assert json.loads((tmp_path / "talk.json").read_text())["messages"][1]["content"] == "Hello."
    assert "Hello." in (tmp_path / "talk.md").read_text()


async def test_what_was_typed_is_there_in_the_next_run_and_nobody_elses(endpoint, terminal, tmp_path):
    first = terminal("chat")
    await first.prompt()
    first.type(paste("one\ntwo") + "\r")
    await first.until("Hello.\n>")
    first.type("\x04")
    await first.ended()
    second = terminal("chat")
    await second.prompt()
    second.type("\x1b[A")  # up
    await second.until("> one\n. two")

    file = tmp_path / "data" / "gaia" / "chat_history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_private_conversation_leaves_no_history(endpoint, terminal, tmp_path):
    program = terminal("chat", "--private")
    await program.prompt()
    program.type("a secret\r")
    await program.until("Hello.\n>")
    program.type("\x04")
    await program.ended()

    assert not (tmp_path / "data").exists()


async def test_tab_completes_commands_and_their_arguments(two_agents, endpoint, terminal):
    program = terminal("chat")
    await program.prompt()
    program.type("/ag\t")
    await program.until("> /agent")
    program.type("rev\t\r")

    await program.until(lambda text: "\nreviewer · " in text and text.endswith("\n>"))


async def test_a_resized_terminal_shows_what_is_typed_once(endpoint, terminal):
    program = terminal("chat")
    await program.prompt()
    program.type("a message that is typed")
    await program.until("> a message that is typed")
    for width in (60, 100, 50):
        program.resize(width)
        program.type(".")
        await program.until(lambda text: text.split("> a message that is typed")[-1].startswith("."))
    program.type("\r")
    screen = await program.until("Hello.\n>")

    assert screen.count("a message that is typed") == 1
