"""How an endpoint's answer arrives: its bytes, folded into batches of deltas, and the watch over its silence.

An answer is whole when it said why it ended, or `[DONE]`; anything less is a broken stream, never an answer.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Self

from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import ReasoningField, Usage
from gaia_core.models._protocol import Delta, Finished, ModelError
from gaia_core.models.endpoint._chunk_fast_path import ChunkFastPath
from gaia_core.models.endpoint._chunk_wire import (
    Chunk,
    ChunkMessage,
    decode_chunk,
    deltas_of,
    finish_of,
    is_web_page,
    piece_of,
    stream_error,
    usage_of,
    web_page,
)
from gaia_core.models.endpoint._sse_decoder import EventTooLargeError, SSEDecoder
from gaia_core.models.endpoint._think_tags import ThinkTags

_FIRST_EVENTS = 8
"""Events of a read that are decoded before the fast path is tried again: a short answer is decoded in one go."""


class ResponseReader:
    """Folds an endpoint's bytes into batches of deltas. The *secret* is left out of what it raises."""

    def __init__(self, secret: str | None) -> None:
        self._secret = secret
        self._events = SSEDecoder()
        self._fast_path = ChunkFastPath(lambda event: piece_of(decode_chunk(event, secret)))
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._stop: str | None = None
        self._called = False
        self._think = ThinkTags()
        self._begun = False
        """Whether anything but white space has come."""
        self._reasoning_field: ReasoningField = "reasoning_content"
        self.done = False
        """Whether `[DONE]` was read."""

    @property
    def whole(self) -> bool:
        """Whether the answer had its end, whatever comes of the connection."""
        return self.done or self._finish is not None

    def feed(self, data: bytes) -> tuple[Delta, ...]:
        """The deltas that *data* completes; adjacent pieces of text are one, so that a burst costs little behind this.

        Raises ModelError.
        """
        if not self._begun and data.strip():
            self._begun = True
            if is_web_page(data):
                raise web_page()
        deltas: list[Delta] = []
        events = _FIRST_EVENTS
        while data and not self.done:
            begun = self._events.begun(data)
            data = begun + data if begun else data
            if begun is not None and (found := self._fast_path.read(data)) is not None:
                piece, data = found
                deltas.append(piece)
                continue
            end = _end_of(data, events)
            self._decode(self._split(data[:end]), deltas)
            data = data[end:]
            events *= 4
        batch = _joined(deltas)
        return batch if self._think.passed or not batch else self._think.take(batch)

    def _split(self, data: bytes) -> list[bytes]:
        try:
            return self._events.feed(data)
        except EventTooLargeError as error:
            raise ModelError("broken_stream", f"the endpoint sent {error}") from None

    def _decode(self, events: list[bytes], into: list[Delta]) -> None:
        """Append the deltas of *events*."""
        plain, count = b"", 0
        for event in events:
            if event == b"[DONE]":
                self.done = True
                break
            if not event:
                continue
            chunk = decode_chunk(event, self._secret)
            piece = piece_of(chunk)
            if type(piece) is ReasoningDelta and chunk.choices:
                self._note_field(chunk.choices[0].delta)
            if piece is None:
                self._take(chunk, into)
            else:
                into.append(piece)
                plain = event
                count += 1
        if plain:
            self._fast_path.missed(plain, count)

    def _take(self, chunk: Chunk, deltas: list[Delta]) -> None:
        if chunk.error is not None:
            raise stream_error(chunk.error, self._secret)
        if chunk.object == "error":
            raise stream_error(chunk.message, self._secret)
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage)
        for choice in chunk.choices or ():
            message = choice.delta or choice.message
            if message is not None:
                self._note_field(message)
                deltas_of(message, deltas)
                self._called = self._called or bool(message.tool_calls)
            if choice.finish_reason:
                self._finish = choice.finish_reason
                matched = (choice.stop_reason, choice.matched_stop)
                self._stop = next((text for text in matched if isinstance(text, str)), None)
            return  # one choice is asked for

    def _note_field(self, message: ChunkMessage | None) -> None:
        if message is not None and message.reasoning and not message.reasoning_content:
            self._reasoning_field = "reasoning"

    def all_at_once(self, body: bytes) -> tuple[Delta, ...]:
        """The answer of an endpoint that does not stream. Raises ModelError."""
        deltas: list[Delta] = []
        self._take(decode_chunk(body, self._secret), deltas)
        return (*self._think.take(tuple(deltas)), *self.end())

    def end(self) -> tuple[Delta, ...]:
        """What was left, and the end. Raises ModelError("broken_stream") when the answer had none."""
        try:
            deltas: list[Delta] = []
            self._decode(self._events.end(), deltas)
            rest = _joined(deltas)
        except ModelError as error:
            if error.kind != "broken_stream":
                raise
            rest = ()  # half an event
        if not self.whole:
            raise ModelError("broken_stream", "the endpoint's answer broke off before its end", retryable=True)
        reason = finish_of(self._finish or "stop", called=self._called)
        return self._think.take((*rest, Finished(reason, self._usage, self._stop, self._reasoning_field)))


def _end_of(data: bytes, events: int) -> int:
    """The offset where the first *events* events of *data* end; its length when it has no more than that."""
    end = 0
    for _ in range(events):
        end = data.find(b"\n\n", end) + 2
        if end == 1:
            return len(data)
    return end


def _joined(deltas: list[Delta]) -> tuple[Delta, ...]:
    """*deltas*, adjacent pieces of text in one; empty ones are left out."""
    if len(deltas) == 1:
        return tuple(deltas) if getattr(deltas[0], "text", True) else ()
    joined: list[Delta] = []
    for kind, run in itertools.groupby(deltas, type):
        if kind is TextDelta or kind is ReasoningDelta:
            text = "".join([delta.text for delta in run])  # type: ignore[union-attr]
            if text:
                joined.append(kind(text))
        else:
            joined += run
    return tuple(joined)


class SilenceError(Exception):
    """The endpoint said nothing for too long; the text says what and how long."""


class SilenceWatchdog:
    """Ends a read that waits too long. Looking at the clock costs less than a time-out around each read.

    Until the first delta the limit is *first*, in seconds since *began*, whatever else the endpoint sends (comments,
    a role); after it *silence*, in seconds since the last byte. While the reader of the deltas is busy, the endpoint's
    silence is not counted. *fail* ends the read, by a SilenceError.
    """

    def __init__(self, fail: Callable[[Exception], None], *, began: float, first: float, silence: float) -> None:
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._began = began
        self._first = first
        self._silence = silence
        self._heard: float | None = None  # None: no delta yet
        self._held = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._look()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def heard(self, *, deltas: bool) -> None:
        """Something arrived; *deltas* are now held by the reader, until `released`."""
        self._held = deltas
        if self._heard is not None:
            self._heard = self._loop.time()
        elif deltas:
            self._heard = self._loop.time()  # the timer looks in time: it never waits longer than for a silence

    def released(self) -> None:
        """The reader waits for more."""
        self._held = False
        self._heard = self._loop.time()

    def _look(self) -> None:
        now = self._loop.time()
        due = self._began + self._first if self._heard is None else self._heard + self._silence
        if self._held:
            due = max(due, now + self._silence)
        if now < due:
            self._timer = self._loop.call_at(min(due, now + self._silence), self._look)
            return
        said = f"no token for {self._first:g} s" if self._heard is None else f"nothing for {self._silence:g} s"
        self._fail(SilenceError(said))
