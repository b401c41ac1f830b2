"""Runtime: the process's owner of running turns, open resources and model slots. Created, passed in, closed.

| module | what lives there |
|---|---|
| `_runtime` | `Runtime`: sessions, turns, catalogs, its life |
| `_state` | what changes of a session in this process; counts and their picture |
| `_histogram` | how long things took |
| `_places`, `_turns` | who has a session's place; the turns that run |
| `_history` | a session's records, folded into what a turn goes on from |
| `_configured` | a session's own configuration beyond its agent |
| `_sessions` | `Sessions`: listing, searching, branching and moving sessions |
| `_messages`, `_tally` | a session's facts as the messages that people see; a turn's text and times |
| `_carry` | conversations that come from elsewhere, or move to another journal |
| `export` | conversations to take along: Markdown and JSON |
| `_replay` | a recorded conversation against its agent as it is now |
| `_generations` | one catalog after the other, each with its models |
| `_models` | `Models`: what is asked of models beside turns |
| `_sources` | toolsets that have to be asked for |
| `_takeover` | heartbeats, and turns that a dead process left |
| `_quota` | what the turns of an owner may use |
| `_feed` | what happens to sessions, for whoever watches them |
"""

from gaia_core.runtime._answer_text import PARAGRAPH, Stats, Tally
from gaia_core.runtime._histogram import Spread
from gaia_core.runtime._model_queries import Models
from gaia_core.runtime._quota import Quota
from gaia_core.runtime._runtime import Runtime
from gaia_core.runtime._session_gate import WhenBusy
from gaia_core.runtime._session_state import ModelLoad, RuntimeStats
from gaia_core.runtime._takeover import is_dead, replica_name
from gaia_core.runtime._toolset_sources import SourceState, listed
from gaia_core.runtime.sessions._history import read_facts
from gaia_core.runtime.sessions._replay import Divergence, Replayed, replay
from gaia_core.runtime.sessions._session_configuration import configured
from gaia_core.runtime.sessions._session_events import SessionChange
from gaia_core.runtime.sessions._session_messages import (
    Facts,
    Message,
    Step,
    before_turn,
    end_of_turn,
    iso,
    last_end,
    messages_of,
)
from gaia_core.runtime.sessions._sessions import Sessions
from gaia_core.runtime.sessions._transfer import Said, write

__all__ = [
    "PARAGRAPH",
    "Divergence",
    "Facts",
    "Message",
    "ModelLoad",
    "Models",
    "Quota",
    "Replayed",
    "Runtime",
    "RuntimeStats",
    "Said",
    "SessionChange",
    "Sessions",
    "SourceState",
    "Spread",
    "Stats",
    "Step",
    "Tally",
    "WhenBusy",
    "before_turn",
    "configured",
    "end_of_turn",
    "is_dead",
    "iso",
    "last_end",
    "listed",
    "messages_of",
    "read_facts",
    "replay",
    "replica_name",
    "write",
]
