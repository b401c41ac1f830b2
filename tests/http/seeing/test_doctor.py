"""`gaia doctor`: what would keep a server from working here, and what to do about it."""

import json
import os
import socket

import pytest
from click.testing import CliRunner

from gaia_core.cli import main
from gaia_http.operations._checks import Finding


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Run it in an empty folder; its status and its findings."""
    monkeypatch.chdir(tmp_path)
    for name in ("GAIA_API_KEY", "GAIA_KEYS", "GAIA_JOURNAL", "GAIA_PLUGINS", "GAIA_MODEL_URL", "GAIA_MODEL", "A_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GAIA_DISCOVER", "0")

    def doctor(*words: str, **environ: str) -> tuple[int, list[tuple[str, str, str]]]:
        if "--port" not in words:
            words = (*words, "--port", "0")
        result = CliRunner(env=environ).invoke(main, ["doctor", *words, "--json"])
        found = json.loads(result.stdout)
        assert found["ok"] == (result.exit_code == 0)
        shown = CliRunner(env=environ).invoke(main, ["doctor", *words])
        assert shown.exit_code == result.exit_code
        assert len(shown.stdout.splitlines()) == len(found["findings"]) + 1
        return result.exit_code, [(each["check"], each["level"], each["words"]) for each in found["findings"]]

    return doctor


def errors(found: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return [(check, words) for check, level, words in found if level == "error"]


def test_a_fresh_machine_has_no_error_and_nothing_is_made(doctor, tmp_path):
    status, found = doctor()

    assert (status, errors(found)) == (0, [])
    assert [check for check, _, _ in found] == [
        "configuration", "models.local", "agents.assistant", "journal", "keys", "port", "disk",
    ]  # fmt: skip
    assert not (tmp_path / "data" / "gaia" / "journal.sqlite").exists()


def test_all_that_is_wrong_is_found_at_once(doctor, tmp_path):
    (tmp_path / "gaia.toml").write_text(
        "[models.dead]\nurl = 'http://127.0.0.1:9/v1'\n"
        "[models.keyless]\nurl = 'http://127.0.0.1:9/v1'\napi_key_env = 'A_KEY'\n"
        "[agents.a]\nmodel = 'dead'\ntools = [{ use = 'files', root = 'missing' }]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, found = doctor("--port", port, "--journal", "postgresql://x@127.0.0.1:9/y", GAIA_API_KEY="short")

    assert status == 1
    said = dict(errors(found))
    assert set(said) == {"models.dead", "models.keyless", "agents.a", "journal", "keys", "port"}
    assert "Start the model server, or correct url" in said["models.dead"]
    assert "set it where the server is started" in said["models.keyless"]
    assert str(tmp_path / "missing") in said["agents.a"]
    assert "Start the database" in said["journal"]
    assert "GAIA_API_KEY" in said["keys"]
    assert "choose another --port" in said["port"]


@pytest.mark.parametrize(
    ("words", "check", "said"),
    [
        (("--config", "wrong.toml"), "configuration", "modle: unknown key"),
        (("--config", "none.toml"), "configuration", "none.toml: can't be read"),
        (("--host", "0.0.0.0"), "keys", "--host 0.0.0.0 needs a key; gaia keys create NAME makes one"),
        (("--keys", "none.json"), "keys", "there is no key file"),
        (("--journal", "ftp://x"), "journal", "ftp:// is not supported"),
    ],
)
def test_one_thing_that_is_wrong(doctor, tmp_path, words, check, said):
    (tmp_path / "wrong.toml").write_text("[agents.a]\nmodle = 'x'")

    status, found = doctor(*words)

    assert status == 1
    ((found_check, found_words),) = errors(found)
    assert found_check == check
    assert said in found_words


async def test_a_database_that_is_there(doctor, postgres):
    import asyncio

    status, found = await asyncio.to_thread(doctor, "--journal", postgres.dsn)

    assert ("journal", "ok") in [(check, level) for check, level, _ in found]
    assert status == 0
    assert "pass-word" not in str(found)


def test_sessions_in_memory_only_are_a_warning(doctor):
    status, found = doctor("--journal", "memory")

    assert status == 0
    assert [check for check, level, _ in found if level == "warning" and check == "journal"] == ["journal"]


def test_a_folder_that_cannot_be_written(doctor, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    status, found = doctor()

    assert status == 1
    assert {check for check, _ in errors(found)} == {"journal", "disk"}


@pytest.mark.parametrize(
    ("urls", "counts"),
    [((), "no errors, no warnings"), (("a",), "1 error, no warnings"), (("a", "b"), "2 errors, no warnings")],
)
def test_the_last_line_counts_what_was_found(tmp_path, monkeypatch, urls, counts):
    monkeypatch.setattr("gaia_http.operations.doctor_command.findings", lambda _: found(urls))

    assert CliRunner().invoke(main, ["doctor"]).output.splitlines()[-1] == counts


async def found(urls: tuple[str, ...]):
    for url in urls:
        yield Finding(f"models.{url}", "error", "is down")


def test_the_start_command_of_a_server_can_be_checked_as_it_is(doctor):
    words = ("--allowed-host", "gaia.example", "--drain-seconds", "25", "--log-format", "json", "--mcp")

    assert doctor(*words)[0] == 0


def test_an_option_that_serve_does_not_take_is_refused():
    for words in (("--alowed-host", "x"), ("--drain-seconds", "soon")):
        result = CliRunner().invoke(main, ["doctor", *words])
        assert result.exit_code == 2
        assert words[0] in result.stderr
