"""Search over tools by meaning: which of an agent's tools are nearest to a query, by the vectors of a model.

The vectors of a toolset's definitions are made at its first search and kept beside the open model, for the toolsets
that were searched last; a query's vector is made for each search, in one of the model's slots. What both take is
charged to the search that made them.
"""

import math
from collections.abc import Awaitable, Callable

import msgspec

from gaia_core.messages import Usage
from gaia_core.models import EmbeddingRequest, Embeddings, ModelError, SlotRequest
from gaia_core.tools import Toolset
from gaia_core.turn._turn_context import ModelAccess, Vectors

_TOOLSETS = 16
_AT_ONCE = 128
_RANK = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""


async def by_meaning(
    access: ModelAccess, toolset: Toolset, query: str, owner: str, charge: Callable[[Usage], None]
) -> tuple[str, ...]:
    """The names of all of *toolset*, the nearest to *query* first; *charge* is called with the usage of each request.

    Raises ModelError, QueueFullError.
    """
    make: Callable[[EmbeddingRequest], Awaitable[Embeddings]] | None = getattr(access.model, "embed", None)
    if make is None:
        raise ModelError("bad_request", "the model makes no embeddings")

    async def embed(texts: tuple[str, ...]) -> Vectors:
        with await access.slots.acquire(SlotRequest(owner, ""), lambda _position: None):
            made = await make(EmbeddingRequest(msgspec.json.encode(texts), len(texts)))
        charge(Usage(input_tokens=made.tokens))
        if len(made.vectors) != len(texts):
            raise ModelError("broken_stream", f"the model made {len(made.vectors)} vectors of {len(texts)} texts")
        return tuple(_unit(vector) for vector in made.vectors)

    kept = access.vectors.pop(toolset.fingerprint, None)
    if kept is None:
        texts = tuple(f"{each.name}: {each.description}" for each in toolset.definitions)
        parts = [await embed(texts[first : first + _AT_ONCE]) for first in range(0, len(texts), _AT_ONCE)]
        kept = tuple(vector for part in parts for vector in part)
    access.vectors[toolset.fingerprint] = kept
    while len(access.vectors) > _TOOLSETS:
        del access.vectors[next(iter(access.vectors))]
    (wanted,) = await embed((query,))
    if any(len(vector) != len(wanted) for vector in kept):
        access.vectors.pop(toolset.fingerprint, None)  # another search may have seen it first
        raise ModelError("broken_stream", "the model's vectors have changed their length")
    near = [-sum(a * b for a, b in zip(vector, wanted, strict=True)) for vector in kept]
    return tuple(name for _, name in sorted(zip(near, toolset.names, strict=True)))


def fused(*rankings: tuple[str, ...]) -> tuple[str, ...]:
    """One ranking of several, by reciprocal ranks; equal ones by name."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, 1):
            scores[name] = scores.get(name, 0.0) + 1 / (_RANK + rank)
    return tuple(sorted(scores, key=lambda name: (-scores[name], name)))


def _unit(vector: tuple[float, ...]) -> tuple[float, ...]:
    length = math.sqrt(sum(part * part for part in vector)) or 1.0
    return tuple(part / length for part in vector)
