"""A table of rows that belong together: a figure, its target, and whether it holds."""

import platform

import attrs


@attrs.frozen
class Row:
    """*figure* is ours; *floor* the least that the same work costs here, measured in the same run."""

    what: str
    figure: float
    unit: str
    floor: float | None = None
    target: float | None = None
    at_least: bool = False

    @property
    def holds(self) -> str:
        if self.target is None:
            return ""
        good = self.figure >= self.target if self.at_least else self.figure <= self.target
        return "yes" if good else "NO"


def show(title: str, rows: list[Row]) -> None:
    """Print the table."""
    print(f"\n{title} ({platform.python_implementation()} {platform.python_version()}, {platform.machine()})\n")
    print(f"| {'what':52} | {'figure':>12} | {'floor':>9} | {'ratio':>6} | {'target':>9} | holds |")
    print(f"|{'-' * 54}|{'-' * 14}|{'-' * 11}|{'-' * 8}|{'-' * 11}|-------|")
    for row in rows:
        floor = f"{row.floor:.3g}" if row.floor is not None else ""
        ratio = f"{row.figure / row.floor:.1f}" if row.floor else ""
        target = f"{'≥' if row.at_least else '≤'} {row.target:g}" if row.target is not None else ""
        figure = f"{row.figure:.4g} {row.unit}"
        print(f"| {row.what:52} | {figure:>12} | {floor:>9} | {ratio:>6} | {target:>9} | {row.holds:5} |")
