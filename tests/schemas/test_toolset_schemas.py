"""What models are told of every toolset, as snapshots: a changed parameter is a readable diff in review.

`just snapshots` writes them anew.
"""

from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import pytest
from syrupy.extensions.json import JSONSnapshotExtension

from gaia_core import Toolset, diff, tool

# Every way of making a toolset that shows all its tools. A new plugin adds a line, or the first test fails.
MAKINGS = {"files": {"read_only": {}, "write": {"write": True}}}
# Their tools are a server's, known once it is asked: `gaia.lock` reviews them.
OTHERS = ("mcp",)
CASES = [(name, making) for name, makings in MAKINGS.items() for making in makings]


class DefinitionsFile(JSONSnapshotExtension):
    """One readable JSON file for each toolset; the order of keys is the one that models see."""

    def serialize(self, data, **_kwargs):
        return msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n"


def factories() -> dict[str, object]:
    return {point.name: point for point in entry_points(group="gaia.toolsets")}


def shown(toolset: Toolset) -> dict:
    tools = [
        {
            "name": made.name,
            "effects": sorted(made.effects),
            "description": made.description,
            "parameters": msgspec.json.decode(made.parameters.schema),
        }
        for made in toolset
    ]
    return {"instructions": toolset.instructions.splitlines(), "tools": tools}


def test_every_installed_toolset_has_snapshots():
    assert sorted((*MAKINGS, *OTHERS)) == sorted(factories())


@pytest.mark.parametrize(("name", "making"), CASES, ids=["_".join(case) for case in CASES])
def test_what_models_are_told(name, making, snapshot):
    toolset = factories()[name].load()(Path(), **MAKINGS[name][making])

    assert shown(toolset) == snapshot(extension_class=DefinitionsFile)


def test_a_changed_parameter_is_seen():
    def read(path: str, limit: int = 10) -> str:
        """Read."""

    def read_more(path: str, limit: int = 20, encoding: str = "utf-8") -> str:
        """Read."""

    before, after = Toolset("t", (tool(read),)), Toolset("t", (tool(name="read")(read_more),))

    assert shown(before) != shown(after)
    assert before.fingerprint != after.fingerprint
    assert str(diff(before, after)) == "~ read: encoding: added, optional"
