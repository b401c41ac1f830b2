"""A toolset package's version that is not installed: a wheel, a project's folder, or a git revision of one.

Its code is run, in a process of its own, as installing and using it would. Its factory is called with its defaults.
"""

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from configparser import ConfigParser
from pathlib import Path

from gaia_core.catalog import ENTRY_POINTS
from gaia_core.catalog._config_tables import read_toml
from gaia_core.child_environ import PYTHON, child_environ
from gaia_core.errors import GaiaError, NotFoundError
from gaia_core.tools import nearest

GIT = "git:"
_SECONDS = 60
_PROGRAM = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
module, _, name = sys.argv[2].partition(":")
toolset = getattr(importlib.import_module(module), name)()
tools = [
    {"name": d.name, "description": d.description, "parameters": json.loads(d.parameters)} for d in toolset.definitions
]
instructions = toolset.instructions.splitlines()
print(json.dumps({"tools": tools, "instructions": instructions, "fingerprint": toolset.fingerprint}))
"""


def is_version(name: str) -> bool:
    """Whether *name* means such a version: `git:REV[:FOLDER]`, a wheel, or a folder with a pyproject.toml."""
    path = Path(name.partition("#")[0])
    return name.startswith(GIT) or path.suffix == ".whl" or (path / "pyproject.toml").is_file()


def schema_of(name: str) -> bytes:
    """The definitions that models are sent, as `gaia tools schema` prints them. *name* may end in `#TOOLSET`, for a
    package of several toolsets. Raises GaiaError."""
    place, _, wanted = name.partition("#")
    with tempfile.TemporaryDirectory(prefix="gaia-version-") as temporary:
        folder = Path(temporary)
        if place.startswith(GIT):
            folder = _checked_out(place.removeprefix(GIT), folder)
        elif Path(place).suffix == ".whl":
            try:
                _unpack(place, folder)
            except (OSError, zipfile.BadZipFile) as error:
                raise GaiaError(f"{place} can't be read as a wheel: {error}") from None
        else:
            folder = Path(place)
        return _told(place, folder, _factory(place, folder, wanted))


def _checked_out(revision: str, folder: Path) -> Path:
    """The project's folder as it is at *revision*, below *folder*."""
    commit, _, inside = revision.partition(":")
    if not commit or commit.startswith("-"):
        raise GaiaError(f"git:{revision}: name a revision, such as git:v1.0 or git:HEAD~1:path/of/project")
    command = ("git", "archive", "--format=zip", commit, "--", inside or ".")
    try:
        environ = child_environ(os.environ, "GIT_*")
        ran = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, env=environ)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GaiaError(f"git:{revision}: git can't be run: {error}") from None
    if ran.returncode:
        raise GaiaError(f"git:{revision}: {ran.stderr.decode(errors='replace').strip()}")
    _unpack(io.BytesIO(ran.stdout), folder)
    return folder / inside


def _unpack(archive: str | io.BytesIO, folder: Path) -> None:
    # A tar archive would need tarfile's filters, which Python 3.11 has from 3.11.4 on only.
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)  # zipfile drops absolute paths and ".."


def _factory(place: str, folder: Path, wanted: str) -> str:
    """`module:function` of the toolset *wanted*, or of the only one."""
    points = _entry_points(folder)
    if not points:
        raise NotFoundError(f"{place} announces no toolset by the entry point {ENTRY_POINTS}")
    if not wanted and len(points) == 1:
        return next(iter(points.values()))
    if wanted not in points:
        raise NotFoundError(
            f"{place}: select a toolset with #NAME.{nearest(wanted, points)} It has: {', '.join(points)}"
        )
    return points[wanted]


def _entry_points(folder: Path) -> dict[str, str]:
    for written in folder.glob("*.dist-info/entry_points.txt"):
        parser = ConfigParser(delimiters=("=",))
        parser.read_string(written.read_text(encoding="utf-8"))
        return dict(parser[ENTRY_POINTS]) if ENTRY_POINTS in parser else {}
    try:
        project = read_toml((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return {}
    found: dict[str, str] = project.get("entry-points", {}).get(ENTRY_POINTS, {})
    return found


def _told(place: str, folder: Path, factory: str) -> bytes:
    source = folder / "src"
    path = source if source.is_dir() else folder
    command = (sys.executable, "-c", _PROGRAM, str(path.resolve()), factory)
    try:
        environ = child_environ(os.environ, *PYTHON)
        ran = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, env=environ)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise GaiaError(f"{place}: {factory} was not made within {_SECONDS} s") from None
    if ran.returncode:
        last = ran.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise GaiaError(f"{place}: {factory} can't be made: {' '.join(last)}")
    return ran.stdout.strip().splitlines()[-1]
