"""What plugins, packages and files say can't steer the terminal of any command."""

import json
import logging
import re

import pytest
from click.testing import CliRunner

from gaia_core.cli import main

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj\u200b\r\U000e0041"
WRITTEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
LOCAL = '[models.local]\nurl = "http://127.0.0.1:1/v1"\n'


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `gaia`; all that it printed, which must not steer anything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAIA_PLUGINS", raising=False)
    monkeypatch.setenv("GAIA_DISCOVER", "0")
    monkeypatch.setenv("GAIA_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def run(*arguments: str, code: int | None = 0) -> str:
        result = CliRunner().invoke(main, arguments)
        said = result.stdout + result.stderr
        assert code is None or result.exit_code == code, said
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert WRITTEN.findall(said) == []
        return said

    return run


def plugin(install, name: str, source: str) -> None:
    install(f"{name}-package", "gaia.toolsets", {name: f"{name}_module:make"}, **{f"{name}_module": source})


def test_a_plugin_that_fails_to_import(run, install):
    plugin(install, "bad", f"raise RuntimeError({HOSTILE!r})")

    assert r"plugin 'bad' of bad-package: can't be loaded: RuntimeError: \u001b]0;owned\u0007" in run("tools")


@pytest.mark.parametrize("command", [("tools",), ("tools", "lock"), ("mcp",), ("serve",), ("chat", "Hi")])
def test_a_factory_that_fails(run, install, tmp_path, command):
    plugin(install, "bad", f"def make():\n    raise RuntimeError({HOSTILE!r})")
    (tmp_path / "gaia.toml").write_text(f'{LOCAL}[agents.a]\ntools = [{{ use = "bad" }}]\n')

    assert r"RuntimeError: \u001b]0;owned" in run(*command, code=1)


def test_a_tools_name_and_description(run, install, tmp_path):
    plugin(
        install,
        "loud",
        "from gaia_core import Toolset, tool\n\n"
        f"@tool(name='shout', description={HOSTILE!r}, effects='read')\n"
        "def shout() -> str:\n    return ''\n\n"
        "def make():\n    return Toolset('loud', (shout,))\n",
    )
    (tmp_path / "gaia.toml").write_text(f'{LOCAL}[agents.a]\ntools = [{{ use = "loud" }}]\n')

    assert r"\u001b]0;owned" in run("tools")
    assert r"\u001b]0;owned" in run("tools", "show", "shout")
    told = run("tools", "schema", "loud")
    assert json.loads(told)["tools"][0]["description"] == HOSTILE


def test_a_command_that_fails_to_import_and_one_that_raises(run, install):
    source = f"import click\n@click.command()\ndef go():\n    raise RuntimeError({HOSTILE!r})\n"
    install("loud", "gaia.commands", {"go": "loud_commands:go"}, loud_commands=source)
    install("bad", "gaia.commands", {"stop": "bad_commands:stop"}, bad_commands=f"raise ValueError({HOSTILE!r})")

    run("--help")
    assert r"ValueError: \u001b]0;owned" in run("stop", code=1)
    said = run("go", code=1)
    assert r"RuntimeError: \u001b]0;owned" in said
    assert "Traceback" in said


def test_an_error_and_a_usage_error_of_a_command(run, install):
    source = (
        "import click\n@click.command()\n@click.argument('what')\ndef go(what):\n"
        f"    raise (click.ClickException if what == 'error' else click.UsageError)({HOSTILE!r})\n"
    )
    install("loud", "gaia.commands", {"go": "loud_commands:go"}, loud_commands=source)

    assert r"Error: \u001b]0;owned" in run("go", "error", code=1)
    assert r"Error: \u001b]0;owned" in run("go", "usage", code=2)


def test_what_is_logged(run, install, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    source = (
        "import click, logging\n@click.command()\ndef go():\n"
        f"    logging.getLogger('loud').error('it said %s', {HOSTILE!r})\n"
        f"    try:\n        raise ValueError({HOSTILE!r})\n"
        "    except ValueError:\n        logging.getLogger('loud').exception('failed')\n"
    )
    install("loud", "gaia.commands", {"go": "loud_commands:go"}, loud_commands=source)

    said = run("go")

    assert r"it said \u001b]0;owned" in said
    assert r"ValueError: \u001b]0;owned" in said
    assert logging.getLogger().handlers == []


def test_a_configuration_that_is_wrong(run, tmp_path):
    (tmp_path / "gaia.toml").write_text('[agents.a]\n"\\u001B[2J" = 1\n')

    assert r"\u001b[2J" in run("tools", code=1)
