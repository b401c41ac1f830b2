"""`gaia tools`: the list, what a model is told, and what changed."""

import json
import subprocess
import zipfile

import pytest
from click.testing import CliRunner

from gaia_core.cli import main
from gaia_core.nesting import MAX_NESTING

CONFIG = """
[models.local]
url = "http://127.0.0.1:1/v1"

[agents.writer]
instructions = "You write."
tools = [{ use = "files", root = ".", write = true, approve = ["delete_file"] }]

[agents.talker]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `gaia tools` in an empty folder; its output (stdout, and stderr after it)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAIA_PLUGINS", raising=False)

    def run(*arguments: str, code: int = 0, stdin: str | None = None) -> str:
        result = CliRunner().invoke(main, ["tools", *arguments], input=stdin)
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.stdout + result.stderr

    return run


@pytest.fixture
def record(run, tmp_path):
    """Record the schema of a toolset in a file, changed by a function."""

    def record(name, change=lambda recorded: None) -> str:
        recorded = json.loads(run("schema", "files"))
        change(recorded)
        (tmp_path / name).write_text(json.dumps(recorded))
        return name

    return record


def tool(recorded, name):
    return next(told for told in recorded["tools"] if told["name"] == name)


def test_the_list_is_for_scripts_too(run):
    header, *rows = (line.split("\t") for line in run().splitlines())

    assert header == ["tool", "agent", "from", "effects", "approval", "description"]
    assert ["read_file", "assistant", "files", "read", "no", "Read a text file."] in rows
    assert [row[0] for row in rows] == ["file_info", "find_files", "list_files", "read_file", "search_files"]


def test_the_list_says_what_needs_approval(run, tmp_path):
    (tmp_path / "gaia.toml").write_text(CONFIG)
    approval = {row.split("\t")[0]: row.split("\t")[3:5] for row in run().splitlines()}

    assert approval["delete_file"] == ["write", "asks"]
    assert approval["write_file"] == ["write", "no"]


def test_the_list_names_a_plugin_that_is_broken(run, install):
    install("broken", "gaia.toolsets", {"bad": "no_such_module:make"})

    assert "problem: plugin 'bad' of broken: can't be loaded: ModuleNotFoundError" in run()


def test_the_schema_is_what_a_model_is_told(run):
    told = json.loads(run("schema", "files"))

    assert list(told) == ["fingerprint", "instructions", "tools"]
    assert told["fingerprint"].startswith("t1:")
    assert told["instructions"][0].startswith("Paths are relative to the workspace folder")
    read = tool(told, "read_file")
    assert list(read) == ["name", "description", "parameters"]
    assert read["parameters"]["properties"]["limit"]["maximum"] == 10_000
    assert "write_file" not in [told["name"] for told in told["tools"]]


def test_the_schema_of_an_agent_has_its_own_words(run, tmp_path):
    (tmp_path / "gaia.toml").write_text(CONFIG)
    told = json.loads(run("schema", "writer"))

    assert told["instructions"][0] == "You write."
    assert tool(told, "write_file")
    assert json.loads(run("schema")) == told, "without a name: the default agent"
    assert json.loads(run("schema", "talker"))["tools"] == []


def test_a_name_of_both_an_agent_and_a_toolset(run, tmp_path):
    (tmp_path / "gaia.toml").write_text(CONFIG.replace("talker", "files"))

    assert "say agent:files or toolset:files" in run("schema", "files", code=1)
    assert json.loads(run("schema", "agent:files"))["tools"] == []
    assert json.loads(run("schema", "toolset:files"))["tools"] != []


def test_an_unknown_name(run):
    said = run("schema", "fils", code=1)

    assert "Error: there is no toolset or agent 'fils'. Did you mean 'files'?" in said
    assert "toolsets: files" in said


def test_a_toolset_that_needs_arguments(run, install):
    source = "from gaia_core import Toolset\ndef make(database: str) -> Toolset:\n    return Toolset('t')\n"
    install("needy", "gaia.toolsets", {"database": "needy_tools:make"}, needy_tools=source)

    said = run("schema", "database", code=1)
    assert "toolset database: the toolset 'database' needs 'database'" in said
    assert "Name an agent that uses it instead: assistant" in said


def test_no_difference(run, record):
    old = record("old.json")

    assert run("diff", old, "files") == "no difference\n"
    assert run("diff", "files", "files") == "no difference\n"
    assert run("diff", "-", "files", stdin=run("schema", "files")) == "no difference\n"


def test_a_compatible_change(run, record):
    def change(recorded):
        recorded["instructions"].append("More.")
        del tool(recorded, "list_files")["parameters"]["properties"]["recursive"]
        recorded["tools"].remove(tool(recorded, "read_file"))

    said = run("diff", record("old.json", change), "files")
    assert said == "+ read_file: added\n~ list_files: recursive: added, optional\n~ instructions changed\n"


def test_a_breaking_change(run, record):
    def change(recorded):
        tool(recorded, "read_file")["parameters"]["properties"]["limit"]["maximum"] = 20_000
        recorded["tools"].append({"name": "gone", "description": "", "parameters": {}})

    said = run("diff", record("old.json", change), "files", code=1)
    assert said == "- gone: removed (breaking)\n~ read_file: limit: maximum is 10000 now (breaking)\n"


@pytest.mark.parametrize(("begin", "end"), [('{"items":', "}"), ('{"anyOf":[', "]}")])
def test_the_deepest_schemas_are_compared(run, tmp_path, begin, end):
    def recorded(kind: str, levels: int) -> str:
        times = levels // (1 + begin.count("[")) - 1
        schema = f'{begin * times}{{"type": "{kind}"}}{end * times}'
        tool = f'{{"name": "f", "description": "", "parameters": {schema}}}'
        (tmp_path / f"{kind}.json").write_text(f'{{"tools": [{tool}], "instructions": []}}')
        return f"{kind}.json"

    compared = run("diff", recorded("string", MAX_NESTING), recorded("object", MAX_NESTING), code=1)
    refused = run("diff", recorded("string", 2 * MAX_NESTING), "object.json", code=2)

    assert "(breaking)" in compared
    assert "string.json is no output of `gaia tools schema`: nested deeper than 136 levels" in refused


@pytest.mark.parametrize("content", ["{", "[]", '{"tools": [{"name": 1}]}', '{"tools": "', "\ud800" * 2])
def test_what_is_no_recorded_schema_is_trouble_and_not_a_breaking_change(run, tmp_path, content):
    (tmp_path / "old.json").write_bytes(content.encode("utf-8", "surrogatepass"))

    assert "Error: old.json is no output of `gaia tools schema`" in run("diff", "old.json", "files", code=2)


def test_what_is_neither_a_file_nor_installed(run):
    assert "Error: there is no such file, and there is no toolset or agent 'olf.json'" in run(
        "diff", "olf.json", "files", code=2
    )
    assert "is a directory" in run("--config", ".", "diff", "files", "files", code=2)


def test_a_configuration_that_is_wrong(run, tmp_path):
    (tmp_path / "gaia.toml").write_text("[agents.a]\nmodle = 'x'\n")

    said = run(code=1)
    assert said.startswith("Error: agents.a.modle: unknown key. Did you mean 'model'?")


def test_the_lock_is_written_and_says_what_changed(run, tmp_path):
    (tmp_path / "gaia.toml").write_text(CONFIG)

    assert "gaia.lock is not up to date" in run("lock", "--check", code=1)
    assert "10 tools of 2 agents are locked" in run("lock")
    assert run("lock", "--check") == ""
    (tmp_path / "gaia.toml").write_text(CONFIG.replace(', approve = ["delete_file"]', ""))
    assert "+approval: no" in run("lock", "--check", code=1)
    assert "agent writer: tool delete_file of files" in run("lock")
    assert run("lock", "--check", "--config", str(tmp_path / "gaia.toml")) == ""


def test_what_the_lock_refuses_can_still_be_looked_at(run, tmp_path):
    (tmp_path / "gaia.toml").write_text(CONFIG)
    run("lock")
    (tmp_path / "gaia.toml").write_text(
        CONFIG.replace("write = true", "write = true, prefix = 'x_'").replace("approve", "without")
    )

    assert "x_read_file" in run()
    result = CliRunner().invoke(main, ["chat", "Hello"])
    assert result.exit_code == 1
    assert "tool x_read_file of files (gaia-toolset-files 0.1.0) is not in the lock" in result.output


def test_a_tool_is_shown_with_all_that_an_operator_wants_to_know(run, tmp_path):
    (tmp_path / "gaia.toml").write_text(CONFIG)
    said = run("show", "delete_file")

    assert "  from      files (gaia-toolset-files 0.1.0)" in said
    assert "  effects   write" in said
    assert "  approval  delete_file always needs approval" in said
    assert "  resource  workspace(root), one for each session" in said
    assert str(tmp_path) not in said, "a recipe's arguments may be secret"
    assert '"description": "File or empty folder, relative to the workspace"' in said
    assert "  tokens    about " in said
    assert "there is no tool 'delete_fil'. Did you mean 'delete_file'?" in run("show", "delete_fil", code=1)


def test_a_lock_and_an_agent_are_compared_by_what_the_lock_says_of_that_agent(run, tmp_path):
    config = tmp_path / "gaia.toml"
    config.write_text(
        '[agents.reader]\ntools = [{ use = "files", root = "." }]\n'
        '[agents.writer]\ntools = [{ use = "files", root = ".", write = true }]\n'
    )
    run("lock")
    assert run("diff", "gaia.lock", "reader") == "no difference\n"
    assert run("diff", "writer", "gaia.lock") == "no difference\n"

    config.write_text(config.read_text().replace('root = ".", write = true', 'root = ".", only = ["read_file"]'))
    said = run("diff", "gaia.lock", "writer", code=1)
    assert "- writer/write_file: removed (breaking)" in said
    assert "reader/" not in said
    assert "a lock holds the tools of agents; compare it with one of them (reader, writer)" in run(
        "diff", "gaia.lock", "files", code=2
    )


def test_two_locks_are_compared(run, tmp_path):
    (tmp_path / "gaia.toml").write_text(CONFIG)
    run("lock")
    (tmp_path / "gaia.lock").rename(tmp_path / "old.lock")
    assert run("diff", "old.lock", "old.lock") == "no difference\n"
    (tmp_path / "gaia.toml").write_text(CONFIG.replace("approve", "without"))
    run("lock")
    said = run("diff", "old.lock", "gaia.lock", code=1)

    assert "- writer/delete_file: removed (breaking)" in said
    assert "- writer/delete_file: effects write, asks" in said


SOURCE = """
from gaia_core import Toolset, tool

