"""The turn: from one user message to the final answer, in steps of a model request and its tool calls.

| module | what lives there |
|---|---|
| `_turn` | `Turn`: the handle, its readers, cancel, answers of people |
| `_loop` | the steps, the limits, sub-agents |
| `_step` | one model request: slot, deltas, the whole message |
| `_calls` | tool calls: validate, approve, run |
| `_context` | which messages a model is sent |
| `_budget` | what is used of the limits |
| `_threads` | threads for synchronous tools |
| `_resources` | open resources |
| `_setting` | what a turn is given by its runtime |
"""

from gaia_core.turn._loop import run_turn
from gaia_core.turn._resources import OpenResources
from gaia_core.turn._setting import NO_OPTIONS, Setting, TurnOptions
from gaia_core.turn._step import may_become_call
from gaia_core.turn._threads import ToolThreads
from gaia_core.turn._turn import Turn

__all__ = [
    "NO_OPTIONS",
    "OpenResources",
    "Setting",
    "ToolThreads",
    "Turn",
    "TurnOptions",
    "may_become_call",
    "run_turn",
]
