"""Context: which of a transcript's messages a model is sent, and how large they are."""

from typing import TypeAlias

from gaia_core.agent import Agent
from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolMessage,
    is_users,
    text_of,
)
from gaia_core.turn.context._alternation import alternating
from gaia_core.turn.context._context_budget import ContextBudget
from gaia_core.turn.context._result_images import with_images
from gaia_core.turn.context._shortened_messages import each_within, message_chars, together_within
from gaia_core.turn.context._transcript import Transcript, TranscriptEntry, entry_of, reasoned_entry
from gaia_core.turn.tool_search._find_tools import loaded_definitions

_OF_A_MODEL = frozenset((AssistantMessage, ToolMessage))

Sent: TypeAlias = tuple[tuple[Message, ...], tuple[bytes, ...]]
"""The messages of a request, and each one's bytes."""


def messages_for(agent: Agent, transcript: Transcript, budget: ContextBudget | None = None, form: str = "") -> Sent:
    """What the model is sent: the agent's words first, then the newest of the transcript that fit *budget*.

    *form*: a further system text for this turn only, such as the response format.

    The reasoning that led to a call is sent with it within the turn, and not any more in later turns (source: DeepSeek
    API reference, thinking mode: tool calls without it are refused; templates leave out that of earlier turns).

    A client's leading system messages are joined to the agent's, because many chat templates take one system message
    only, and only as the first; later ones are folded into the user's (`_alternation`). The last user's message and
    all after it are always sent; a message that is too long for the budget is shortened, and of one exchange the oldest
    results are left out (`_shortened_messages`).
    """
    entries = transcript.entries
    leading = 0
    while leading < len(entries) and isinstance(entries[leading].message, SystemMessage | DeveloperMessage):
        leading += 1
    system = _system(agent, entries[:leading], form)
    rest = with_reasoning(entries[leading:] if leading else entries)
    most = message_chars(messages_room(agent, budget)) if budget is not None else None
    rest = alternating(with_images(transcript, rest, most))
    if budget is not None and most is not None:
        rest = each_within(transcript, rest, most)
        tokens = budget.tokens - int(_tools_chars(agent, transcript) / transcript.chars_per_token)
        rest = _newest(transcript, rest, tokens - (transcript.tokens(system) if system is not None else 0))
        if sum(map(transcript.chars, rest)) > messages_room(agent, budget):
            last = _last_user(rest)
            room = messages_room(agent, budget) - sum(map(transcript.chars, rest[:last]))
            rest = [*rest[:last], *together_within(transcript, rest[last:], room)]
    shown = [system, *rest] if system is not None else rest
    return tuple([entry.message for entry in shown]), tuple([entry.encoded for entry in shown])


def with_reasoning(entries: list[TranscriptEntry]) -> list[TranscriptEntry]:
    """*entries*, those of the turn's tool loop with their reasoning. A user's message right behind results doesn't end
    the loop: it has what is attached to them."""
    begin, sent = len(entries), entries
    while begin and (type(entries[begin - 1].message) in _OF_A_MODEL or _follows_result(entries, begin - 1)):
        begin -= 1
        entry = entries[begin]
        if entry.reasoned:
            sent = [*entries] if sent is entries else sent
            sent[begin] = reasoned_entry(entry)
    return sent


def _follows_result(entries: list[TranscriptEntry], index: int) -> bool:
    return index > 0 and type(entries[index - 1].message) is ToolMessage


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
    first = last = _last_user(entries)
    for index in reversed(range(len(entries))):
        left -= transcript.tokens(entries[index])
        if left < 0:
            break
        if index < last and is_users(entries[index].message):
            first = index
    return entries[first:]


def _last_user(entries: list[TranscriptEntry]) -> int:
    return next((i for i in reversed(range(len(entries))) if is_users(entries[i].message)), 0)


def messages_room(agent: Agent, budget: ContextBudget) -> int:
    """How many characters of *budget* the agent's words and tools leave to messages; a tenth of it at least."""
    fixed = len(agent.system_text) + sum([len(definition.encoded) for definition in agent.core.definitions])
    return max(budget.chars - fixed, budget.chars // 10)


def result_chars(agent: Agent, transcript: Transcript, budget: ContextBudget) -> int:
    """How many encoded characters the next result may have: what is left of *budget*, shared by the running calls.

    At least a tenth of the room for messages: older ones are put into a summary or left out. At most as much as one
    message may have.
    """
    room = messages_room(agent, budget)
    if transcript.measured and transcript.chars_per_token < budget.chars_per_token:
        room = int(room * transcript.chars_per_token / budget.chars_per_token)
    used = sum(map(transcript.chars, with_reasoning(transcript.entries))) + transcript.unsent_chars
    calls = max(1, len(transcript.open))
    left = max((room - used) // calls, room // 10 // calls)
    return max(200, min(left, message_chars(room) // calls) - 200)


def _tools_chars(agent: Agent, transcript: Transcript) -> int:
    chars = sum([len(definition.encoded) for definition in agent.core.definitions])
    if transcript.loaded:
        chars += sum([len(definition.encoded) for definition in loaded_definitions(agent, transcript.loaded)])
    return chars


def size(agent: Agent, transcript: Transcript, budget: ContextBudget | None = None) -> int:
    """About how many tokens the whole transcript takes, the agent's words and tools and the reasoning that is sent back
    included; with *budget*, in the form in which it is sent, in which no message is longer than that allows."""
    fixed = len(agent.system_text) + _tools_chars(agent, transcript)
    entries = with_reasoning(transcript.entries)
    tokens = int(fixed / transcript.chars_per_token) + sum(map(transcript.tokens, entries))
    if budget is None or tokens <= budget.tokens:
        return tokens
    most = message_chars(messages_room(agent, budget))
    over = [chars - most for chars in map(transcript.chars, entries) if chars > most]
    return tokens - int(sum(over) / transcript.chars_per_token)
