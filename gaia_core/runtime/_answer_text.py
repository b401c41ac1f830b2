"""The tally of a turn: its text, tools and times so far, as every shape of its answer needs them. A fold over events.

The text of an answer is that of all its steps, a paragraph each; the last one may have been cut short.
"""

import msgspec

from gaia_core.events import Event, StepEnded, ToolCalled, TurnEnded
from gaia_core.messages import text_of

PARAGRAPH = "\n\n"


class AnswerStats(msgspec.Struct, frozen=True, gc=False):
    """What a turn's model requests took. Seconds include waiting for a slot."""

    tokens_per_second: float | None
    time_to_first_token: float | None
    input_tokens: int
    output_tokens: int


class AnswerText:
    """What is known of a turn after the events that it took."""

    __slots__ = ("_generated", "_generating", "calls", "first_seconds", "parts", "step")

    def __init__(self) -> None:
        self.parts: list[str] = []
        """The text of each step that had some."""
        self.step = 0
        """The last step that has ended."""
        self.calls: dict[str, ToolCalled] = {}
        self.first_seconds: float | None = None
        self._generated = 0
        self._generating = 0.0

    def take(self, event: Event) -> None:
        """Count *event*."""
        if isinstance(event, StepEnded):
            self.step = event.step
            if not event.objection and (text := text_of(event.message.content)):
                self.parts.append(text)
            if event.first_seconds is not None:
                if self.first_seconds is None:
                    self.first_seconds = event.first_seconds
                self._generated += event.usage.output_tokens
                self._generating += event.seconds - event.first_seconds
        elif isinstance(event, ToolCalled):
            self.calls[event.call_id] = event

    def unrecorded(self, ended: TurnEnded) -> str:
        """The text of the step that the turn's end cut short."""
        return ended.text if ended.steps > self.step else ""

    def content(self, ended: TurnEnded) -> str:
        """The whole answer's text."""
        last = self.unrecorded(ended)
        return PARAGRAPH.join((*self.parts, last) if last else self.parts)

    def stats(self, ended: TurnEnded) -> AnswerStats:
        """What the turn took."""
        rate = round(self._generated / self._generating, 2) if self._generating > 0 else None
        first = round(self.first_seconds, 4) if self.first_seconds is not None else None
        return AnswerStats(rate, first, ended.usage.input_tokens, ended.usage.output_tokens)
