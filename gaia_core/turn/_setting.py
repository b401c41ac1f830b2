"""Setting: what a turn is given by its runtime. A turn reaches these things and no others."""

from collections.abc import Awaitable, Callable

import attrs

from gaia_core.agent import Agent
from gaia_core.events import Outcome
from gaia_core.messages import Message, Usage
from gaia_core.models._protocol import Model, ResponseFormat, Sampling, ToolChoice
from gaia_core.models._slots import SlotPool
from gaia_core.tools import Recipe, ToolDefinition
from gaia_core.turn._budget import Budget
from gaia_core.turn._resources import OpenResources
from gaia_core.turn._threads import ToolThreads
from gaia_core.turn._turn import Turn


@attrs.frozen(kw_only=True)
class TurnOptions:
    """What a client may say of one turn, beyond its words.

    *client_tools* are offered to the model beside the agent's own; when the model picks one, the turn ends with
    `tool_calls` and the client runs it. *tool_choice* and *parallel_tool_calls* concern these.
    """

    sampling: Sampling = Sampling()
    client_tools: tuple[ToolDefinition, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None


NO_OPTIONS = TurnOptions()


@attrs.frozen(kw_only=True, eq=False)
class Setting:
    """The surroundings of one turn, or of a sub-agent's part of it."""

    agent: Agent
    turn: Turn
    model: Model
    slots: SlotPool
    budget: Budget
    threads: ToolThreads
    resources: Callable[[Recipe], OpenResources]
    record: Callable[[tuple[Message, ...], Usage], Awaitable[None]]
    resolve: Callable[[str], tuple[Model, SlotPool]]
    counted: Callable[[str, Outcome], None]
    key: str = ""
    """Who asks, for the models' queues: the owner of the session."""
    background: bool = False
    """Whether nobody waits for this turn: others are served before it."""
    interactive: bool = False
    options: TurnOptions = NO_OPTIONS
    path: str = ""
    """The calls that led to a sub-agent, each followed by a slash; "" for the turn's own agent."""
    abandoned: set[str] = attrs.field(factory=set)
    """The calls (path and id) whose thread could not be stopped."""
