"""gaia.toml → Catalog: a pure function."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec

from gaia_core.catalog._catalog import EMBEDDED_SLOTS, ENDPOINT_SLOTS, Catalog, ModelSpec, models_of
from gaia_core.catalog._compose_agents import Composer, Installed, drafts_of, sources_of, toolsets_used
from gaia_core.catalog._config_tables import ModelTable, parsed, table_of
from gaia_core.catalog._default_catalog import (
    DEFAULT_AGENT,
    DEFAULT_MODEL,
    default_catalog,
    embedded_model,
    model_of,
)
from gaia_core.catalog._lock_file import check_agents, read_lock
from gaia_core.catalog._plugins import Plugin, find_plugins
from gaia_core.catalog._retention import Retention
from gaia_core.errors import ConfigError
from gaia_core.models import EndpointConfig, OpenEndpoints
from gaia_core.tools import nearest

CONFIG_NAME = "gaia.toml"

EMBEDDED_KEYS = ("embedded", "slots", "queue", "context_tokens")


def load_catalog(
    path: Path | None = None,
    *,
    environ: Mapping[str, str],
    cwd: Path,
    plugins: Mapping[str, Plugin] | None = None,
    locked: bool = True,
) -> Catalog:
    """The catalog of the configuration *path*, of `gaia.toml` in *cwd*, or else the default one.

    Reads that file and the installed plugins (unless *plugins* gives them; `GAIA_PLUGINS` selects) and changes
    nothing. Raises ConfigError for whatever the file says wrong; a plugin or agent that is broken otherwise becomes
    one of the catalog's problems, and the others stay. Where `gaia.lock` is beside the configuration, raises
    LockError for tools that are not as it says, unless *locked* is False, for commands that only look.
    """
    catalog = _loaded(path, environ, cwd, plugins)
    lock = read_lock(path.resolve().parent if path is not None else cwd) if locked else None
    if lock is None:
        return catalog
    check_agents(lock, catalog.agents)
    return attrs.evolve(catalog, lock=lock)


def _loaded(path: Path | None, environ: Mapping[str, str], cwd: Path, plugins: Mapping[str, Plugin] | None) -> Catalog:
    given = path is not None
    path = path if path is not None else cwd / CONFIG_NAME
    document = parsed(path) if given or path.is_file() else None
    if plugins is None:
        named = toolsets_used(document) if document is not None else ()
        found, problems = find_plugins(environ.get("GAIA_PLUGINS", ""), named)
    else:
        found, problems = dict(plugins), ()
    if document is None:
        return default_catalog(found, problems, environ, cwd)
    retention = Retention(**msgspec.structs.asdict(document.retention))
    created = int(path.stat().st_mtime)
    folder = path.resolve().parent
    models = {name: _model(name, table, folder) for name, table in document.models.items()}
    names = tuple(document.agents) or (DEFAULT_AGENT,)
    default = document.default_agent or names[0]
    if default not in names:
        raise ConfigError(f"default_agent: there is no agent {default!r}.{nearest(default, names)}")
    if not document.agents:
        without = default_catalog(found, problems, environ, cwd)
        models = {spec.name: spec for spec in without.models} | models
        made = Catalog.of(*without.agents, models=models, problems=without.problems)
        return attrs.evolve(made, created=created, storage=document.storage.quota, retention=retention)
    drafts, broken = drafts_of(document, Installed(found, problems), folder)
    agents = tuple(draft.agent() for draft in drafts)
    if not agents:
        raise ConfigError(f"{path.name}: no agent is left: " + "; ".join(problem.message for problem in broken))
    if DEFAULT_MODEL not in models and any(DEFAULT_MODEL in models_of(agent) for agent in agents):
        models[DEFAULT_MODEL] = model_of(environ)
    if default not in {agent.name for agent in agents}:
        default = agents[0].name
    catalog = Catalog.of(*agents, models=models, default_agent=default, problems=(*problems, *broken))
    sources = sources_of(drafts)
    return attrs.evolve(
        catalog,
        sources=sources,
        compose=Composer(drafts) if sources else None,
        created=created,
        storage=document.storage.quota,
        retention=retention,
    )


def _model(name: str, value: dict[str, Any], folder: Path) -> ModelSpec:
    place = f"models.{name}"
    table = table_of(value, ModelTable, place)
    if table.embedded:
        for other in value:
            if other not in EMBEDDED_KEYS:
                raise ConfigError(f"{place}: {other} and embedded can't be combined")
        weights = (folder / Path(table.embedded).expanduser()) if isinstance(table.embedded, str) else None
        return attrs.evolve(
            embedded_model(weights, context_tokens=table.context_tokens, slots=table.slots or EMBEDDED_SLOTS),
            name=name, queue=table.queue,
        )  # fmt: skip
    urls = (table.url,) if isinstance(table.url, str) else tuple(table.url or ())
    if not urls:
        raise ConfigError(
            f"{place}.url: give the URL, such as http://127.0.0.1:8000/api/v1, a list of them for failover, "
            "or embedded = true"
        )
    try:
        configs = tuple(_endpoint(table, url) for url in urls)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    bases = [config.base for config in configs]
    for base in bases:
        if bases.count(base) > 1:
            raise ConfigError(f"{place}.url: {base} is named twice; name each endpoint once")
    said = f"{table.model or 'the first model'} at {', '.join(urls)} (configured)"
    return ModelSpec(
        name,
        OpenEndpoints(configs),
        table.slots or ENDPOINT_SLOTS,
        table.queue,
        "endpoint",
        said,
        table.context_tokens,
        table.window,
        frozenset(table.inputs) if table.inputs is not None else None,
        table.embeddings,
        table.model,
        frozenset(table.forward),
        table.response_format == "enforced",
    )


def _endpoint(table: ModelTable, url: str) -> EndpointConfig:
    return EndpointConfig(
        url=url,
        model=table.model,
        api_key_env=table.api_key_env,
        tool_calls=table.tool_calls,
        send_reasoning=table.send_reasoning,
        connect_timeout=table.connect_timeout,
        first_token_timeout=table.first_token_timeout,
        silence_timeout=table.silence_timeout,
        retries=table.retries,
        extra=msgspec.json.encode(table.extra, order="sorted").decode(),
        cache_salt=table.cache_salt,
    )
