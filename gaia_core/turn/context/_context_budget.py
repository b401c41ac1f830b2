"""The context budget: how many tokens of messages a model is sent, as configured, and as learnt from its refusals."""

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

    Written by `learn` and `restore`, from the task of any turn that uses the model; never awaits in between.
    """

    __slots__ = ("chars_per_token", "window")

    def __init__(self) -> None:
        self.window: int | None = None
        """The context in tokens; None until a request was refused."""
        self.chars_per_token = CHARS_PER_TOKEN

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
        if window is None and assumed is None:
            window = int(estimated * _GUESSED_SHARE)
        known = min(each for each in (window, assumed) if each is not None)
        if prompt_tokens is None and estimated <= known:  # its tokens are shorter than assumed
            self.chars_per_token = max(_LEAST_CHARS_PER_TOKEN, self.chars_per_token * _DENSER)
        if window is not None:
            self.window = known

    def saved(self) -> tuple[int | None, float]:
        """For `restore`."""
        return self.window, self.chars_per_token

    def restore(self, saved: tuple[int | None, float]) -> None:
        """Forget what was learnt since *saved*: it was a guess, and the model refused the shorter request too."""
        self.window, self.chars_per_token = saved


def prompt_budget(wished: int | None, configured: int | None, learnt: LearntContext) -> ContextBudget | None:
    """The budget of a prompt: the smallest of the agent's wish, the *configured* longest request, and the *learnt*
    context without the room for an answer. None when nothing is known."""
    known = [wished] if wished is not None else []
    if configured is not None:
        known.append(configured - configured // _ESTIMATED)
    if (window := learnt.window) is not None:
        known.append(window - min(ANSWER_TOKENS, window // 4))
    return ContextBudget(max(1, min(known)), learnt.chars_per_token) if known else None
