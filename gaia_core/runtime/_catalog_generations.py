"""Generations: a runtime's catalogs, one after the other, each with the models that were opened for it.

A turn belongs to the generation that was current when it began, so nothing changes under it. A new generation takes
over what is equal: an open model whose spec is the same stays open, with the requests that wait for it. What only an
old generation used closes after its last turn.
"""

import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack

from gaia_core.agent import Agent, Delegate
from gaia_core.background_tasks import BackgroundTasks
from gaia_core.catalog import Catalog, ModelSpec
from gaia_core.models import SlotPool
from gaia_core.tools import Recipe
from gaia_core.turn import ModelAccess, OpenResources

_log = logging.getLogger(__name__)


class Generation:
    """A catalog, the models opened for it, and how many turns use it.

    Written on one event loop. A turn keeps its generation from `Generations.begin` to `Generations.end`.
    """

    def __init__(self, catalog: Catalog, models: dict[str, ModelAccess] | None = None) -> None:
        self.catalog = catalog
        self.models = models if models is not None else {}
        """Added by `access` at first use, from any task; the open models pass to the next generation when their spec
        is equal. Emptied by `Generations.close`."""
        self.turns = 0
        """Written by `Generations.begin` and `Generations.end`."""

    def access(self, name: str) -> ModelAccess:
        """The open model of that name, opened at first use. Raises NotFoundError."""
        opened = self.models.get(name)
        if opened is None:
            opened = self.models[name] = _opened(self.catalog.model(name))
        return opened

    def recipes(self) -> frozenset[Recipe]:
        """What this generation's tools open for the process."""
        found = {source.recipe for source in self.catalog.sources}
        for agent in self.catalog.agents:
            found.update(_recipes(agent))
        return frozenset(found)


class Generations:
    """Belongs to one Runtime. *process* are the resources that all sessions share.

    `begin`, `end` and `replace` await nothing, so a turn begins in one generation or in the next, never between them.
    """

    def __init__(self, catalog: Catalog, process: OpenResources, background: BackgroundTasks) -> None:
        self._process = process
        self._background = background
        self._old: list[Generation] = []
        """Replaced generations that are not closed yet. Appended by `replace`, removed by `_close` in its first
        step."""
        self.current = Generation(catalog)
        """The one that new turns begin in. Written by `replace`, from a reload or from a source's task."""

    def begin(self) -> Generation:
        """The generation of a turn that begins now. `end` says when it has ended."""
        self.current.turns += 1
        return self.current

    def end(self, generation: Generation) -> None:
        """A turn of *generation* has ended."""
        generation.turns -= 1
        if not generation.turns and generation in self._old:
            # Once for a generation: no turn begins in an old one. A failure is logged.
            self._background.run("gaia old catalog", self._close(generation))

    def replace(self, catalog: Catalog) -> None:
        """Let new turns begin with *catalog*: one reference is swapped."""
        old = self.current
        specs = {spec.name: spec for spec in old.catalog.models}
        kept = {
            spec.name: old.models[spec.name]
            for spec in catalog.models
            if spec.name in old.models and specs.get(spec.name) == spec
        }
        self.current = Generation(catalog, kept)
        self._old.append(old)
        if not old.turns:
            self._background.run("gaia old catalog", self._close(old))

    async def _close(self, old: Generation) -> None:
        """Close what no other generation has."""
        self._old.remove(old)
        # What others have is looked up before the awaits below. Models are only ever taken over from `current`, so none
        # of those being closed can come back.
        alive = {id(opened) for each in (self.current, *self._old) for opened in each.models.values()}
        for name, opened in old.models.items():
            if id(opened) not in alive:
                try:
                    await close_model(opened)
                except Exception:  # noqa: BLE001  # the others still close
                    _log.exception("closing the model %s failed", name)
        # Only now, in one step with `discard`: a reload during the awaits above may use a resource again.
        used = frozenset[Recipe]().union(*(each.recipes() for each in (self.current, *self._old)))
        for task in await self._process.discard(old.recipes() - used):
            self._background.hold(task)

    async def close(self) -> None:
        """Close all models."""
        opened = {id(each): each for generation in (self.current, *self._old) for each in generation.models.values()}
        for generation in (self.current, *self._old):
            generation.models.clear()
        async with AsyncExitStack() as stack:  # each, also when another fails
            for each in opened.values():
                stack.push_async_callback(close_model, each)


def _opened(spec: ModelSpec) -> ModelAccess:
    slots = SlotPool(spec.name, spec.slots, spec.queue, spec.context_tokens)
    return ModelAccess(spec.open(), slots, spec.window, inputs=spec.inputs, enforces_format=spec.enforces_format)


async def close_model(opened: ModelAccess) -> None:
    """Close a model that can be closed."""
    if (close := getattr(opened.model, "aclose", None)) is not None:
        await close()


def _recipes(agent: Agent) -> Iterable[Recipe]:
    for member in agent.tools.members:
        if member.resource is not None and member.resource.scope == "process":
            yield member.resource
        if isinstance(member.tool.handler, Delegate):
            yield from _recipes(member.tool.handler.agent)
