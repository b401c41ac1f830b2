"""Runtime: the process's owner of running turns, open resources and model slots. Created, passed in, closed.

| module | what lives there |
|---|---|
| `_runtime` | `Runtime`: sessions, turns, models, its life |
| `_state` | what changes of a session in this process; counts and their picture |
| `_history` | a session's records, folded into what a turn goes on from |
| `_configured` | a session's own configuration beyond its agent |
| `_sessions` | `Sessions`: listing, searching, branching, moving and carrying sessions |
| `_takeover` | heartbeats, and turns that a dead process left |
| `_feed` | what happens to sessions, for whoever watches them |
"""

from gaia_core.runtime._configured import configured
from gaia_core.runtime._feed import SessionChange
from gaia_core.runtime._runtime import Runtime
from gaia_core.runtime._sessions import Said, Sessions
from gaia_core.runtime._state import ModelLoad, RuntimeStats

__all__ = ["ModelLoad", "Runtime", "RuntimeStats", "Said", "SessionChange", "Sessions", "configured"]
