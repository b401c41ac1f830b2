"""Alternation: a history in the form that strict chat templates accept.

The first message is a user's, then assistant's and user's alternate, and each call has its result right behind it
(Gemma's and Mistral's templates refuse anything else). Messages of a client or a stopped turn are brought into it:

| found | sent |
|---|---|
| user messages, system or developer texts in a row | one user message; a system text stands in `<system>` tags |
| a user message right behind results | a short assistant message before it |
| assistant messages in a row | one |
| an assistant message first | a short user message before it |
| a call without a result, a result without a call | a result that says so; a user's text |
| an assistant message that says nothing | one that says so |

It is a fold: what a longer history begins with is sent as before. Only a message that nothing answered can still grow.
"""

import msgspec

from gaia_core.messages import (
    AssistantMessage,
    Content,
    FunctionMessage,
    Message,
    Part,
    TextPart,
    ToolMessage,
    UserMessage,
    text_of,
)
from gaia_core.turn.context._transcript import INTERRUPTED, TranscriptEntry, entry_of, reasoned_entry

_BEGINNING = "[The assistant begins.]"
_GOING_ON = "[No answer yet.]"
_EMPTY = "[This answer was empty.]"


def alternating(entries: list[TranscriptEntry]) -> list[TranscriptEntry]:
    """*entries*, which are behind the leading system texts, in the form that is sent; see the module's text."""
    if _alternates(entries):  # nearly always
        return entries
    fold = _Alternation()
    for entry in entries:
        fold.take(entry)
    return fold.finished()


def _alternates(entries: list[TranscriptEntry]) -> bool:
    previous: type[Message] = AssistantMessage  # before a user's
    pending: set[str] = set()
    for entry in entries:
        message = entry.message
        kind = type(message)
        if kind is ToolMessage:
            if message.tool_call_id not in pending:  # type: ignore[union-attr]
                return False
            pending.remove(message.tool_call_id)  # type: ignore[union-attr]
        elif pending:
            return False
        elif kind is AssistantMessage:
            if previous is AssistantMessage or not _says_something(message):  # type: ignore[arg-type]
                return False
            pending = {call.id for call in message.tool_calls}  # type: ignore[union-attr]
        elif kind is not UserMessage or previous is not AssistantMessage:
            return False
        previous = kind
    return bool(entries) and not pending


class _Alternation:
    __slots__ = ("_pending", "_sent")

    def __init__(self) -> None:
        self._sent: list[TranscriptEntry] = []
        self._pending: dict[str, None] = {}
        """The calls of the last assistant message that have no result yet, in their order."""

    def take(self, entry: TranscriptEntry) -> None:
        message = entry.message
        if isinstance(message, ToolMessage) and message.tool_call_id in self._pending:
            del self._pending[message.tool_call_id]
            self._sent.append(entry)
            return
        self._answer_pending()
        if isinstance(message, AssistantMessage):
            self._assistant(message, entry)
        else:
            self._user(message, entry)

    def finished(self) -> list[TranscriptEntry]:
        """What is sent."""
        self._answer_pending()
        if not self._sent:
            self._add(UserMessage(_BEGINNING))
        return self._sent

    def _add(self, message: Message, seq: int = 0) -> None:
        self._sent.append(entry_of(message, seq))

    def _answer_pending(self) -> None:
        for call_id in self._pending:
            self._add(ToolMessage(INTERRUPTED, call_id))
        self._pending = {}

    def _assistant(self, message: AssistantMessage, entry: TranscriptEntry) -> None:
        before = self._sent[-1].message if self._sent else None
        if before is None:
            self._add(UserMessage(_BEGINNING))
        if isinstance(before, AssistantMessage):
            said = _joined(before.content or "", message.content or "") if _says_something(message) else before.content
            refusal = message.refusal or before.refusal
            joined = entry_of(msgspec.structs.replace(message, content=said, refusal=refusal), entry.seq)
            self._sent[-1] = reasoned_entry(joined) if entry.encoded is entry.reasoned else joined
        elif _says_something(message):
            self._sent.append(entry)
        else:
            self._add(AssistantMessage(_EMPTY, name=message.name), entry.seq)
        self._pending = dict.fromkeys(call.id for call in message.tool_calls)

    def _user(self, message: Message, entry: TranscriptEntry) -> None:
        user = message if isinstance(message, UserMessage) else UserMessage(_as_users(message))
        before = self._sent[-1].message if self._sent else None
        if isinstance(before, UserMessage):
            name = user.name if user.name == before.name else None
            self._sent[-1] = entry_of(UserMessage(_joined(before.content, user.content), name), entry.seq)
            return
        if isinstance(before, ToolMessage):
            self._add(AssistantMessage(_GOING_ON), entry.seq)
        self._sent.append(entry if user is message else entry_of(user, entry.seq))


def _says_something(message: AssistantMessage) -> bool:
    return bool(message.content or message.tool_calls or message.refusal)


def _as_users(message: Message) -> Content:
    """The content of *message*, which isn't the assistant's, as a user's."""
    if isinstance(message, ToolMessage):
        return f"The result of a call:\n{text_of(message.content)}"
    if isinstance(message, FunctionMessage):
        return f"The result of {message.name}:\n{text_of(message.content)}"
    return f"<system>\n{text_of(message.content)}\n</system>"


def _joined(first: Content, second: Content) -> Content:
    if isinstance(first, str) and isinstance(second, str):
        return "\n\n".join(each for each in (first, second) if each)
    return (*_parts(first), *_parts(second))


def _parts(content: Content) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (TextPart(content),) if content else ()
    return content
