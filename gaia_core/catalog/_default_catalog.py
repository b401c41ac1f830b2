"""What there is without a configuration: one useful agent, and the model that answers.

Which model answers, in this order: the one that is configured; one that already runs on this machine; the embedded
one; none, and then every turn says what to do.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from gaia_core.agent import NO_TOOLS, Agent
from gaia_core.catalog._catalog import EMBEDDED_SLOTS, Catalog, CatalogProblem, ModelSpec
from gaia_core.catalog._plugins import Plugin, make_toolset
from gaia_core.errors import ConfigError
from gaia_core.frozen_types import made_once, typed
from gaia_core.models import Delta, EndpointConfig, Found, ModelError, ModelRequest, OpenEndpoints, discover

if TYPE_CHECKING:
    from gaia_core.models.embedded import EmbeddedModel

DEFAULT_AGENT = "assistant"
DEFAULT_MODEL = "local"

EMBEDDED_TOKENS = 8_192
"""What each slot of the embedded model holds, of a request and its answer, unless configured."""

EMBEDDED_ANSWER_TOKENS = 2_048

_BESIDE = frozenset({"find_files", "file_info"})
"""Tools of the default agent that a small model is not offered."""

_INSTRUCTIONS = (
    "You are a helpful assistant on the user's own computer. You can look at the files of one folder with your tools. "
    "When a question is about files, look before you answer. Answer briefly, from what you saw."
)
_WHAT_TO_DO = (
    "No model answers here. Start a model server such as Lemonade or Ollama, or set url in [models.local] of "
    "gaia.toml, or install the embedded model's runtime (pip install xllamacpp) and run `gaia model pull`."
)


def default_catalog(
    plugins: Mapping[str, Plugin], problems: tuple[CatalogProblem, ...], environ: Mapping[str, str], cwd: Path
) -> Catalog:
    """The agent `assistant`, which may read the files of *cwd*; and the model of GAIA_MODEL_URL, or none yet."""
    tools = NO_TOOLS
    if (plugin := plugins.get("files")) is not None:
        try:
            tools = make_toolset(plugin, {"root": str(cwd)}, "the default agent", cwd)
        except ConfigError as error:  # there is no configuration whose fault it could be
            problems = (*problems, CatalogProblem("the default agent", f"has no tools: {error}", plugin.name))
    elif not any(problem.plugin == "files" for problem in problems):
        problems = (
            *problems,
            CatalogProblem("the default agent", "has no tools: the toolset 'files' is not installed"),
        )
    agent = Agent(
        DEFAULT_AGENT,
        instructions=_INSTRUCTIONS,
        model=DEFAULT_MODEL,
        tools=tools,
        description="Answers questions about the files of the folder in which the server was started.",
    )
    return Catalog.of(agent, models={DEFAULT_MODEL: model_of(environ)}, problems=problems)


def model_of(environ: Mapping[str, str]) -> ModelSpec:
    """The model at GAIA_MODEL_URL, called GAIA_MODEL there; none when that isn't set. Raises ConfigError."""
    if not (url := environ.get("GAIA_MODEL_URL")):
        return no_model()
    try:
        config = EndpointConfig(url=url, model=environ.get("GAIA_MODEL") or None)
    except ConfigError as error:
        raise ConfigError(f"GAIA_MODEL_URL: {error}") from None
    said = f"{config.model or 'the first model'} at {url} (GAIA_MODEL_URL)"
    return ModelSpec(DEFAULT_MODEL, OpenEndpoints((config,)), description=said)


