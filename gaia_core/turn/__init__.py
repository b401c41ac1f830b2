"""The turn: from one user message to the final answer, in steps of a model request and its tool calls.

| module | what lives there |
|---|---|
| `_turn` | `Turn`: the handle, its readers, cancel, answers of people |
| `_ring` | the latest events in memory, and their ids |
| `_loop` | the steps, the limits, sub-agents |
| `_ending` | the last facts, and errors in words |
| `_step` | one model request: slot, deltas, the whole message |
| `_calls`, `_running` | tool calls: validate, approve; run |
| `_approval`, `_answers` | what a yes covers; requests that wait for a person |
| `_find` | search over tools: what is loaded for the session |
| `_results` | long results, and reading on in them |
| `_form` | the form of the final text, where a caller asks for one |
| `_transcript`, `_context` | the conversation as a fold over facts; which of it a model is sent |
| `_counting` | how many tokens that has |
| `_recorder` | where facts go before they are told |
| `_budget` | what is used of the limits |
| `_threads` | threads for synchronous tools |
| `_resources` | open resources |
| `_setting` | what a turn is given by its runtime |
| `_observer` | who sees turns beside their readers |
"""

from gaia_core.turn._budget import Budget
from gaia_core.turn._event_ring import EventId
from gaia_core.turn._loop import run_turn
from gaia_core.turn._observer import Observer, Observers, TurnObserver
from gaia_core.turn._recorder import JournalRecorder, MemoryRecorder, Recorder, record_of, replay_of
from gaia_core.turn._speculative_request import Early
from gaia_core.turn._turn import Frame, Turn
from gaia_core.turn._turn_context import NO_OPTIONS, ModelAccess, Setting, TurnOptions, window_of
from gaia_core.turn._turn_end import finish
from gaia_core.turn.calls._approval import Grant, decode_grant
from gaia_core.turn.calls._long_results import MOST_CHARS, READ_RESULT, shortened
from gaia_core.turn.calls._open_resources import OpenResources
from gaia_core.turn.calls._pending_answers import APPROVAL, QUESTION, Decision, check_kind
from gaia_core.turn.calls._tool_calls import Refused, invalid_arguments, tool_of, unattended, unknown_tool
from gaia_core.turn.calls._tool_threads import ToolThreads
from gaia_core.turn.context._context_window import size, summary_request
from gaia_core.turn.context._transcript import Transcript
from gaia_core.turn.step._model_request import request_of
from gaia_core.turn.step._model_step import may_become_call
from gaia_core.turn.step._response_format import check_format
from gaia_core.turn.step._token_count import tokens_of

__all__ = [
    "APPROVAL",
    "MOST_CHARS",
    "NO_OPTIONS",
    "QUESTION",
    "READ_RESULT",
    "Budget",
    "Decision",
    "Early",
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
    "Refused",
    "Setting",
    "ToolThreads",
    "Transcript",
    "Turn",
    "TurnObserver",
    "TurnOptions",
    "check_format",
    "check_kind",
    "decode_grant",
    "finish",
    "invalid_arguments",
    "may_become_call",
    "record_of",
    "replay_of",
    "request_of",
    "run_turn",
    "shortened",
    "size",
    "summary_request",
    "tokens_of",
    "tool_of",
    "unattended",
    "unknown_tool",
    "window_of",
]
