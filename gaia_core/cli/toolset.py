"""`gaia toolset new`: a package for a toolset of one's own, found by its entry point once it is installed."""

import keyword
import re
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import click

from gaia_core.cli.terminal._echo import echo
from gaia_core.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_SUFFIX = ".template"


@click.group()
def toolset() -> None:
    """Create a toolset of your own."""


@toolset.command()
@click.argument("name")
@click.option(
    "--path",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to create. Default: gaia-toolset-NAME in the current folder.",
)
def new(name: str, path: Path | None) -> None:
    """Create a package for the toolset NAME (lower-case letters, digits and dashes).

    It has one tool, a resource, tests with a snapshot of the tool's schema, and an entry point by which `gaia tools`
    and gaia.toml find it once it is installed.
    """
    folder = path or Path(f"gaia-toolset-{name}")
    written = scaffold(name, folder)
    echo(f"{folder}: {written} files")
    echo(
        f"Next:\n  pip install -e '{folder}[test]'\n  gaia tools schema {name}\n  python -m pytest {folder}\n"
        f'and in gaia.toml:\n  tools = [{{ use = "{name}", root = "." }}]'
    )


def scaffold(name: str, folder: Path) -> int:
    """Write the package for the toolset *name* into *folder*; how many files. Raises ConfigError, and then writes
    nothing, for a name that can't be one and a folder that isn't empty."""
    module = name.replace("-", "_")
    if not _NAME.match(name) or keyword.iskeyword(module):
        raise ConfigError(f"the name {name!r} must be lower-case letters, digits and single dashes, such as git-log")
    if find_spec(f"gaia_{module}") is not None:
        raise ConfigError(f"an installed package is called gaia_{module} already; choose another name")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; name another folder by --path")
    words = {"name": name, "module": module, "version": version("gaia-server-core")}
    count = 0
    for template in sorted(files("gaia_core.cli").joinpath("templates").iterdir(), key=lambda entry: entry.name):
        if not template.name.endswith(_SUFFIX):
            continue
        target = folder / _filled(template.name.removesuffix(_SUFFIX).replace("+", "/"), words)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_filled(template.read_text(encoding="utf-8"), words), encoding="utf-8")
        count += 1
    return count


def _filled(text: str, words: dict[str, str]) -> str:
    """*text* with each `@word@` replaced."""
    return re.sub(r"@(name|module|version)@", lambda match: words[match[1]], text)
