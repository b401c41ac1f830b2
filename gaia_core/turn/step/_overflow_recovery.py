"""Overflow recovery: a request that exceeded the model's context teaches how large that is, and is sent again."""

import logging

import msgspec

from gaia_core.models import ModelError, ModelRequest
from gaia_core.models.slots._pool import SlotBudgetError
from gaia_core.turn._turn_context import ModelAccess, TurnContext
from gaia_core.turn.context._transcript import Transcript, request_chars

_log = logging.getLogger(__name__)

_TRIES_WITH_NUMBERS = 2
_TRIES = 4
"""Where an endpoint names no number, the window is guessed, and guessed smaller again."""
_LEAST_ANSWER_TOKENS = 16


class OverflowRecovery:
    """Of one step. What it learns belongs to the open model: later requests of all sessions know it."""

    __slots__ = ("_context", "_saved", "_tries")

    def __init__(self, context: TurnContext) -> None:
        self._context = context
        self._saved = context.access.learnt.saved()
        self._tries = 0

    def learn(self, error: ModelError, chars: int, answer: int | None = None) -> str:
        """Learn from *error*, the refusal of a request of *chars* characters and at most *answer* tokens of an answer.
        What happens now, in words; "" when enough was tried."""
        if isinstance(error, SlotBudgetError):
            return ""  # the operator's limit, which says nothing of the model
        learnt, transcript = self._context.access.learnt, self._context.transcript
        said = error.window is not None and error.prompt_tokens is not None
        if self._tries >= (_TRIES_WITH_NUMBERS if said else _TRIES):
            self.forget()
            return ""
        self._tries += 1
        learnt.learn(chars, answer or 0, error.window, error.prompt_tokens, self._context.access.window)
        if error.window is not None:
            self._saved = learnt.saved()  # no guess
        if error.prompt_tokens is not None:
            transcript.measure(chars, error.prompt_tokens)
        elif not transcript.measured:
            transcript.chars_per_token = min(transcript.chars_per_token, learnt.chars_per_token)
        size = f" of {learnt.window} tokens" if learnt.window is not None else ""
        words = f"the request exceeds the model's context{size}; it is shortened and sent again"
        _log.warning("model %s: %s (%s)", self._context.agent.model, words, error)
        return words

    def forget(self) -> None:
        """Take back what was guessed: the shorter requests were refused, too."""
        self._context.access.learnt.restore(self._saved)


def with_room(access: ModelAccess, transcript: Transcript, request: ModelRequest) -> ModelRequest:
    """*request*, whose `max_tokens` leaves the prompt its place in a context that was learnt: vLLM refuses a request
    whose prompt and longest answer exceed the context together."""
    window, longest = access.learnt.window, request.sampling.max_tokens
    if window is None or longest is None:
        return request
    chars = request_chars(request) + sum([len(tool.encoded) for tool in request.tools])
    prompt = int(chars / transcript.chars_per_token)
    left = max(_LEAST_ANSWER_TOKENS, window - prompt - prompt // 8 - _LEAST_ANSWER_TOKENS)
    if longest <= left:
        return request
    return msgspec.structs.replace(request, sampling=msgspec.structs.replace(request.sampling, max_tokens=left))
