"""Catalog: the frozen result of configuration and plugin discovery."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias, TypeVar

import attrs

from gaia_core.agent import Agent, agents_below
from gaia_core.catalog._lock_file import Lock
from gaia_core.catalog._retention import Retention
from gaia_core.catalog._storage_quota import StorageQuota
from gaia_core.errors import ConfigError, NotFoundError
from gaia_core.frozen_types import made_once, shown, typed
from gaia_core.models import EndpointConfig, Input, Model, OpenEndpoints
from gaia_core.tools import Source, Toolset, nearest

T = TypeVar("T")

Kind: TypeAlias = Literal["endpoint", "embedded", "object", "none"]

ENDPOINT_SLOTS = 64
EMBEDDED_SLOTS = 4
QUEUE = 256


_OWN_MEMBERS = frozenset(
    ("model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "response_format")
)


@attrs.frozen(field_transformer=typed)
class ModelSpec:
    """How a model is opened, and how many requests it takes at once. Values only: nothing is open yet.

    *name* is the one that agents use; *open* makes the model, once a runtime. *description* is said aloud (log,
    `/v1/models`, `gaia model status`): which model answers, and why this one. *context_tokens* bounds the tokens
    (prompt and longest answer) of all requests that run at once; None: they are not counted.
    """

    __attrs_pre_init__ = made_once

    name: str
    open: Callable[[], Model]
    slots: int = ENDPOINT_SLOTS
    queue: int = QUEUE
    kind: Kind = "endpoint"
    description: str = ""
    context_tokens: int | None = None
    window: int | None = None
    """The longest request that it takes, in tokens; None: unknown."""
    inputs: frozenset[Input] | None = None
    """What it takes beside text; None: what it says itself."""
    embeddings: bool = False
    """Whether it makes vectors of texts, and answers no conversation."""
    served: str | None = None
    """The endpoint's name for it, where that is configured."""
    forward: frozenset[str] = frozenset()
    """Members of a client's chat completion request that reach it, beside those that every endpoint is sent."""
    enforces_format: bool = False
    """Whether it writes nothing but what a request's response format allows."""

    def __attrs_post_init__(self) -> None:
        if own := sorted(self.forward & _OWN_MEMBERS):
            raise ConfigError(f"model {self.name!r}: forward can't name {own[0]!r}, which this server sets itself")
        if self.slots < 1 or self.queue < 0:
            raise ConfigError(f"model {self.name!r}: slots must be at least 1 and queue at least 0")
        if self.context_tokens is not None and self.context_tokens < 1:
            raise ConfigError(f"model {self.name!r}: context_tokens must be at least 1, or left out")


@attrs.frozen(field_transformer=typed)
class CatalogProblem:
    """Something that is broken and harms nobody else: where, and what to do. *plugin* names the one that is it,
    *servers* those whose tools were left out because of it."""

    __attrs_pre_init__ = made_once

    source: str
    message: str
    plugin: str = ""
    servers: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The message's first line, which says what happened; what follows it are details."""
        return self.message.partition("\n")[0]


Composer: TypeAlias = Callable[
    [Mapping[Source, Toolset], tuple[Agent, ...]], "tuple[tuple[Agent, ...], tuple[CatalogProblem, ...]]"
]
"""What sources list, and the agents as they were before → the agents now, and what is wrong with that. It raises
nothing."""


