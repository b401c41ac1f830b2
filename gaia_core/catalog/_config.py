"""gaia.toml → Catalog: a pure function. Every table is checked; an unknown key is an error with the nearest name."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import attrs
import msgspec
from msgspec import Meta

from gaia_core.agent import NO_TOOLS, Agent, ApprovalPolicy, ContextPolicy, Limits, ToolSearch
from gaia_core.catalog._catalog import EMBEDDED_SLOTS, ENDPOINT_SLOTS, QUEUE, Catalog, ModelSpec, Problem, models_of
from gaia_core.catalog._default import (
    DEFAULT_AGENT,
    DEFAULT_MODEL,
    default_catalog,
    embedded_model,
    model_of,
)
from gaia_core.catalog._lock import check_agents, read_lock
from gaia_core.catalog._plugins import OURS, BrokenPluginError, Plugin, find_plugins, make
from gaia_core.errors import ConfigError, GaiaError
from gaia_core.models import EndpointConfig, Input, OpenEndpoints
from gaia_core.tools import Effect, Source, Toolset, nearest

CONFIG_NAME = "gaia.toml"

_EMBEDDED_KEYS = ("embedded", "slots", "queue", "context_tokens")

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
T = TypeVar("T")


class _ModelTable(msgspec.Struct, forbid_unknown_fields=True):
    """A model. *url* may be a list: one model at several endpoints, see `Failover`; the other keys hold for each.

    *slots* requests run at once, at all endpoints together; *context_tokens* bounds the tokens that they may need
    together (prompt and longest answer, estimated), for a server whose slots share one KV cache. *inputs*: what it
    takes beside text (left out: what the endpoint says). *embeddings*: it makes vectors, and is no agent's model.
    """

    url: str | list[str] | None = None
    model: str | None = None
    embedded: bool | str = False
    slots: Positive | None = None
    queue: Annotated[int, Meta(ge=0)] = QUEUE
    context_tokens: Positive | None = None
    window: Positive | None = None
    inputs: list[Input] | None = None
    embeddings: bool = False
    api_key_env: str | None = None
    tool_calls: Literal["native", "prompted"] = "native"
    connect_timeout: Seconds = 5.0
    first_token_timeout: Seconds = 300.0
    silence_timeout: Seconds = 60.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    extra: dict[str, Any] = {}


class _LimitsTable(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    steps: Positive | None = None
    tool_calls: Positive | None = None
    tokens: Positive | None = None
    seconds: Seconds | None = None
    tool_seconds: Seconds | None = None
    result_chars: Positive | None = None


class _ApprovalsTable(msgspec.Struct, forbid_unknown_fields=True):
    effects: list[Effect] = []
    tools: list[str] = []
    never: list[str] = []
    timeout: Seconds = 300.0


class _ContextTable(msgspec.Struct, forbid_unknown_fields=True):
    tokens: Positive | None = None


class _SearchTable(msgspec.Struct, forbid_unknown_fields=True):
    core: list[str] = []
    embeddings: str | None = None


class _AgentTable(msgspec.Struct, forbid_unknown_fields=True):
    model: str = "local"
    instructions: str = ""
    description: str = ""
    tools: list[dict[str, Any]] = []
    client_tools: Literal["merge", "ignore", "reject"] = "merge"
    limits: _LimitsTable = msgspec.field(default_factory=_LimitsTable)
    approvals: _ApprovalsTable = msgspec.field(default_factory=_ApprovalsTable)
    context: _ContextTable = msgspec.field(default_factory=_ContextTable)
    tool_search: bool | _SearchTable = False


class _Composition(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of a `tools` entry that are ours."""

    use: str
    prefix: str = ""
    only: list[str] | None = None
    without: list[str] = []
    rename: dict[str, str] = {}
    approve: list[str] = []


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    default_agent: str | None = None
    models: dict[str, Any] = {}
    agents: dict[str, Any] = {}


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
    found, problems = find_plugins(environ.get("GAIA_PLUGINS", "")) if plugins is None else (dict(plugins), ())
    if path is None:
        path = cwd / CONFIG_NAME
        if not path.is_file():
            return default_catalog(found, problems, environ, cwd)
    document = _parsed(path)
    folder = path.resolve().parent
    models = {name: _model(name, table, folder) for name, table in document.models.items()}
    names = tuple(document.agents) or (DEFAULT_AGENT,)
    default = document.default_agent or names[0]
    if default not in names:
        raise ConfigError(f"default_agent: there is no agent {default!r}.{nearest(default, names)}")
    if not document.agents:
        without = default_catalog(found, problems, environ, cwd)
        models = {spec.name: spec for spec in without.models} | models
        return Catalog.of(*without.agents, models=models, problems=without.problems)
    drafts, broken = _drafts(document, _Installed(found, problems), folder)
    agents = tuple(draft.agent() for draft in drafts)
    if not agents:
        raise ConfigError(f"{path.name}: no agent is left: " + "; ".join(problem.message for problem in broken))
    if DEFAULT_MODEL not in models and any(DEFAULT_MODEL in models_of(agent) for agent in agents):
        models[DEFAULT_MODEL] = model_of(environ)
    if default not in {agent.name for agent in agents}:
        default = agents[0].name
    catalog = Catalog.of(*agents, models=models, default_agent=default, problems=(*problems, *broken))
    sources = _sources(drafts)
    return attrs.evolve(catalog, sources=sources, compose=_Composer(drafts) if sources else None)


