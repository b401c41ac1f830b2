"""The answer of a turn so far: its text, tools and times, as every shape of the answer needs them. A fold over events.

The text of an answer is that of all its steps, a paragraph each; the last one may have been cut short. A surface that
streams also notes here what it has told of the current step, and learns what is left to tell when the step ends.
"""

import msgspec

from gaia_core.events import Event, StepEnded, ToolCalled, ToolStarted, TurnEnded
from gaia_core.messages import text_of

PARAGRAPH = "\n\n"

_CUT = "(The answer was cut off at a limit before it said anything.)"
_FILTERED = "(The model's endpoint filtered the answer.)"
_THOUGHT = "(The model thought about it and gave no answer.)"
_NOTHING = "(The model answered nothing.)"


class AnswerStats(msgspec.Struct, frozen=True, gc=False):
    """What a turn's model requests took. Seconds include waiting for a slot."""

    tokens_per_second: float | None
    time_to_first_token: float | None
    input_tokens: int
    output_tokens: int


def rest_of(text: str, told: str) -> str:
    """What is left to tell of *text* when *told* was told; "" if *text* does not begin with that."""
    return text[len(told) :] if text.startswith(told) else ""


class AnswerText:
    """What is known of a turn after the events that it took. One stream's or one answer's; only its task calls it."""

    __slots__ = (
        "_generated",
        "_generating",
        "_told",
        "calls",
        "first_seconds",
        "parts",
        "reasoned",
        "step",
        "tools_ran",
    )

    def __init__(self) -> None:
        self.parts: list[str] = []
        """The text of each step that had some."""
        self.step = 0
        """The last step that has ended."""
        self.calls: dict[str, ToolCalled] = {}
        self.first_seconds: float | None = None
        self.reasoned = False
        """The last step had reasoning."""
        self.tools_ran = False
        """A tool was started, so the turn may have had effects."""
        self._told: list[str] = []
        """The text of the current step that was sent already."""
        self._generated = 0
        self._generating = 0.0

    def take(self, event: Event) -> None:
        """Count *event*."""
        if isinstance(event, StepEnded):
            self.step = event.step
            self._told = []
            self.reasoned = bool(event.message.reasoning_content)
            if not event.objection and (text := text_of(event.message.content)):
                self.parts.append(text)
            if event.first_seconds is not None:
                if self.first_seconds is None:
                    self.first_seconds = event.first_seconds
                self._generated += event.usage.output_tokens
                self._generating += event.seconds - event.first_seconds
        elif isinstance(event, ToolCalled):
            self.calls[event.call_id] = event
        elif isinstance(event, ToolStarted):
            self.tools_ran = True

    def begin_step(self) -> None:
        """Forget the text that was sent of the current step: it begins, or is sent again from its beginning."""
        self._told = []

    def tell(self, text: str) -> str:
        """*text* as the answer continues with it: a step's first piece begins a paragraph."""
        gap = PARAGRAPH if self.parts and not self._told else ""
        self._told.append(text)
        return gap + text

    def untold(self, text: str) -> str:
        """What is left to tell of *text*, the whole text of the step that runs, as the answer continues with it."""
        rest = rest_of(text, "".join(self._told))
        return self.tell(rest) if rest else ""

    def unrecorded(self, ended: TurnEnded) -> str:
        """The text of the step that the turn's end cut short."""
        return ended.text if ended.steps > self.step else ""

    def content(self, ended: TurnEnded) -> str:
        """The whole answer's text."""
        last = self.unrecorded(ended)
        return PARAGRAPH.join((*self.parts, last) if last else self.parts)

    def instead(self, ended: TurnEnded) -> str:
        """For people, what an answer without text is: cut off, filtered, only thought about. Empty where there is text,
        and for a turn that failed, was cancelled or waits for its client, each of which is shown as what it is."""
        if ended.status not in ("completed", "limit") or self.content(ended).strip():
            return ""
        if ended.finish_reason == "length":
            return _CUT
        if ended.finish_reason == "content_filter":
            return _FILTERED
        return _THOUGHT if self.reasoned or ended.reasoning else _NOTHING

    def shown(self, ended: TurnEnded) -> str:
        """The whole answer for people: its text, or what there is instead."""
        return self.content(ended) + self.instead(ended)

    def stats(self, ended: TurnEnded) -> AnswerStats:
        """What the turn took."""
        rate = round(self._generated / self._generating, 2) if self._generating > 0 else None
        first = round(self.first_seconds, 4) if self.first_seconds is not None else None
        return AnswerStats(rate, first, ended.usage.input_tokens, ended.usage.output_tokens)
