"""Pyright, strict, on what users write and read: the examples, the documentation's scripts, the API's signatures."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [str(ROOT / folder) for folder in (".", "http", "toolsets/files", "toolsets/mcp")]
PAGES = ("library.md", "explanation/first-hour/library.md")
SETTINGS = {
    "typeCheckingMode": "strict",
    "pythonVersion": "3.11",
    "extraPaths": PACKAGES,
    "reportUnnecessaryTypeIgnoreComment": "error",
}


@pytest.fixture
def pyright(node, tmp_path):
    """What Pyright reports of the files in tmp_path, as `file: rule: message`, and how many files it read."""
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(SETTINGS))

    def check() -> tuple[list[str], int]:
        # It ends with 1 where it finds errors; `node` wants 0.
        arguments = ("--outputjson", "--project", str(tmp_path), "--pythonpath", sys.executable)
        report = json.loads(node("node_modules/pyright/index.js", *arguments, expected=(0, 1)))
        found = [
            f"{Path(each['file']).name}: {each.get('rule', '')}: {each['message']}"
            for each in report["generalDiagnostics"]
        ]
        return found, report["summary"]["filesAnalyzed"]

    return check


def test_the_examples_pass(pyright, tmp_path):
    files = sorted((ROOT / "examples").glob("*.py"))
    for file in files:
        shutil.copy(file, tmp_path)

    assert pyright() == ([], len(files))


def test_the_scripts_of_the_documentation_pass(pyright, tmp_path):
    count = 0
    for page in PAGES:
        for block in re.findall(r"(?ms)^```python\n(.*?)^```$", (ROOT / "docs" / page).read_text()):
            named = re.match(r"# (\w+\.py)\n", block)
            (tmp_path / (named[1] if named else f"block_{count}.py")).write_text(block)
            count += 1

    assert count >= 7
    assert pyright() == ([], count)


def test_the_public_signatures_keep_their_types(pyright, tmp_path):
    shutil.copy(Path(__file__).parent / "types/signatures.py", tmp_path)

    assert pyright() == ([], 1)


def test_a_type_that_got_lost_is_noticed(pyright, tmp_path):
    """The net holds: where `@tool` gives `Any`, each expected error is missing."""
    text = (Path(__file__).parent / "types/signatures.py").read_text()
    lost = "from typing import Any\n\n\ndef tool(*_: Any, **__: Any) -> Any: ...\n"
    (tmp_path / "lost.py").write_text(lost)
    (tmp_path / "signatures.py").write_text(
        text.replace("scripted, tool\n", "scripted\n").replace("class City", "from lost import tool\n\n\nclass City", 1)
    )

    found, files = pyright()

    assert files == 2
    assert sum("reportUnnecessaryTypeIgnoreComment" in each for each in found) >= 4
    assert any("reportAssertTypeFailure" in each for each in found)
