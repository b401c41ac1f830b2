"""`<think>…</think>` at the beginning of a text → reasoning and text.

LM Studio, older llama.cpp servers and Qwen's templates send the model's thinking in the text. It becomes reasoning, so
that a call, a JSON answer or a title behind it is seen as such. Only at the beginning: later it is part of a text
about it. A thought without an end is no answer.
"""

from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.models._protocol import Delta

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkTags:
    """Splits one answer's deltas, which may be cut anywhere. Once the text has begun, it costs one look a batch."""

    __slots__ = ("_blank", "_held", "_inside", "_thought", "passed")

    def __init__(self) -> None:
        self._blank: list[str] = []
        """The white space before a tag, in pieces: it may be long, and is joined once."""
        self._held = ""
        """Text that may be the beginning of a tag: shorter than one, between two batches."""
        self._inside = False
        self._thought = False
        """Whether the thought has ended: white space that follows is no text yet."""
        self.passed = False
        """Whether the text has begun: deltas need not be given any more."""

    def take(self, batch: tuple[Delta, ...]) -> tuple[Delta, ...]:
        """*batch*, with the thought as reasoning."""
        told: list[Delta] = []
        for delta in batch:
            if self.passed:
                told.append(delta)
            elif type(delta) is TextDelta:
                self._text(delta.text, told)
            else:
                # A call, reasoning of its own, or the end: what was held is what it seemed to be.
                self._flush(told)
                self.passed = not self._inside
                told.append(delta)
        return tuple(told)

    def _text(self, text: str, told: list[Delta]) -> None:
        if not self._inside and not self._held:
            rest = text.lstrip()
            self._blank.append(text[: len(text) - len(rest)])
            text = rest
        self._held += text
        if self._inside:
            self._inner(told)
        elif not self._thought and self._held.startswith(_OPEN):
            self._inside, self._held = True, self._held[len(_OPEN) :]
            self._blank.clear()
            self._inner(told)
        elif self._held and (self._thought or not _OPEN.startswith(self._held)):
            self._flush(told)
            self.passed = True

    def _inner(self, told: list[Delta]) -> None:
        """What is held is within the tags."""
        thought, close, rest = self._held.partition(_CLOSE)
        if close:
            self._held = thought
            self._flush(told)
            self._inside, self._thought = False, True
            self._text(rest, told)
            return
        kept = next((n for n in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:n])), 0)
        self._held = thought[: len(thought) - kept]
        self._flush(told)
        self._held = thought[len(thought) - kept :]

    def _flush(self, told: list[Delta]) -> None:
        blank, held = "".join(self._blank), self._held
        self._blank.clear()
        self._held = ""
        if not self._thought:  # behind a thought, white space is no text
            held = blank + held
        if held:
            told.append(ReasoningDelta(held) if self._inside else TextDelta(held))
