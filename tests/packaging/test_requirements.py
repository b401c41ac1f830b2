"""The pinned requirements: what `serve` installs is what the tests ran with, and it holds no developer tool."""

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def pins(name: str) -> set[str]:
    """The packages of a set, with their versions."""
    return set(re.findall(r"^[\w.-]+==\S+", (REQUIREMENTS / f"{name}.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["tools", "runtime"])
def test_developer_tools_have_the_pins_of_the_smaller_sets(name):
    assert pins(name)
    assert pins(name) - pins("dev") == set()


def test_what_serves_needs_no_tools():
    assert pins("tools") & pins("runtime") == set()
