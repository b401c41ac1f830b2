"""The words of a text, for search: case-folded whole words, the same in every journal."""

import re

_WORD = re.compile(r"\w+")


def words(text: str) -> tuple[str, ...]:
    """The distinct words of *text*, in the order of their first occurrence."""
    return tuple(dict.fromkeys(_WORD.findall(text.casefold())))
