"""The public names: sorted, complete, documented, and each an object of this project."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import gaia_core


def test_all_is_sorted_and_without_doubles():
    assert gaia_core.__all__ == sorted(set(gaia_core.__all__))


def test_all_is_complete():
    """What the package imports is what it exports; its rooms are modules."""
    public = {
        name for name, value in vars(gaia_core).items() if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert set(gaia_core.__all__) == public


@pytest.mark.parametrize("name", gaia_core.__all__)
def test_every_public_name_has_a_docstring_of_its_own(name):
    value = getattr(gaia_core, name)

    assert value.__module__.startswith("gaia_core.")
    assert value.__doc__  # its own: a class inherits none by this name
    assert not value.__doc__.startswith(f"{name}(")  # a signature that was generated


@pytest.mark.parametrize("name", [name for name in gaia_core.__all__ if inspect.isclass(getattr(gaia_core, name))])
def test_every_public_method_has_a_docstring(name):
    members = vars(getattr(gaia_core, name)).items()
    undocumented = [
        member
        for member, value in members
        if not member.startswith("_")
        and (inspect.isroutine(value) or isinstance(value, property))
        and not inspect.getdoc(value)
    ]

    assert undocumented == []


def test_every_room_has_the_names_that_it_exports_and_each_once(packages: dict[str, Path]):
    for package, folder in packages.items():
        for init in sorted(folder.rglob("__init__.py")):
            name = ".".join((package, *init.parent.relative_to(folder).parts))
            module = importlib.import_module(name)
            exported = getattr(module, "__all__", [])
            assert len(set(exported)) == len(exported), name
            assert [missing for missing in exported if not hasattr(module, missing)] == [], name


def test_every_module_says_what_lives_there(packages: dict[str, Path]):
    silent = [
        f"{package}/{path.relative_to(folder)}"
        for package, folder in packages.items()
        for path in sorted(folder.rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]

    assert silent == []


def test_every_package_is_typed(packages: dict[str, Path]):
    assert [name for name, folder in packages.items() if not (folder / "py.typed").exists()] == []
