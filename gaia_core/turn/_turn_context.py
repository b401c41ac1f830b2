"""TurnContext: what a turn receives from its runtime. A turn reaches these things and no others."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import attrs
import msgspec

from gaia_core.agent import Agent
from gaia_core.events import Outcome
from gaia_core.frozen_types import made_once
from gaia_core.models import Input, Model, SlotPool
from gaia_core.tools import Recipe
from gaia_core.turn._budget import Budget
from gaia_core.turn._recorder import Recorder
from gaia_core.turn._speculative_request import SpeculativeRequest
from gaia_core.turn._turn import Turn
from gaia_core.turn._turn_request import NO_OPTIONS, Audience, TurnOptions
from gaia_core.turn.calls._approval_grant import Grant
from gaia_core.turn.calls._open_resources import OpenResources
from gaia_core.turn.calls._tool_threads import ToolThreads
from gaia_core.turn.context._context_budget import ContextBudget, LearntContext, prompt_budget
from gaia_core.turn.context._transcript import Transcript
from gaia_core.turn.step._own_prefixes import OwnPrefixes

Vectors: TypeAlias = tuple[tuple[float, ...], ...]


@attrs.frozen(eq=False)
class ModelAccess:
    """A model, its slots, and the longest request that it takes (tokens; None: unknown).

    *vectors*: those that it made of toolsets' definitions, by fingerprint (see `_vector_search`).
    *learnt*: what its refusals said of its window. *inputs*: what the configuration says that it takes beside text;
    None: it is asked. *enforces_format*: its endpoint writes nothing but what a request's response format allows.
    *prefixes*: what each owner has asked it, for the cached tokens that owners see.
    """

    __attrs_pre_init__ = made_once

    model: Model
    slots: SlotPool
    window: int | None = None
    vectors: dict[str, Vectors] = attrs.field(factory=dict)
    learnt: LearntContext = attrs.field(factory=LearntContext)
    prefixes: OwnPrefixes = attrs.field(factory=OwnPrefixes)
    inputs: frozenset[Input] | None = None
    enforces_format: bool = False

    async def takes(self) -> frozenset[Input]:
        """What the model takes beside text, as configured or as it says. Raises ModelError."""
        if self.inputs is not None:
            return self.inputs
        ask = getattr(self.model, "inputs", None)
        return await ask() if ask is not None else frozenset()


class Counting(Protocol):
    """Counts what an operator sees."""

    def tool_call(self, tool: str, outcome: Outcome, seconds: float | None) -> None:
        """A call of *tool* is over; it ran for *seconds* (None: not at all)."""
        ...

    def answer(self, model: str, seconds: float, first_seconds: float | None) -> None:
        """*model* has answered, after so long, its first token after *first_seconds*."""
        ...


def _nobody_approves(_tool: str) -> bool:
    return False


class TurnContext(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The surroundings of one turn, or of a sub-agent's part of it."""

    agent: Agent
    turn: Turn
    transcript: Transcript
    recorder: Recorder
    access: ModelAccess
    budget: Budget
    threads: ToolThreads
    resources: Callable[[Recipe], OpenResources]
    resolve: Callable[[str], ModelAccess]
    counts: Counting
    grants: list[Grant]
    """The session's; a turn adds to them."""
    owner: str = ""
    affinity: str = ""
    """What is the same for all requests of a conversation, for endpoints that keep its prefix. "": the session's id."""
    audience: Audience = Audience.NOBODY
    patience: float = 0.0
    """Seconds to wait for a model that isn't ready; a turn that was taken over finds it starting, as its server did."""
    compacts: bool = False
    """Whether older messages may be put into a summary; else they are left out when there are too many."""
    options: TurnOptions = NO_OPTIONS
    check_answer: Callable[[str], tuple[str, ...]] | None = None
    """What is wrong with a final text beyond its format; see `TurnRequest`."""
    calls_only: bool = False
    """The turn makes the calls that it begins with, and asks no model."""
    summarizes: bool = False
    """The turn answers with a summary of its transcript."""
    approves: Callable[[str], bool] = _nobody_approves
    """Whether the owner has said yes beforehand to calls of a tool, in this turn and its sub-agents'."""
    speculative: SpeculativeRequest | None = None
    """The first model request, if it was sent while the session was being claimed; closed when the turn ends."""
    path: str = ""
    """The calls that led to a sub-agent, each followed by a slash; "" for the turn's own agent."""
    abandoned: set[str] = msgspec.field(default_factory=set)
    """The calls (path and id) whose thread could not be stopped."""

    @property
    def window(self) -> ContextBudget | None:
        """How many tokens a prompt may have now."""
        return window_of(self.agent, self.access)


def window_of(agent: Agent, access: ModelAccess) -> ContextBudget | None:
    """How many tokens a prompt may have: by the agent's wish and by the model's window, configured or learnt."""
    return prompt_budget(agent.context.tokens, access.window, access.learnt)
