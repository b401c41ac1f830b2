"""Context: which of a transcript's messages a model is sent, and how large they are."""

from typing import TypeAlias

from gaia_core.agent import Agent
from gaia_core.messages import (
    DeveloperMessage,
    Message,
    SystemMessage,
    UserMessage,
    text_of,
)
from gaia_core.turn.context._alternation import alternating
from gaia_core.turn.context._transcript import Transcript, TranscriptEntry, entry_of
from gaia_core.turn.tool_search._find_tools import loaded_definitions

Sent: TypeAlias = tuple[tuple[Message, ...], tuple[bytes, ...]]
"""The messages of a request, and each one's bytes."""


def messages_for(agent: Agent, transcript: Transcript, budget: int | None = None, form: str = "") -> Sent:
    """What the model is sent: the agent's words first, then the newest of the transcript that fit *budget* tokens.

    *form*: a further system text for this turn only, such as the response format.

    A client's leading system messages are joined to the agent's, because many chat templates take one system message
    only, and only as the first; later ones are folded into the user's (`_alternation`). The last user's message and
    all after it are always sent.
    """
    entries = transcript.entries
    leading = 0
    while leading < len(entries) and isinstance(entries[leading].message, SystemMessage | DeveloperMessage):
        leading += 1
    system = _system(agent, entries[:leading], form)
    rest = alternating(entries[leading:] if leading else entries)
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
