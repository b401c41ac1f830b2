"""No module reaches itself by imports, those for type checking and those inside functions included."""

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest


def imports_of(packages: Mapping[str, Path]) -> dict[str, set[str]]:
    """Each module of *packages*, with those that it imports."""
    paths = {
        ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
        for package, folder in packages.items()
        for path in folder.rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        named = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                below = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= (below & paths.keys()) or {node.module}
            elif isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
        found[module] = (named & paths.keys()) - {module}
    return found


def test_there_are_no_import_circles(packages):
    imports = imports_of(packages)

    assert len(imports) > 250
    TopologicalSorter(imports).prepare()  # raises CycleError, with the modules of the circle


def test_a_planted_circle_is_found(tmp_path):
    (tmp_path / "_a.py").write_text("from planted import _b\n")
    (tmp_path / "_b.py").write_text("def f():\n    from planted._a import x\n")

    with pytest.raises(CycleError, match="cycle"):
        TopologicalSorter(imports_of({"planted": tmp_path})).prepare()
