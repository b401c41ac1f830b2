"""Context: which of a transcript's messages a model is sent, and when the older ones are put into a summary."""

from typing import TypeAlias

from gaia_core.agent import Agent
from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
    text_of,
)
from gaia_core.turn.context._transcript import Transcript, TranscriptEntry, entry_of
from gaia_core.turn.tool_search._find_tools import loaded_definitions

Sent: TypeAlias = tuple[tuple[Message, ...], tuple[bytes, ...]]
"""The messages of a request, and each one's bytes."""

_KEPT_SHARE = 0.5
"""What a compaction keeps of the budget as it is: as rare as can be, with room for what comes next."""

SUMMARIZE = (
    "Summarize the conversation so far for yourself: it will be all that you know of it. Keep every fact, decision, "
    "name, number, path and open task that may matter later, and what the user asked for. Write plain notes, no "
    "preamble."
)


def messages_for(agent: Agent, transcript: Transcript, budget: int | None = None, form: str = "") -> Sent:
    """What the model is sent: the agent's words first, then the newest of the transcript that fit *budget* tokens.

    *form*: a further system text for this turn only, such as the response format.

    A client's leading system messages are joined to the agent's, because many chat templates take one system message
    only, and only as the first. The last user's message and all after it are always sent.
    """
    entries = transcript.entries
    leading = 0
    while leading < len(entries) and isinstance(entries[leading].message, SystemMessage | DeveloperMessage):
        leading += 1
    system = _system(agent, entries[:leading], form)
    rest = entries[leading:] if leading else entries
    if budget is not None:
        rest = _newest(transcript, rest, budget - (transcript.tokens(system) if system is not None else 0))
    shown = [system, *rest] if system is not None else rest
    return tuple([entry.message for entry in shown]), tuple([entry.encoded for entry in shown])


def _system(agent: Agent, leading: list[TranscriptEntry], form: str) -> TranscriptEntry | None:
    words = agent.system_text
    for entry in leading:
        message = entry.message
        assert isinstance(message, SystemMessage | DeveloperMessage)
        words = f"{words}\n\n{text_of(message.content)}" if words else text_of(message.content)
    if form:
        words = f"{words}\n\n{form}" if words else form
    return entry_of(SystemMessage(words)) if words else None


def _newest(transcript: Transcript, entries: list[TranscriptEntry], tokens: int) -> list[TranscriptEntry]:
    """The newest exchanges that fit, each from a user's message on; the last one always."""
    left = tokens
    first = last = next((i for i in reversed(range(len(entries))) if isinstance(entries[i].message, UserMessage)), 0)
    for index in reversed(range(len(entries))):
        left -= transcript.tokens(entries[index])
        if left < 0:
            break
        if index < last and isinstance(entries[index].message, UserMessage):
            first = index
    return entries[first:]


def size(agent: Agent, transcript: Transcript) -> int:
    """About how many tokens the whole transcript takes, the agent's words and tools included."""
    fixed = len(agent.system_text) + sum(len(definition.encoded) for definition in agent.core.definitions)
    if transcript.loaded:
        fixed += sum(len(definition.encoded) for definition in loaded_definitions(agent, transcript.loaded))
    return int(fixed / transcript.chars_per_token) + sum(map(transcript.tokens, transcript.entries))


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
