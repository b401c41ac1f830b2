"""Paths as models write them: taken where one meaning exists, else the refusal names the nearest path in full."""

import unicodedata

import pytest

from gaia_files._path_resolution import PathRefused

NFC, NFD = "café/naïve.txt", unicodedata.normalize("NFD", "café/naïve.txt")


@pytest.mark.parametrize("path", [".\\src\\a.py", "src\\a.py", "./src/a.py", "/src/a.py", ".//src/a.py"])
def test_local_habits_are_taken_where_one_meaning_exists(workspace, fill, path):
    fill({"src/a.py": "here"})
    path = path.replace("\\", "\\")
    assert workspace.read(path) == "here"
    assert "path: src/a.py" in workspace.info(path)
    assert workspace.edit(path, "here", "there") == "Replaced 1 occurrence in src/a.py (line 1)."


def test_dot_and_backslash_is_the_folder_itself(workspace, fill):
    fill({"a.py": ""})
    assert workspace.list(".\\") == workspace.list("./") == workspace.list("/") == "a.py"


def test_a_name_that_has_a_backslash_is_taken_as_it_is(workspace, root, fill):
    fill({"src\\a.py": "one name", "src/a.py": "in a folder"})
    assert workspace.read("src\\a.py") == "one name"


def test_new_files_are_written_where_the_folder_exists(workspace, root, fill, refused, tree):
    fill({"src/a.py": ""})
    workspace.write("src\\new.py", "x")
    workspace.move("src\\new.py", "src\\moved.py")
    assert tree(root) == ["src", "src/a.py", "src/moved.py"]
    assert "forward slashes" in refused("not-found", workspace.write, "nowhere\\new.py", "x")
    assert "such as 'src/new.py'" in refused("absolute-path", workspace.write, "/src/new.py", "x")
    assert tree(root) == ["src", "src/a.py", "src/moved.py"]


def test_no_habit_leads_outside(workspace, outside, refused, secret):
    refused("absolute-path", workspace.read, str(outside / "secret.txt"))
    refused("parent-folder", workspace.read, "..\\outside\\secret.txt")
    refused("parent-folder", workspace.read, "/../outside/secret.txt")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("scr/deep/a.py", "Did you mean 'src/deep/a.py'?"),
        ("src/deep/b.py", "Did you mean 'src/deep/a.py'?"),
        ("src/a.py", "Did you mean 'src/deep/a.py'?"),
        ("a.py", "Did you mean 'src/deep/a.py'?"),
        ("SRC\\DEEP\\A.PY", "Did you mean 'src/deep/a.py'?"),
    ],
)
def test_a_hint_names_the_nearest_path_with_all_its_folders(workspace, fill, refused, path, hint):
    fill({"src/deep/a.py": "", "docs/x.md": ""})
    # Not by reading, which takes a path with one meaning (test_mending.py).
    assert hint in refused("not-found", workspace.info, path)


def test_the_hint_of_an_absolute_path_keeps_the_folders_that_exist(workspace, fill, refused):
    fill({"src/deep/a.py": ""})
    text = refused("absolute-path", workspace.read, "/home/me/project/src/deep/a.py")
    assert "such as 'src/deep/a.py'" in text


@pytest.mark.parametrize(("there", "asked"), [(NFC, NFD), (NFD, NFC), (NFD, NFD)])
def test_a_name_is_found_in_either_unicode_form(workspace, root, fill, tree, there, asked):
    fill({there: "text"})
    assert workspace.read(asked) == "text"
    workspace.edit(asked, "text", "new")
    workspace.write(asked, "newer")
    assert (root / there).read_text() == "newer"
    assert len(tree(root)) == 2
    name = asked.rpartition("/")[2]
    assert there in workspace.find(name)
    assert there in workspace.list(".", f"**/{name}")
    assert there in workspace.search("newer", ".", name)
    workspace.delete(asked)
    assert not (root / there).exists()


def test_two_forms_of_one_name_are_told_apart(workspace, fill):
    fill({NFC: "composed", NFD: "decomposed"})
    assert (workspace.read(NFC), workspace.read(NFD)) == ("composed", "decomposed")


def test_a_name_that_two_files_have_in_other_forms_is_neither(workspace, fill):
    composed, decomposed = (unicodedata.normalize(form, "éé.txt") for form in ("NFC", "NFD"))
    fill({composed: "composed", decomposed: "decomposed"})

    with pytest.raises(PathRefused, match="There is no"):
        workspace.read(composed[0] + decomposed[2:])


def test_a_hint_keeps_the_folders_that_were_given(workspace, fill, refused):
    fill({"src/a.md": "x", "docs/a.md": "x"})
    assert "Did you mean 'src/a.md'?" in refused("not-found", workspace.delete, "srd/a.md")


def test_a_hint_for_a_new_file_says_the_path_below_the_root(workspace, fill, refused):
    fill({"src/a.md": "x"})
    assert "'src/new.md'" in refused("absolute-path", workspace.write, "/src/new.md", "x")
