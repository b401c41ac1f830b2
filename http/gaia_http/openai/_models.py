"""GET /v1/models: the agents of the catalog, each as a model. Lists, never builds."""

from urllib.parse import unquote

import msgspec

from gaia_core import Catalog, Runtime
from gaia_http._errors import encoded
from gaia_http.door._caller import Caller
from gaia_http.request._agent import agent_names, agent_of


class _Model(msgspec.Struct, frozen=True, gc=False):
    id: str
    object: str
    created: int
    owned_by: str


class _Models(msgspec.Struct, frozen=True, gc=False):
    object: str
    data: tuple[_Model, ...]


def list_models(runtime: Runtime, caller: Caller) -> bytes:
    """The list of the caller's agents, encoded; the default agent first, which clients preselect."""
    catalog = runtime.catalog
    names = agent_names(catalog, caller)
    return encoded(_Models("list", tuple(_model(name, catalog) for name in names)))


def _model(name: str, catalog: Catalog) -> _Model:
    return _Model(name, "model", catalog.created, "gaia")


def one_model(runtime: Runtime, raw_path: str, caller: Caller) -> bytes:
    """The agent whose id ends *raw_path*, URL-encoded or not. Raises ApiError 404, 403."""
    name = unquote(raw_path.partition("/models/")[2])
    agent = agent_of(runtime, name, caller)
    return encoded(_model(agent.name, runtime.catalog))
