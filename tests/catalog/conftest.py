"""What the tests of the catalog need: a gaia.toml in a folder, and plugins, also installed ones."""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest

from gaia_core import Catalog, Toolset, load_catalog, resource, tool
from gaia_core.catalog import Plugin


@tool(effects="read")
async def look(path: str) -> str:
    """Look at a place."""
    return path


@tool(effects="write")
async def put(path: str) -> str:
    """Put something there."""
    return path


@resource()
async def place(root: Path, mode: str, extra: tuple[Path, ...]):
    yield root


def places(
    root: Path = Path(),
    *,
    mode: Literal["fast", "slow"] = "fast",
    depth: int = 1,
    extra: tuple[Path, ...] = (),
    by_name: dict[str, Path] | None = None,
) -> Toolset:
    """A toolset whose recipe shows what its factory was given."""
    named = tuple(sorted((by_name or {}).items()))
    paths = (*extra, *(path for _, path in named))
    return Toolset(
        "places", (look, put)[: depth + 1], instructions="Look by {look}.", resource=place(root, mode, paths)
    )


def counting(number: int, *, words: frozenset[str] = frozenset()) -> Toolset:
    """A toolset without a resource."""

    @tool(name="count", effects="read")
    async def count() -> int:
        """Count."""
        return number

    return Toolset("counting", (count,))


PLUGINS = {"places": Plugin("places", places), "counting": Plugin("counting", counting)}


@pytest.fixture
def plugins() -> dict[str, Plugin]:
    return dict(PLUGINS)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Catalog]:
    """Load a gaia.toml of this text, in a folder of its own."""

    def load(
        text: str, *, environ: Mapping[str, str] | None = None, plugins: Mapping[str, Plugin] | None = PLUGINS
    ) -> Catalog:
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        (folder / "gaia.toml").write_text(textwrap.dedent(text), encoding="utf-8")
        return load_catalog(folder / "gaia.toml", environ=environ or {}, cwd=tmp_path, plugins=plugins)

    return load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the file that `load` writes."""
    return tmp_path / "project"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a distribution: its only module, of a name that no other test has, and entry points that name it."""

    def install(name: str, module: str, entry_points: str, *, version: str = "1.0", metadata: bool = True) -> None:
        import_name = f"{name.replace('-', '_')}_{uuid4().hex}"
        site = tmp_path / f"site-{name}"
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (site / f"{import_name}.py").write_text(textwrap.dedent(module), encoding="utf-8")
        points = f"[gaia.toolsets]\n{entry_points.format(module=import_name)}\n"
        (info / "entry_points.txt").write_text(points, encoding="utf-8")
        if metadata:
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        monkeypatch.syspath_prepend(site)

    return install
