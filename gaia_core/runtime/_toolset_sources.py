"""Sources: the toolsets that have to be asked for, open for the process, and what they list.

They open with the runtime, all at once, and who doesn't answer in time is composed in when it does. Each change of a
listing is told, and the runtime composes its agents anew for the turns that begin after it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

import attrs

from gaia_core.agent import Agent
from gaia_core.catalog import Catalog, CatalogProblem
from gaia_core.frozen_types import made_once
from gaia_core.tools import Live, Source, Toolset
from gaia_core.turn import OpenResources, ToolThreads

_log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""How long a start or a reload waits for sources that haven't listed their tools yet."""

ASKING_SECONDS = 60.0
"""How long to wait for sources where nothing can continue without them."""


@attrs.frozen
class SourceState:
    """How a source is: whether calls can be made now, how many tools it lists, and what is wrong ("": nothing)."""

    __attrs_pre_init__ = made_once

    source: Source
    connected: bool
    tools: int
    problem: str


class ToolsetSources:
    """Belongs to one Runtime. *changed* is called after each change of a listing, from the source's task."""

    def __init__(self, process: OpenResources, changed: Callable[[], None]) -> None:
        self._process = process
        self._changed = changed
        self._live: dict[Source, Live] = {}
        """Sources that are open. Added by `_open` (its own task), removed by `forget` (a reload)."""
        self._failed: dict[Source, str] = {}
        """Why a source could not be opened. Written by the same two."""
        self._opening: set[asyncio.Task[None]] = set()
        """The tasks of `_open`, until they are done. Nobody cancels them: closing the process's resources ends what
        they wait for. A source's failure is logged and kept in `_failed`."""

    async def open(self, sources: Iterable[Source], seconds: float | None = None) -> None:
        """Open those that aren't open, waiting *seconds*; a slower one opens in the background, and logs it then."""
        for source in sources:
            if source not in self._live:
                task = asyncio.create_task(self._open(source), name=f"source {source.name}")
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)
        if self._opening:
            # Not cancelled after the time: a slow source continues to open, and calls *changed* then.
            await asyncio.wait(tuple(self._opening), timeout=seconds if seconds is not None else PATIENCE_SECONDS)

    async def _open(self, source: Source) -> None:
        try:
            # Two tasks may open the same source, when a reload comes before it is open; they get the same resource.
            live: Live = await self._process.get(source.recipe)
        except Exception as error:  # noqa: BLE001  # one source harms no other
            _log.exception("opening the source %s failed", source.name)
            self._failed[source] = f"could not be opened ({type(error).__name__}: {error})"
        else:
            self._failed.pop(source, None)
            self._live[source] = live
            live.watch(self._changed)
        self._changed()

    def forget(self, kept: Iterable[Source]) -> None:
        """Only *kept* are still asked for."""
        names = frozenset(kept)
        for gone in (*(self._live.keys() - names), *(self._failed.keys() - names)):
            self._live.pop(gone, None)
            self._failed.pop(gone, None)

    def composed(self, catalog: Catalog, before: tuple[Agent, ...] = ()) -> Catalog:
        """*catalog*, its agents composed with what its sources list now. *before*: as they were (see `with_listed`)."""
        listed: dict[Source, Toolset] = {}
        problems: list[CatalogProblem] = []
        for state in self.states(catalog):
            live = self._live.get(state.source)
            if live is not None and live.toolset is not None:
                listed[state.source] = live.toolset
            if state.problem:
                problems.append(CatalogProblem(f"server {state.source.name}", state.problem))
        return catalog.with_listed(listed, tuple(problems), before)

    def states(self, catalog: Catalog, composed: Catalog | None = None) -> tuple[SourceState, ...]:
        """How the sources of *catalog* are, in its order; with what was left out of what they list in *composed*."""
        states = tuple(self._state(source) for source in catalog.sources)
        if composed is None:
            return states
        return tuple(attrs.evolve(state, problem="; ".join(_problems(state, composed))) for state in states)

    def _state(self, source: Source) -> SourceState:
        live = self._live.get(source)
        if live is None:
            return SourceState(source, connected=False, tools=0, problem=self._failed.get(source, "is being asked"))
        tools = len(live.toolset) if live.toolset is not None else 0
        return SourceState(source, live.connected, tools, live.problem)


def _problems(state: SourceState, composed: Catalog) -> Iterable[str]:
    if state.problem:
        yield state.problem
    for problem in composed.problems:
        if state.source.name in problem.servers:
            yield f"{problem.source}: {problem.headline}"


def tell_problems(old: Catalog, new: Catalog) -> None:
    """Log what *new* leaves out of its sources' tools and *old* didn't, a line each."""
    for problem in new.problems:
        if problem.servers and problem not in old.problems:
            _log.warning("%s: %s", problem.source, problem.headline)


async def listed(catalog: Catalog) -> Catalog:
    """*catalog* with what its sources list, for a process that runs no turns; the sources are closed again."""
    threads = ToolThreads(1)
    process = OpenResources(threads)
    sources = ToolsetSources(process, lambda: None)
    try:
        await sources.open(catalog.sources, ASKING_SECONDS)
        return sources.composed(catalog)
    finally:
        await process.close()
        threads.close()
