"""Files in the cache that somebody replaces or damages after they were checked."""

import hashlib
import logging
import os
import threading

import pytest

from gaia_core.models.embedded import LocalFile, State, Weights, WeightsError, _download, fetch, in_place

CONTENT = b"GGUF" + bytes(range(256)) * 64
WEIGHTS = Weights("the model", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), notice="")
OTHER = b"GGUF" + bytes(reversed(range(256))) * 64


@pytest.fixture
def said():
    return []


@pytest.fixture
def source(tmp_path):
    """The right weights, elsewhere on this machine."""
    path = tmp_path / "elsewhere.gguf"
    path.write_bytes(CONTENT)
    return LocalFile(path)


@pytest.fixture
async def fetched(tmp_path, said, source):
    """Where the weights are, just fetched."""
    path = await fetch(WEIGHTS, tmp_path / "cache", (source,), said.append)
    said.clear()
    return path


@pytest.fixture
def hashed(monkeypatch):
    """The files whose hash was computed."""
    paths = []
    real = _download.sha256_of

    def sha256_of(path, stop):
        paths.append(path)
        return real(path, stop)

    monkeypatch.setattr(_download, "sha256_of", sha256_of)
    return paths


async def test_what_is_as_it_was_fetched_is_not_read_again(fetched, tmp_path, said, hashed):
    assert await fetch(WEIGHTS, tmp_path / "cache", (), said.append) == fetched
    assert hashed == []


async def test_other_weights_of_the_same_size_are_removed_and_fetched_again(fetched, tmp_path, said, source, caplog):
    fetched.write_bytes(OTHER)

    assert await fetch(WEIGHTS, tmp_path / "cache", (source,), said.append) == fetched

    assert fetched.read_bytes() == CONTENT
    assert State("checking") in said
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert f"{fetched} is not the file that was downloaded" in line
    assert f"Find out who can write {fetched.parent}" in line


@pytest.mark.parametrize("how", ["in place", "by a rename"])
async def test_times_that_are_set_back_hide_nothing(fetched, tmp_path, said, source, how):
    facts = fetched.stat()
    if how == "in place":
        fetched.write_bytes(OTHER)
    else:
        beside = tmp_path / "beside"
        beside.write_bytes(OTHER)
        beside.replace(fetched)
    os.utime(fetched, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    await fetch(WEIGHTS, tmp_path / "cache", (source,), said.append)

    assert fetched.read_bytes() == CONTENT


async def test_without_a_source_it_says_what_to_do_and_loads_nothing(fetched, tmp_path, said):
    fetched.write_bytes(OTHER)

    with pytest.raises(WeightsError, match="Bring the file here yourself and name it by GAIA_WEIGHTS"):
        await fetch(WEIGHTS, tmp_path / "cache", (), said.append)
    assert not fetched.exists()


async def test_what_was_only_touched_is_read_once_and_kept(fetched, tmp_path, said, hashed):
    os.utime(fetched)

    for _ in range(3):
        await fetch(WEIGHTS, tmp_path / "cache", (), said.append)

    assert hashed == [fetched]


async def test_weights_of_an_earlier_version_are_read_once(fetched, tmp_path, said, hashed):
    fetched.with_suffix(".checked").unlink()

    for _ in range(2):
        await fetch(WEIGHTS, tmp_path / "cache", (), said.append)

    assert hashed == [fetched]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
async def test_a_note_that_others_can_write_is_not_believed(fetched, tmp_path, said, hashed, mode):
    fetched.with_suffix(".checked").chmod(mode)

    await fetch(WEIGHTS, tmp_path / "cache", (), said.append)

    assert hashed == [fetched]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
async def test_a_note_of_another_user_is_not_believed(fetched, tmp_path, said, hashed):
    os.chown(fetched.with_suffix(".checked"), 12_345, 12_345)

    await fetch(WEIGHTS, tmp_path / "cache", (), said.append)

    assert hashed == [fetched]


async def test_a_damaged_note_is_not_believed(fetched, tmp_path, said, hashed):
    fetched.with_suffix(".checked").write_bytes(b"\xff{")

    await fetch(WEIGHTS, tmp_path / "cache", (), said.append)

    assert hashed == [fetched]


async def test_a_check_that_is_cancelled_removes_nothing(fetched):
    fetched.with_suffix(".checked").unlink()
    stop = threading.Event()
    stop.set()

    assert not _download._check(WEIGHTS.file(fetched.parent), stop)
    assert fetched.read_bytes() == CONTENT


async def test_the_cache_is_closed_to_other_writers_where_the_umask_is_loose(tmp_path, said, source):
    before = os.umask(0)
    try:
        path = await fetch(WEIGHTS, tmp_path / "cache", (source,), said.append)
    finally:
        os.umask(before)

    for each in (path.parent, *path.parent.iterdir()):
        assert not each.stat().st_mode & 0o022, each


async def test_a_cache_that_is_open_to_other_writers_is_closed(fetched):
    fetched.parent.chmod(0o777)
    fetched.chmod(0o666)

    assert await in_place(WEIGHTS.file(fetched.parent))

    assert not fetched.stat().st_mode & 0o022
