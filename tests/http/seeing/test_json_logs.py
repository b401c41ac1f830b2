"""`gaia serve --log-format json`: whatever it writes is one JSON object a line, on standard error."""

import json
import os
import signal
import subprocess
import sys

import pytest

from gaia_http.server._logged_command import sayer

GAIA = (sys.executable, "-c", "from gaia_core.cli import main; main(prog_name='gaia')")
QUIET = {"capture_output": True, "text": True, "timeout": 120}
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


@pytest.fixture
def environ(tmp_path):
    kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    return kept | {"GAIA_MODEL_URL": "http://127.0.0.1:9/v1", "GAIA_DISCOVER": "0"}


def run(tmp_path, environ, *words: str) -> tuple[int, list[dict]]:
    done = subprocess.run([*GAIA, *words], cwd=tmp_path, env=environ, check=False, **QUIET)
    assert done.stdout == ""
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


def test_a_server_from_start_to_stop(tmp_path, environ):
    words = [*GAIA, "serve", "--port", "0", "--log-format", "json"]
    with subprocess.Popen(words, cwd=tmp_path, env=environ, **PIPES) as process:
        lines = []
        while not lines or "curl" not in lines[-1]["message"]:
            lines.append(json.loads(process.stderr.readline()))
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.stdout.read() == ""
        assert process.wait(60) == 0
    lines += [json.loads(line) for line in rest.splitlines()]
    said = {line["message"]: line["level"] for line in lines}
    assert said["stopped"] == "info"
    (problem,) = (words for words in said if words.startswith("problem: models.local: "))
    assert said[problem] == "warning"
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--log-format", "json", "--prot", "1"), 2, "No such option '--prot'"),
        (("--port", "much", "--log-format=json"), 2, "'much' is not a valid integer"),
        (("--log-format", "json", "--host", "0.0.0.0"), 1, "there are no keys"),
        (("--log-format", "json", "--journal", "ftp://x"), 1, "ftp:// is not supported"),
        (("--log-format", "json", "--config", "none.toml"), 2, "'none.toml' does not exist"),
        (("--log-format", "json", "--config", "wrong.toml"), 1, "agents.a.modle: unknown key"),
    ],
)
def test_refusals_and_wrong_options(tmp_path, environ, words, status, said):
    (tmp_path / "wrong.toml").write_text("[agents.a]\nmodle = 'x'")

    got, (line,) = run(tmp_path, environ, "serve", *words)

    assert got == status
    assert line["level"] == "error"
    assert said in line["message"]


def test_what_nobody_foresaw_has_its_trace_on_the_same_line(tmp_path, environ):
    code = (
        "from gaia_core.cli import main; import gaia_http.server.serve_command as c, warnings\n"
        "def fail(*_, **__):\n    warnings.warn('be warned', stacklevel=1)\n    raise RuntimeError('the cause')\n"
        "c.load_catalog = fail; main(['serve', '--port', '0', '--log-format', 'json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environ,
        check=False,
        **QUIET,
    )
    assert done.returncode == 1
    warned, failed = (json.loads(line) for line in done.stderr.splitlines())
    assert (warned["logger"], warned["level"]) == ("py.warnings", "warning")
    assert "be warned" in warned["message"]
    assert "RuntimeError: the cause" in failed["exception"]


def test_in_text_a_wrong_option_is_said_as_everywhere(tmp_path, environ):
    done = subprocess.run(
        [*GAIA, "serve", "--prot", "1"],
        cwd=tmp_path,
        env=environ,
        check=False,
        **QUIET,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: gaia serve ")


@pytest.mark.parametrize(
    ("words", "level"),
    [
        ("reloaded. agents: a", "INFO"),
        ("not reloaded: agents.a.oops: unknown key", "WARNING"),
        ("  problem: x", "WARNING"),
    ],
)
def test_what_an_operator_must_act_on_is_a_warning(words, level, caplog):
    sayer("json")(words)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [(level, words.strip())]
