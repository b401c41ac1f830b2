"""Reverts: each fix undone by one small change of the code, and the tests that must notice it.

The tables are the TOML files beside this one. A `[[revert]]` has the *row* of the issue that it belongs to, a *name*,
the *file*, the text that is there (*old*), the text that restores the fault (*new*), and the *tests* of that area.
"""

import tomllib
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]


@attrs.frozen
class Revert:
    """One fix, undone."""

    table: str
    name: str
    row: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> str:
        """Undo the fix in the tree at *root*; the file's text before. Raises ValueError unless *old* is there once."""
        path = root / self.file
        text = path.read_text()
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: the old text occurs {count} times in {self.file}, instead of once")
        path.write_text(text.replace(self.old, self.new))
        return text


def all_reverts() -> tuple[Revert, ...]:
    """Those of all tables, in the order of the tables' names."""
    found = []
    for table in sorted(Path(__file__).parent.glob("*.toml")):
        for entry in tomllib.loads(table.read_text())["revert"]:
            found.append(Revert(table.stem, **{**entry, "tests": tuple(entry["tests"])}))
    return tuple(found)
