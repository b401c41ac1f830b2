"""What commands have in common: the option `--config`, and the catalog that it names."""

import asyncio
import os
from pathlib import Path

import click

from gaia_core.catalog import Catalog, load_catalog
from gaia_core.cli.terminal._echo import echo

config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The configuration file. Default: gaia.toml in the current folder; without one, the agent `assistant`.",
)


def read_catalog(config: Path | None, *, locked: bool = True, ask: bool = True) -> Catalog:
    """The catalog of *config* or of this folder; what had to be left out of it is said on stderr.

    *ask*: its sources (MCP servers) are asked for their tools; a runtime does that by itself. Raises ConfigError; also
    for tools that are not as `gaia.lock` says, unless *locked* is False.
    """
    catalog = load_catalog(config, environ=os.environ, cwd=Path.cwd(), locked=locked)
    if ask and catalog.sources:
        from gaia_core.runtime import listed  # only where something has to be asked

        catalog = asyncio.run(listed(catalog))
    for problem in catalog.problems:
        echo(f"problem: {problem.source}: {problem.message}", err=True)
    return catalog
