"""The agent that a request names as its model, and those that it may name."""

from gaia_core import Agent, Catalog, NotFoundError, Runtime
from gaia_http._errors import invalid
from gaia_http.door._caller import Caller
from gaia_http.request._fields import missing_at, shortened


def agent_of(runtime: Runtime, name: str | None, caller: Caller, path: str = "model") -> Agent:
    """The agent called *name*. Raises ApiError 400 for None, 404 `model_not_found`, 403 `agent_not_allowed`."""
    if name is None:
        raise missing_at(path, ": name an agent; GET /v1/models lists them")
    try:
        agent = runtime.catalog.agent(name)
    except NotFoundError:
        message = f"there is no agent {shortened(name)!r}; GET /v1/models lists them"
        raise invalid(message, param=path, code="model_not_found", status=404) from None
    caller.check_agent(agent.name)
    return agent


def agent_names(catalog: Catalog, caller: Caller) -> list[str]:
    """The names of the caller's agents, sorted; the default agent first, which clients preselect."""
    allowed = (agent.name for agent in catalog.agents if caller.may_use(agent.name))
    return sorted(allowed, key=lambda name: (name != catalog.default_agent, name))
