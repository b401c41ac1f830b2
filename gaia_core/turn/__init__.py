"""The turn: from one user message to the final answer, in steps of a model request and its tool calls.

| room or module | what it owns |
|---|---|
| `_turn` | `Turn`: the handle, its readers, cancel, answers of people |
| `_loop` | the steps, the limits, sub-agents |
| `step` | one model request: slot, request, deltas, the check of a final text |
| `calls` | tool calls: validate, approve, run; open resources, threads, long results |
| `context` | the transcript, and which part of it a model is sent |
| `tool_search` | `find_tools`: what is loaded for the session |
| `_recorder` | where facts are recorded before their events are sent |
| `_event_ring` | the latest events in memory, and their ids |
| `_turn_end` | the last facts, and errors in words |
| `_budget` | what is used of the limits |
| `_turn_request` | `TurnRequest`: what a turn is asked to do, and its `Audience` |
| `_turn_context` | what a turn receives from its runtime |
| `_observer` | traces and logs: who sees turns beside their readers |
"""

from gaia_core.turn._budget import Budget
from gaia_core.turn._event_ring import EventId
from gaia_core.turn._loop import run_turn
from gaia_core.turn._observer import Observer, Observers, TurnObserver
from gaia_core.turn._recorder import JournalRecorder, MemoryRecorder, Recorder, record_of, replay_of
from gaia_core.turn._speculative_request import SpeculativeRequest
from gaia_core.turn._turn import Frame, Turn
from gaia_core.turn._turn_context import ModelAccess, TurnContext, window_of
from gaia_core.turn._turn_end import finish
from gaia_core.turn._turn_request import NO_OPTIONS, Audience, TurnOptions, TurnRequest
from gaia_core.turn.calls._approval import AGENT_CHANGED, unattended
from gaia_core.turn.calls._approval_grant import Grant, decode_grant
from gaia_core.turn.calls._call_plan import RefusedCall
from gaia_core.turn.calls._long_results import MOST_CHARS, READ_RESULT, shortened
from gaia_core.turn.calls._open_resources import OpenResources
from gaia_core.turn.calls._pending_requests import APPROVAL, QUESTION, Decision, check_kind
from gaia_core.turn.calls._tool_calls import invalid_arguments, tool_of, unknown_tool, unusable_arguments
from gaia_core.turn.calls._tool_threads import ToolThreads
from gaia_core.turn.context._context_window import size
from gaia_core.turn.context._transcript import Transcript
from gaia_core.turn.step._model_request import is_own, request_of
from gaia_core.turn.step._overflow_recovery import with_room
from gaia_core.turn.step._response_format import ResponseFormatCheck, check_format
from gaia_core.turn.step._token_count import tokens_of

__all__ = [
    "AGENT_CHANGED",
    "APPROVAL",
    "MOST_CHARS",
    "NO_OPTIONS",
    "QUESTION",
    "READ_RESULT",
    "Audience",
    "Budget",
    "Decision",
    "EventId",
    "Frame",
    "Grant",
    "JournalRecorder",
    "MemoryRecorder",
    "ModelAccess",
    "Observer",
    "Observers",
    "OpenResources",
    "Recorder",
    "RefusedCall",
    "ResponseFormatCheck",
    "SpeculativeRequest",
    "ToolThreads",
    "Transcript",
    "Turn",
    "TurnContext",
    "TurnObserver",
    "TurnOptions",
    "TurnRequest",
    "check_format",
    "check_kind",
    "decode_grant",
    "finish",
    "invalid_arguments",
    "is_own",
    "record_of",
    "replay_of",
    "request_of",
    "run_turn",
    "shortened",
    "size",
    "tokens_of",
    "tool_of",
    "unattended",
    "unknown_tool",
    "unusable_arguments",
    "window_of",
    "with_room",
]
