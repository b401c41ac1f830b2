"""Writing, editing, moving and deleting: whole or not at all, one after the other, and never by surprise."""

import errno
import fcntl
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_files import CallLimits, PathRefused, Workspace
from gaia_files._edit import _Text


def test_a_new_file_comes_with_its_folders(workspace, root):
    assert workspace.write("a/b/c.txt", "one\ntwo") == "Created a/b/c.txt (2 lines, 7 bytes)."
    assert (root / "a/b/c.txt").read_text() == "one\ntwo"


def test_a_file_is_replaced_and_keeps_its_mode(workspace, root, fill, tree):
    fill({"run.sh": "old"})
    os.chmod(root / "run.sh", 0o750)
    assert workspace.write("run.sh", "") == "Replaced run.sh (0 lines, 0 bytes; it had 3 bytes)."
    assert (root / "run.sh").stat().st_mode & 0o7777 == 0o750
    assert tree(root) == ["run.sh"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(workspace, root, fill):
    fill({"a.txt": "old"})
    os.chown(root / "a.txt", 1234, 4321)
    workspace.write("a.txt", "new")
    assert ((root / "a.txt").stat().st_uid, (root / "a.txt").stat().st_gid) == (1234, 4321)


def test_a_new_file_has_the_mode_that_the_system_gives(workspace, root, fill):
    fill({"plain.txt": ""})
    workspace.write("a.txt", "x")
    assert (root / "a.txt").stat().st_mode == (root / "plain.txt").stat().st_mode


def test_a_read_only_file_stays(workspace, root, fill, refused):
    fill({"a.txt": "old"})
    os.chmod(root / "a.txt", 0o444)
    refused("read-only", workspace.write, "a.txt", "new")
    refused("read-only", workspace.edit, "a.txt", "old", "new")
    assert (root / "a.txt").read_text() == "old"


def test_a_file_too_large_is_refused_before_anything_happens(limited, root, fill, refused, tree):
    fill({"a.txt": "aaaa"})
    workspace = limited(write_bytes=10)
    refused("too-large", workspace.write, "new/b.txt", "x" * 11)
    refused("too-large", workspace.edit, "a.txt", "a", "bbbb", replace_all=True)
    refused("too-large", workspace.write, "c.txt", "é" * 6)
    assert tree(root) == ["a.txt"]
    assert (root / "a.txt").read_text() == "aaaa"


def test_text_that_no_file_can_hold_is_refused(workspace, fill, refused):
    fill({"a.txt": "x"})
    refused("encoding", workspace.write, "b.txt", "\ud800")
    refused("encoding", workspace.edit, "a.txt", "x", "\udc80")


@pytest.mark.parametrize("failing", ["write", "fsync", "rename"])
def test_a_failed_write_leaves_the_old_file_and_no_other(workspace, root, fill, refused, tree, monkeypatch, failing):
    fill({"a.txt": "old"})

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    assert "disk is full" in refused("disk-full", workspace.write, "a.txt", "new")
    monkeypatch.undo()
    assert tree(root) == ["a.txt"]
    assert (root / "a.txt").read_text() == "old"


def test_readers_see_the_old_file_or_the_new_one_whole(workspace, root, fill):
    whole = {"a" * 100_000, "b" * 100_000}
    fill({"a.txt": "a" * 100_000})

    def rewrite():
        for turn in range(20):
            workspace.write("a.txt", "ab"[turn % 2] * 100_000)

    thread = threading.Thread(target=rewrite)
    thread.start()
    while thread.is_alive():
        assert (root / "a.txt").read_text() in whole
    thread.join()


def test_an_edit_replaces_the_one_occurrence(workspace, root, fill):
    fill({"a.py": "one = 1\ntwo = 2\n"})
    assert workspace.edit("a.py", "two = 2", "two = 3") == "Replaced 1 occurrence in a.py (line 2)."
    assert (root / "a.py").read_text() == "one = 1\ntwo = 3\n"


def test_an_edit_that_fits_several_places_is_refused_unless_all_are_meant(workspace, root, fill, refused):
    fill({"a.py": "x\ny\nx\nx\n"})
    assert "occurs 3 times in 'a.py' (lines 1, 3, 4)" in refused("not-unique", workspace.edit, "a.py", "x", "z")
    assert workspace.edit("a.py", "x", "z", replace_all=True) == "Replaced 3 occurrences in a.py (lines 1, 3, 4)."
    assert (root / "a.py").read_text() == "z\ny\nz\nz\n"


def test_an_occurrence_that_overlaps_itself_is_not_unique(workspace, fill, refused):
    fill({"a.txt": "aaa"})
    assert "overlapping" in refused("not-unique", workspace.edit, "a.txt", "aa", "b")


def test_many_occurrences_are_named_briefly(workspace, fill, refused):
    fill({"a.txt": "x\n" * 1_000})
    text = refused("not-unique", workspace.edit, "a.txt", "x", "y")
    assert "1,000 times in 'a.txt' (lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …)" in text


def test_an_edit_that_fits_nowhere_says_what_is_near(workspace, fill, refused):
    fill({"a.py": "def f():\n    return  1\n"})
    assert "Line 1 has its first line" in refused("not-found", workspace.edit, "a.py", "def f():\n  return 1", "x")
    assert "letter case" in refused("not-found", workspace.edit, "a.py", "DEF f():", "x")
    assert "copy the text exactly" in refused("not-found", workspace.edit, "a.py", "zzz", "x")
    refused("empty", workspace.edit, "a.py", "", "x")
    refused("no-change", workspace.edit, "a.py", "def", "def")
    refused("not-found", workspace.edit, "b.py", "def", "x")


def test_an_edit_keeps_windows_line_ends(workspace, root, fill):
    fill({"a.txt": "one\r\ntwo\r\nthree\r\n"})
    workspace.edit("a.txt", "one\ntwo", "1\n2\n2b")
    assert (root / "a.txt").read_bytes() == b"1\r\n2\r\n2b\r\nthree\r\n"


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        ("a\r\nb\nc\r\nd\n", "a\nb", "A\nB", "A\r\nB\nc\r\nd\n"),
        ("a\r\nb\nc\r\nd\n", "b\nc\nd", "B\nC\nD", "a\r\nB\nC\r\nD\n"),
        ("a\r\nb\nc\r\nd\n", "c\r\nd", "C", "a\r\nb\nC\n"),
        ("a\r\nb\nc\r\nd\n", "a\n", "A\nA2\n", "A\r\nA2\r\nb\nc\r\nd\n"),
        ("a\nb\r\na\r\nb\n", "b\n", "", "a\na\r\n"),
        ("\ufeffa\r\nb\n", "a\nb", "x\ny", "\ufeffx\r\ny\n"),
    ],
)
def test_what_reading_shows_of_mixed_line_ends_can_be_edited(workspace, root, fill, before, old, new, after):
    fill({"a.txt": before})
    assert old.replace("\r", "") in workspace.read("a.txt") + "\n"
    workspace.edit("a.txt", old, new, replace_all=True)
    assert (root / "a.txt").read_bytes() == after.encode()


