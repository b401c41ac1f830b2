"""What the laws are tested on: every package of the workspace, found from its folders."""

from pathlib import Path

import pytest

WORKSPACE = Path(__file__).parents[2]


def found(workspace: Path) -> dict[str, Path]:
    """The packages by import name: those of every distribution, which are the folders with a pyproject.toml."""
    distributions = (workspace, workspace / "http", *sorted((workspace / "toolsets").glob("*/")))
    inits = [init for folder in distributions for init in sorted(folder.glob("*/__init__.py"))]
    return {init.parent.name: init.parent for init in inits if init.parent.name not in ("tests", "benchmarks")}


@pytest.fixture(scope="session")
def packages() -> dict[str, Path]:
    return found(WORKSPACE)
