"""A path that isn't there is mended for reading when exactly one thing can be meant, and the result says so."""

import pytest

FILES = {
    "README.md": "r",
    "config.ini": "c",
    "src/labels.py": "l",
    "src/store.py": "s",
    "docs/a.md": "1",
    "old/a.md": "2",
}


@pytest.mark.parametrize(
    ("written", "text", "path"),
    [
        ("readme.md", "r", "README.md"),
        ("SRC/Labels.py", "l", "src/labels.py"),
        ("'README.md'", "r", "README.md"),
        ("README.md.", "r", "README.md"),
        ("labels.py", "l", "src/labels.py"),
        ("config", "c", "config.ini"),
        ("work/src/store.py/../labels.py", None, None),
    ],
)
def test_a_path_with_one_meaning_is_read_and_named(workspace, fill, refused, written, text, path):
    fill(FILES)
    if text is None:
        refused("parent-folder", workspace.read, written)
        return
    first, note = workspace.read(written).split("\n")
    assert first == text
    assert note == f"[There is no '{written}'; this is '{path}']"


def test_the_whole_path_in_other_letter_case_is_meant_before_its_end_elsewhere(workspace, fill):
    fill({"a.md": "top", "docs/a.md": "below"})
    assert workspace.read("A.MD").startswith("top\n[There is no 'A.MD'; this is 'a.md']")


@pytest.mark.parametrize("written", ["a.md", "a", "b.md", "read", "docs/labels.py"])
def test_a_path_with_several_meanings_or_none_is_refused(workspace, fill, refused, written):
    fill(FILES)
    refused("not-found", workspace.read, written)


def test_a_path_that_is_there_is_that_one(workspace, fill):
    fill({"a.md": "top", "docs/a.md": "below"})
    assert workspace.read("a.md") == "top"


def test_folders_and_searches_are_mended_too(workspace, fill):
    fill(FILES)
    assert workspace.list("SRC").startswith("src/labels.py\nsrc/store.py\n[There is no 'SRC'")
    assert workspace.list(".\\").startswith("README.md")
    assert workspace.search("s", "Src/Store.py").startswith("src/store.py:1: s\n[There is no")


def test_nothing_is_changed_by_a_mended_path(workspace, fill, refused):
    fill(FILES)
    refused("not-found", workspace.delete, "readme.md")
    refused("not-found", workspace.edit, "readme.md", "r", "x")


def test_a_listed_file_is_read_and_a_read_folder_is_listed(workspace, fill):
    fill(FILES)
    assert workspace.list("config.ini") == "c\n['config.ini' is a file of 1 line; this is its text]"
    fill({"long.txt": "x\n" * 2_001})
    assert workspace.list("long.txt").endswith("start_line=2001]\n['long.txt' is a file; this is its text]")
    assert workspace.read("docs") == "docs/a.md\n['docs' is a folder; this is in it]"


def test_a_search_for_a_name_says_that_there_is_such_a_file(workspace, fill):
    fill(FILES)
    assert "[There is a file of that name, 'src/labels.py'; read it" in workspace.search("labels.py")
    assert "of that name" not in workspace.search("nowhere")
