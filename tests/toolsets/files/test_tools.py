"""The toolset: what a model is told, what it may do, and that the workspace's words reach it."""

import json
from pathlib import Path

import pytest

import gaia_files
from gaia_core import ConfigError, Context, ToolError, Toolset
from gaia_files import Workspace, files

READING = ("file_info", "find_files", "list_files", "read_file", "search_files")
WRITING = ("delete_file", "edit_file", "make_folder", "move_file", "write_file")


@pytest.fixture
def call(root, workspace):
    """Call a tool as a runtime does: JSON arguments, validated by its schema."""
    toolset = files(root, write=True)

    def run(name: str, /, **arguments: object) -> str:
        tool = toolset[name]
        decoded = tool.parameters.decode(name, json.dumps(arguments))
        named = {field: getattr(decoded, field) for field in decoded.__struct_fields__}
        return tool(Context(workspace), **named)

    return run


def test_reading_is_all_that_is_allowed_unless_writing_is_asked_for(root):
    assert files(root).names == READING
    assert files(root).effects == {"read"}
    assert set(files(root, write=True).names) == {*READING, *WRITING}
    assert {tool.name for tool in files(root, write=True) if "write" in tool.effects} == set(WRITING)


def test_instructions_name_no_tool_that_is_not_there(root):
    for name in WRITING:
        assert name not in files(root).instructions
    assert "edit_file" in files(root, write=True).instructions
    assert "my_read_file" in files(root).prefixed("my_").instructions


def test_equal_folders_make_equal_toolsets(root):
    assert files(root) == files(root / "x" / "..")
    assert hash(files(root)) == hash(files(root))
    assert files(root) != files(root.parent)
    assert files(root).fingerprint == files(root.parent).fingerprint


def test_two_folders_can_be_had_at_once(root, outside):
    both = files(root).prefixed("a_") | files(outside).prefixed("b_")
    assert isinstance(both, Toolset)
    assert len(both) == 2 * len(READING)


def test_a_relative_root_is_made_absolute(root, monkeypatch):
    monkeypatch.chdir(root)
    assert files() == files(Path()) == files(root)


def test_making_the_toolset_opens_nothing(tmp_path):
    toolset = files(tmp_path / "later")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.txt").write_text("hello")
    recipe = toolset.get("read_file").resource
    opened = recipe.open()
    workspace = next(opened)
    assert toolset["read_file"](Context(workspace), "a.txt") == "hello"
    opened.close()
    with pytest.raises(ToolError, match="closed"):
        toolset["list_files"](Context(workspace))


def test_a_root_that_is_a_file_is_a_configuration_error(root):
    (root / "a.txt").write_text("")
    with pytest.raises(ConfigError, match=r"a\.txt' is not a folder"):
        files(root / "a.txt")


def test_a_root_that_does_not_exist_is_told_at_the_first_call(root):
    recipe = files(root / "none").get("read_file").resource
    with pytest.raises(ToolError, match=r"does not exist\. Create it first"):
        next(recipe.open())


def test_the_plainest_calls_work(call, fill):
    fill({"a.txt": "hello\n", "d/b.txt": "hello"})
    assert call("list_files") == call("list_files", path="") == call("list_files", path=".") == "a.txt\nd/"
    assert call("read_file", path="a.txt") == "hello"
    assert call("find_files", name="b") == "d/b.txt"
    assert call("search_files", text="hello") == "a.txt:1: hello\nd/b.txt:1: hello"
    assert call("file_info", path="a.txt").startswith("path: a.txt\nkind: file\nsize: 6 bytes")


def test_optional_arguments_arrive(call, fill):
    fill({"a.txt": "1\n2\n3\n", "d/b.txt": "Two"})
    assert call("read_file", path="a.txt", start_line=2, limit=1).startswith("2\n[… 1 more line;")
    assert call("read_file", path="a.txt", encoding="latin-1") == "1\n2\n3"
    assert call("list_files", recursive=True, glob="b.*") == "d/b.txt"
    assert call("search_files", text="two", path="d", glob="*.txt", case_sensitive=True).startswith("[Nothing")


def test_changes_are_made_and_told(call, root):
    assert call("write_file", path="a.txt", content="one two two") == "Created a.txt (1 line, 11 bytes)."
    assert call("edit_file", path="a.txt", old_text="one", new_text="1").startswith("Replaced 1 occurrence")
    assert call("edit_file", path="a.txt", old_text="two", new_text="2", replace_all=True).startswith("Replaced 2")
    assert (root / "a.txt").read_text() == "1 2 2"
    assert call("make_folder", path="d") == "Created folder d."
    assert call("move_file", path="a.txt", new_path="d") == "Moved file a.txt to d/a.txt."
    assert call("delete_file", path="d/a.txt") == "Deleted file d/a.txt."


def test_a_refusal_reaches_the_model_in_words(call):
    with pytest.raises(ToolError) as caught:
        call("read_file", path="../x")
    assert str(caught.value) == (
        "'../x': '..' is not allowed. Write the path from the top of the workspace. [rule: parent-folder]"
    )


def test_a_cancelled_call_stops(root, workspace, fill):
    fill({"a.txt": "hello"})
    answer = files(root)["search_files"](Context(workspace, cancelled=lambda: True), "hello")
    assert "stopped because the call was cancelled" in answer


def test_the_package_names_what_is_public():
    assert sorted(gaia_files.__all__) == gaia_files.__all__
    assert all(hasattr(gaia_files, name) for name in gaia_files.__all__)
    assert gaia_files.Workspace is Workspace
