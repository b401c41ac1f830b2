"""`gaia chat` without a terminal: one message, an answer on stdout, everything else on stderr."""

import pytest


async def test_the_answer_alone_is_on_stdout(endpoint, gaia, tmp_path):
    (tmp_path / "notes.txt").write_text("Buy milk.\n")
    call = endpoint.call("read_file", path="notes.txt")
    endpoint.answers = [[{"reasoning_content": "Hm."}, "Let me look.", call], ["# Milk\n", "\n**Buy** it.\n"]]
    code, out, err = await gaia("chat", "What?")

    assert (code, out) == (0, "Let me look.\n\n# Milk\n\n**Buy** it.\n")
    called, result = err.splitlines()
    assert called == '→ read_file(path="notes.txt")'
    assert result.startswith("← ")
    assert "\x1b" not in out + err


async def test_what_is_piped_in_belongs_to_the_message(endpoint, gaia):
    await gaia("chat", "Review this:", stdin="a diff\n")
    await gaia("chat", stdin="a question\n")

    said = [asked["messages"][-1]["content"] for asked in endpoint.asked]
    assert said == ["a diff\n\nReview this:", "a question"]


@pytest.mark.parametrize("arguments", [("chat",), ("chat", " ")])
async def test_an_empty_message_is_an_error(endpoint, gaia, arguments):
    code, out, err = await gaia(*arguments)

    assert (code, out) == (2, "")
    assert "the message is empty" in err
    assert endpoint.asked == []


async def test_a_failure_is_one_line_and_an_exit_code(endpoint, gaia):
    endpoint.answers = [400]
    code, out, err = await gaia("chat", "Hi")

    assert (code, out) == (1, "")
    assert err.startswith("✗ ")
    assert "the model is broken" in err
    assert err.count("\n") == 1


async def test_nobody_is_asked_for_an_approval(endpoint, gaia, tmp_path):
    config = tmp_path / "gaia.toml"
    config.write_text(
        config.read_text()
        + '[agents.a]\ntools = [{ use = "files", root = ".", write = true, approve = ["write_file"] }]\n'
    )
    endpoint.answers = [[endpoint.call("write_file", path="new.txt", content="a")], ["I may not."]]
    code, out, err = await gaia("chat", "Write.", "--agent", "a")

    assert (code, out) == (0, "I may not.\n")
    assert "✗ Denied: write_file always needs approval, and nobody is here to give it" in err
    assert not (tmp_path / "new.txt").exists()


async def test_a_limit_is_said_and_no_whole_answer(endpoint, gaia, tmp_path):
    config = tmp_path / "gaia.toml"
    config.write_text(config.read_text() + '[agents.a]\nlimits.steps = 1\ntools = [{ use = "files", root = "." }]\n')
    endpoint.answers = [["I look.", endpoint.call("list_files")]]
    code, out, err = await gaia("chat", "Look.")

    assert (code, out) == (1, "I look.\n")
    assert err.endswith("■ the limit of 1 steps is reached\n")


async def test_an_unknown_agent(endpoint, gaia):
    code, _, err = await gaia("chat", "--agent", "asistant", "Hi")

    assert code == 1
    assert err == "Error: there is no agent 'asistant'. Did you mean 'assistant'? There are: assistant\n"


async def test_a_configuration_elsewhere(endpoint, gaia, tmp_path):
    (tmp_path / "other.toml").write_text((tmp_path / "gaia.toml").read_text() + "[agents.other]\n")
    code, out, _ = await gaia("chat", "--config", "other.toml", "-a", "other", "Hi")

    assert (code, out) == (0, "Hello.\n")


async def test_a_broken_tool_traces_only_to_who_wants_it(endpoint, gaia, tmp_path):
    (tmp_path / "broken_tool.py").write_text(
        "from gaia_core import Toolset, tool\n"
        "@tool\ndef fail() -> str:\n    'Fail.'\n    raise KeyError('a bug')\n"
        "def make() -> Toolset:\n    return Toolset('broken', (fail,))\n"
    )
    info = tmp_path / "broken_tool-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-tool\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gaia.toolsets]\nbroken = broken_tool:make\n")
    config = tmp_path / "gaia.toml"
    config.write_text(config.read_text() + '[agents.a]\ntools = [{ use = "broken" }]\n')
    endpoint.answers = [[endpoint.call("fail")], ["Sorry."], [endpoint.call("fail")], ["Sorry."]]

    code, out, quiet = await gaia("chat", "Fail.")
    _, _, verbose = await gaia("chat", "Fail.", "--verbose")

    assert (code, out) == (0, "Sorry.\n")
    assert "✗ Error: fail failed with KeyError." in quiet
    assert "Traceback" not in quiet
    assert "KeyError: 'a bug'" in verbose
