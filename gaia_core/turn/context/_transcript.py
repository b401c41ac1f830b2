"""The transcript: a conversation as models are sent it, folded from facts or taken from a client.

Messages keep their encoded bytes, so that what was sent once is sent again byte for byte (a prefix cache hits), and
building a request joins bytes. Results follow their calls in the calls' order, however they came in.
"""

import hashlib
from collections.abc import Iterable
from types import MappingProxyType

import msgspec

from gaia_core.facts import Answered, Asked, Began, Compacted, Decided, Done, Edit, Ended, Fact, Replied, Started
from gaia_core.messages import (
    AssistantMessage,
    ImagePart,
    Message,
    ToolCall,
    ToolMessage,
    UserMessage,
    text_of,
    wire_bytes,
)
from gaia_core.models import ModelRequest
from gaia_core.turn.context._context_budget import CHARS_PER_TOKEN

IMAGE_CHARS = 6_000
"""What an image counts in the window, in characters: 1,500 tokens. Its base64 says nothing of that; models take 85 to
1,600 tokens for one (source: OpenAI's and Anthropic's guides to vision), local ones up to 4,096."""

INTERRUPTED = "The call was interrupted; whether it had an effect is unknown."
_SUMMARY = "Earlier in this conversation (a summary; the messages themselves are not shown any more):\n\n"
_CUT_OFF = "[This answer was interrupted here.]"
_UNANSWERED = MappingProxyType(
    {
        "cancelled": "[No answer: the turn was stopped.]",
        "failed": "[No answer: the turn failed.]",
        "limit": "[No answer: the turn reached a limit.]",
    }
)
_OF_A_CALL = frozenset((Started, Asked, Decided, Replied))


class TranscriptEntry(msgspec.Struct, frozen=True, gc=False):
    """A message with its bytes as endpoints take it. *seq*: the record that it comes from, 0 for none.

    *reasoned*: the same with the reasoning that led to its calls, which is sent within the turn; empty for none.
    """

    message: Message
    encoded: bytes
    seq: int = 0
    reasoned: bytes = b""

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        images = self.message.images if type(self.message) is ToolMessage else ()
        return len(self.encoded) + len(self.reasoned) + sum([len(image.data) for image in images])

    @property
    def digest(self) -> str:
        """What tells it from the other messages of its record."""
        return hashlib.blake2b(self.encoded, digest_size=8).hexdigest()


def entry_of(message: Message, seq: int = 0) -> TranscriptEntry:
    """*message*, encoded."""
    if type(message) is AssistantMessage and message.reasoning_content and message.tool_calls:
        return TranscriptEntry(message, wire_bytes(message), seq, wire_bytes(message, reasoning=True))
    return TranscriptEntry(message, wire_bytes(message), seq)


def reasoned_entry(entry: TranscriptEntry) -> TranscriptEntry:
    """*entry*, sent with its reasoning if it has any."""
    return TranscriptEntry(entry.message, entry.reasoned, entry.seq, entry.reasoned) if entry.reasoned else entry


class OpenCall:
    """A call of the last answer that has no result yet, and what is recorded of it."""

    __slots__ = ("asked", "call", "decided", "replies", "started")

    def __init__(self, call: ToolCall) -> None:
        self.call = call
        self.started: Started | None = None
        self.asked: Asked | None = None
        self.decided: Decided | None = None
        self.replies: list[str | None] = []

    def take(self, fact: Started | Asked | Decided | Replied) -> None:
        """Note what *fact* says of the call."""
        if isinstance(fact, Started):
            self.started = fact
        elif isinstance(fact, Asked):
            self.asked, self.decided = fact, None  # what was asked before was withdrawn
        elif isinstance(fact, Decided):
            self.decided = fact
        else:
            self.replies.append(fact.value)


