"""Whether a message must be looked into with a tool before it may be answered: it names something that a tool can show.

A small model answers about a file, a function or a person at once, and invents what it says. So it has no answer to
give in its first step when the user's message has

- a path or a file's name (`docs/install.md`), a name in code (`print_all`, `sqlite3`, `TIMEOUT`), a quoted text, or a
  capitalised word within a question; or
- a word that says what the tools are about: the nouns in their names (`list_files`: "file") and the nouns that the
  descriptions of two of them share ("folder").

Only tools that read are called so (`ToolDefinition.reads`): nothing is changed that nobody asked for.
"""

import re
from collections import Counter

from gaia_core.tools import ToolDefinition

_NAMED = (
    re.compile(r"(?<![\w/.:])[\w-]*[^\W\d][\w.-]*/[\w./-]*\w"),
    re.compile(r"(?<![\w/.:@])(?:[\w-]*[^\W\d_][\w-]*\.[^\W\d]\w{1,5}|[\w-]*[^\W\d_][\w-]+\.[^\W\d])(?!\w|\.\w)"),
    re.compile(r"\b\w*[^\W_]_[^\W_]\w*\b|\b(?=\w*\d)[^\W\d]{2,}\w*\b|\b[a-z]+[A-Z]\w*\b"),
    re.compile(r"`[^`]+`|\"[^\"]+\"|(?<!\w)'[^']+'(?!\w)|“[^”]+”|«[^»]+»"),
)
_PROPER_NOUN = re.compile(r"(?<=[\w,;:] )(?!I\b)[A-ZÀ-ÞΑ-ΩА-Я][^\W_]+\b[^.!?]*\?")
"""A capitalised word within a sentence that asks: "Hi, I'm Anna." doesn't."""
_NOUN = re.compile(r"\b(?:an?|the|all|of|and)\s+(?!(?:the|all)\b)([a-z]{3,})")
_WORD = re.compile(r"[^\W\d_]{3,}")
_ABOUT_ANYTHING = frozenset(
    {
        *("answer", "content", "item", "kind", "line", "list", "message", "name", "number", "one"),
        *("question", "result", "text", "thing", "time", "user", "value", "word"),
    }
)
"""Nouns that say nothing about what is meant."""


def must_look(message: str, tools: tuple[ToolDefinition, ...]) -> bool:
    """Whether *message* names something that one of *tools* could show."""
    if any(pattern.search(message) for pattern in (*_NAMED, _PROPER_NOUN)):
        return True
    about = _subjects(tools)
    return any(_singular(word) in about for word in _WORD.findall(message.casefold()))


def _subjects(tools: tuple[ToolDefinition, ...]) -> frozenset[str]:
    """What *tools* are about, in the singular."""
    named = {_singular(word) for tool in tools for word in re.split(r"[_-]+", tool.name.casefold())[1:]}
    count = Counter(
        noun for tool in tools for noun in {_singular(one) for one in _NOUN.findall(tool.description.casefold())}
    )
    shared = {noun for noun, number in count.items() if number > 1}
    return frozenset((named | shared) - _ABOUT_ANYTHING)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
