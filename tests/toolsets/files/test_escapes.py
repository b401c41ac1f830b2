"""No path leaves the root, whatever it is spelled like and whatever happens to the folders meanwhile."""

import os
import shutil
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from gaia_files import PathRefused, Workspace

SWAPS = 300


def calls(workspace, path):
    """Every call that takes a path, on *path*."""
    return {
        "list": lambda: workspace.list(path),
        "list recursive": lambda: workspace.list(path, recursive=True),
        "find": lambda: workspace.find("secret", path),
        "search": lambda: workspace.search("secret", path),
        "read": lambda: workspace.read(path),
        "info": lambda: workspace.info(path),
        "write": lambda: workspace.write(path, "overwritten"),
        "edit": lambda: workspace.edit(path, "secret", "overwritten"),
        "move from": lambda: workspace.move(path, "moved"),
        "move to": lambda: workspace.move("inside.txt", path),
        "delete": lambda: workspace.delete(path),
        "make folder": lambda: workspace.make_folder(path),
    }


CALLS = tuple(calls(None, ""))


@pytest.fixture
def untouched(outside, tree, secret):
    """Checks at the end that the folder outside is as it was."""
    yield
    assert tree(outside) == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == secret


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("..", "parent-folder"),
        ("../outside/secret.txt", "parent-folder"),
        ("a/../../outside/secret.txt", "parent-folder"),
        ("./../outside/secret.txt", "parent-folder"),
        ("/etc/passwd", "absolute-path"),
        ("//etc/passwd", "absolute-path"),
        ("secret\0.txt", "null-byte"),
        ("\udcff", "encoding"),
        ("n" * 256, "name-length"),
        ("é" * 128, "name-length"),
        ("n/" * 65, "depth"),
        ("n/" * 3_000, "path-length"),
    ],
)
def test_a_bad_path_is_refused_by_every_call(workspace, fill, refused, untouched, call, path, rule):
    fill({"inside.txt": "secret"})
    if call == "write" and path.endswith("/"):
        path += "n"
    refused(rule, calls(workspace, path)[call])


@pytest.mark.parametrize("call", [name for name in CALLS if name != "delete"])
@pytest.mark.parametrize("target", ["absolute", "relative", "chain"])
def test_a_link_to_a_file_outside_is_never_followed(workspace, root, fill, outside, untouched, secret, call, target):
    fill({"inside.txt": "x"})
    if target == "chain":
        (root / "hop").symlink_to("../outside/secret.txt")
    targets = {"absolute": outside / "secret.txt", "relative": "../outside/secret.txt", "chain": "hop"}
    (root / "link").symlink_to(targets[target])
    with pytest.raises(PathRefused) if call != "info" else suppress(PathRefused):
        result = calls(workspace, "link")[call]()
        assert secret not in result


@pytest.mark.parametrize("call", CALLS)
def test_a_link_to_a_folder_outside_is_never_entered(workspace, root, fill, outside, untouched, refused, call):
    fill({"inside.txt": "x"})
    (root / "door").symlink_to(outside, target_is_directory=True)
    refused("symbolic-link", calls(workspace, "door/secret.txt")[call])


def test_deleting_a_link_leaves_its_target(workspace, root, outside, untouched):
    (root / "link").symlink_to(outside / "secret.txt")
    assert workspace.delete("link") == "Deleted link link. Its target is as it was."
    assert not (root / "link").is_symlink()


def test_a_refused_link_names_a_target_inside_and_none_outside(workspace, root, fill, outside, refused):
    fill({"docs/guide.md": "x"})
    (root / "docs" / "latest").symlink_to("guide.md")
    (root / "up").symlink_to("../outside/secret.txt")
    assert "It points to 'docs/guide.md'" in refused("symbolic-link", workspace.read, "docs/latest")
    assert "outside" not in refused("symbolic-link", workspace.read, "up")


def test_walks_name_links_and_do_not_enter_them(workspace, root, fill, outside):
    fill({"a/b.txt": "secret"})
    (root / "a" / "loop").symlink_to("..", target_is_directory=True)
    (root / "door").symlink_to(outside, target_is_directory=True)
    listed = workspace.list(recursive=True)
    assert listed == "a/\na/b.txt\na/loop (link, not followed)\ndoor (link, not followed)"
    assert workspace.search("secret") == "a/b.txt:1: secret"
    assert workspace.find("secret") == "[No name contains 'secret' in '.']"


