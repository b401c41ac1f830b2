"""The flow pages name real functions: a renamed one fails here until its page is corrected."""

import importlib
import re
from pathlib import Path

import pytest

FLOWS = Path(__file__).resolve().parents[2] / "docs" / "flows"
NAMED = re.compile(r"\b(gaia_[a-z_.]*[a-z_]):([A-Za-z_]\w*(?:\.\w+)*)")
PAGES = sorted(page.name for page in FLOWS.glob("*.md") if page.name != "README.md")


def named(text: str) -> set[tuple[str, str]]:
    """The functions and classes that *text* names, as module and dotted name."""
    return {(module, name) for module, name in NAMED.findall(text)}


def is_there(module: str, name: str) -> bool:
    value: object = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


def test_there_is_a_page_for_each_of_the_five_flows():
    assert PAGES == ["approval.md", "responses.md", "resume.md", "streamed-chat.md", "ui-turn.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_function_that_a_page_names_exists(page):
    found = named((FLOWS / page).read_text(encoding="utf-8"))

    assert len(found) >= 8
    assert [each for each in sorted(found) if not is_there(*each)] == []


def test_a_renamed_function_is_noticed():
    assert named("`gaia_core.turn._turn:Turn.cancel`, which") == {("gaia_core.turn._turn", "Turn.cancel")}
    assert is_there("gaia_core.turn._turn", "Turn.cancel")
    assert not is_there("gaia_core.turn._turn", "Turn.annul")
