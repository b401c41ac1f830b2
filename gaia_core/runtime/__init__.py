"""Runtime: the process's owner of running turns, open resources and model slots. Created, passed in, closed.

| room or module | what it owns |
|---|---|
| `_runtime` | `Runtime`: starting turns, swapping catalogs, closing |
| `_run` | from a turn's end to an answer of a type, or `TurnError` |
| `_run_once` | `run`: a runtime that lives as long as one turn |
| `_session_gate` | at most one turn in a session: reject, queue or interrupt |
| `_turn_runner` | turns from their start, or from where a dead process left them, to their end |
| `_takeover` | heartbeats, and turns that a dead process left |
| `_process_identity` | which process a replica's name stands for, and whether that has ended |
| `_journal_signals` | cancel, approve and answer across processes |
| `_session_state` | what changes of a session in this process; counts for operators |
| `sessions` | sessions beside their turns: list, history, messages, export, transfer, replay |
| `_catalog_generations` | one catalog after the other, each with its models |
| `_toolset_sources` | toolsets whose tools are listed at run time |
| `_model_queries` | `Models`: what is asked of models beside turns |
| `_answer_text` | a turn's text, tools and times, as a fold over its events |
| `_quota` | what the turns of an owner may use |
| `_storage` | how much each owner keeps, and whether more is admitted |
"""

from gaia_core.histogram import Spread
from gaia_core.runtime._answer_text import PARAGRAPH, AnswerStats, AnswerText, rest_of
from gaia_core.runtime._model_queries import Models
from gaia_core.runtime._process_identity import is_dead, is_running, replica_name
from gaia_core.runtime._quota import Quota
from gaia_core.runtime._run import TurnError
from gaia_core.runtime._run_once import run
from gaia_core.runtime._runtime import Runtime
from gaia_core.runtime._session_gate import WhenBusy
from gaia_core.runtime._session_state import ModelLoad, RuntimeStats
from gaia_core.runtime._toolset_sources import SourceState, listed
from gaia_core.runtime.sessions._history import read_facts
from gaia_core.runtime.sessions._replay import Divergence, Replayed, replay
from gaia_core.runtime.sessions._session_configuration import configured
from gaia_core.runtime.sessions._session_events import SessionChange
from gaia_core.runtime.sessions._session_messages import (
    Facts,
    MessageStep,
    SessionMessage,
    before_turn,
    damaged_words,
    end_of_turn,
    iso,
    last_end,
    messages_of,
    shown_images,
)
from gaia_core.runtime.sessions._sessions import Sessions
from gaia_core.runtime.sessions._transfer import TransferredTurn, write

__all__ = [
    "PARAGRAPH",
    "AnswerStats",
    "AnswerText",
    "Divergence",
    "Facts",
    "MessageStep",
    "ModelLoad",
    "Models",
    "Quota",
    "Replayed",
    "Runtime",
    "RuntimeStats",
    "SessionChange",
    "SessionMessage",
    "Sessions",
    "SourceState",
    "Spread",
    "TransferredTurn",
    "TurnError",
    "WhenBusy",
    "before_turn",
    "configured",
    "damaged_words",
    "end_of_turn",
    "is_dead",
    "is_running",
    "iso",
    "last_end",
    "listed",
    "messages_of",
    "read_facts",
    "replay",
    "replica_name",
    "rest_of",
    "run",
    "shown_images",
    "write",
]