@given(
    lines=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["\n", "\r\n"])), min_size=1, max_size=8),
    old=st.sampled_from(["a", "a\nb", "b\na\n", "\n", "a\n"]),
    new=st.sampled_from(["", "c", "c\n", "\n\nc", "c\nc\nc"]),
)
def test_an_edit_of_mixed_line_ends_is_that_of_the_plain_text(lines, old, new):
    text = "".join(line + end for line, end in lines)
    edited = _Text(text, "utf-8", "surrogateescape").replaced(old, new)
    assert edited.replace("\r\n", "\n") == text.replace("\r\n", "\n").replace(old, new)
    assert old in text.replace("\r\n", "\n") or edited == text


@pytest.mark.parametrize(
    ("before", "content", "after", "said"),
    [
        (b"a\r\nb\r\n", "x\ny\n", b"x\r\ny\r\n", "Kept its CRLF line ends."),
        (b"a\r\nb\r\n", "x\r\ny", b"x\r\ny", "Kept its CRLF line ends."),
        (b"\xef\xbb\xbfa\n", "\u00e9\n", b"\xef\xbb\xbf\xc3\xa9\n", "Kept its byte order mark (UTF-8)."),
        (b"\xef\xbb\xbfa\n", "\ufeffb", b"\xef\xbb\xbfb", "Kept its byte order mark (UTF-8)."),
        (
            "\ufeffa\r\n".encode("utf-16-le"),
            "b\n",
            "\ufeffb\r\n".encode("utf-16-le"),
            "Kept its CRLF line ends and its byte order mark (UTF-16).",
        ),
        (b"a\r\nb\n", "x\ny\n", b"x\ny\n", ""),
        (b"a\nb\n", "x\r\n", b"x\r\n", ""),
        (b"\0\r\n", "x\n", b"x\n", ""),
    ],
)
def test_a_replaced_file_keeps_its_line_ends_and_mark_and_says_so(workspace, root, fill, before, content, after, said):
    fill({"a.txt": before})
    answer = workspace.write("a.txt", content)
    assert (root / "a.txt").read_bytes() == after
    assert answer.endswith(said or ").")
    assert ("Kept" in answer) == bool(said)


