"""A workspace in a temporary folder, beside a folder that nothing may reach."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaia_files import CallLimits, PathRefused, Workspace

SECRET = "the secret outside"


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret.txt").write_text(SECRET)
    return path


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    with Workspace(root) as opened:
        yield opened


@pytest.fixture
def limited(root: Path) -> Iterator[Callable[..., Workspace]]:
    """A workspace with limits of its own: `limited(entries=10)`."""
    opened: list[Workspace] = []

    def make(**limits: float) -> Workspace:
        opened.append(Workspace(root, CallLimits(**limits)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def fill(root: Path) -> Callable[..., None]:
    """Write files: `fill({"src/a.py": "x"})`."""

    def write(files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


@pytest.fixture
def refused() -> Callable[..., str]:
    """The refusal of a call, which must be of *rule*: `refused("not-found", workspace.read, "x")`."""

    def call(rule: str, function: Callable[..., object], *args: object, **kwargs: object) -> str:
        with pytest.raises(PathRefused) as caught:
            function(*args, **kwargs)
        text = str(caught.value)
        assert caught.value.rule == rule, text
        assert text.endswith(f"[rule: {rule}]")
        return text

    return call


@pytest.fixture
def tree() -> Callable[[Path], list[str]]:
    """All paths below a folder, sorted."""

    def paths(folder: Path) -> list[str]:
        return sorted(
            os.path.relpath(os.path.join(at, name), folder)
            for at, folders, files in os.walk(folder)
            for name in folders + files
        )

    return paths
