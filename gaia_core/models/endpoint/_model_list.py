"""What an endpoint lists: its models, and what each of them takes beside text, as far as the endpoint says.

| who | says it by |
|---|---|
| OpenRouter | `architecture.input_modalities`: `["text", "image", "file"]` |
| Lemonade | `labels`: `["vision"]` |
| Ollama, llama.cpp | `capabilities`: `["vision"]`, `["multimodal"]`; llama.cpp in `models` beside `data` |
| Mistral | `capabilities`: `{"vision": true}` |
| LM Studio | `type`: `"vlm"` |

OpenAI and vLLM say nothing.
"""

from typing import Any

import msgspec

from gaia_core.models._protocol import Input
from gaia_core.nesting import decode_json

_WORDS: tuple[tuple[str, Input], ...] = (
    ("image", "image"),
    ("vision", "image"),
    ("multimodal", "image"),
    ("vlm", "image"),
    ("audio", "audio"),
    ("file", "file"),
    ("pdf", "file"),
)


class ListedModel(msgspec.Struct, frozen=True, gc=False):
    """A model that an endpoint lists."""

    id: str
    inputs: frozenset[Input]


class _ModelEntry(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    model: str | None = None
    architecture: Any = None
    labels: Any = None
    capabilities: Any = None
    type: Any = None


class _ModelList(msgspec.Struct):
    data: list[_ModelEntry]
    models: list[_ModelEntry] | None = None


def listed_models(body: bytes) -> tuple[ListedModel, ...]:
    """The models in the *body* of GET /models. Raises msgspec.DecodeError for what lists none."""
    found = decode_json(body, _ModelList)
    entries = [entry for entry in found.data if entry.id is not None]
    if len(entries) < len(found.data):
        raise msgspec.ValidationError("a model without an id")
    beside = found.models or []
    return tuple(
        ListedModel(entry.id or "", frozenset().union(_inputs(entry), *_same(entry, beside))) for entry in entries
    )


def _same(entry: _ModelEntry, beside: list[_ModelEntry]) -> list[frozenset[Input]]:
    return [_inputs(other) for other in beside if entry.id in (other.name, other.model)]


def _inputs(entry: _ModelEntry) -> frozenset[Input]:
    said = {entry.type} if isinstance(entry.type, str) else set()
    architecture = entry.architecture
    for words in (architecture.get("input_modalities") if isinstance(architecture, dict) else None, entry.labels):
        said |= {word for word in words if isinstance(word, str)} if isinstance(words, list) else set()
    if isinstance(entry.capabilities, list):
        said |= {word for word in entry.capabilities if isinstance(word, str)}
    elif isinstance(entry.capabilities, dict):
        said |= {word for word, has in entry.capabilities.items() if has is True}
    return frozenset(taken for word, taken in _WORDS if word in said)
