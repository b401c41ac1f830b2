"""`gaia chat` in a real terminal: what a person types, presses and sees."""

import pytest

LONG = "".join(f"line_{number} = {number}\n" for number in range(40))
MARKDOWN = f"# Title\n\nSome *words*.\n\n- one\n- two\n\n```python\n{LONG}```\n\nThe **end**.\n"


def pieces(text: str, size: int = 7) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


async def test_a_conversation_goes_on(endpoint, terminal):
    endpoint.answers = [["Hello ", "Ada."], ["You are Ada."]]
    program = terminal("chat")
    greeting = await program.prompt()
    program.type("I am Ada.\r")
    await program.until("Hello Ada.\n>")
    program.type("Who am I?\r")
    screen = await program.until("You are Ada.\n>")
    program.type("\x04")

    assert await program.ended() == 0
    assert "assistant · m at http://127.0.0.1:" in greeting
    assert "5 tools" in greeting
    assert screen.endswith("\n> I am Ada.\nHello Ada.\n> Who am I?\nYou are Ada.\n>")
    said = [(message["role"], message["content"]) for message in endpoint.asked[1]["messages"][1:]]
    assert said == [("user", "I am Ada."), ("assistant", "Hello Ada."), ("user", "Who am I?")]


async def test_ctrl_c_cancels_the_turn_and_not_the_program(endpoint, terminal):
    endpoint.answers = [["Once upon ", None, "a time"], ["Still here."]]
    program = terminal("chat")
    await program.prompt()
    program.type("Tell me a story.\r")
    await program.until("Once upon")
    await endpoint.waiting.wait()
    program.type("\x03")
    screen = await program.until("■ cancelled\n>")
    await endpoint.gone.wait()
    program.type("Are you here?\r")
    await program.until("Still here.\n>")

    assert screen.count("Once upon") == 1
    assert program.process.poll() is None


async def test_ctrl_c_before_the_first_word(endpoint, terminal):
    endpoint.answers = [[None]]
    program = terminal("chat")
    await program.prompt()
    program.type("Think.\r")
    await endpoint.waiting.wait()
    program.type("\x03")

    assert (await program.until("cancelled\n>")).endswith("> Think.\n■ cancelled\n>")


async def test_ctrl_c_at_a_prompt_clears_what_is_typed_and_then_leaves(endpoint, terminal):
    program = terminal("chat")
    await program.prompt()
    program.type("never sent")
    await program.until("> never sent")
    program.type("\x03")
    await program.prompt()
    assert program.process.poll() is None
    program.type("\x03")

    assert await program.ended() == 0
    assert endpoint.asked == []


@pytest.mark.parametrize("word", ["exit", "/quit"])
async def test_words_that_leave(endpoint, terminal, word):
    program = terminal("chat")
    await program.prompt()
    program.type(f"{word}\r")

    assert await program.ended() == 0


async def test_a_message_of_many_lines(endpoint, terminal):
    program = terminal("chat")
    await program.prompt()
    program.type("one\\\r")
    await program.until("\n.")
    program.type("two\r")
    await program.until("Hello.\n>")

    assert endpoint.asked[0]["messages"][-1]["content"] == "one\ntwo"


@pytest.mark.parametrize("height", [10, 24])
async def test_markdown_is_drawn_as_it_comes_and_nothing_twice(endpoint, terminal, height):
    endpoint.answers = [pieces(MARKDOWN)]
    program = terminal("chat", "Write", height=height)

    assert await program.ended() == 0
    lines = program.screen.text.split("\n")
    code = [f" line_{number} = {number}" for number in range(40)]
    assert [line for line in lines if line] == [
        " " * 37 + "Title",
        "Some words.",
        " • one",
        " • two",
        *code,
        "The end.",
    ]
    assert "\x1b[?25l" in program.raw
    assert program.raw.rindex("\x1b[?25h") > program.raw.rindex("\x1b[?25l"), "the cursor stays hidden"