class Transcript:
    """Entries, oldest first. `apply` is the fold; what it holds besides belongs to the last, unfinished turn."""

    __slots__ = (
        "_calls",
        "_results",
        "_seq",
        "_step",
        "chars_per_token",
        "client_calls",
        "entries",
        "full",
        "has_images",
        "loaded",
        "measured",
        "open",
        "shows_images",
    )

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.entries: list[TranscriptEntry] = [entry_of(message) for message in messages]
        self.open: dict[str, OpenCall] = {}
        """The agent's own calls without a result, in the model's order."""
        self.client_calls: tuple[ToolCall, ...] = ()
        self.full: dict[str, str] = {}
        """Whole results by call id, where the model was shown a part."""
        self.loaded: list[str] = []
        """The tools that were loaded by a search, in this order."""
        self.chars_per_token = CHARS_PER_TOKEN
        self.measured = False
        """Whether an endpoint's own count is behind `chars_per_token`; else it is an estimate."""
        self.has_images = False
        """Whether a result has images."""
        self.shows_images = False
        """Whether the model that is asked takes images. Written by a turn's loop, once there are some."""
        self._results: dict[str, ToolMessage] = {}
        self._calls: tuple[ToolCall, ...] = ()
        self._seq = 0
        self._step = 0
        """The turn's last step that has an answer."""

    def followed_by(self, began: Began) -> "Transcript":
        """What this becomes when a turn begins with *began*; this stays as it is."""
        copy = self._copy()
        copy.apply(0, began)
        return copy

    def edited(self, edits: tuple[Edit, ...]) -> "Transcript":
        """What this is with *edits*; this stays as it is."""
        copy = self._copy()
        copy.edit(edits)
        return copy

    def _copy(self) -> "Transcript":
        copy = Transcript()
        copy.entries = [*self.entries]
        copy.client_calls, copy.full, copy.loaded = self.client_calls, self.full, [*self.loaded]
        copy._calls, copy._results, copy._seq = self._calls, {**self._results}, self._seq
        copy.chars_per_token = self.chars_per_token
        copy.has_images, copy.shows_images = self.has_images, self.shows_images
        return copy

    def apply(self, seq: int, fact: Fact) -> tuple[Message, ...]:
        """Fold *fact* of the record *seq* in; the messages that this added."""
        kind = type(fact)  # compared by identity, the most frequent first: this is on every step's path
        if kind is Began and fact.edits:  # type: ignore[union-attr]
            self.edit(fact.edits)  # type: ignore[union-attr]
        before = len(self.entries)
        if kind is Answered:
            self._answered(fact, seq)  # type: ignore[arg-type]
        elif kind is Done:
            if fact.call_id in self.open:  # type: ignore[union-attr]
                self._done(fact, seq)  # type: ignore[arg-type]
        elif kind is Began:
            self._began(fact, seq)  # type: ignore[arg-type]
        elif kind is Ended:
            self._ended(fact, seq)  # type: ignore[arg-type]
        elif kind is Compacted:
            self._compact(fact, seq)  # type: ignore[arg-type]
            return ()
        elif kind in _OF_A_CALL and (opened := self.open.get(fact.call_id)):  # type: ignore[union-attr]
            opened.take(fact)  # type: ignore[arg-type]
        if len(self.entries) == before:
            return ()
        return tuple([entry.message for entry in self.entries[before:]])

    def _ended(self, fact: Ended, seq: int) -> None:
        """Close the turn's calls. An answer that was cut short is kept, marked as such: the user saw it; and a turn
        without an answer gets a note in its place, as the next message is a user's."""
        self._close()
        if (note := _UNANSWERED.get(fact.status)) is None or not self.entries or self.client_calls:
            return
        if fact.text and fact.steps > self._step:
            self._add(AssistantMessage(f"{fact.text}\n\n{_CUT_OFF}"), seq)
        elif not isinstance(self.entries[-1].message, AssistantMessage):
            self._add(AssistantMessage(note), seq)

    def _began(self, fact: Began, seq: int) -> None:
        self._close()
        self._step = 0
        results = [message for message in fact.input if isinstance(message, ToolMessage)]
        given: dict[str, Message] = {message.tool_call_id: message for message in results}
        for call in self.client_calls:  # the client may go on without their results
            self._add(given.pop(call.id, ToolMessage(INTERRUPTED, call.id)), seq)
        self.client_calls = ()
        for message in fact.input:
            if not isinstance(message, ToolMessage) or message.tool_call_id in given:
                self._add(message, seq)
        if fact.message is not None:
            self._add(fact.message, seq)

    def edit(self, edits: tuple[Edit, ...]) -> None:
        """Make *edits*. One whose message isn't here any more, because it is in a summary, does nothing."""
        instead = {(edit.seq, edit.digest, edit.nth): edit.message for edit in edits}
        seqs = {edit.seq for edit in edits}
        seen: dict[tuple[int, str], int] = {}
        kept: list[TranscriptEntry] = []
        for entry in self.entries:
            if entry.seq not in seqs:
                kept.append(entry)
                continue
            place = (entry.seq, entry.digest)
            nth = seen[place] = seen.get(place, -1) + 1
            message = instead.get((*place, nth), entry.message)
            if message is entry.message:
                kept.append(entry)
            elif message is not None:
                kept.append(entry_of(message, entry.seq))
        self.entries = kept
        calls = self.call_ids()
        self.client_calls = tuple([call for call in self.client_calls if call.id in calls])

    def _answered(self, fact: Answered, seq: int) -> None:
        self._close()
        message, self._step = fact.message, fact.step
        self._add(message, seq)
        if message.tool_calls:
            theirs = fact.client_calls
            self._calls = tuple([call for call in message.tool_calls if call.id not in theirs])
            self.open = {call.id: OpenCall(call) for call in self._calls}
            self.client_calls = tuple([call for call in message.tool_calls if call.id in theirs])
        if fact.objection:
            self._add(UserMessage(fact.objection), seq)

    def _add(self, message: Message, seq: int) -> None:
        self.entries.append(entry_of(message, seq))

    def _done(self, fact: Done, seq: int) -> None:
        del self.open[fact.call_id]
        self._results[fact.call_id] = ToolMessage(fact.content, fact.call_id, fact.outcome, fact.images)
        self.has_images = self.has_images or bool(fact.images)
        self._seq = seq
        if fact.full is not None:
            self.full[fact.call_id] = fact.full
        self.loaded += [name for name in fact.loaded if name not in self.loaded]
        if not self.open:
            self._close()

    def _close(self) -> None:
        """Put the results behind their calls; a call that never had one is answered, or endpoints refuse it."""
        if not self._calls:
            return
        for call in self._calls:
            self._add(self._results.get(call.id) or ToolMessage(INTERRUPTED, call.id), self._seq)
        self._calls = ()
        self._results.clear()
        self.open = {}

    def _compact(self, fact: Compacted, seq: int) -> None:
        kept = [entry for entry in self.entries if entry.seq >= fact.kept_from]
        self.entries[:] = [entry_of(UserMessage(_SUMMARY + fact.summary), seq), *kept]

    def beginning(self) -> str:
        """A name of the conversation by its messages up to the user's first, which stay while it grows."""
        digest = hashlib.blake2b(digest_size=8)  # of no secret, and the quickest
        for entry in self.entries:
            digest.update(entry.encoded)
            if isinstance(entry.message, UserMessage):
                break
        return digest.hexdigest()

    def call_ids(self) -> set[str]:
        """The ids of all calls so far: a new call must have another one."""
        calls = (entry.message.tool_calls for entry in self.entries if isinstance(entry.message, AssistantMessage))
        return {call.id for some in calls for call in some}

    @property
    def unsent_chars(self) -> int:
        """The characters of results that are not sent yet, because other calls of their answer still run."""
        return sum([len(text_of(message.content)) for message in self._results.values()])

    def measure(self, chars: int, tokens: int) -> None:
        """An endpoint counted *tokens* for a request of *chars*."""
        if tokens > 0 and chars > 0:
            self.chars_per_token = max(1.0, chars / tokens)
            self.measured = True

    def chars(self, entry: TranscriptEntry) -> int:
        """What *entry* counts in the window, in characters, the images of its result included."""
        message = entry.message
        if type(message) is ToolMessage and message.images and self.shows_images:
            return len(entry.encoded) + IMAGE_CHARS * len(message.images)
        return sent_chars(message, entry.encoded)

    def tokens(self, entry: TranscriptEntry) -> int:
        """About how many tokens *entry* is."""
        return int(self.chars(entry) / self.chars_per_token) + 1


def request_chars(request: ModelRequest) -> int:
    """What the messages of *request* count in the window, in characters."""
    encoded = request.encoded or map(wire_bytes, request.messages)
    return sum(map(sent_chars, request.messages, encoded))


def sent_chars(message: Message, encoded: bytes) -> int:
    """What *message* counts in the window as it is sent, in characters; an image the same, whatever its bytes."""
    if type(message.content) is not tuple:
        return len(encoded)
    images = [part for part in message.content if type(part) is ImagePart]
    return len(encoded) + sum([IMAGE_CHARS - len(part.image_url.url) for part in images])
