"""Compaction: which older messages of a transcript are replaced by a summary, and how a model is asked for it."""

from gaia_core.agent import Agent
from gaia_core.messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage, text_of
from gaia_core.turn.context._context_budget import ContextBudget
from gaia_core.turn.context._context_window import messages_room, with_reasoning
from gaia_core.turn.context._shortened_messages import message_chars
from gaia_core.turn.context._transcript import Transcript, TranscriptEntry

_KEPT_SHARE = 0.5
"""What a compaction keeps of the budget as it is: as rare as can be, with room for what comes next."""

_PART_SHARE = 0.6
"""What a part may take of a window, beside the summary so far and the next one."""

_INSTRUCTIONS_SHARE = 0.2
"""What instructions may take of it: a client's may be longer than the window."""

_SO_FAR = "Notes on what came before:\n"

SUMMARIZE = (
    "Summarize the conversation so far for yourself: it will be all that you know of it. Keep every fact, decision, "
    "name, number, path and open task that may matter later, and what the user asked for. Write plain notes, no "
    "preamble."
)


def compaction_point(agent: Agent, transcript: Transcript, budget: ContextBudget) -> int | None:
    """The index from which entries are kept as they are, or None when there is nothing to gain.

    It never parts a call from its results, and keeps the newest in half of *budget*.
    """
    entries = with_reasoning(transcript.entries)
    most = int(message_chars(messages_room(agent, budget)) / transcript.chars_per_token) + 1
    left = int(budget.tokens * _KEPT_SHARE)
    point: int | None = None
    for index in reversed(range(1, len(entries))):
        left -= min(most, transcript.tokens(entries[index]))  # a longer one is sent in a shortened form
        if left < 0 and point is not None:
            break
        if not isinstance(entries[index].message, ToolMessage) and entries[index].seq:
            point = index
            if left < 0:
                break
    return point if point is not None and point > 1 else None


def summary_round(agent: Agent, summary: str, part: str, chars: int) -> tuple[Message, ...]:
    """What the model is asked for a summary of *part*, and of the *summary* of what came before it: plain text, so that
    any model can. The agent's instructions are cut to their share of a window of *chars* characters."""
    told = f"{_SO_FAR}{summary}\n\n{part}" if summary else part
    instructions = _instructions(agent, chars)
    system = f"{instructions}\n\n{SUMMARIZE}" if instructions else SUMMARIZE
    return (SystemMessage(system), UserMessage(f"{told}\n\n{SUMMARIZE}"))


def summary_parts(agent: Agent, entries: list[TranscriptEntry], chars: int, most: int) -> list[str]:
    """*entries* as texts, each of which fits a round in a window of *chars* characters; *most* of them at most.

    A message that is longer than half a part is cut in its middle; of too many parts those in the middle are left out.
    """
    fixed = len(_instructions(agent, chars)) + 3 * len(SUMMARIZE)
    room = max(200, int((chars - fixed) * _PART_SHARE))
    parts: list[str] = []
    for line in _lines(entries):
        line = _cut_within(line, room // 2)  # noqa: PLW2901
        if parts and len(parts[-1]) + len(line) + 2 <= room:
            parts[-1] += f"\n\n{line}"
        else:
            parts.append(line)
    if len(parts) > most:
        left_out = len(parts) - most
        newest = most - most // 2
        parts = [*parts[: most // 2], *parts[-newest:]]
        parts[most // 2] = f"(… about {left_out * room} characters are left out …)\n\n{parts[most // 2]}"
    return parts


def _instructions(agent: Agent, chars: int) -> str:
    return _cut_within(agent.instructions.strip(), int(chars * _INSTRUCTIONS_SHARE))


def _lines(entries: list[TranscriptEntry]) -> list[str]:
    lines = []
    for entry in entries:
        message = entry.message
        who = {UserMessage: "User", AssistantMessage: "You", ToolMessage: "Tool result"}.get(type(message), "System")
        if isinstance(message, AssistantMessage):
            lines += [f"You called {call.name}({call.arguments})" for call in message.tool_calls]
        if words := text_of(message.content):
            lines.append(f"{who}: {words}")
    return lines


def _cut_within(line: str, most: int) -> str:
    if len(line) <= most:
        return line
    half = max(1, (most - 60) // 2)
    return f"{line[:half]}\n(… {len(line) - 2 * half} characters are left out …)\n{line[-half:]}"
