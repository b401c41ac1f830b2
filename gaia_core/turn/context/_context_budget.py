"""The context budget: how many tokens of messages a model is sent, as configured, and as learnt from its refusals."""

import time
from collections.abc import Callable

import msgspec

ANSWER_TOKENS = 1024
"""What an answer without `max_tokens` is taken to need of a model's context."""

CHARS_PER_TOKEN = 4.0
"""Where no endpoint has said how many tokens it counted: English text has about four characters a token."""

_LEAST_CHARS_PER_TOKEN = 0.5
_ESTIMATED = 16
"""One token in 16 of a configured window is left free, because the size of a request is an estimate."""
_GUESSED_SHARE = 0.5
_DENSER = 0.6

_KNOWN_SECONDS = 600.0

_LEAST_CUT_TOKENS = 1_024
_MOST_CHARS_PER_TOKEN = 8.0
"""Twice what English text has; no ordinary text or code has more."""


class ContextBudget(msgspec.Struct, frozen=True, gc=False):
    """How many *tokens* a prompt may have, its system text and tools included.

    What is sent in a shortened form is measured by *chars_per_token*, which stays the same until a request is refused;
    so a message that was shortened once is shortened in the same way in later requests.
    """

    tokens: int
    chars_per_token: float = CHARS_PER_TOKEN

    @property
    def chars(self) -> int:
        """About how many characters that is, as encoded."""
        return int(self.tokens * self.chars_per_token)


class LearntContext:
    """What a model's refusals taught of its context. One for each open model, owned by the runtime's generation.

    A window is known for ten minutes, and until the server is not reachable or loads its model: it may have been
    started again with another one. Then the next request is sent whole again, and a refusal says the window anew. *now*
    is a clock in seconds.

    Written by `learn`, `restore` and `restarted`, from the task of any turn that uses the model; none of them awaits.
    """

    __slots__ = ("_cut", "_now", "_until", "_window", "chars_per_token")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._cut = False
        """Whether it is known that the server cuts prompts. Written by `begins_to_cut`."""
        self._window: int | None = None
        self._until = 0.0
        """When the window is not known any more, on the clock."""
        self.chars_per_token = CHARS_PER_TOKEN
        """Stays when the window is forgotten: it says something of the model, not of its server."""

    @property
    def window(self) -> int | None:
        """The context in tokens; None until a request was refused, and when that was too long ago."""
        return self._window if self._window is not None and self._now() < self._until else None

    def learn(
        self, chars: int, answer: int, window: int | None, prompt_tokens: int | None, configured: int | None
    ) -> None:
        """A request of *chars* characters and at most *answer* tokens of an answer was refused.

        *window* and *prompt_tokens*: what the endpoint said; *configured*: the window that was assumed until now.
        """
        assumed = min((each for each in (self.window, configured) if each is not None), default=None)
        if prompt_tokens is not None:
            self.chars_per_token = max(_LEAST_CHARS_PER_TOKEN, min(self.chars_per_token, chars / prompt_tokens))
        estimated = chars / self.chars_per_token + answer
        counted = window is not None and prompt_tokens is not None
        if window is None and assumed is None:
            window = int(estimated * _GUESSED_SHARE)
        known = min(each for each in (window, assumed) if each is not None)
        if counted and window is not None:
            known = window  # it counted this request against it, so it counts even if less was known before
        if prompt_tokens is None and estimated <= known:  # its tokens are shorter than assumed
            self.chars_per_token = max(_LEAST_CHARS_PER_TOKEN, self.chars_per_token * _DENSER)
        if window is not None:
            self._window, self._until = known, self._now() + _KNOWN_SECONDS

    def begins_to_cut(self) -> bool:
        """The server has answered a cut prompt; whether that was the first time."""
        first, self._cut = not self._cut, True
        return first

    def restarted(self) -> None:
        """The server may have been started again: what its context was says nothing of what it is."""
        self._window = None

    def saved(self) -> tuple[int | None, float, float]:
        """For `restore`."""
        return self._window, self._until, self.chars_per_token

    def restore(self, saved: tuple[int | None, float, float]) -> None:
        """Forget what was learnt since *saved*: it was a guess, and the model refused the shorter request too."""
        self._window, self._until, self.chars_per_token = saved


def is_cut(chars: int, tokens: int) -> bool:
    """Whether an endpoint that counted *tokens* for a prompt of *chars* read a part of it only.

    Ollama cuts a prompt to its `num_ctx` without a word. A small count says nothing: some servers count what was not in
    their prefix cache.
    """
    return tokens >= _LEAST_CUT_TOKENS and chars > tokens * _MOST_CHARS_PER_TOKEN


def prompt_budget(wished: int | None, configured: int | None, learnt: LearntContext) -> ContextBudget | None:
    """The budget of a prompt: the smallest of the agent's wish, the *configured* longest request, and the *learnt*
    context without the room for an answer. None when nothing is known."""
    known = [wished] if wished is not None else []
    if configured is not None:
        known.append(configured - configured // _ESTIMATED)
    if (window := learnt.window) is not None:
        known.append(window - min(ANSWER_TOKENS, window // 4))
    return ContextBudget(max(1, min(known)), learnt.chars_per_token) if known else None
