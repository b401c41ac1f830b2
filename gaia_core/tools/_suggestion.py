"""Suggestion: the nearest valid name, for errors about unknown tools, configuration keys and arguments."""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest of *names*, or nothing."""
    match = difflib.get_close_matches(name, tuple(names), n=1, cutoff=0.6)
    return f" Did you mean {match[0]!r}?" if match else ""
