"""The agents of gaia.toml: composed of what their plugins make, at first and whenever a source lists other tools.

A source lists what it likes, when it likes. What is wrong with one of its tools costs that tool, and nobody else's: a
name that another tool of the agent has already stays with that tool, whatever the order in the file.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec

from gaia_core.agent import FIND_TOOLS, NO_TOOLS, Agent, ApprovalPolicy, ContextPolicy, Limits, ToolSearch
from gaia_core.catalog._catalog import CatalogProblem
from gaia_core.catalog._config_tables import AgentTable, Composition, Document, SearchTable, table_of
from gaia_core.catalog._default_catalog import DEFAULT_MODEL
from gaia_core.catalog._plugins import OURS, BrokenPluginError, Plugin, make
from gaia_core.errors import ConfigError, GaiaError
from gaia_core.tools import Bound, Source, Toolset, nearest
from gaia_core.turn import READ_RESULT


@attrs.frozen(eq=False)
class Installed:
    """What `find_plugins` found."""

    plugins: Mapping[str, Plugin]
    problems: tuple[CatalogProblem, ...]

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
    ours: Composition
    place: str

    def toolset(self) -> Toolset:
        """The entry's tools; none for a source, which is still to be asked. Raises ToolsetError."""
        return _shaped(self.made, self.ours) if isinstance(self.made, Toolset) else NO_TOOLS

    def offer(self, listed: Mapping[Source, Toolset]) -> "_Offer | None":
        """What a source's entry offers of what it *listed*; None for another entry, and before it has listed anything.

        Raises ToolsetError.
        """
        if isinstance(self.made, Toolset) or (toolset := listed.get(self.made)) is None:
            return None
        # The entry gives these names to other tools.
        taken = set(self.ours.rename.values()) - set(self.ours.rename)
        clashes = tuple(name for name in toolset.names if name in taken)
        return _Offer(self.made.name, self.place, _shaped(toolset.without(*clashes), self.ours), clashes)


@attrs.frozen(eq=False)
class _Offer:
    """The tools of a source's entry; *clashes*: those left out because the entry renames another one to their name."""

    server: str
    place: str
    toolset: Toolset
    clashes: tuple[str, ...]

    def left_out(self, name: str, holder: str) -> str:
        """In words: the tool *name* is left out, because *holder* has that name."""
        return (
            f"the tool {name!r} of the server {self.server!r} is left out, because {holder} has that name already; "
            f'give {self.place} a prefix, a rename, or without = ["{name}"]'
        )


@attrs.frozen(eq=False)
class Draft:
    """An agent of the file, from which it is composed, at first and whenever one of its sources lists other tools."""

    name: str
    table: AgentTable
    pieces: tuple[_Piece, ...]

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(piece.made for piece in self.pieces if isinstance(piece.made, Source))

    def agent(self) -> Agent:
        """The agent without what its sources list. Raises ConfigError."""
        return self._agent(self._own())

    def _agent(self, tools: Toolset) -> Agent:
        # A name that isn't there yet may be one of a source's.
        return _agent(self.name, self.table, tools, f"agents.{self.name}", complete=not self.sources)

    def _own(self) -> Toolset:
        composed = NO_TOOLS
        for piece in self.pieces:
            try:
                composed |= piece.toolset()
            except GaiaError as error:
                raise ConfigError(f"{piece.place}: {error}") from None
        return composed

    def composed(
        self, listed: Mapping[Source, Toolset], before: Agent | None
    ) -> tuple[Agent, tuple[CatalogProblem, ...]]:
        """The agent with what its sources *listed*, and what had to be left out. *before*: as it was, whose tools keep
        their names. Raises ConfigError."""
        own, offers, problems = self._own(), list[_Offer](), list[CatalogProblem]()

        def problem(server: str, words: str) -> None:
            problems.append(CatalogProblem(f"agents.{self.name}", words, servers=(server,)))

        for piece in self.pieces:
            try:
                if (offer := piece.offer(listed)) is not None:
                    offers.append(offer)
            except GaiaError as error:
                assert isinstance(piece.made, Source)
                problem(piece.made.name, f"is without the tools of {piece.made.name!r}: {piece.place}: {error}")
        holders = self._holders(own, offers, before)
        tools = own
        for offer in offers:
            lost = [member.name for member in offer.toolset.members if holders[member.name] != member]
            for name in offer.clashes:
                problem(offer.server, offer.left_out(name, f"a tool that {offer.place}.rename names so"))
            for name in lost:
                holder = holders[name]
                problem(offer.server, offer.left_out(name, repr(holder.origin) if holder is not None else "the server"))
            tools |= offer.toolset.without(*lost)
        return self._agent(tools), tuple(problems)

    def _holders(self, own: Toolset, offers: list[_Offer], before: Agent | None) -> dict[str, Bound | None]:
        """Which tool has each name; None: this program itself.

        The agent's own first, then what had the name *before*, then the newcomers in the file's order.
        """
        holders: dict[str, Bound | None] = {READ_RESULT: None}
        if self.table.tool_search:
            holders[FIND_TOOLS] = None
        holders |= {member.name: member for member in own.members}
        origins = {member.name: member.origin for member in before.tools.members} if before is not None else {}
        offered = [member for offer in offers for member in offer.toolset.members]
        for member in sorted(offered, key=lambda member: origins.get(member.name) != member.origin):
            holders.setdefault(member.name, member)
        return holders


