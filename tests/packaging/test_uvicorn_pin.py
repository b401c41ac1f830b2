"""The server subclasses uvicorn's internals, so it takes only the version whose internals were read: the locked one."""

import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def test_the_server_takes_the_locked_uvicorn_and_no_later_minor_version():
    project = tomllib.loads((ROOT / "http" / "pyproject.toml").read_text())["project"]
    (uvicorn,) = (each for each in map(Requirement, project["dependencies"]) if each.name == "uvicorn")
    locked = Version(version("uvicorn"))

    assert locked in uvicorn.specifier
    assert f"{locked.major}.{locked.minor + 1}" not in uvicorn.specifier
    assert f"{locked.major + 1}.0" not in uvicorn.specifier
