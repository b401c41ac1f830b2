"""Faults: what of a catalog can't work now, although it is configured correctly: endpoints, keys, folders.

    for fault in await faults_of(catalog):
        print(fault.source, fault.message)      # models.local the environment variable MY_KEY, … is not set

Nothing is opened or changed; each endpoint is asked once for its models.
"""

import asyncio
from collections.abc import Iterator

import attrs

from gaia_core.agent import agents_below
from gaia_core.catalog._catalog import Catalog, ModelSpec
from gaia_core.frozen_types import made_once, typed
from gaia_core.models import Endpoint, EndpointConfig, ModelError, OpenEndpoints

_SECONDS = 3.0
_NO_LIST = frozenset((404, 405, 501))
"""What an endpoint answers that has no list of models, which matters only where *model* is not set."""


@attrs.frozen(field_transformer=typed)
class CatalogFault:
    """What is wrong, and where: *source* is a table of gaia.toml. *brief* has no address and no path: anybody may read
    it. *message* has both, and what to do."""

    __attrs_pre_init__ = made_once

    source: str
    brief: str
    message: str


async def faults_of(catalog: Catalog, seconds: float = _SECONDS) -> tuple[CatalogFault, ...]:
    """All that is wrong now, models first. Endpoints that don't answer within *seconds* count as not reachable."""
    models = await asyncio.gather(*(_faults_of_model(spec, seconds) for spec in catalog.models))
    folders = await asyncio.to_thread(lambda: tuple(_faults_of_resources(catalog)))
    return (*(fault for each in models for fault in each), *folders)


async def _faults_of_model(spec: ModelSpec, seconds: float) -> tuple[CatalogFault, ...]:
    source = f"models.{spec.name}"
    if spec.kind == "none":
        return (CatalogFault(source, "there is no model", spec.description.removeprefix("none: ")),)
    if not isinstance(spec.open, OpenEndpoints):
        return ()
    found = await asyncio.gather(*(_fault_of_endpoint(source, config, seconds) for config in spec.open.configs))
    return tuple(fault for fault in found if fault is not None)


async def _fault_of_endpoint(source: str, config: EndpointConfig, seconds: float) -> CatalogFault | None:
    endpoint = Endpoint(config)
    try:
        listed = await endpoint.models(seconds)
    except ModelError as error:
        return _fault(source, config, error)
    finally:
        await endpoint.aclose()
    if listed or config.model is not None:
        return None
    return CatalogFault(
        source, "its endpoint lists no model", f"{config.base} lists no model; load one there, or set model"
    )


def _fault(source: str, config: EndpointConfig, error: ModelError) -> CatalogFault | None:
    words = str(error)
    if error.kind == "connect":
        return CatalogFault(source, "its endpoint can't be reached", f"{words}. Start the model server, or correct url")
    if error.kind == "auth" and error.status is None:  # the variable, by its name
        return CatalogFault(source, words, f"{words}; set it where the server is started, or correct api_key_env")
    if error.kind == "auth":
        return CatalogFault(
            source, "its endpoint refuses the key", f"{config.base} refuses the key: {words}; see api_key_env"
        )
    if config.model is not None and error.status in _NO_LIST:
        return None
    return CatalogFault(source, "its endpoint does not list its models", f"{config.base}/models: {words}")


def _faults_of_resources(catalog: Catalog) -> Iterator[CatalogFault]:
    for agent in catalog.agents:
        members = (member for below in agents_below(agent) for member in below.tools.members)
        recipes = {member.resource for member in members if member.resource is not None}
        for recipe in sorted(recipes, key=repr):
            if words := recipe.fault():
                brief = f"what its tools work on ({recipe.name}) can't be opened"
                yield CatalogFault(f"agents.{agent.name}", brief, words)
