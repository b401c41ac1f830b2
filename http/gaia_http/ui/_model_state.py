"""How a model is, asked of itself: its endpoints by asking them, the embedded one by its state."""

import asyncio
from typing import TYPE_CHECKING

import attrs

from gaia_core import Runtime
from gaia_core.catalog import ModelSpec
from gaia_core.models import Endpoint, EndpointConfig, Model, OpenEndpoints
from gaia_http.ui._response_bodies import BackgroundTask

if TYPE_CHECKING:
    from gaia_core.models.embedded import State

_ALIVE_SECONDS = 1.0
_RUNNING = ("idle", "waiting", "fetching", "checking", "starting", "crashed")


@attrs.frozen
class ModelState:
    """What is known of a model: whether it *answers*, its *name* for people, its *url* ("": it has none).

    *downloaded* is None where that is unknown; *progress*, from 0 to 1, while it is being fetched. *task*: its start.
    *error*: why it does not answer and what to do, where somebody has to do something or it crashed.
    """

    answers: bool
    name: str
    url: str = ""
    downloaded: bool | None = None
    progress: float | None = None
    task: BackgroundTask | None = None
    error: str | None = None


def embedded_state(runtime: Runtime) -> "State | None":
    """How far the default agent's embedded model is; None: it has none."""
    catalog = runtime.catalog
    if not catalog.agents:
        return None
    spec = catalog.model(catalog.agent(catalog.default_agent).model)
    if spec.kind != "embedded":
        return None
    from gaia_core.models.embedded import EmbeddedModel  # noqa: PLC0415  # only where there is one

    model = runtime.models.get(spec.name)
    return model.state if isinstance(model, EmbeddedModel) else None


async def state_of(runtime: Runtime, spec: ModelSpec) -> ModelState:
    """How the model of *spec* is now; asking its endpoints takes a second at most."""
    if spec.kind == "none":
        return ModelState(answers=False, name=spec.name)
    if isinstance(spec.open, OpenEndpoints):
        return await _of_endpoints(spec, spec.open.configs)
    model = runtime.models.get(spec.name)
    if isinstance(model, Endpoint):
        return _of_endpoint(spec, model.config, alive=await model.alive(_ALIVE_SECONDS))
    if spec.kind == "embedded":
        return _of_embedded(spec, model)
    return ModelState(answers=True, name=spec.name)  # an object of this process


async def _of_endpoints(spec: ModelSpec, configs: tuple[EndpointConfig, ...]) -> ModelState:
    """The first endpoint that answers, else the first."""
    alive = await asyncio.gather(*(_is_alive(config) for config in configs))
    config = next((config for config, answers in zip(configs, alive, strict=True) if answers), configs[0])
    return _of_endpoint(spec, config, alive=any(alive))


async def _is_alive(config: EndpointConfig) -> bool:
    endpoint = Endpoint(config)
    try:
        return await endpoint.alive(_ALIVE_SECONDS)
    finally:
        await endpoint.aclose()


def _of_endpoint(spec: ModelSpec, config: EndpointConfig, *, alive: bool) -> ModelState:
    return ModelState(alive, config.model or spec.name, config.base, downloaded=True if alive else None)


def _of_embedded(spec: ModelSpec, model: Model) -> ModelState:
    from gaia_core.models.embedded import EmbeddedModel  # noqa: PLC0415  # only where there is one

    if not isinstance(model, EmbeddedModel):
        return ModelState(answers=True, name=spec.name)
    state = model.state
    ready = state.phase == "ready"
    status = "completed" if ready else "running" if state.phase in _RUNNING else "failed"
    return ModelState(
        answers=ready,
        name=model.name,
        downloaded=ready or state.phase == "starting",
        progress=state.done / state.total if state.phase == "fetching" and state.total else None,
        task=BackgroundTask("model", f"Start {model.name}", status, None if status != "failed" else str(state)),
        error=state.reason or None,
    )
