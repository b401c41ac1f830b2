"""A question with its answer key, and the judgement of an answer by that key alone."""

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

import attrs

Verdict: TypeAlias = Literal["right", "wrong", "invented"]

NO = (
    "no",
    "not",
    "none",
    "nothing",
    "cannot",
    "can't",
    "doesn't",
    "does not",
    "isn't",
    "don't",
    "never",
    "couldn't",
    "0",
    "zero",
)
"""How an answer denies."""

_NUMBER = re.compile(r"(?<![\w.])\d[\d.,]*\d|(?<![\w.])\d(?![\w.])")
_QUOTED = re.compile(r"`([^`\n]{2,60})`|\"([^\"\n]{2,60})\"|(?<!\w)'([^'\n]{2,60})'(?!\w)")


@attrs.frozen
class Question:
    """*must*: of each group one alternative is in the answer, as a whole word, in any letter case; *never*: none is.

    *looks*: whether it is about the folder, so that an answer without a call is a guess.
    """

    text: str
    kind: str
    must: tuple[tuple[str, ...], ...]
    never: tuple[str, ...] = ()
    looks: bool = True

    def judge(self, answer: str, results: int, known: Iterable[str]) -> Verdict:
        """*results*: calls that brought something; *known*: everything that the answer can have its words from: the
        files, their names, the results.

        A wrong answer is invented when it was given about the folder without a result, unless it denies; or when it
        has a number or a quoted text that is nowhere in *known*.
        """
        if all(any(has(answer, word) for word in group) for group in self.must) and not any(
            has(answer, word) for word in self.never
        ):
            return "right"
        if not self.looks:
            return "wrong"
        denies = any(has(answer, word) for word in NO)
        if results == 0 and not denies and answer:
            return "invented"
        source = "\n".join((self.text, *known)).casefold()
        told = [*_NUMBER.findall(answer), *("".join(one) for one in _QUOTED.findall(answer))]
        return "invented" if any(part.casefold() not in source for part in told) else "wrong"


def has(answer: str, word: str) -> bool:
    """Whether *word* is in *answer*, not as a part of a longer word or number."""
    plain = answer.replace("\u2019", "'").casefold()
    return re.search(rf"(?<!\w)(?<!\d[.,]){re.escape(word.casefold())}(?!\w|[.,]\d)", plain) is not None
