"""Compaction: which older messages of a transcript are replaced by a summary, and how a model is asked for it."""

from gaia_core.agent import Agent
from gaia_core.messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage, text_of
from gaia_core.turn.context._transcript import Transcript, TranscriptEntry

_KEPT_SHARE = 0.5
"""What a compaction keeps of the budget as it is: as rare as can be, with room for what comes next."""

SUMMARIZE = (
    "Summarize the conversation so far for yourself: it will be all that you know of it. Keep every fact, decision, "
    "name, number, path and open task that may matter later, and what the user asked for. Write plain notes, no "
    "preamble."
)


def compaction_point(transcript: Transcript, budget: int) -> int | None:
    """The index from which entries are kept as they are, or None when there is nothing to gain.

    It never parts a call from its results, and keeps the newest in half of *budget*.
    """
    entries = transcript.entries
    left = int(budget * _KEPT_SHARE)
    point: int | None = None
    for index in reversed(range(1, len(entries))):
        left -= transcript.tokens(entries[index])
        if left < 0 and point is not None:
            break
        if not isinstance(entries[index].message, ToolMessage) and entries[index].seq:
            point = index
            if left < 0:
                break
    return point if point is not None and point > 1 else None


def summary_request(agent: Agent, entries: list[TranscriptEntry]) -> tuple[Message, ...]:
    """What the model is asked for a summary of *entries*: plain text, so that any model can."""
    lines = []
    for entry in entries:
        message = entry.message
        who = {UserMessage: "User", AssistantMessage: "You", ToolMessage: "Tool result"}.get(type(message), "System")
        if isinstance(message, AssistantMessage):
            lines += [f"You called {call.name}({call.arguments})" for call in message.tool_calls]
        if words := text_of(message.content):
            lines.append(f"{who}: {words}")
    told = "\n\n".join(lines)
    system = f"{agent.instructions.strip()}\n\n{SUMMARIZE}" if agent.instructions else SUMMARIZE
    return (SystemMessage(system), UserMessage(f"{told}\n\n{SUMMARIZE}"))