def _parsed(path: Path) -> _Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    return _table(value, _Document, "")


def _table(value: Any, kind: type[T], place: str) -> T:
    """*value* as *kind*; unknown keys are named with the nearest known one."""
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: expected a table, [{place}], got {type(value).__name__}")  # it may be a key
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
    for name, inner in value.items():
        where = f"{place}.{name}" if place else name
        if name not in fields:
            raise ConfigError(f"{where}: unknown key.{nearest(name, fields)} Keys are {', '.join(fields)}")
        if isinstance(fields[name], type) and issubclass(fields[name], msgspec.Struct):
            _table(inner, fields[name], where)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_placed(str(error), place)) from None


def _placed(message: str, place: str) -> str:
    """msgspec's message with its `$.limits.steps` as a place in the file."""
    words, _, where = message.partition(" - at `$")
    inner = where.rstrip("`")
    return f"{place}{inner if place else inner.lstrip('.')}: {words[:1].lower()}{words[1:]}"


def _model(name: str, value: dict[str, Any], folder: Path) -> ModelSpec:
    place = f"models.{name}"
    table = _table(value, _ModelTable, place)
    if table.embedded:
        for other in value:
            if other not in _EMBEDDED_KEYS:
                raise ConfigError(f"{place}: {other} and embedded exclude each other")
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
    )


def _endpoint(table: _ModelTable, url: str) -> EndpointConfig:
    return EndpointConfig(
        url=url,
        model=table.model,
        api_key_env=table.api_key_env,
        tool_calls=table.tool_calls,
        connect_timeout=table.connect_timeout,
        first_token_timeout=table.first_token_timeout,
        silence_timeout=table.silence_timeout,
        retries=table.retries,
        extra=msgspec.json.encode(table.extra, order="sorted").decode(),
    )


@attrs.frozen(eq=False)
class _Installed:
    """What `find_plugins` found."""

    plugins: Mapping[str, Plugin]
    problems: tuple[Problem, ...]

    def plugin(self, name: str, place: str) -> Plugin:
        """The plugin called *name*. Raises BrokenPluginError when it is there and broken, else ConfigError."""
        if (plugin := self.plugins.get(name)) is not None:
            return plugin
        for problem in self.problems:
            if problem.plugin == name:
                raise BrokenPluginError(f"{place}: {problem.source} {problem.message}")
        raise ConfigError(
            f"{place}: there is no toolset {name!r}.{nearest(name, self.plugins)} Installed and selected: {self.names}"
        )

    @property
    def names(self) -> str:
        return ", ".join(sorted(self.plugins)) or "none"


@attrs.frozen(eq=False)
class _Piece:
    """One entry of an agent's `tools`: what its plugin made, and what becomes of that."""

    made: Toolset | Source
    ours: _Composition
    place: str

    def toolset(self, listed: Mapping[Source, Toolset]) -> Toolset:
        """The entry's tools; none for a source that has *listed* none yet. Raises ToolsetError."""
        toolset = self.made if isinstance(self.made, Toolset) else listed.get(self.made)
        return _shaped(toolset, self.ours) if toolset is not None else NO_TOOLS


@attrs.frozen(eq=False)
class _Draft:
    """An agent of the file, from which it is composed, at first and whenever one of its sources lists other tools."""

    name: str
    table: _AgentTable
    pieces: tuple[_Piece, ...]

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(piece.made for piece in self.pieces if isinstance(piece.made, Source))

    def agent(self, listed: Mapping[Source, Toolset] | None = None) -> Agent:
        """The agent. Raises ConfigError."""
        composed = NO_TOOLS
        for piece in self.pieces:
            try:
                composed |= piece.toolset(listed or {})
            except GaiaError as error:
                raise ConfigError(f"{piece.place}: {error}") from None
        # A name that isn't there yet may be one of a source's.
        return _agent(self.name, self.table, composed, f"agents.{self.name}", complete=not self.sources)


@attrs.frozen(eq=False)
class _Composer:
    """See `Composer`. An agent with which something is wrong is without its sources' tools."""

    drafts: tuple[_Draft, ...]

    def __call__(self, listed: Mapping[Source, Toolset]) -> tuple[tuple[Agent, ...], tuple[Problem, ...]]:
        agents: list[Agent] = []
        problems: list[Problem] = []
        for draft in self.drafts:
            try:
                agents.append(draft.agent(listed))
            except ConfigError as error:
                problems.append(Problem(f"agents.{draft.name}", f"is without the tools of its servers: {error}"))
                agents.append(draft.agent())
        return tuple(agents), tuple(problems)


