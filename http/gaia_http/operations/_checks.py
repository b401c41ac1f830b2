"""What `gaia doctor` checks, each as a function that looks, changes nothing, and says what to do."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from gaia_core import Catalog, ConfigError, GaiaError
from gaia_core.catalog import ModelSpec, faults_of, load_catalog, with_model
from gaia_core.journal.from_url import data_folder, journal_from_url
from gaia_core.models import Endpoint, ModelError, OpenEndpoints
from gaia_http._settings import is_loopback
from gaia_http.keys import keyring_at
from gaia_http.server._pid_file import running

Level: TypeAlias = Literal["ok", "warning", "error"]

_GB = 1_000_000_000
_LOW_DISK, _NO_DISK = 2 * _GB, _GB // 5
_CONNECT_SECONDS = 5.0


class Finding(msgspec.Struct, frozen=True, gc=False):
    """What one check found. *check* says what was looked at; *words* what is there, and what to do about it."""

    check: str
    level: Level
    words: str


class Place(msgspec.Struct, frozen=True, gc=False):
    """What the server would be started with: its options, as `gaia serve` has them, the environment and the folder."""

    config: Path | None
    journal: str | None
    keys: Path | None
    host: str
    port: int
    environ: Mapping[str, str]
    cwd: Path


async def findings(place: Place) -> AsyncIterator[Finding]:
    """All that is found, in the order in which a server meets it."""
    catalog, found = _configuration(place)
    for finding in found:
        yield finding
    if catalog is not None:
        catalog = await with_model(catalog, environ=place.environ)
        for finding in await _models_and_folders(catalog, place.environ):
            yield finding
    yield await _journal(place)
    for finding in (*_keys(place, catalog), _port(place), *_disk(place)):
        yield finding


def _configuration(place: Place) -> tuple[Catalog | None, tuple[Finding, ...]]:
    try:
        catalog = load_catalog(place.config, environ=place.environ, cwd=place.cwd)
    except GaiaError as error:
        return None, (Finding("configuration", "error", str(error)),)
    agents = ", ".join(agent.name for agent in catalog.agents)
    problems = (Finding("configuration", "error", f"{each.source}: {each.message}") for each in catalog.problems)
    return catalog, (Finding("configuration", "ok", f"agents: {agents}"), *problems)


async def _models_and_folders(catalog: Catalog, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    faults = await faults_of(catalog)
    found = [Finding(fault.source, "error", fault.message) for fault in faults]
    bad = {fault.source for fault in faults}
    found += [await _model(spec, environ) for spec in catalog.models if f"models.{spec.name}" not in bad]
    found += [
        Finding(f"agents.{agent.name}", "ok", f"tools: {len(agent.tools)}")
        for agent in catalog.agents
        if f"agents.{agent.name}" not in bad
    ]
    return tuple(found)


async def _model(spec: ModelSpec, environ: Mapping[str, str]) -> Finding:
    check = f"models.{spec.name}"
    if spec.kind == "embedded":
        return await _embedded(check, environ)
    if not isinstance(spec.open, OpenEndpoints):
        return Finding(check, "ok", spec.description or spec.kind)
    for config in spec.open.configs:
        endpoint = Endpoint(config)
        try:
            listed = await endpoint.models(_CONNECT_SECONDS)
        except ModelError:  # it has no list, which is no fault: see faults_of
            continue
        finally:
            await endpoint.aclose()
        if config.model is not None and listed and config.model not in listed:
            names = ", ".join(listed[:10])
            words = f"{config.base} does not list the model {config.model!r}; it lists: {names}. Load it there"
            return Finding(check, "warning", f"{words}, or correct model")
    return Finding(check, "ok", spec.description or spec.kind)


async def _embedded(check: str, environ: Mapping[str, str]) -> Finding:
    from gaia_core.models.embedded import (  # noqa: PLC0415  # only where there is one
        ChildError,
        cache_folder,
        chosen_weights,
        given_path,
        libraries_folder,
        load_runtime,
        replacements,
    )

    try:
        await load_runtime(libraries_folder(environ), replacements())
        if (given := given_path(None, environ)) is not None:
            return Finding(check, "ok" if given.is_file() else "error", f"the embedded model: {given} (GAIA_WEIGHTS)")
        weights = chosen_weights(environ, cache_folder(environ)).weights
    except (ChildError, ConfigError) as error:
        return Finding(check, "error", f"the embedded model can't run here: {error}")
    if weights.is_in(cache_folder(environ)):
        return Finding(check, "ok", f"the embedded model: {weights.name}")
    words = f"the embedded model's weights are not here yet ({weights.size // 1_000_000} MB)"
    return Finding(check, "warning", f"{words}; fetch them: gaia model pull")


async def _journal(place: Place) -> Finding:
    """Whether the journal can be reached; it isn't opened, because that may upgrade it."""
    try:
        journal = journal_from_url(place.journal, place.environ)
    except ConfigError as error:
        return Finding("journal", "error", str(error))
    path: Path | None = getattr(journal, "path", None)
    if path is not None:
        return _journal_file(path)
    if not journal.durable:
        return Finding("journal", "warning", "in memory only: sessions are lost when the server stops; see --journal")
    import asyncpg  # noqa: PLC0415  # only who has a PostgreSQL journal

    url = place.journal or place.environ.get("GAIA_JOURNAL", "")
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            database = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
            await database.close()
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        words = f"{journal!r} can't be reached: {type(error).__name__}: {error}"
        return Finding("journal", "error", f"{words}. Start the database, or correct --journal or GAIA_JOURNAL")
    return Finding("journal", "ok", repr(journal))


