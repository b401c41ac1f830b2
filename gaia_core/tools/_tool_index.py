"""Search over tools: which of many fit some words. BM25 over names, descriptions and parameters (Robertson & Zaragoza,
The Probabilistic Relevance Framework, 2009), with a name's words counted more than once.

It is a value, made once for a toolset; a search among 300 tools takes some milliseconds.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

import attrs
import msgspec

from gaia_core.frozen_types import made_once
from gaia_core.tools._tool import ToolDefinition
from gaia_core.tools._toolset import Toolset

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_A-Za-z]+")
_STOP = frozenset("a an and are as at be by for from in is it of on or that the this to with you your".split())  # noqa: SIM905
_NAME_WEIGHT = 3
_SATURATION = 1.2
_LENGTH = 0.75
_SHORTEST = 3


@attrs.frozen
class ToolIndex:
    """The words of each tool, by its name."""

    __attrs_pre_init__ = made_once

    names: tuple[str, ...]
    documents: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, toolset: Toolset) -> "ToolIndex":
        """The index of *toolset*."""
        return cls(toolset.names, tuple(tuple(_document(definition)) for definition in toolset.definitions))

    def search(self, query: str, limit: int) -> tuple[str, ...]:
        """The names of at most *limit* tools that have a word of *query*, the best first; one that *query* names is
        the first. Equal ones come in the order of their names."""
        wanted = frozenset(_words(query))
        scored = sorted(
            (-score, name) for name, score in zip(self.names, self._scores(wanted), strict=True) if score > 0
        )
        best = [name for _, name in scored]
        if (named := query.strip()) in self.names:
            best = [named, *(name for name in best if name != named)]
        return tuple(best[:limit])

    def _scores(self, wanted: frozenset[str]) -> Iterator[float]:
        counts = [Counter(word for word in document if word in wanted) for document in self.documents]
        total = len(self.documents)
        average = sum(map(len, self.documents)) / max(1, total)
        holding = Counter(word for count in counts for word in count)
        rarity = {word: math.log(1 + (total - n + 0.5) / (n + 0.5)) for word, n in holding.items()}
        for count, document in zip(counts, self.documents, strict=True):
            damping = _SATURATION * (1 - _LENGTH + _LENGTH * len(document) / average) if average else 1.0
            yield sum(rarity[word] * n * (_SATURATION + 1) / (n + damping) for word, n in count.items())


def _document(definition: ToolDefinition) -> Iterator[str]:
    for _ in range(_NAME_WEIGHT):
        yield from _words(definition.name)
    yield from _words(definition.description)
    for name, schema in msgspec.json.decode(definition.parameters).get("properties", {}).items():
        yield from _words(name)
        if isinstance(schema, dict):
            yield from _words(str(schema.get("description", "")))


def _words(text: str) -> Iterator[str]:
    """The words of *text*, parts of names among them, in small letters and without a plural's s."""
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if word in _STOP:
            continue
        yield word[:-1] if len(word) > _SHORTEST and word.endswith("s") and not word.endswith("ss") else word
