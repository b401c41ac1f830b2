"""Correction of a final answer: checked against the response format, corrected once, then the turn fails."""

from collections.abc import Callable

import msgspec

from gaia_core.events import ErrorInfo, FinishReason
from gaia_core.messages import AssistantMessage, text_of
from gaia_core.models import ResponseFormat
from gaia_core.turn.step._response_format import ResponseFormatCheck, unfenced


def correction(problems: tuple[str, ...]) -> str:
    """The message to a model whose answer doesn't match the response format."""
    return f"Your answer does not match the required format:\n{_listed(problems)}\nAnswer again, with the JSON only."


def _listed(problems: tuple[str, ...]) -> str:
    return "\n".join(f"- {problem}" for problem in problems)


class AnswerCorrection:
    """What one turn's final text must match: *wanted*, or anything. *further* says what else is wrong with a text of
    that format."""

    __slots__ = ("_check", "_further", "_wanted", "made")

    def __init__(self, wanted: ResponseFormat | None, further: Callable[[str], tuple[str, ...]] | None = None) -> None:
        self._wanted = wanted
        self._further = further
        self._check: ResponseFormatCheck | None = None
        self.made = False
        """Whether the model was asked to correct its answer. Set by the turn's loop."""

    def checked(self, message: AssistantMessage, finish: FinishReason) -> tuple[AssistantMessage, tuple[str, ...]]:
        """*message*, without a fence around its JSON, and what is wrong with its format.

        A text that was cut short or filtered stays as it is: its finish reason says so. Raises SchemaError.
        """
        if self._wanted is None or finish != "stop":
            return message, ()
        self._check = self._check or ResponseFormatCheck(self._wanted)
        text = unfenced(text_of(message.content))
        problems = self._check.problems(text)
        if not problems and self._further is not None:
            problems = self._further(text)
        if problems:
            return message, problems
        return msgspec.structs.replace(message, content=text), ()

    def failure(self, problems: tuple[str, ...]) -> ErrorInfo:
        """The error of a turn whose corrected answer has *problems*, too."""
        words = "The answer does not have the requested format, after one correction too:"
        return ErrorInfo("response_format", f"{words}\n{_listed(problems)}")

    def of_streamed(self, problems: tuple[str, ...]) -> str:
        """What is wrong with an answer that was streamed as it came, and so can't be corrected."""
        listed = _listed(problems or ("it calls tools, and none was offered",))
        return f"The answer, which was streamed as it came, does not have the requested format:\n{listed}"