async def with_model(
    catalog: Catalog,
    *,
    environ: Mapping[str, str],
    discover: Callable[[], Awaitable[tuple[Found, ...]]] = discover,
) -> Catalog:
    """*catalog* with a model for its agents: as it is when one is configured, else the one found here, else the
    embedded one. Nobody looks around for a model that no agent uses, nor when GAIA_DISCOVER=0."""
    present = next((model for model in catalog.models if model.name == DEFAULT_MODEL), None)
    if present is None or present.kind != "none":
        return catalog
    found = await discover() if environ.get("GAIA_DISCOVER", "1") != "0" else ()
    if found:
        spec = _found_model(found[0])
    elif find_spec("xllamacpp") is not None:
        spec = embedded_model(_named_weights(environ), environ=environ)
    else:
        return catalog
    if spec.kind == "embedded" and _is_default(catalog):
        (agent,) = catalog.agents
        fewer = for_small_model(agent)
        said = f"{spec.description}; {agent.name} has {len(fewer.tools)} of its {len(agent.tools)} tools with it"
        spec = attrs.evolve(spec, description=said)
        catalog = attrs.evolve(catalog, agents=(fewer,))
    others = tuple(model for model in catalog.models if model.name != DEFAULT_MODEL)
    return attrs.evolve(catalog, models=tuple(sorted((*others, spec), key=lambda model: model.name)))


def _is_default(catalog: Catalog) -> bool:
    """Whether *catalog* is that of `default_catalog`: what somebody configured keeps its tools."""
    (agent, *others) = catalog.agents or (None,)
    return agent is not None and not others and (agent.name, agent.instructions) == (DEFAULT_AGENT, _INSTRUCTIONS)


def for_small_model(agent: Agent) -> Agent:
    """*agent* with fewer tools, among which a small model finds the right one; what it loses, the others show too."""
    return attrs.evolve(agent, tools=agent.tools.where(lambda tool: tool.name not in _BESIDE))


def _found_model(found: Found) -> ModelSpec:
    config = EndpointConfig(url=found.url, model=found.models[0])
    said = f"{found.models[0]} at {found.url} ({found.name}, found running here)"
    return ModelSpec(DEFAULT_MODEL, OpenEndpoints((config,)), description=said)


def _named_weights(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("GAIA_WEIGHTS")
    return Path(named).expanduser() if named else None


def embedded_model(
    weights: Path | None = None,
    *,
    context_tokens: int | None = None,
    slots: int = EMBEDDED_SLOTS,
    environ: Mapping[str, str] | None = None,
) -> ModelSpec:
    """The embedded model: llama.cpp in a child process, on *weights* or those that this machine gets.

    Raises ConfigError when GAIA_EMBEDDED_MODEL (of *environ*; None: this process's) names no model.
    """
    name = weights.name if weights else _embedded_name(os.environ if environ is None else environ)
    said = f"{name} (embedded; start a real model to replace it)"
    make = OpenEmbedded(weights, context_tokens, slots)
    share = context_tokens // slots if context_tokens is not None else EMBEDDED_TOKENS
    window = max(share - EMBEDDED_ANSWER_TOKENS, share // 2)
    return ModelSpec(DEFAULT_MODEL, make, slots, kind="embedded", description=said, window=window, enforces_format=True)


def _embedded_name(environ: Mapping[str, str]) -> str:
    from gaia_core.models.embedded import QWEN_CODER, cache_folder, chosen_weights  # noqa: PLC0415  # only who needs it

    weights = chosen_weights(environ, cache_folder(environ)).weights
    return f"Qwen2.5-Coder {'0.5B' if weights == QWEN_CODER else '1.5B'}, a tiny model"


@attrs.frozen(field_transformer=typed)
class OpenEmbedded:
    """Opens the embedded model; a value, as `OpenEndpoint` is."""

    __attrs_pre_init__ = made_once

    weights: Path | None
    context_tokens: int | None
    slots: int

    def __call__(self) -> "EmbeddedModel":
        from gaia_core.models.embedded import EmbeddedModel  # noqa: PLC0415  # only who needs it

        return EmbeddedModel(self.weights, context_tokens=self.context_tokens, slots=self.slots)


def no_model() -> ModelSpec:
    """What stands for a model when there is none: every turn says what to do."""
    return ModelSpec(DEFAULT_MODEL, _NoModel, kind="none", description="none: " + _WHAT_TO_DO)


class _NoModel:
    """A model that is not there."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:  # noqa: ARG002
        """See `Model`. Raises ModelError("not_ready")."""
        raise ModelError("not_ready", _WHAT_TO_DO)
        yield ()  # type: ignore[unreachable]  # makes it a generator