@pytest.mark.parametrize("call", [name for name in CALLS if name not in ("info", "move to")])
def test_a_pipe_is_refused_without_waiting_for_it(workspace, root, fill, call):
    fill({"inside.txt": "x"})
    os.mkfifo(root / "pipe")
    with pytest.raises(PathRefused):
        calls(workspace, "pipe")[call]()
    assert (root / "pipe").is_fifo()


def test_a_socket_and_a_pipe_are_described_but_not_opened(workspace, root, refused, monkeypatch):
    monkeypatch.chdir(root)  # a socket's path has a short limit
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
    os.mkfifo("p")
    assert "kind: socket (can't be read or written)" in workspace.info("s")
    assert "kind: pipe" in workspace.info("p")
    assert "is a socket" in refused("special-file", workspace.read, "s")
    assert workspace.list() == "p (special file)\ns (special file)"


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices")
def test_a_device_is_refused(workspace, root, refused):
    try:
        os.mknod(root / "zero", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this system makes no devices")
    assert "is a device" in refused("special-file", workspace.read, "zero")
    assert "is a device" in refused("special-file", workspace.write, "zero", "x")


def test_a_hard_link_keeps_its_other_name_as_it_was(workspace, root, outside, untouched):
    os.link(outside / "secret.txt", root / "linked.txt")
    answer = workspace.write("linked.txt", "new")
    assert answer.endswith("It had 1 other hard link, which keep the old content.")
    os.unlink(root / "linked.txt")
    os.link(outside / "secret.txt", root / "linked.txt")
    assert "hard links: 2" in workspace.info("linked.txt")
    workspace.edit("linked.txt", "secret", "public")
    assert (root / "linked.txt").read_text() == "the public outside"


def swap(real: Path, spare: Path, target: Path) -> None:
    """Turn *real* into a link to *target* and back, many times, whatever a call puts there meanwhile."""
    for _ in range(SWAPS):
        placed(lambda: real.rename(spare), spare)
        placed(lambda: real.symlink_to(target), real)
        placed(lambda: spare.rename(real), real)


def placed(step, place: Path) -> None:
    """Do *step* as soon as *place* is clear for it."""
    for _ in range(1_000):
        with suppress(OSError):  # a call put something there just now
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
            step()
            return


@pytest.mark.parametrize("call", ["list", "list recursive", "find", "search", "read", "info", "write", "edit"])
@pytest.mark.parametrize("swapped", ["folder", "file"])
def test_swapping_a_link_in_meanwhile_never_reaches_outside(
    workspace, root, fill, outside, untouched, secret, call, swapped
):
    fill({"door/secret.txt": "harmless secret"})
    fill({"door/only-here.txt": ""})
    inner = root / "door" if swapped == "folder" else root / "door" / "secret.txt"
    thread = threading.Thread(
        target=swap, args=(inner, root / "spare", outside if swapped == "folder" else outside / "secret.txt")
    )
    thread.start()
    path = "door" if call in ("list", "list recursive", "find") else "door/secret.txt"
    seen = []
    while thread.is_alive():
        with suppress(PathRefused):
            seen.append(calls(workspace, path)[call]())
    thread.join()
    assert not any("outside" in text for text in seen)
    if call.startswith("list"):
        assert all("only-here.txt" in text for text in seen if "secret.txt" in text)


@pytest.mark.parametrize("call", ["list", "list recursive", "search", "read", "info", "write", "edit", "delete"])
@pytest.mark.parametrize("swapped", ["folder", "file"])
def test_a_link_swapped_in_just_before_the_open_is_not_followed(
    workspace, root, fill, outside, untouched, secret, monkeypatch, call, swapped
):
    fill({"door/secret.txt": "harmless secret"})
    name = "door" if swapped == "folder" else "secret.txt"
    really_open, real = os.open, root / ("door" if swapped == "folder" else "door/secret.txt")

    def open_after_swap(path, flags, *args, **kwargs):
        if path == name and not real.is_symlink():
            real.rename(root / "spare")
            real.symlink_to(outside if swapped == "folder" else outside / "secret.txt")
        return really_open(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_after_swap)
    path = "door" if call in ("list", "list recursive") else "door/secret.txt"
    with suppress(PathRefused):
        assert "outside" not in calls(workspace, path)[call]()
    monkeypatch.undo()


def test_swapping_folders_meanwhile_moves_and_deletes_nothing_outside(workspace, root, fill, outside, untouched):
    fill({"door/other.txt": "x"})
    thread = threading.Thread(target=swap, args=(root / "door", root / "spare", outside))
    thread.start()
    while thread.is_alive():
        for attempt in (
            lambda: workspace.delete("door/secret.txt"),
            lambda: workspace.move("door/secret.txt", "stolen.txt"),
            lambda: workspace.make_folder("door/new"),
            lambda: workspace.move("door/other.txt", "door/moved.txt"),
            lambda: workspace.move("door/moved.txt", "door/other.txt"),
        ):
            with suppress(PathRefused):
                attempt()
    thread.join()
    assert not (root / "stolen.txt").exists()


def test_paths_are_read_kindly_where_that_is_safe(workspace, root, fill):
    fill({"src/a.txt": "hello"})
    for path in ("src/a.txt", "./src/a.txt", "src//a.txt", "src/./a.txt", "src/a.txt/", f"{root}/src/a.txt"):
        assert workspace.read(path) == "hello"
    for path in ("", ".", "./", "/", str(root), f"{root}/"):
        assert workspace.list(path) == "src/"


def test_an_absolute_path_that_only_starts_like_the_root_is_refused(workspace, root, refused):
    (root.parent / "root2").mkdir()
    assert "relative to the workspace" in refused("absolute-path", workspace.list, f"{root}2")


def test_a_file_is_no_folder_and_a_folder_no_file(workspace, fill, refused):
    fill({"a.txt": "x", "d/b.txt": "y"})
    assert "is a file, not a folder" in refused("not-a-folder", workspace.read, "a.txt/b.txt")
    assert "is a file, not a folder" in refused("not-a-folder", workspace.write, "a.txt/b.txt", "z")
    assert "is a file, not a folder" in refused("not-a-folder", workspace.make_folder, "a.txt")
    assert "is a folder, not a file" in refused("folder", workspace.write, "d", "z")
    for function in (workspace.delete, lambda path: workspace.write(path, ""), workspace.make_folder):
        refused("folder", function, ".")


def test_the_root_may_be_a_link_itself(root, fill, tmp_path):
    fill({"a.txt": "x"})
    (tmp_path / "alias").symlink_to(root, target_is_directory=True)
    with Workspace(tmp_path / "alias") as workspace:
        assert workspace.read(f"{tmp_path}/alias/a.txt") == "x"


def test_a_root_that_was_removed_is_reported(workspace, root, refused):
    root.rmdir()
    root.mkdir()
    assert "was removed" in refused("root-removed", workspace.list)
    assert "was removed" in refused("root-removed", workspace.write, "a.txt", "x")
    assert list(root.iterdir()) == []


def test_a_root_that_was_moved_stays_the_same_folder(workspace, root, fill, outside, untouched):
    fill({"a.txt": "x"})
    root.rename(root.parent / "elsewhere")
    root.symlink_to(outside, target_is_directory=True)
    assert workspace.list() == "a.txt"


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_root_that_is_no_folder_is_refused(root, refused, kind):
    path = root / "x"
    if kind == "file":
        path.write_text("")
    text = refused("root", Workspace, path)
    assert str(path) in text
    assert ("does not exist" in text) == (kind == "missing")


def test_a_system_without_folder_descriptors_is_refused(root, refused, monkeypatch):
    monkeypatch.setattr(os, "supports_dir_fd", frozenset())
    assert "Linux" in refused("platform", Workspace, root)


def test_a_closed_workspace_refuses(root, refused):
    workspace = Workspace(root)
    workspace.close()
    workspace.close()
    refused("closed", workspace.list)
    assert repr(workspace).endswith("closed)")


def test_closing_while_a_call_runs_does_not_disturb_it(root, fill, outside):
    fill({f"f{number}.txt": "x" for number in range(200)})
    workspace, opened = Workspace(root), []

    def close_and_reuse_the_number() -> bool:
        if not opened:
            workspace.close()
            opened.append(os.open(outside, os.O_RDONLY))
        return False

    try:
        listed = workspace.search("x", cancelled=close_and_reuse_the_number)
    finally:
        os.close(opened[0])
    assert "f0.txt:1: x" in listed
    assert "secret" not in listed


def test_no_descriptor_stays_open(workspace, root, fill, outside):
    fill({"a.txt": "secret", "d/e/b.txt": "secret"})
    (root / "link").symlink_to(outside)
    os.mkfifo(root / "pipe")
    before = len(os.listdir("/dev/fd"))
    for path in ("a.txt", "d/e/b.txt", "d", "link", "pipe", "missing/x", "a.txt/x", "link/x", "../x"):
        for call in calls(workspace, path).values():
            with suppress(PathRefused):
                call()
    assert len(os.listdir("/dev/fd")) == before
