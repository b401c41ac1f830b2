"""run: one turn in a runtime of its own, which is opened before it and closed after it."""

import os
from pathlib import Path
from typing import Any, TypeVar, overload

from gaia_core.agent import Agent
from gaia_core.catalog import Catalog, ModelSpec, load_catalog, models_of, with_model
from gaia_core.errors import ConfigError
from gaia_core.frozen_types import shown
from gaia_core.messages import Content
from gaia_core.models import Model
from gaia_core.runtime._runtime import Runtime
from gaia_core.turn import NO_OPTIONS, TurnOptions

T = TypeVar("T")


@overload
async def run(
    agent: Agent | str,
    content: Content,
    *,
    model: Model | ModelSpec | str | None = None,
    options: TurnOptions = NO_OPTIONS,
) -> str: ...
@overload
async def run(
    agent: Agent | str,
    content: Content,
    *,
    answer: type[T],
    model: Model | ModelSpec | str | None = None,
    options: TurnOptions = NO_OPTIONS,
) -> T: ...
async def run(
    agent: Agent | str,
    content: Content,
    *,
    answer: type[Any] = str,
    model: Model | ModelSpec | str | None = None,
    options: TurnOptions = NO_OPTIONS,
) -> Any:
    """Run one turn of *agent* and return its answer; opens a `Runtime` and closes it. For scripts and notebooks.

        text = await run(Agent("helper"), "What is a turn?")
        city = await run(Agent("helper"), "The capital of France?", answer=City, model="http://127.0.0.1:8000/api/v1")

    *model* answers for the agent and its sub-agents: a model, its spec, or the URL of an OpenAI-compatible endpoint.
    None: as for `gaia chat`, the models of `gaia.toml` in the current folder, GAIA_MODEL_URL, a model server that
    runs on this machine, or the embedded model. A name instead of an *agent* is that of an agent in `gaia.toml`.

    *answer*, *options*, and what is raised: as for `Runtime.run`. For several turns create a Runtime: each call of
    this function opens its resources and models anew. Without a running event loop: `asyncio.run(run(…))`.
    """
    async with Runtime(await _catalog(agent, model)) as runtime:
        return await runtime.run(agent, content, answer=answer, options=options)


async def _catalog(agent: Agent | str, model: Model | ModelSpec | str | None) -> Catalog:
    if isinstance(agent, Agent) and model is not None:
        return Catalog.of(agent, models=dict.fromkeys(sorted(models_of(agent)), model))
    if model is not None:
        raise ConfigError(
            f"model= is for an Agent object; the model of the agent {shown(agent)} is the one that gaia.toml names"
        )
    found = await with_model(load_catalog(environ=os.environ, cwd=Path.cwd()), environ=os.environ)
    if isinstance(agent, Agent):
        return Catalog.of(agent, models={spec.name: spec for spec in found.models})
    return found
