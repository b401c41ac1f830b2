"""Why a server doesn't start: one line of words on stderr, a status, no traceback, and nothing left behind."""

import asyncio
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from click.testing import CliRunner

from gaia_core.cli import main
from gaia_core.journal.sqlite import SQLiteJournal

MOST_CHARS = 500


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Start a server that must not start; its words."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"XDG_DATA_HOME": str(tmp_path / "data"), "GAIA_DISCOVER": "0"}.items():
        monkeypatch.setenv(name, value)
    for name in ("GAIA_API_KEY", "GAIA_KEYS", "GAIA_JOURNAL", "GAIA_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAIA_MODEL_URL", "http://127.0.0.1:1/v1")

    def refused(*options: str, **environ: str) -> str:
        result = CliRunner(env=environ).invoke(main, ["serve", "--port", "0", *options])
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        [line] = result.stderr.splitlines()
        assert line.startswith("Error: ")
        assert "Traceback" not in line
        assert len(line) < MOST_CHARS, line
        return line

    return refused


@pytest.fixture
def journal(tmp_path):
    """The file of a journal of this version."""
    path = tmp_path / "journal.sqlite"

    async def make() -> None:
        async with SQLiteJournal(path):
            pass

    asyncio.run(make())
    return path


def test_a_journal_of_a_newer_version(refused, journal):
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA user_version = 99")
    before = journal.read_bytes()

    words = refused("--journal", str(journal))

    assert f"the journal {str(journal)!r} has schema version 99" in words
    assert "Upgrade, or name another file" in words
    assert journal.read_bytes() == before


def test_another_programs_database(refused, tmp_path):
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE notes (text)")

    assert "is another program's database; name another file for the journal" in refused("--journal", str(path))


def test_a_file_that_is_no_database(refused, tmp_path):
    path = tmp_path / "other.txt"
    path.write_text("not a database\n" * 1_000)

    assert "is damaged (file is not a database); it was left as it is" in refused("--journal", str(path))


def test_a_folder(refused, tmp_path):
    assert "can't be opened: Is a directory" in refused("--journal", str(tmp_path))


AS_SOMEBODY_ELSE = """
import asyncio, os, tempfile

from gaia_core.errors import JournalError
from gaia_core.journal.sqlite import SQLiteJournal

with tempfile.TemporaryDirectory() as folder:
    if os.geteuid() == 0:  # who may write everywhere
        os.chown(folder, 65534, 65534)
        os.setegid(65534)
        os.seteuid(65534)
    path = os.path.join(folder, "journal.sqlite")

    async def opened():
        async with SQLiteJournal(path):
            pass

    asyncio.run(opened())
    os.chmod(path, 0o400)
    try:
        asyncio.run(opened())
    except JournalError as error:
        print(error)
"""


def test_a_journal_that_is_read_only():
    done = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY_ELSE], capture_output=True, text=True, timeout=60, check=True
    )

    assert "can't be opened: attempt to write a readonly database; make the file and its folder writable" in done.stdout


def test_a_journal_where_no_folder_can_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("")

    words = refused("--journal", str(tmp_path / "file" / "journal.sqlite"))
    assert "the journal's folder" in words


def test_a_port_in_use(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = refused("--port", port)

    assert f"can't listen on 127.0.0.1:{port} (Address already in use). Does a server run there already?" in words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = [", "gaia.toml: Invalid value"),
        ("[agents.a]\nmodle = 'x'", "agents.a.modle: unknown key. Did you mean 'model'?"),
        ("[agents.a]\ntools = [{ use = 'fiels' }]", "there is no toolset 'fiels'. Did you mean 'files'?"),
        ("[agents.a]\ntools = [{ use = 'files', roof = '.' }]", "takes no 'roof'"),
        ("[agents.a]\nmodel = 'b'", "there is no model 'b'"),
        ("[models.local]\nurl = 'nonsense'", "must begin with http:// or https://"),
    ],
)
def test_a_configuration_that_is_wrong(refused, tmp_path, text, words):
    (tmp_path / "gaia.toml").write_text(text)

    assert words in refused()


def test_a_page_that_is_none(refused, tmp_path):
    (tmp_path / "dist").mkdir()

    assert "has no index.html" in refused("--ui-dist", str(tmp_path / "dist"))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"GAIA_API_KEY": "short"}, "GAIA_API_KEY must be 16 to 256 printable ASCII characters"),
        ({"GAIA_MODEL_URL": "nonsense"}, "GAIA_MODEL_URL: url 'nonsense' must begin with"),
        ({"GAIA_PLUGINS": "nope"}, "GAIA_PLUGINS names 'nope', which is not installed"),
        ({"GAIA_JOURNAL": "ftp://x"}, "ftp:// is not supported"),
    ],
)
def test_an_environment_that_is_wrong(refused, environ, words):
    assert words in refused(**environ)
