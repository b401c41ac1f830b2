"""GET /v1/models for clients of Anthropic's API: the agents of the catalog, each as a model. Lists, never builds."""

from datetime import UTC, datetime
from urllib.parse import unquote

import msgspec
from litestar.datastructures import MultiDict

from gaia_core import Catalog, Runtime
from gaia_http._errors import encoded
from gaia_http.door._caller import Caller
from gaia_http.request._agent import agent_names, agent_of
from gaia_http.request._fields import invalid_at, shortened

_LIMIT, _MOST = 20, 1_000


class _ModelInfo(msgspec.Struct, frozen=True, gc=False):
    id: str
    type: str
    display_name: str
    created_at: str
    lifecycle: str


class _ModelPage(msgspec.Struct, frozen=True, gc=False):
    data: tuple[_ModelInfo, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


def list_models(runtime: Runtime, caller: Caller, query: "MultiDict[str]") -> bytes:
    """A page of the caller's agents, encoded; the default agent first, which clients preselect.

    *query*: `limit` (20), `after_id`, `before_id`. Raises ApiError 400 for wrong ones.
    """
    catalog = runtime.catalog
    names = agent_names(catalog, caller)
    limit = _limit(query.get("limit"))
    after, before = query.get("after_id"), query.get("before_id")
    begin = _position(names, after, "after_id") + 1 if after else 0
    end = _position(names, before, "before_id") if before else len(names)
    within = names[begin:end]
    page = within[-limit:] if before and not after else within[:limit]
    found = tuple([_model(name, catalog) for name in page])
    first, last = (page[0], page[-1]) if page else (None, None)
    return encoded(_ModelPage(found, len(page) < len(within), first, last))


def one_model(runtime: Runtime, raw_path: str, caller: Caller) -> bytes:
    """The agent whose id ends *raw_path*, URL-encoded or not. Raises ApiError 404, 403."""
    agent = agent_of(runtime, unquote(raw_path.partition("/models/")[2]), caller)
    return encoded(_model(agent.name, runtime.catalog))


def _model(name: str, catalog: Catalog) -> _ModelInfo:
    created = datetime.fromtimestamp(catalog.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _ModelInfo(name, "model", name, created, "active")


def _limit(sent: str | None) -> int:
    if sent is None:
        return _LIMIT
    if not (sent.isascii() and sent.isdecimal() and len(sent) <= 4 and 1 <= int(sent) <= _MOST):
        raise invalid_at("limit", f"{shortened(sent)!r} is not a number from 1 to {_MOST}")
    return int(sent)


def _position(names: list[str], id: str, path: str) -> int:
    if id not in names:
        raise invalid_at(path, f"there is no model {shortened(id)!r}")
    return names.index(id)