@attrs.frozen(eq=False)
class Composer:
    """See `_catalog.Composer`. An agent that can't be made with its sources' tools is without them."""

    drafts: tuple[Draft, ...]

    def __call__(
        self, listed: Mapping[Source, Toolset], before: tuple[Agent, ...]
    ) -> tuple[tuple[Agent, ...], tuple[CatalogProblem, ...]]:
        agents: list[Agent] = []
        problems: list[CatalogProblem] = []
        earlier = {agent.name: agent for agent in before}
        for draft in self.drafts:
            try:
                agent, found = draft.composed(listed, earlier.get(draft.name))
            except ConfigError as error:
                words = f"is without the tools of its servers: {error}"
                servers = tuple(sorted(source.name for source in draft.sources))
                agent, found = draft.agent(), (CatalogProblem(f"agents.{draft.name}", words, servers=servers),)
            agents.append(agent)
            problems += found
        return tuple(agents), tuple(problems)


def sources_of(drafts: tuple[Draft, ...]) -> tuple[Source, ...]:
    """All sources, each once, by name. Raises ConfigError for two of one name."""
    found: dict[str, Source] = {}
    for source in (source for draft in drafts for source in draft.sources):
        if found.setdefault(source.name, source) != source:
            raise ConfigError(f"two different servers are called {source.name!r}; give each a name of its own")
    return tuple(found[name] for name in sorted(found))


def toolsets_used(document: Document) -> frozenset[str]:
    """The names of the toolsets that *document* uses. What isn't as it should be is left to `drafts_of`."""
    tables = [value for value in document.agents.values() if isinstance(value, dict)]
    entries = [entry for table in tables if isinstance(table.get("tools"), list) for entry in table["tools"]]
    used = (entry.get("use") for entry in entries if isinstance(entry, dict))
    return frozenset(name for name in used if isinstance(name, str))


def drafts_of(
    document: Document, installed: Installed, folder: Path
) -> tuple[tuple[Draft, ...], tuple[CatalogProblem, ...]]:
    """The agents that can be made, and what is wrong with others: what isn't the file's fault harms only them."""
    drafts: list[Draft] = []
    problems: list[CatalogProblem] = []
    for name, value in document.agents.items():
        place = f"agents.{name}"
        table = table_of(value, AgentTable, place)
        known = (*document.models, DEFAULT_MODEL)
        if table.model not in known:
            raise ConfigError(f"{place}.model: there is no model {table.model!r}.{nearest(table.model, known)}")
        if (document.models.get(table.model) or {}).get("embeddings"):
            raise ConfigError(f"{place}.model: {table.model!r} makes embeddings; an agent needs a model that answers")
        table = _with_vectors(table, document.models, place)
        try:
            pieces = _pieces(table.tools, installed, f"{place}.tools", folder)
        except BrokenPluginError as error:
            problems.append(CatalogProblem(place, str(error)))
            continue
        draft = Draft(name, table, pieces)
        draft.agent()
        drafts.append(draft)
    return tuple(drafts), tuple(problems)


def _with_vectors(table: AgentTable, models: Mapping[str, Any], place: str) -> AgentTable:
    """*table*, its search with the model that makes vectors: the named one, or the only one that there is."""
    if not table.tool_search:
        return table
    search = table.tool_search if isinstance(table.tool_search, SearchTable) else SearchTable()
    makers = [name for name, value in models.items() if isinstance(value, dict) and value.get("embeddings")]
    if search.embeddings is None:
        only = makers[0] if len(makers) == 1 else None
        return msgspec.structs.replace(table, tool_search=SearchTable(search.core, only))
    if search.embeddings not in makers:
        raise ConfigError(
            f"{place}.tool_search.embeddings: no model {search.embeddings!r} has embeddings = true."
            f"{nearest(search.embeddings, makers)}"
        )
    return table


def _agent(name: str, table: AgentTable, tools: Toolset, place: str, *, complete: bool) -> Agent:
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


def _search(table: bool | SearchTable, tools: Toolset, place: str, *, complete: bool) -> ToolSearch | None:
    """The agent's search. A name of its core that isn't there yet may be one of a source's."""
    if not table:
        return None
    core, vectors = (table.core, table.embeddings) if isinstance(table, SearchTable) else ([], None)
    for name in core:
        if name not in tools and complete:
            raise ConfigError(f"{place}.tool_search.core: the agent has no tool {name!r}.{nearest(name, tools.names)}")
    return ToolSearch(core=frozenset(name for name in core if name in tools), embeddings=vectors)


def _pieces(entries: list[dict[str, Any]], installed: Installed, place: str, folder: Path) -> tuple[_Piece, ...]:
    return tuple(_piece(entry, installed, f"{place}[{index}]", folder) for index, entry in enumerate(entries))


def _piece(entry: dict[str, Any], installed: Installed, place: str, folder: Path) -> _Piece:
    if "use" not in entry:
        raise ConfigError(f'{place}: needs use = "<toolset>"; installed: {installed.names}')
    ours = table_of({name: value for name, value in entry.items() if name in OURS}, Composition, place)
    plugin = installed.plugin(ours.use, f"{place}.use")
    arguments = {name: value for name, value in entry.items() if name not in OURS}
    return _Piece(make(plugin, arguments, place, folder), ours, place)


def _shaped(toolset: Toolset, ours: Composition) -> Toolset:
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
