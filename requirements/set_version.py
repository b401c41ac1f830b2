"""Give all distributions of this workspace one version, and their dependencies on each other the same.

python requirements/set_version.py 0.2.0      # or: ./run version 0.2.0
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?:(?:a|b|rc)[0-9]+)?\Z")
_OWN = re.compile(r'("gaia-(?:server|toolset)[a-z-]*(?:\[[a-z]+\])?==)[^"]+(?=")')


def projects(root: Path = ROOT) -> tuple[Path, ...]:
    """The pyproject.toml of each distribution."""
    folders = (root, root / "http", root / "server", *sorted(root.glob("toolsets/*/")))
    return tuple(folder / "pyproject.toml" for folder in folders if (folder / "pyproject.toml").is_file())


def set_version(version: str, root: Path = ROOT) -> None:
    """Write *version*, such as 0.2.0 or 0.2.0rc1, into each of them. Raises ValueError for another form."""
    if not _VERSION.match(version):
        raise ValueError(f"{version!r} is not a version such as 0.2.0 or 0.2.0rc1")
    for path in projects(root):
        text = re.sub(r'(?m)^version = "[^"]*"', f'version = "{version}"', path.read_text(), count=1)
        path.write_text(_OWN.sub(rf"\g<1>{version}", text))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: set_version.py VERSION")
    try:
        set_version(sys.argv[1])
    except ValueError as error:
        sys.exit(str(error))
