"""The site builds without a warning, needs no network to be read, and its reference is whole."""

import ast
import html
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from docs._generate import configuration
from gaia_core import load_catalog
from gaia_core.catalog._config_tables import AgentTable, Composition, Document, ModelTable
from gaia_core.catalog._plugins import find_plugins

ROOT = Path(__file__).parents[2]
SOURCES = ("gaia_core", "http/gaia_http", "toolsets")
OUTSIDE = re.compile(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="(?:https?:)?//')
VARIABLE = re.compile(r"(?:GAIA|OTEL|HF|XDG|OMP)_[A-Z_]+\Z|[A-Z]*(?:HOME|APPDATA)\Z")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `./run docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", folder / "trees"]
    built = subprocess.run(
        [*command, ROOT / "docs", folder / "html"], capture_output=True, text=True, check=False, timeout=300
    )
    assert built.returncode == 0, f"{built.stderr}\nA new page needs a line in docs/index.md."
    return folder / "html"


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_reading_it_needs_no_network(site):
    pages = sorted(site.rglob("*.html"))

    assert len(pages) > 30
    assert [page.name for page in pages if OUTSIDE.search(page.read_text())] == []
    assert [style.name for style in site.rglob("*.css") if re.search(r"url\(.?(?:https?:)?//", style.read_text())] == []


def tables() -> Iterator[tuple[str, set[str]]]:
    """Each table that a gaia.toml may have, with its keys: from what reads the file, not from what writes the page."""
    structs: list[type[msgspec.Struct]] = [Document, ModelTable, AgentTable, Composition]
    while structs:
        kind = structs.pop()
        keys = set()
        for field in msgspec.structs.fields(kind):
            inner = [one for one in (field.type, *get_args(field.type)) if hasattr(one, "__struct_fields__")]
            structs += inner
            keys |= set() if inner or field.encode_name in ("models", "agents") else {field.encode_name}
        if keys:
            yield kind.__name__, keys
    plugins, _ = find_plugins("")
    for name in ("files", "mcp"):
        yield name, set(inspect.signature(plugins[name].factory).parameters)


def test_every_key_of_gaia_toml_is_in_the_reference(site):
    page = (site / "reference" / "configuration.html").read_text()
    sections = [
        set(re.findall(r'<tr class="row-\w+"><td><p><code[^>]*><span class="pre">(\w+)<', part))
        for part in page.split("<h2>")
    ]

    expected = dict(tables())

    assert len(expected) == 13
    assert sum(map(len, expected.values())) > 60
    assert {name: keys for name, keys in expected.items() if not any(keys <= found for found in sections)} == {}


def test_the_reference_names_no_key_that_there_is_not():
    lines = configuration.example_lines(configuration.EXAMPLE.read_text())

    assert set(lines) == {(key.table, key.name) for key in tuple(configuration.keys())}
    assert all(line.meaning.endswith(".") for line in lines.values())


def test_the_example_of_every_key_is_a_valid_gaia_toml(tmp_path):
    path = tmp_path / "gaia.toml"
    path.write_text(configuration.EXAMPLE.read_text())

    catalog = load_catalog(path, environ={}, cwd=tmp_path)

    assert catalog.problems == ()
    assert [agent.name for agent in catalog.agents] == ["builder", "coder"]


def test_every_environment_variable_is_in_the_reference():
    text = (ROOT / "docs" / "reference" / "environment.md").read_text()
    used = {
        node.value
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "child_environ.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.match(node.value)
    }

    assert {"GAIA_JOURNAL", "GAIA_API_KEY", "HF_ENDPOINT", "XDG_CACHE_HOME"} <= used
    assert [name for name in sorted(used) if f"`{name}`" not in text and not name.startswith("OTEL_")] == []
    documented = set(re.findall(r"`(GAIA_\w+)`", text))
    assert documented <= used


def test_the_other_references_are_there(site):
    reference = site / "reference"

    assert "gaia keys create" in text_of(reference / "commands.html")
    assert "/v1/responses/compact" in text_of(reference / "http.html")
    assert "Runtime.start" in text_of(reference / "python.html")
    assert "ApprovalRequested" in text_of(reference / "events.html")


def test_llms_txt_lists_every_page(site):
    listed = re.findall(r"\]\((.+?)\.html\): \S", (site / "llms.txt").read_text())
    pages = {str(path.relative_to(ROOT / "docs").with_suffix("")) for path in (ROOT / "docs").rglob("*.md")}

    assert set(listed) == pages - {"index"}
    assert "## `[models.NAME]`" in (site / "llms-full.txt").read_text()
