"""docs/architecture.md names every distribution and every room; what it says of tasks names what is there."""

import re
from pathlib import Path

import pytest

from requirements.set_version import projects

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
HTTP = sorted(path.name for path in (ROOT / "http" / "gaia_http").iterdir() if (path / "__init__.py").exists())
CORE = sorted(path.name for path in (ROOT / "gaia_core").iterdir() if (path / "__init__.py").exists())


def test_each_distribution_has_a_row():
    table = PAGE.split("## Distributions", 1)[1].split("\n## ", 1)[0]
    rows = set(re.findall(r"^\| `([a-z/_]+)/` \|", table, re.MULTILINE))
    folders = {str(path.parent.relative_to(ROOT)) for path in projects()}

    assert rows == {"gaia_core" if folder == "." else folder for folder in folders}


@pytest.mark.parametrize(("title", "rooms"), [("## Rooms of `gaia_http`", HTTP), ("## Rooms of `gaia_core`", CORE)])
def test_each_room_is_named(title, rooms):
    part = PAGE.split(title, 1)[1].split("\n## ", 1)[0]

    assert [room for room in rooms if f"`{room}`" not in part] == []


def test_the_table_of_tasks_names_what_is_there():
    part = PAGE.split("## Who owns which task", 1)[1].split("\n## ", 1)[0]
    files = [path for folder in ("gaia_core", "http", "toolsets") for path in (ROOT / folder).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    named = re.findall(r"`([A-Z]\w+)(?:\.(\w+))?`", part)

    assert named
    assert [name for name, _ in named if not re.search(rf"^class {name}\b", text, re.MULTILINE)] == []
    assert [f"{name}.{method}" for name, method in named if method and not re.search(rf"def {method}\b", text)] == []