async def test_tools_and_reasoning(endpoint, terminal, tmp_path):
    (tmp_path / "notes.txt").write_text("Buy milk.\n")
    call = endpoint.call
    endpoint.answers = [
        [{"reasoning_content": "A file"}, {"reasoning_content": "?\n"}, call("read_file", path="notes.txt")],
        [call("read_file", path="a.txt"), call("read_file", 1, path="notes.txt")],
        ["Milk."],
    ]
    program = terminal("chat", "What?")

    assert await program.ended() == 0
    shown = program.screen.text.split("\n")
    assert shown[:4] == ["A file?", "", '→ read_file(path="notes.txt")', shown[3]]
    assert shown[3].startswith("← ")
    assert "Buy milk." in shown[3]
    assert any(line.startswith("✗ read_file: Error:") for line in shown)
    assert any(line.startswith("← read_file: ") for line in shown)
    assert shown[-2:] == ["", "Milk."]
    assert "\x1b[2;3mA file" in program.raw


WRITING = '[agents.a]\ntools = [{ use = "files", root = ".", write = true, approve = ["write_file"] }]\n'


def allow_writing(folder) -> None:
    path = folder / "gaia.toml"
    path.write_text(path.read_text() + WRITING)


@pytest.mark.parametrize(
    ("typed", "result", "written"),
    [("y", "← ", True), ("n", "✗ Denied: the user said no", False), ("wrong file", "✗ Denied: wrong file", False)],
)
async def test_an_approval_is_asked_for(endpoint, terminal, tmp_path, typed, result, written):
    allow_writing(tmp_path)
    endpoint.answers = [[endpoint.call("write_file", path="new.txt", content="a\nb")], ["So be it."]]
    program = terminal("chat", "Write.")
    screen = await program.until("why not:")
    assert not (tmp_path / "new.txt").exists()
    program.type(f"{typed}\r")

    assert await program.ended() == 0
    assert (
        "? write_file always needs approval:\n  write_file\n  path: new.txt\n  content:\n    │ a\n    │ b\n" in screen
    )
    assert f"\n{result}" in program.screen.text
    assert program.screen.text.endswith("So be it.")
    assert (tmp_path / "new.txt").exists() is written


async def test_ctrl_c_at_an_approval_cancels_the_turn(endpoint, terminal, tmp_path):
    allow_writing(tmp_path)
    endpoint.answers = [[endpoint.call("write_file", path="new.txt", content="a")], ["Still here."]]
    program = terminal("chat")
    await program.prompt()
    program.type("Write.\r")
    await program.until("why not:")
    program.type("\x03")
    await program.until("■ cancelled\n>")
    program.type("Hello?\r")
    await program.until("Still here.\n>")

    assert not (tmp_path / "new.txt").exists()


async def test_an_approval_that_comes_too_late(endpoint, terminal, tmp_path):
    allow_writing(tmp_path)
    path = tmp_path / "gaia.toml"
    path.write_text(path.read_text() + "[agents.a.approvals]\ntimeout = 0.2\n")
    endpoint.answers = [[endpoint.call("write_file", path="new.txt", content="a")], ["Nobody was here."]]
    program = terminal("chat", "Write.")

    assert await program.ended() == 0
    assert "✗ Denied: nobody answered within 0.2 s" in program.screen.text
    assert program.screen.text.endswith("Nobody was here.")


async def test_an_error_is_a_line_and_the_conversation_goes_on(endpoint, terminal):
    endpoint.answers = [400, ["Better."]]
    program = terminal("chat")
    await program.prompt()
    program.type("Hi\r")
    screen = await program.until(lambda text: "the model is broken" in text and text.endswith("\n>"))
    program.type("Again\r")
    await program.until("Better.\n>")

    assert "\n✗ " in screen
    assert "Traceback" not in screen


async def test_the_table_of_tools(endpoint, terminal):
    program = terminal("tools")

    assert await program.ended() == 0
    header, *rows = program.screen.text.split("\n")
    assert header.split() == ["tool", "agent", "from", "effects", "approval", "description"]
    assert any(row.startswith("read_file") and "Read a text" in row for row in rows)