@tool
def add(a: int{more}) -> int:
    "Add."

def make():
    return Toolset("t", (add,))
"""
PROJECT = "[project]\nname = 'sums'\nversion = '1'\n[project.entry-points.'gaia.toolsets']\nsums = 'sums:make'\n"


def test_two_git_revisions_a_folder_and_a_wheel_are_compared(run, tmp_path, monkeypatch):
    def git(*words: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    project = tmp_path / "package"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    git("init", "-q")
    for more in ("", ", b: int = 0", ", b: int"):
        (project / "sums.py").write_text(SOURCE.format(more=more))
        git("add", ".")
        git("commit", "-qm", "next")
    with zipfile.ZipFile(tmp_path / "sums-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("sums.py", SOURCE.format(more=""))
        wheel.writestr("sums-1.dist-info/entry_points.txt", "[gaia.toolsets]\nsums = sums:make\n")

    assert run("diff", "git:HEAD~2:package", "git:HEAD~1:package") == "~ add: b: added, optional\n"
    assert "~ add: b: required now (breaking)" in run("diff", "git:HEAD~2:package", "git:HEAD:package", code=1)
    assert "~ add: b: required now (breaking)" in run("diff", "sums-1-py3-none-any.whl", "package#sums", code=1)
    assert "select a toolset with #NAME. Did you mean 'sums'?" in run("diff", "package#sum", "package", code=2)
    assert "git:nothing" in run("diff", "git:nothing:package", "package", code=2)
