"""`gaia replay`: what it says, and its exit code. What is compared is tested with the runtime."""

import pytest

from gaia_core import call

ID = "11112222-0000-4000-8000-000000000001"
TOOLS = 'tools = [{ use = "files", root = ".", write = true }]\n'
CODER = f'[agents.coder]\ninstructions = "You code."\n{TOOLS}'


@pytest.fixture
def recorded(record, tmp_path):
    """A session of two turns with a call each; the configuration changes by *change*."""
    (tmp_path / "a.txt").write_text("words\n")
    read = call("read_file", path="a.txt")
    record(read, "It says: words.", read, "Still.", id=ID, says=("Look.", "Again."), config=CODER)
    config = tmp_path / "gaia.toml"

    def changed(old: str, new: str) -> None:
        assert old in config.read_text()
        config.write_text(config.read_text().replace(old, new))

    return changed


def test_the_same_agent_does_the_same(recorded, invoke):
    assert invoke("replay", ID[:5]) == "no divergence: 2 turns, 4 model requests, 2 calls\n"
    assert invoke("replay", ID, "--turn", "2") == "no divergence: 1 turn, 2 model requests, 1 call\n"


def test_no_tool_runs_and_no_model_is_asked(recorded, invoke, tmp_path):
    (tmp_path / "a.txt").unlink()

    assert invoke("replay", ID).startswith("no divergence: ")


def test_what_no_model_is_told(recorded, invoke):
    recorded('"You code."', '"You code."\nlimits.steps = 3')

    assert invoke("replay", ID).endswith("2 calls; the agent is configured otherwise, in what its model is not told\n")


def test_a_divergence_names_the_place_and_both_sides(recorded, invoke):
    recorded(TOOLS, 'tools = [{ use = "files", root = ".", write = true, approve = ["read_file"] }]\n')

    assert invoke("replay", ID, code=1) == (
        'turn 1, step 1, the call read_file(path="a.txt")\n'
        "  recorded: runs without approval\n"
        "  now:      waits for approval: read_file always needs approval\n"
    )
    assert invoke("replay", ID, "--turn", "2", code=1).startswith("turn 2, step 1, the call read_file")


def test_what_a_model_is_told_comes_before_where_the_conversation_parts(recorded, invoke):
    recorded(TOOLS, "")
    system, tools, parted = invoke("replay", ID, code=1).split("turn 1, ")[1:]

    assert system.startswith("step 1, the system text\n  recorded: s1:")
    assert tools.startswith("step 1, the tools\n  recorded: t1:")
    assert parted == (
        'step 2, message 4, the result of read_file(path="a.txt")\n'
        "  recorded: words\n"
        "  now:      There is no tool 'read_file'. Tools: none\n"
    )


def test_long_sides_are_shown_where_they_part(record, invoke, tmp_path):
    (tmp_path / "a.txt").write_text("x" * 900)
    limits = '[agents.coder]\nlimits.result_chars = 800\ntools = [{ use = "files", root = "." }]\n'
    record(call("read_file", path="a.txt"), "Seen.", id=ID, config=limits)
    config = tmp_path / "gaia.toml"
    config.write_text(config.read_text().replace("800", "700"))
    _, old, _, new, _ = invoke("replay", ID, code=1).splitlines()

    assert old == "  recorded: …" + "x" * 140
    assert new == "  now:      …" + "x" * 40


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("9",), "there is no session '9'"),
        ((ID, "--turn", "3"), "there is no turn 3: the conversation has 2"),
        ((ID, "--turn", "0"), "0 is not in the range"),
        ((ID, "--config", "gone.toml"), "does not exist"),
    ],
)
def test_what_cant_be_replayed_is_no_divergence(recorded, invoke, arguments, why):
    invoke("replay", *arguments, code=2, err=why)


def test_an_agent_that_is_gone(recorded, invoke):
    recorded("[agents.coder]", "[agents.other]")

    invoke("replay", ID, code=2, err="Error: there is no agent 'coder'. Did you mean 'other'?")
