"""The summary of a conversation: asked of the model in rounds, each of which fits its window."""

import logging

from gaia_core.errors import QueueFullError
from gaia_core.facts import Compacted
from gaia_core.messages import Usage, text_of
from gaia_core.models import ModelError, ModelRequest
from gaia_core.turn._turn_context import TurnContext
from gaia_core.turn.context._compaction import compaction_point, summary_parts, summary_round
from gaia_core.turn.context._context_budget import ContextBudget
from gaia_core.turn.context._context_window import size
from gaia_core.turn.context._transcript import TranscriptEntry
from gaia_core.turn.step._model_step import ModelStep
from gaia_core.turn.step._overflow_recovery import OverflowRecovery

_log = logging.getLogger(__name__)

_ROUNDS = 8
_SUMMARY_SHARE = 0.2
"""What a summary may take of the window: the rest is for what comes."""

_UNKNOWN = ContextBudget(32_768)
"""What a round may take where nobody has said how large the window is; a refusal says it."""


async def compact(context: TurnContext) -> Compacted | None:
    """The summary of what is too much for the window, as a fact; None when nothing is, or no summary can be had."""
    agent, transcript, budget = context.agent, context.transcript, context.window
    if budget is None or not context.compacts or not agent.context.compact:
        return None
    tokens = size(agent, transcript, budget)
    point = compaction_point(agent, transcript, budget) if tokens > budget.tokens else None
    if point is None:
        return None
    kept_from = transcript.entries[point].seq
    try:
        summary, used = await summary_of(context, transcript.entries[:point])
    except (ModelError, QueueFullError) as error:
        _log.warning("turn %s: no summary could be had (%s); older messages are left out", context.turn.id, error)
        return None
    return Compacted(summary, kept_from, used, tokens) if summary else None


async def summary_of(context: TurnContext, entries: list[TranscriptEntry]) -> tuple[str, Usage]:
    """The summary of *entries*, "" where the model has none, and what it took. Raises ModelError, QueueFullError."""
    transcript = context.transcript
    recovery = OverflowRecovery(context)
    used = Usage()
    while True:
        budget = context.window or _UNKNOWN
        chars = int(budget.tokens * min(budget.chars_per_token, transcript.chars_per_token))
        summary = ""
        try:
            for part in summary_parts(context.agent, entries, chars, _ROUNDS):
                request = ModelRequest(
                    summary_round(context.agent, summary, part, chars),
                    session_key=context.turn.session_id,
                    owner=context.owner,
                )
                step = ModelStep(context, request, set())
                message, _, usage = await step.run(lambda *_events: None)
                context.budget.charge(usage)
                used += usage
                summary = text_of(message.content).strip()[: int(chars * _SUMMARY_SHARE)]
        except ModelError as error:
            if error.kind != "context_length" or not recovery.learn(error, step.chars()):
                raise
        else:
            return summary, used
