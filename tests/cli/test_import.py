"""`gaia import gaia-db`: AMD GAIA's conversations, from databases of its older and newer versions."""

import sqlite3
from contextlib import closing

import pytest

OLD = """
CREATE TABLE documents (id TEXT PRIMARY KEY, filename TEXT, filepath TEXT, file_hash TEXT, file_size INTEGER);
CREATE TABLE sessions (id TEXT PRIMARY KEY, title TEXT, created_at TEXT, updated_at TEXT,
  model TEXT, system_prompt TEXT);
CREATE TABLE session_documents (session_id TEXT, document_id TEXT, attached_at TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, role TEXT, content TEXT,
  created_at TEXT);
INSERT INTO documents VALUES ('d1', 'manual.pdf', '/home/ada/manual.pdf', 'h1', 4096);
INSERT INTO sessions VALUES ('s2', 'Printer', '2026-02-01', '2026-02-02', 'Qwen3.5-35B-A3B-GGUF', 'Be brief.');
INSERT INTO sessions VALUES ('s1', 'New Chat', '2026-01-01', '2026-01-02', 'Qwen3.5-35B-A3B-GGUF', NULL);
INSERT INTO sessions VALUES ('s3', 'Nothing', '2026-03-01', '2026-03-02', 'Qwen3.5-35B-A3B-GGUF', NULL);
INSERT INTO session_documents VALUES ('s2', 'd1', '2026-02-01');
INSERT INTO messages (session_id, role, content) VALUES ('s1', 'user', 'Who are you?');
INSERT INTO messages (session_id, role, content) VALUES ('s2', 'user', 'Why does it blink?');
INSERT INTO messages (session_id, role, content) VALUES ('s1', 'assistant', 'GAIA.');
INSERT INTO messages (session_id, role, content) VALUES ('s2', 'assistant', 'It has no paper.');
INSERT INTO messages (session_id, role, content) VALUES ('s2', 'user', 'And now?');
"""
NEWER = """
ALTER TABLE sessions ADD COLUMN private INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN agent_steps TEXT;
UPDATE sessions SET private = 1 WHERE id = 's1';
"""


@pytest.fixture
def gaia_chat(tmp_path):
    """Make a gaia_chat.db of these statements."""

    def gaia_chat(*scripts: str):
        path = tmp_path / "gaia_chat.db"
        with closing(sqlite3.connect(path)) as database:
            for script in scripts:
                database.executescript(script)
        return path

    return gaia_chat


def listed(invoke) -> dict[str, str]:
    """The ids of the journal's sessions by title."""
    return {row.split("\t")[5]: row.split("\t")[0] for row in invoke("sessions", "list").splitlines()[1:]}


def test_sessions_and_messages_are_imported(gaia_chat, invoke):
    told = invoke("import", "gaia-db", str(gaia_chat(OLD)))

    ids = listed(invoke)
    assert set(ids) == {"New Chat", "Printer"}
    assert f"{ids['Printer']}  3 messages  Printer" in told
    assert "empty, skipped  Nothing" in told
    assert "/home/ada/manual.pdf" in told
    shown = invoke("sessions", "export", ids["Printer"])
    assert shown.index("Why does it blink?") < shown.index("It has no paper.") < shown.index("And now?")
    exported = invoke("sessions", "export", ids["Printer"], "--format", "json")
    assert '"system_prompt": "Be brief."' in exported
    assert '"d1"' in exported


def test_a_second_import_changes_nothing(gaia_chat, invoke):
    path = gaia_chat(OLD)
    invoke("import", "gaia-db", str(path))
    before, content = listed(invoke), path.read_bytes()

    told = invoke("import", "gaia-db", str(path))

    assert told.count("imported before") == 2
    assert listed(invoke) == before
    assert path.read_bytes() == content


def test_private_sessions_are_imported_on_request_only(gaia_chat, invoke):
    path = gaia_chat(OLD, NEWER)

    assert "private, skipped  New Chat" in invoke("import", "gaia-db", str(path))
    assert set(listed(invoke)) == {"Printer"}
    invoke("import", "gaia-db", "--private", str(path))
    assert set(listed(invoke)) == {"New Chat", "Printer"}


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no database, but text" * 100, "can't be read as a gaia_chat.db"), (b"", "it has no table 'sessions'")],
)
def test_another_file_is_refused(tmp_path, invoke, content, words):
    (tmp_path / "x.db").write_bytes(content)

    invoke("import", "gaia-db", str(tmp_path / "x.db"), code=1, err=words)