def _sources(drafts: tuple[_Draft, ...]) -> tuple[Source, ...]:
    """All sources, each once, by name. Raises ConfigError for two of one name."""
    found: dict[str, Source] = {}
    for source in (source for draft in drafts for source in draft.sources):
        if found.setdefault(source.name, source) != source:
            raise ConfigError(f"two different servers are called {source.name!r}; give each a name of its own")
    return tuple(found[name] for name in sorted(found))


def _drafts(document: _Document, installed: _Installed, folder: Path) -> tuple[tuple[_Draft, ...], tuple[Problem, ...]]:
    """The agents that can be made, and what is wrong with others: what isn't the file's fault harms only them."""
    drafts: list[_Draft] = []
    problems: list[Problem] = []
    for name, value in document.agents.items():
        place = f"agents.{name}"
        table = _table(value, _AgentTable, place)
        known = (*document.models, DEFAULT_MODEL)
        if table.model not in known:
            raise ConfigError(f"{place}.model: there is no model {table.model!r}.{nearest(table.model, known)}")
        if (document.models.get(table.model) or {}).get("embeddings"):
            raise ConfigError(f"{place}.model: {table.model!r} makes embeddings; an agent needs a model that answers")
        table = _with_vectors(table, document.models, place)
        try:
            pieces = _pieces(table.tools, installed, f"{place}.tools", folder)
        except BrokenPluginError as error:
            problems.append(Problem(place, str(error)))
            continue
        draft = _Draft(name, table, pieces)
        draft.agent()
        drafts.append(draft)
    return tuple(drafts), tuple(problems)


def _with_vectors(table: _AgentTable, models: Mapping[str, Any], place: str) -> _AgentTable:
    """*table*, its search with the model that makes vectors: the named one, or the only one that there is."""
    if not table.tool_search:
        return table
    search = table.tool_search if isinstance(table.tool_search, _SearchTable) else _SearchTable()
    makers = [name for name, value in models.items() if isinstance(value, dict) and value.get("embeddings")]
    if search.embeddings is None:
        only = makers[0] if len(makers) == 1 else None
        return msgspec.structs.replace(table, tool_search=_SearchTable(search.core, only))
    if search.embeddings not in makers:
        raise ConfigError(
            f"{place}.tool_search.embeddings: no model {search.embeddings!r} has embeddings = true."
            f"{nearest(search.embeddings, makers)}"
        )
    return table


def _agent(name: str, table: _AgentTable, tools: Toolset, place: str, *, complete: bool) -> Agent:
    limits: dict[str, Any] = msgspec.to_builtins(table.limits)
    approvals = table.approvals
    for named in (*approvals.tools, *approvals.never):
        if named not in tools and complete:
            raise ConfigError(f"{place}.approvals: the agent has no tool {named!r}.{nearest(named, tools.names)}")
    return Agent(
        name,
        instructions=table.instructions,
        model=table.model,
        tools=tools,
        description=table.description,
        limits=Limits(**limits),
        approvals=ApprovalPolicy(
            effects=approvals.effects, tools=approvals.tools, never=approvals.never, timeout=approvals.timeout
        ),
        context=ContextPolicy(tokens=table.context.tokens),
        client_tools=table.client_tools,
        search=_search(table.tool_search, tools, place, complete=complete),
    )


def _search(table: bool | _SearchTable, tools: Toolset, place: str, *, complete: bool) -> ToolSearch | None:
    """The agent's search. A name of its core that isn't there yet may be one of a source's."""
    if not table:
        return None
    core, vectors = (table.core, table.embeddings) if isinstance(table, _SearchTable) else ([], None)
    for name in core:
        if name not in tools and complete:
            raise ConfigError(f"{place}.tool_search.core: the agent has no tool {name!r}.{nearest(name, tools.names)}")
    return ToolSearch(core=frozenset(name for name in core if name in tools), embeddings=vectors)


def _pieces(entries: list[dict[str, Any]], installed: _Installed, place: str, folder: Path) -> tuple[_Piece, ...]:
    return tuple(_piece(entry, installed, f"{place}[{index}]", folder) for index, entry in enumerate(entries))


def _piece(entry: dict[str, Any], installed: _Installed, place: str, folder: Path) -> _Piece:
    if "use" not in entry:
        raise ConfigError(f'{place}: needs use = "<toolset>"; installed: {installed.names}')
    ours = _table({name: value for name, value in entry.items() if name in OURS}, _Composition, place)
    plugin = installed.plugin(ours.use, f"{place}.use")
    arguments = {name: value for name, value in entry.items() if name not in OURS}
    return _Piece(make(plugin, arguments, place, folder), ours, place)


def _shaped(toolset: Toolset, ours: _Composition) -> Toolset:
    """*toolset* as an entry's own keys want it. Raises ToolsetError."""
    steps: tuple[Callable[[Toolset], Toolset], ...] = (
        lambda made: made.only(*ours.only) if ours.only is not None else made,
        lambda made: made.without(*ours.without),
        lambda made: made.approving(*ours.approve),
        lambda made: made.renamed(**ours.rename),
        lambda made: made.prefixed(ours.prefix) if ours.prefix else made,
    )
    for step in steps:
        toolset = step(toolset)
    return toolset
