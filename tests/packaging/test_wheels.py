"""The distributions as wheels: installed together elsewhere, without the workspace, they serve."""

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from requirements.set_version import projects, set_version

ROOT = Path(__file__).parents[2]
PROJECTS = tuple(path.parent for path in projects())
NAMES = ("gaia_core", "gaia_http", "gaia_files", "gaia_mcp")
RECIPE = re.compile(r"(?m)^wheels: (?P<needs>\S+)\n    (?P<command>\.venv/bin/python .+)$")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("wheels")
    recipe = RECIPE.search((ROOT / "justfile").read_text())
    words = recipe["command"].replace("--wheel-dir dist", f"--wheel-dir {folder}").split()
    assert str(folder) in words
    line = f"exec {shlex.join([sys.executable, *words[1:-1]])} {words[-1]}"  # the shell finds the toolsets
    subprocess.run(["sh", "-c", line], cwd=ROOT, check=True, capture_output=True, timeout=120)
    return tuple(sorted(folder.glob("*.whl")))


@pytest.fixture(scope="module")
def installed(wheels: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has these wheels and the pinned third parties, but no workspace.

    The third parties are seen by a path file: path files inside that folder, the workspace's own, are not read.
    """
    place = tmp_path_factory.mktemp("elsewhere")
    venv.create(place / "venv", with_pip=False, symlinks=True)
    python = place / "venv" / "bin" / "python"
    paths = {"base": str(place / "venv"), "platbase": str(place / "venv")}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run(
        [*pip, "install", "--quiet", "--no-index", "--no-deps", *map(str, wheels)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (site / "third_parties.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture
def served(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of `gaia serve`, run in an empty folder."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GAIA_MODEL_URL": "http://127.0.0.1:9/v1"}
    words = [installed.parent / "gaia", "serve", "--port", "0"]
    with subprocess.Popen(words, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        yield first.split()[-1]
        process.terminate()
        process.stdout.read()
        assert process.wait(60) == 0


def test_building_them_needs_no_developer_tools():
    needed = re.findall(r"(?m)^(\S+)==", (ROOT / "requirements/runtime.txt").read_text())

    assert RECIPE.search((ROOT / "justfile").read_text())["needs"] == "_runtime"
    assert "hatchling" in needed


def test_every_project_is_a_wheel_of_its_own_package_only(wheels: tuple[Path, ...]):
    assert len(wheels) == len(PROJECTS)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            names = opened.namelist()
            tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
            (metadata,) = (opened.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        assert tops <= set(NAMES), wheel.name
        assert len(tops) == (0 if wheel.name.startswith("gaia_server-") else 1), wheel.name
        assert all(f"{top}/py.typed" in names for top in tops)
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names), wheel.name
        for field in ("Summary: ", "License-Expression: MIT", "Classifier: Typing :: Typed", "Keywords: "):
            assert field in metadata, (wheel.name, field)
        assert metadata.partition("\n\n")[2].strip(), wheel.name  # its page on the index


def test_the_versions_of_the_projects_go_together():
    projects = [tomllib.loads((project / "pyproject.toml").read_text())["project"] for project in PROJECTS]
    assert len({project["version"] for project in projects}) == 1
    (version,) = {project["version"] for project in projects}
    for project in projects[1:]:
        assert f"gaia-server-core=={version}" in project["dependencies"]


def test_one_command_gives_all_of_them_another_version(tmp_path: Path):
    before = {}
    for path in projects():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
        before[copy] = tomllib.loads(copy.read_text())["project"]["version"]

    set_version("7.8.9rc1", tmp_path)

    for copy, old in before.items():
        text = copy.read_text()
        assert tomllib.loads(text)["project"]["version"] == "7.8.9rc1"
        assert text.replace("7.8.9rc1", old) == (ROOT / copy.relative_to(tmp_path)).read_text()
        assert f"=={old}" not in text
    with pytest.raises(ValueError, match="'next' is not a version"):
        set_version("next", tmp_path)


def test_the_one_name_brings_everything_to_serve_and_has_the_extras():
    project = tomllib.loads((ROOT / "server" / "pyproject.toml").read_text())["project"]
    brought = {word.partition("==")[0] for word in project["dependencies"]}
    assert brought == {"gaia-server-core", "gaia-server-http", "gaia-toolset-files"}
    assert set(project["optional-dependencies"]) == {"embedded", "mcp", "otel", "postgres"}
    assert set(project["scripts"]) == {"gaia", "gaia-server"}


def test_without_the_server_its_commands_say_what_to_install(installed: Path, tmp_path: Path):
    code = "import sys; sys.argv = ['gaia', 'serve']; from gaia_core.cli import main; main()"
    without = f"import importlib.metadata as m; m.entry_points = lambda **_: (); {code}"
    words = [installed, "-c", without]
    ran = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert "gaia serve is part of the server, which is not installed: install gaia-server" in ran.stderr


def test_the_workspace_is_not_there(installed: Path, tmp_path: Path):
    code = "import gaia_core, gaia_http, gaia_files; print(gaia_core.__file__, gaia_http.__file__, gaia_files.__file__)"
    ran = subprocess.run([installed, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    assert str(ROOT) not in ran.stdout


def test_wheels_installed_elsewhere_serve(served: str):
    with urllib.request.urlopen(f"{served}/models", timeout=60) as response:
        (model,) = json.load(response)["data"]
    assert model["id"] == "assistant"


def test_the_files_toolset_is_found_there(installed: Path, tmp_path: Path):
    words = [installed.parent / "gaia", "tools", "schema", "assistant"]
    ran = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    assert "read_file" in ran.stdout