@attrs.frozen(field_transformer=typed)
class Catalog:
    """Agents and models by name, sorted. *created* is when they were last configured, in Unix seconds:
    the configuration file's time, the same in every process; without a file, now. *problems* are what had to be left
    out.

    *sources* are toolsets that have to be asked for: until then the agents are without them, and `with_listed` gives
    the catalog that has them.
    *lock* holds what was reviewed of the agents' tools, None where nothing is locked. Code that gives an agent other
    tools calls `Lock.check` first.
    """

    __attrs_pre_init__ = made_once

    agents: tuple[Agent, ...]
    models: tuple[ModelSpec, ...]
    default_agent: str
    problems: tuple[CatalogProblem, ...] = ()
    created: int = attrs.field(factory=lambda: int(time.time()), eq=False)
    lock: Lock | None = attrs.field(default=None, eq=False, repr=False)
    sources: tuple[Source, ...] = ()
    unlisted: tuple[str, ...] = ()
    """The names of the sources that were asked and have not said yet what they have."""
    compose: Composer | None = attrs.field(default=None, eq=False, repr=False)
    storage: StorageQuota = StorageQuota()
    """How much owners may keep."""
    retention: Retention = attrs.field(factory=Retention)
    """How long and how much of what clients have stored is kept."""

    @classmethod
    def of(
        cls,
        *agents: Agent,
        models: Mapping[str, Model | ModelSpec | str],
        default_agent: str | None = None,
        problems: Iterable[CatalogProblem] = (),
    ) -> "Catalog":
        """A catalog of *agents*, the first one the default.

            Catalog.of(coder, models={"local": "http://127.0.0.1:8000/api/v1"})

        *models*: each by the name that agents use. A live model, or the URL of an OpenAI-compatible endpoint (its
        first model), may stand for a spec. Raises ConfigError for an agent whose model isn't there, and for two
        agents of one name.
        """
        given: object = models
        if not isinstance(given, Mapping):
            raise ConfigError(f"models must be a mapping of names to models, not {shown(given)}; {_MODELS_EXAMPLE}")
        specs = {name: _spec(name, model) for name, model in models.items()}
        names: set[str] = set()
        for agent in agents:
            if type(agent) is not Agent:
                raise ConfigError(f"a catalog takes agents, not {shown(agent)}; write Catalog.of(agent, other, …)")
            if agent.name in names:
                raise ConfigError(f"there are two agents named {agent.name!r}; give one of them another name")
            names.add(agent.name)
            for wanted in models_of(agent):
                if wanted not in specs:
                    raise ConfigError(
                        f"agent {agent.name!r}: there is no model {wanted!r}.{nearest(wanted, specs)} "
                        f"Models: {', '.join(sorted(specs)) or 'none'}"
                    )
        default = default_agent or (agents[0].name if agents else "")
        if agents and default not in names:
            raise ConfigError(f"default_agent {default!r} is no agent.{nearest(default, names)}")
        return cls(
            tuple(sorted(agents, key=lambda agent: agent.name)),
            tuple(specs[name] for name in sorted(specs)),
            default,
            tuple(problems),
        )

    def with_listed(
        self,
        listed: Mapping[Source, Toolset],
        problems: tuple[CatalogProblem, ...] = (),
        before: tuple[Agent, ...] = (),
    ) -> "Catalog":
        """This catalog, its agents composed with what its sources *listed*; *problems* are the sources' own.

        *before*: the agents as they were, whose tools keep their names when another source lists one of the same name.
        Where there is a lock, tools that it doesn't know as they are now are left out, with a problem that says so.
        """
        if self.compose is None:
            return attrs.evolve(self, problems=(*self.problems, *problems)) if problems else self
        agents, broken = self.compose(listed, before)
        if self.lock is not None:
            agents, refused = self.lock.reviewed(agents)
            broken += tuple(
                CatalogProblem(f"agents.{each.agent}", each.words, servers=each.servers) for each in refused
            )
        ordered = tuple(sorted(agents, key=lambda agent: agent.name))
        unlisted = tuple(source.name for source in self.sources if source not in listed)
        return attrs.evolve(self, agents=ordered, problems=(*self.problems, *problems, *broken), unlisted=unlisted)

    def agent(self, name: str) -> Agent:
        """The agent called *name*. Raises NotFoundError, with the nearest name."""
        return _named(name, self.agents, "agent", [agent.name for agent in self.agents])

    def model(self, name: str) -> ModelSpec:
        """The model called *name*. Raises NotFoundError, with the nearest name."""
        return _named(name, self.models, "model", [model.name for model in self.models])


def models_of(agent: Agent) -> frozenset[str]:
    """The names of the models that *agent* and its sub-agents use."""
    below = tuple(agents_below(agent))
    vectors = (each.search.embeddings for each in below if each.search is not None)
    return frozenset((*(each.model for each in below), *(name for name in vectors if name is not None)))


@attrs.frozen
class _Always:
    """Opens a model by giving the one that there is."""

    model: Model

    def __call__(self) -> Model:
        return self.model


_MODELS_EXAMPLE = 'write models={"local": model}, where "local" is the name in Agent(model="local")'


def _spec(name: str, model: Model | ModelSpec | str) -> ModelSpec:
    if isinstance(model, ModelSpec):
        return attrs.evolve(model, name=name)
    if isinstance(model, str):
        try:
            return ModelSpec(name, OpenEndpoints((EndpointConfig(url=model),)), description=f"at {model}")
        except ConfigError as error:
            raise ConfigError(
                f"model {name!r}: {error}. A str is an endpoint's URL; its model: EndpointConfig(url=…, model=…)"
            ) from None
    if not (hasattr(model, "stream") or hasattr(model, "embed")):
        raise ConfigError(f"model {name!r}: {shown(model)} is no model (it has no `stream`); {_MODELS_EXAMPLE}")
    return ModelSpec(name, _Always(model), kind="object", description=type(model).__name__)


def _named(name: str, items: tuple[T, ...], what: str, names: list[str]) -> T:
    if name in names:
        return items[names.index(name)]
    raise NotFoundError(
        f"there is no {what} {name[:100]!r}.{nearest(name[:100], names)} There are: {', '.join(names) or 'none'}"
    )
