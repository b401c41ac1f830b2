"""`gaia`: its subcommands come from whatever is installed, and a broken one harms no other."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from gaia_core.cli import main

HEAVY = ("aiohttp", "litestar", "rich", "uvicorn", "gaia_files", "gaia_mcp", "mcp", "markdown_it")


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def test_it_lists_the_installed_commands():
    said = run("--help")

    for name in ("chat", "model", "replay", "serve", "sessions", "tools"):
        assert f"\n  {name} " in said
    assert "Serve the agents to OpenAI clients" in said


def test_its_version():
    assert run("--version") == "gaia 0.1.0\n"


def test_an_unknown_command_is_answered_with_the_nearest():
    assert "There is no command 'tolls'. Did you mean 'tools'?" in run("tolls", code=2)


def test_listing_the_commands_imports_nothing_heavy():
    script = (
        "import sys; from gaia_core.cli import main; main(['--help'], standalone_mode=False); "
        f"print('heavy:', sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.endswith("heavy: []\n")


def test_another_package_adds_a_command(install):
    source = "import click\n@click.command()\ndef hello():\n    'Say hello.'\n    click.echo('hello')\n"
    install("polite", "gaia.commands", {"hello": "polite_commands:hello"}, polite_commands=source)

    assert "Say hello." in run("--help")
    assert run("hello") == "hello\n"


def test_a_package_without_metadata_adds_a_command_too(tmp_path, monkeypatch):
    info = tmp_path / "nameless-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[gaia.commands]\nhello = no_such_module:hello\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert "(broken) hello of an unknown distribution can't be loaded" in run("--help")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module:command", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("broken_commands:command", "ValueError: what a stranger raises"),
        ("json:loads", "json:loads is no click command but function"),
    ],
)
def test_a_broken_command_is_named_and_harms_no_other(install, value, why):
    install("broken", "gaia.commands", {"bad": value}, broken_commands="raise ValueError('what a stranger\\nraises')")

    listed = run("--help")
    assert "(broken) bad of broken can't be loaded" in listed
    assert "Serve the agents" in listed
    said = run("bad", "--any", "thing", code=1)
    assert said.startswith("Error: bad of broken can't be loaded: ")
    assert why in said
    assert "gaia 0.1.0" in run("--version")


NATIVE = "raise ImportError('libgcc_s.so.1: cannot open shared object file: No such file or directory', name='fast')"


@pytest.mark.parametrize("when", ["when it is loaded", "when it runs"])
def test_a_native_library_that_is_missing_is_named_with_what_to_install(install, when):
    run_it = f"import click\n@click.command()\ndef command():\n    {NATIVE}\n"
    install(
        "native", "gaia.commands", {"do": "native:command"}, native=NATIVE if when == "when it is loaded" else run_it
    )

    said = run("do", code=1)

    assert "can't be loaded: libgcc_s.so.1 is missing on this system." in said
    assert "apt-get install libgcc-s1" in said
    assert "Reinstall" not in said


def test_nobody_replaces_a_command_by_being_installed(install):
    install("aaa-evil", "gaia.commands", {"tools": "no_such_module:command"})

    listed = " ".join(run("--help").split())
    assert "tools of aaa-evil is left out: gaia-server-core has a command of the same name" in listed
    assert "List the tools of each agent" in listed


@pytest.mark.parametrize("name", ["serve", "keys", "mcp", "reload"])
def test_a_command_of_two_packages_runs_neither_and_says_both(install, name):
    install("aaa-evil", "gaia.commands", {name: "evil_commands:evil"}, evil_commands="raise SystemExit('imported')")

    said = run(name, "--any", code=1)
    assert said.startswith(f"Error: {name} is announced by aaa-evil and by gaia-server-http, so none of them is run. ")
    assert f"or run gaia aaa-evil#{name}" in said
    assert f"(broken) {name} is announced by aaa-evil" in run("--help")
    assert "Usage: main" in run(f"gaia-server-http#{name}", "--help")


def test_an_error_of_this_project_is_one_line(install):
    source = (
        "import click\nfrom gaia_core import ConfigError\n"
        "@click.command()\ndef fail():\n    raise ConfigError('agents.a: unknown key')\n"
    )
    install("failing", "gaia.commands", {"fail": "failing_commands:fail"}, failing_commands=source)

    assert run("fail", code=1) == "Error: agents.a: unknown key\n"


def test_an_error_of_nobody_keeps_its_trace(install):
    source = "import click\n@click.command()\ndef fail():\n    raise KeyError('a bug')\n"
    install("buggy", "gaia.commands", {"fail": "buggy_commands:fail"}, buggy_commands=source)

    result = CliRunner().invoke(main, ["fail"])
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("KeyError: 'a bug'\n")
