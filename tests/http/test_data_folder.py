"""The data folder: nobody else reads what is in it, whatever the umask says and whatever its files allowed before."""

import logging
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from gaia_core.journal.from_url import journal_from_url
from gaia_core.private_files import make_private, missing_folders, private_folder, write_private
from gaia_http.keys.cli import keys
from gaia_http.request._uploaded_files import UploadedFiles
from gaia_http.server._pid_file import present
from gaia_http.server.serve_command import serve
from gaia_http.ui._settings_store import SettingsStore

OTHERS = stat.S_IRWXG | stat.S_IRWXO


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """What in *folder*, and whether it itself, others may do anything with."""
    paths = (folder, *folder.rglob("*"))
    return [str(path.relative_to(folder.parent)) for path in paths if path.stat().st_mode & OTHERS]


async def test_nothing_that_is_written_is_open_to_others(no_umask, tmp_path):
    data = tmp_path / "home" / "gaia"
    environ = {"XDG_DATA_HOME": str(data.parent)}
    journal = journal_from_url(None, environ)
    await journal.open()
    with present(data, 4200, "http://127.0.0.1:4200"):
        await SettingsStore(data).change(custom_model="x")
        await UploadedFiles(data).add("me", "a.txt", "user_data", b"hello")
        made = CliRunner().invoke(keys, ["create", "laptop", "--keys", str(data / "keys.json")])
        assert made.exit_code == 0, made.output

        written = {path.name for path in data.rglob("*")}
        assert {"journal.sqlite", "journal.sqlite-wal", "4200.json", "ui.json", "files", "keys.json"} <= written
        assert open_to_others(data) == []
        assert not data.parent.stat().st_mode & OTHERS
    await journal.aclose()


def test_a_server_closes_what_was_open_before(tmp_path, monkeypatch):
    data = tmp_path / "gaia"
    (data / "files" / "owner").mkdir(parents=True)
    for name in ("journal.sqlite", "journal.sqlite-wal", "ui.json", "files/owner/file-1"):
        (data / name).write_bytes(b"")
        (data / name).chmod(0o666)
    for folder in (data, data / "files", data / "files" / "owner"):
        folder.chmod(0o777)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("GAIA_API_KEY", "")
    config = tmp_path / "gaia.toml"
    config.write_text("nonsense")

    CliRunner().invoke(serve, ["--config", str(config)])

    assert open_to_others(data) == []


def test_a_link_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "file").write_bytes(b"")
    (outside / "file").chmod(0o644)
    data = tmp_path / "data"
    data.mkdir()
    (data / "folder").symlink_to(outside)
    (data / "file").symlink_to(outside / "file")

    make_private(data)

    assert stat.S_IMODE(outside.stat().st_mode) == 0o755
    assert stat.S_IMODE((outside / "file").stat().st_mode) == 0o644


def test_folders_that_are_there_are_left_alone_where_the_user_chose_them(no_umask, tmp_path):
    chosen = tmp_path / "chosen"
    chosen.mkdir(mode=0o755)

    missing_folders(chosen / "new" / "newer")

    assert stat.S_IMODE(chosen.stat().st_mode) == 0o755
    assert open_to_others(chosen / "new") == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_said(tmp_path, caplog):
    (tmp_path / "data").mkdir(mode=0o755)
    os.chown(tmp_path / "data", 12_345, 12_345)

    private_folder(tmp_path / "data")

    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "is open to other users of this machine, and can't be closed: it belongs to the user 12345" in (
        record.getMessage()
    )


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "ui.json"
    write_private(path, b"before")

    def fails(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, b"after")

    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