def _journal_file(path: Path) -> Finding:
    if words := _unwritable(path, "--journal"):
        return Finding("journal", "error", words)
    if not path.exists():
        return Finding("journal", "ok", f"{path} (it is made at the first start)")
    return Finding("journal", "ok", f"{path} (gaia journal check reads all of it)")


def _keys(place: Place, catalog: Catalog | None) -> Iterator[Finding]:
    try:
        keyring = keyring_at(place.keys, place.environ)
    except ConfigError as error:
        yield Finding("keys", "error", str(error))
        return
    if not keyring.required:
        here = is_loopback(place.host)
        words = "no keys: only this machine is served" if here else f"--host {place.host} needs a key"
        yield Finding("keys", "ok" if here else "error", f"{words}; gaia keys create NAME makes one")
        return
    names = ", ".join(key.name for key in keyring.keys)
    words = f"keys: {names}" if names else "a key is needed, and there is none; gaia keys create NAME makes one"
    yield Finding("keys", "ok" if names else "error", words)
    known = {agent.name for agent in catalog.agents} if catalog is not None else None
    for key in keyring.keys:
        if known is not None and (lost := sorted(set(key.agents or ()) - known)):
            yield Finding("keys", "warning", f"key {key.name}: there is no agent {', '.join(lost)}")


def _port(place: Place) -> Finding:
    where = f"{place.host}:{place.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            place.host.strip("[]"), place.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        mine = next((each for each in running(data_folder(place.environ)) if each.port == place.port), None)
        if mine is not None:
            return Finding("port", "ok", f"{where}: your server runs there already (process {mine.pid})")
        return Finding("port", "error", f"can't listen on {where} ({error.strerror}); choose another --port or --host")
    return Finding("port", "ok", f"{where} is free")


def _disk(place: Place) -> Iterator[Finding]:
    folder = data_folder(place.environ)
    free = shutil.disk_usage(_nearest(folder)).free
    level: Level = "error" if free < _NO_DISK else "warning" if free < _LOW_DISK else "ok"
    advice = "" if level == "ok" else "; free some: the server can't record turns on a full disk"
    yield Finding("disk", level, f"{free / _GB:.1f} GB free for {folder}{advice}")
    if words := _unwritable(folder, "XDG_DATA_HOME"):
        yield Finding("disk", "error", words)


def _nearest(path: Path) -> Path:
    """*path*, or the folder above it in which it would be made."""
    return next(each for each in (path, *path.parents) if each.exists())


def _unwritable(path: Path, option: str) -> str:
    """Why *path* can't be written or made; "" when it can. *option* names another place."""
    nearest = _nearest(path)
    if os.access(nearest, os.W_OK):
        return ""
    return f"{nearest} can't be written by this user; change its owner, or {option}"
