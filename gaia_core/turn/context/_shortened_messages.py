"""Messages that are larger than a model's context, in the shortened form in which they are sent.

The journal keeps them whole. What is shortened is a function of the messages and of the budget, so later requests send
the same bytes again. What was left out can be read by `read_result`, under the call's id or a name for the message.
"""

import msgspec

from gaia_core.messages import AssistantMessage, Message, TextPart, ToolMessage, UserMessage, text_of
from gaia_core.turn.calls._long_results import READ_RESULT, shortened
from gaia_core.turn.context._transcript import Transcript, TranscriptEntry, entry_of

_MESSAGE_SHARE = 0.4
"""What one message may take of the room for messages: the newest result and the user's message fit together."""

_KEPT_SHARE = 0.5
_STUB_CHARS = 400
_NOTE_CHARS = 120


def message_chars(room: int) -> int:
    """How many encoded characters one message may have where all messages have *room*."""
    return max(200, int(room * _MESSAGE_SHARE))


def chars_within(text: str, most: int) -> int:
    """How many characters of *text* take at most *most* bytes as encoded JSON."""
    encoded = len(msgspec.json.encode(text))
    if encoded <= most:
        return len(text)
    chars = max(1, len(text) * most // encoded)
    while chars > 1 and len(msgspec.json.encode(text[:chars])) > most:
        chars = chars * 9 // 10
    return chars


def each_within(transcript: Transcript, entries: list[TranscriptEntry], most: int) -> list[TranscriptEntry]:
    """*entries*, each with at most about *most* characters."""
    if all(transcript.chars(entry) <= most for entry in entries):
        return entries
    return [_within(transcript, entry, most) if transcript.chars(entry) > most else entry for entry in entries]


def _within(transcript: Transcript, entry: TranscriptEntry, most: int) -> TranscriptEntry:
    """*entry*, its text cut, with a note that says how to read on. System messages and arguments stay as they are."""
    message = entry.message
    if not isinstance(message, UserMessage | AssistantMessage | ToolMessage) or not message.content:
        return entry
    handle = message.tool_call_id if isinstance(message, ToolMessage) else f"message_{entry.digest[:8]}"
    whole = text_of(message.content)
    if isinstance(message, ToolMessage):
        whole = transcript.full.get(handle, whole)
    beside = transcript.chars(entry) - len(msgspec.json.encode(text_of(message.content)))
    room = max(_NOTE_CHARS, most - beside - _NOTE_CHARS)
    content, full = shortened(whole, chars_within(whole, room), handle)
    if full is None:
        return entry
    transcript.full.setdefault(handle, full)
    return entry_of(_with_text(message, content), entry.seq)


def _with_text(message: UserMessage | AssistantMessage | ToolMessage, text: str) -> Message:
    parts = message.content
    if not isinstance(parts, tuple):
        return msgspec.structs.replace(message, content=text)
    others = tuple([part for part in parts if not isinstance(part, TextPart)])
    return msgspec.structs.replace(message, content=(TextPart(text), *others))


def together_within(transcript: Transcript, entries: list[TranscriptEntry], most: int) -> list[TranscriptEntry]:
    """*entries*, of one exchange, with at most about *most* characters: the oldest results are left out.

    A fold: whenever an entry exceeds *most*, enough results before it are left out for half of that; so from step to
    step the same ones are, until the next time.
    """
    if sum(map(transcript.chars, entries)) <= most:
        return entries
    shown: list[TranscriptEntry] = []
    held = 0
    for entry in entries:
        shown.append(entry)
        held += transcript.chars(entry)
        if held <= most:
            continue
        for index, older in enumerate(shown[:-1]):
            if held <= most * _KEPT_SHARE:
                break
            if isinstance(older.message, ToolMessage) and len(older.encoded) > _STUB_CHARS:
                shown[index] = _left_out(transcript, older, older.message)
                held += len(shown[index].encoded) - len(older.encoded)
    return shown


def _left_out(transcript: Transcript, entry: TranscriptEntry, message: ToolMessage) -> TranscriptEntry:
    handle = message.tool_call_id
    transcript.full.setdefault(handle, text_of(message.content))
    words = f'(This result was left out to make room. {READ_RESULT}(call_id="{handle}") reads it again.)'
    return entry_of(ToolMessage(words, handle, message.outcome), entry.seq)
