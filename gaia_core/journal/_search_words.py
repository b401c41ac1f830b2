"""What search compares, the same in every journal: the words of a text, and the short pieces that find a part of one.

A *word* is a run of letters, digits, combining marks and underscores, in one Unicode form (NFKC) and without letter
case. A script that writes no spaces (Chinese, Japanese, Thai) gives long words, so a query's word is looked for as a
part of a text's word. *Grams* are all parts of one to three characters: an index of them finds the candidates.
"""

import re
import unicodedata
from collections.abc import Iterable

_WORD = re.compile(r"\w+")
_OTHER = re.compile(r"[^\w\x00-\x7f]")
_MOST_WORD_CHARS = 1_000
"""A longer run (base64, a minified file) is found by what it begins with."""
_MOST_QUERY_GRAMS = 64
GRAM_CHARS = 3


def words(text: str) -> tuple[str, ...]:
    """The distinct words of *text*, in the order of their first occurrence."""
    if text.isascii():
        return _cut(_WORD.findall(text.lower()))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # `\w` leaves out combining marks, which are vowels in Thai and in the scripts of India.
    marks = sorted(char for char in set(_OTHER.findall(folded)) if unicodedata.category(char).startswith("M"))
    return _cut((re.compile(rf"\w[\w{''.join(marks)}]*") if marks else _WORD).findall(folded))


def grams(found: Iterable[str]) -> tuple[str, ...]:
    """All distinct parts of *found* (words) of one to three characters."""
    parts: set[str] = set()
    for word in found:
        for size in range(1, GRAM_CHARS + 1):
            parts.update(word[at : at + size] for at in range(len(word) - size + 1))
    return tuple(sorted(parts))


def query_grams(word: str) -> tuple[str, ...]:
    """Grams that each text with *word* as a part of a word has; a bounded number, so what they find is a candidate."""
    if len(word) <= GRAM_CHARS:
        return (word,)
    pieces = dict.fromkeys(word[at : at + GRAM_CHARS] for at in range(len(word) - GRAM_CHARS + 1))
    return tuple(pieces)[:_MOST_QUERY_GRAMS]


def _cut(found: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word[:_MOST_WORD_CHARS] for word in found))
