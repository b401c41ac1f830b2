"""What the tests of a turn need: an agent, a script for its model, and the events that come of them."""

from collections.abc import Awaitable, Callable

import attrs
import pytest

from gaia_core import Agent, Catalog, Runtime, ScriptedModel, Toolset, scripted
from gaia_core.events import Event, Nested, ToolEnded, TurnEnded


@attrs.frozen
class Told:
    """What a turn told, and the model that it asked."""

    events: tuple[Event, ...]
    model: ScriptedModel

    @property
    def ended(self) -> TurnEnded:
        assert isinstance(self.events[-1], TurnEnded)
        return self.events[-1]

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def result(self) -> ToolEnded:
        """How the only tool call ended."""
        (ended,) = self.of(ToolEnded)
        return ended

    @property
    def nested(self) -> list[Event]:
        return [event.event for event in self.of(Nested)]


@pytest.fixture
def run() -> Callable[..., Awaitable[Told]]:
    """Run one turn of an agent (or of one made of tools) whose model gives these answers, and tell all."""

    async def run(agent: Agent | tuple, *answers: object, say: str = "Go on.", more: tuple[Agent, ...] = ()) -> Told:
        if isinstance(agent, tuple):
            agent = Agent("agent", tools=Toolset("tools", agent))
        model = answers[0] if answers and isinstance(answers[0], ScriptedModel) else scripted(*answers)
        async with Runtime(Catalog.of(agent, *more, models={"local": model})) as runtime:
            events = tuple([event async for event in runtime.turn(agent, say)])
            assert [load.busy for load in runtime.stats().models] == [0], "a slot was not given back"
        return Told(events, model)

    return run
