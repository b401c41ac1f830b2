"""What child processes are given of the environment, and what real ones get."""

import json
import sys

import pytest

from gaia_core.child_environ import PIP, PYTHON, child_environ

SECRETS = {
    "GAIA_API_KEY": "sk-gaia-secret",
    "GAIA_JOURNAL": "postgresql://me:pw@db/",
    "OPENAI_API_KEY": "sk-secret",
    "MY_TOKEN": "secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
}


def test_what_any_program_needs_is_passed_on():
    needed = {"PATH": "/bin", "HOME": "/home/me", "LANG": "C.UTF-8", "LC_ALL": "C", "TMPDIR": "/var/tmp"}

    assert child_environ(needed | SECRETS) == needed


def test_further_names_are_passed_on_to_who_asks():
    environ = {"PYTHONUTF8": "1", "PIP_INDEX_URL": "https://index/", "HTTPS_PROXY": "http://proxy/"} | SECRETS

    assert child_environ(environ) == {}
    assert child_environ(environ, *PYTHON) == {"PYTHONUTF8": "1"}
    assert child_environ(environ, *PIP) == {"PIP_INDEX_URL": "https://index/", "HTTPS_PROXY": "http://proxy/"}


@pytest.mark.parametrize("name", ["PIP_KEY", "PIP_API_TOKEN", "pip_x", "PIP_MY_SECRET", "PIP_PASSWORD"])
def test_a_prefix_takes_no_secret_along(name):
    assert child_environ({name: "secret"}, *PIP) == {}


def test_what_is_given_is_taken_as_it_is():
    assert child_environ({"TMPDIR": "/a"}, given={"TMPDIR": "/b", "MY_KEY": "for this child"}) == {
        "TMPDIR": "/b",
        "MY_KEY": "for this child",
    }


def test_a_function_of_the_shell_is_left_out():
    assert child_environ({"TERM": "() { :; }; echo no", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.fixture
def secrets(monkeypatch):
    """This process's environment with secrets in it."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return SECRETS


def test_a_toolset_version_is_run_without_secrets(secrets, tmp_path):
    from gaia_core.cli._toolset_versions import schema_of

    (tmp_path / "pyproject.toml").write_text('[project.entry-points."gaia.toolsets"]\nshown = "shown:make"\n')
    (tmp_path / "shown.py").write_text(
        "import json, os\nfrom gaia_core import Toolset, tool\n\n"
        "@tool(name='show', effects='read', description=json.dumps(sorted(os.environ)))\n"
        "def show() -> str:\n    return ''\n\n"
        "def make():\n    return Toolset('shown', (show,))\n"
    )

    names = json.loads(json.loads(schema_of(str(tmp_path)))["tools"][0]["description"])

    assert "PATH" in names
    assert not set(names) & set(secrets)


async def test_pip_is_run_without_secrets(secrets, tmp_path, monkeypatch):
    from gaia_core.models.embedded._weight_sources import Package, Packages, SourceError

    shown = tmp_path / "shown.json"
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").write_text("")
    (tmp_path / "pip" / "__main__.py").write_text(
        f"import json, os\nopen({str(shown)!r}, 'w').write(json.dumps(dict(os.environ)))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    source = Packages((Package("gaia-nothing", "1", "0" * 64, "data", 1),))

    with pytest.raises(SourceError):
        await source.fetch(tmp_path / "it.part", 1, lambda _done, _total: None)

    environ = json.loads(shown.read_text())
    assert environ["PIP_INDEX_URL"] == "https://index.example/simple"
    assert not set(environ) & set(secrets)


async def test_the_reader_of_pdfs_is_run_without_secrets(secrets, tmp_path, monkeypatch):
    from gaia_http.request._pdf import PdfReader

    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import os; print(sorted(os.environ))"\n')
    program.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(program))

    said = await PdfReader().text(b"")

    assert "'PATH'" in said
    assert not [name for name in secrets if name in said]