def test_an_edit_leaves_mixed_line_ends_alone(workspace, root, fill):
    fill({"a.txt": "one\r\ntwo\nthree"})
    workspace.edit("a.txt", "two\nthree", "2\n3")
    assert (root / "a.txt").read_bytes() == b"one\r\n2\n3"


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_an_edit_keeps_encoding_and_byte_order_mark(workspace, root, fill, codec):
    mark = "" if codec == "utf-8-sig" else "\ufeff"
    fill({"a.txt": (mark + "größe Ā rest").encode(codec)})
    workspace.edit("a.txt", "größe", "Größe")
    assert (root / "a.txt").read_bytes() == (mark + "Größe Ā rest").encode(codec)


def test_an_edit_keeps_bytes_that_are_not_utf_8(workspace, root, fill, refused):
    fill({"a.txt": b"gr\xf6\xdfe = 1"})
    workspace.edit("a.txt", "= 1", "= 2")
    assert (root / "a.txt").read_bytes() == b"gr\xf6\xdfe = 2"
    refused("encoding", workspace.edit, "a.txt", "= 2", "= é")


def test_binary_files_are_not_edited(workspace, fill, refused):
    fill({"a.bin": b"\0x", "bad.txt": b"\xff\xfea"})
    refused("binary", workspace.edit, "a.bin", "x", "y")
    refused("encoding", workspace.edit, "bad.txt", "x", "y")


