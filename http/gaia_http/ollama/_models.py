"""What Ollama's clients ask about models: the agents of the catalog, each as one. Lists, never builds."""

from datetime import UTC, datetime
from typing import Any

from litestar.types import ASGIApp, Receive, Scope

from gaia_core import Agent, Catalog, NotFoundError, Runtime
from gaia_http._errors import encoded, invalid
from gaia_http._json_response import no_response, send_json
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller, caller_of
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.ollama._wire import decode_show
from gaia_http.request._agent import agent_names
from gaia_http.request._fields import missing_at, shortened

LATEST = ":latest"
"""The tag of every agent whose name has none."""

OLLAMA_VERSION = "0.12.6"
"""The version of Ollama whose API this follows: clients refuse older ones (VS Code wants 0.6.4 at least)."""

_NEVER = "9999-12-31T23:59:59Z"


def agent_called(runtime: Runtime, name: str | None, caller: Caller, path: str = "model") -> Agent:
    """The agent that a client calls *name*, with or without the tag. Raises ApiError 400, 404, 403."""
    if not name:
        raise missing_at(path, ": name an agent; GET /api/tags lists them")
    catalog = runtime.catalog
    for candidate in (name, name.removesuffix(LATEST)):
        try:
            agent = catalog.agent(candidate)
        except NotFoundError:
            continue
        caller.check_agent(agent.name)
        return agent
    message = f"model {shortened(name)!r} not found: there is no such agent; GET /api/tags lists them"
    raise invalid(message, param=path, code="model_not_found", status=404)


class OllamaModels:
    """The routes of one application."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        self._runtime = runtime
        self._settings = settings

    def tags(self, caller: Caller) -> bytes:
        """The caller's agents; the default one first, which clients preselect."""
        catalog = self._runtime.catalog
        return encoded({"models": [_entry(catalog, catalog.agent(name)) for name in agent_names(catalog, caller)]})

    def loaded(self, caller: Caller) -> bytes:
        """The same as models that are in memory: every agent answers at once, and none is ever unloaded."""
        catalog = self._runtime.catalog
        agents = [catalog.agent(name) for name in agent_names(catalog, caller)]
        more = [
            {"expires_at": _NEVER, "size_vram": 0, "context_length": catalog.model(agent.model).window or 0}
            for agent in agents
        ]
        found = [{**_entry(catalog, agent), **each} for agent, each in zip(agents, more, strict=True)]
        return encoded({"models": found})

    async def show(self, scope: Scope, receive: Receive) -> ASGIApp:
        """What an agent is and can do."""
        check_headers(scope["headers"], curl=True)
        try:
            body = await read_body(receive, self._settings)
        except ClientGone:
            return no_response
        request = decode_show(body)
        agent = agent_called(self._runtime, request.model or request.name, caller_of(scope))
        shown = encoded(await self._shown(agent))
        return lambda _scope, _receive, send: send_json(send, shown)

    async def _shown(self, agent: Agent) -> dict[str, Any]:
        catalog = self._runtime.catalog
        inputs = await self._runtime.models.inputs(agent.model)
        window = catalog.model(agent.model).window
        capabilities = ["completion", "thinking"]
        if agent.client_tools not in ("ignore", "reject"):
            capabilities.append("tools")
        if "image" in inputs:
            capabilities.append("vision")
        info: dict[str, Any] = {"general.architecture": "gaia", "general.basename": agent.name}
        if window is not None:
            info["gaia.context_length"] = window
        return {
            "modelfile": f"# An agent of this server.\nFROM {agent.name}\n",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": _details(),
            "model_info": info,
            "capabilities": capabilities,
            "modified_at": _modified(catalog),
        }


def version() -> bytes:
    """The answer to GET /api/version."""
    return encoded({"version": OLLAMA_VERSION})


def _entry(catalog: Catalog, agent: Agent) -> dict[str, Any]:
    name = agent.name if ":" in agent.name else f"{agent.name}{LATEST}"
    return {
        "name": name,
        "model": name,
        "modified_at": _modified(catalog),
        "size": 0,
        "digest": agent.fingerprint.partition(":")[2],
        "details": _details(),
    }


def _details() -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gaia",
        "family": "gaia",
        "families": ["gaia"],
        "parameter_size": "",
        "quantization_level": "",
    }


def _modified(catalog: Catalog) -> str:
    return datetime.fromtimestamp(catalog.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
