"""Imports run one way, and importing the core costs no server, no HTTP client and no plugin."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SERVERS = ("litestar", "uvicorn", "starlette", "fastapi", "aiohttp", "openai", "httpx")


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that are loaded after a statement, in a process of its own."""
    program = (
        f"{statement}\nimport json, sys\nsys.stdout.write(json.dumps(sorted({{n.split('.')[0] for n in sys.modules}})))"
    )
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    return set(json.loads(result.stdout))


def test_importing_the_core_imports_no_server_no_client_and_no_plugin(packages):
    loaded = loaded_by("import gaia_core")

    assert loaded & (set(SERVERS) | set(packages)) == {"gaia_core"}


def test_values_alone_import_little():
    """What a toolset package needs: no models, no terminal, no database."""
    loaded = loaded_by("from gaia_core import Toolset, tool, doc, resource, Context")

    assert loaded & {"rich", "click", "sqlite3", "asyncpg", "docstring_parser", "json_repair", "numpy"} == set()


def test_a_toolset_imports_the_core_and_no_other_package(packages):
    toolsets = [name for name, folder in packages.items() if "toolsets" in folder.parts]

    assert toolsets
    for name in toolsets:
        assert loaded_by(f"import {name}") & (set(SERVERS) | set(packages)) == {"gaia_core", name}


def test_the_server_imports_no_toolset(packages):
    loaded = loaded_by("import gaia_http")

    assert loaded & set(packages) == {"gaia_core", "gaia_http"}


@pytest.mark.parametrize("statement", ["import litestar", "import gaia_files", "import mcp"])
def test_what_is_loaded_is_seen(statement):
    assert statement.split()[1] in loaded_by(statement)


def test_no_package_shadows_the_standard_library(packages: dict[str, Path]):
    assert not set(packages) & sys.stdlib_module_names
    for folder in packages.values():
        assert not (folder.parent / "__init__.py").exists()