def test_edits_of_many_sessions_at_once_are_all_kept(root, fill):
    fill({"log.txt": "end"})
    failures = []

    def note(name: str) -> None:
        with Workspace(root, CallLimits(lock_seconds=60)) as workspace:
            for turn in range(10):
                try:
                    workspace.edit("log.txt", "end", f"{name}{turn}\nend")
                except PathRefused as error:
                    failures.append(error)

    threads = [threading.Thread(target=note, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted((root / "log.txt").read_text().split()) == sorted(
        ["end", *(f"{name}{turn}" for name in "abcd" for turn in range(10))]
    )


def test_a_folder_that_somebody_else_keeps_locked_is_refused_after_a_while(root, fill, refused):
    fill({"a.txt": "x"})
    held = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with Workspace(root, CallLimits(lock_seconds=0.01)) as workspace:
            refused("busy", workspace.write, "a.txt", "y")
            assert workspace.read("a.txt") == "x"
    finally:
        os.close(held)


def test_a_file_system_without_locks_is_used_without(workspace, root, monkeypatch):
    def unable(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unable)
    workspace.write("a.txt", "x")
    assert (root / "a.txt").read_text() == "x"


def test_files_and_folders_move_and_are_renamed(workspace, root, fill, tree):
    fill({"a.txt": "1", "d/b.txt": "2"})
    assert workspace.move("a.txt", "new/deep/c.txt") == "Moved file a.txt to new/deep/c.txt."
    assert workspace.move("d", "e") == "Moved folder d to e."
    assert workspace.move("e/b.txt", "e/z.txt") == "Moved file e/b.txt to e/z.txt."
    assert tree(root) == ["e", "e/z.txt", "new", "new/deep", "new/deep/c.txt"]


def test_moving_into_a_folder_keeps_the_name(workspace, root, fill, tree):
    fill({"a.txt": "1", "b.txt": "2", "d/x.txt": ""})
    assert workspace.move("a.txt", "d") == "Moved file a.txt to d/a.txt."
    assert workspace.move("b.txt", "later/") == "Moved file b.txt to later/b.txt."
    assert workspace.move("d/a.txt", ".") == "Moved file d/a.txt to a.txt."
    assert tree(root) == ["a.txt", "d", "d/x.txt", "later", "later/b.txt"]


def test_a_move_overwrites_nothing(workspace, root, fill, refused):
    fill({"a.txt": "1", "b.txt": "2", "d/a.txt": "3"})
    refused("exists", workspace.move, "a.txt", "b.txt")
    refused("exists", workspace.move, "a.txt", "d")
    refused("no-change", workspace.move, "a.txt", "./a.txt")
    assert (root / "b.txt").read_text() == "2"
    assert (root / "d/a.txt").read_text() == "3"


def test_moves_that_cannot_be_are_refused_and_make_no_folders(workspace, root, fill, refused, tree):
    fill({"d/a.txt": "1"})
    refused("into-itself", workspace.move, "d", "d/e/f")
    refused("not-found", workspace.move, "x.txt", "new/x.txt")
    refused("folder", workspace.move, ".", "x")
    refused("depth", workspace.move, "d/a.txt", "n/" * 64)
    assert tree(root) == ["d", "d/a.txt"]


def test_two_moves_across_each_other_do_not_wait_forever(root, fill, tree):
    fill({"a/x": "", "b/y": ""})

    def shuttle(name: str, here: str, there: str) -> None:
        with Workspace(root, CallLimits(lock_seconds=60)) as workspace:
            for _ in range(20):
                workspace.move(f"{here}/{name}", f"{there}/{name}")
                workspace.move(f"{there}/{name}", f"{here}/{name}")

    threads = [threading.Thread(target=shuttle, args=way) for way in (("x", "a", "b"), ("y", "b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert tree(root) == ["a", "a/x", "b", "b/y"]


def test_files_and_empty_folders_are_deleted(workspace, root, fill, refused, tree):
    fill({"a.txt": "1", "d/b.txt": "2"})
    (root / "empty").mkdir()
    assert workspace.delete("a.txt") == "Deleted file a.txt."
    assert workspace.delete("empty") == "Deleted folder empty."
    assert "isn't empty" in refused("not-empty", workspace.delete, "d")
    refused("not-found", workspace.delete, "a.txt")
    assert tree(root) == ["d", "d/b.txt"]


def test_folders_are_made_once(workspace, root):
    assert workspace.make_folder("a/b") == "Created folder a/b."
    assert workspace.make_folder("a/b/") == "The folder a/b exists already."
    assert (root / "a" / "b").is_dir()


def test_a_path_that_names_a_folder_is_not_written_as_a_file(workspace, refused):
    refused("folder", workspace.write, "new/", "x")
