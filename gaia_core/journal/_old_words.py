"""What a migration to schema version 4 indexes: the words of a record that an older version indexed."""

from collections.abc import Iterable

import msgspec

from gaia_core.facts import decode_fact, text_of_fact
from gaia_core.journal._search_words import words


def words_of_old(old: Iterable[str], body: bytes | None) -> tuple[str, ...]:
    """The words of a record's fact where the *old* ones may have lost their marks; else, and for what is no fact, the
    *old* ones."""
    found = words(" ".join(old))
    if body is None or all(word.isascii() for word in found):
        return found
    try:
        return words(text_of_fact(decode_fact(body))) or found
    except msgspec.DecodeError:
        return found
