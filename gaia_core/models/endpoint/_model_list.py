"""What an endpoint lists: its models, what each of them takes beside text, and its context, as far as it says.

| who | says it by |
|---|---|
| OpenRouter | `architecture.input_modalities`: `["text", "image", "file"]` |
| Lemonade | `labels`: `["vision"]` |
| Ollama, llama.cpp | `capabilities`: `["vision"]`, `["multimodal"]`; llama.cpp in `models` beside `data` |
| Mistral | `capabilities`: `{"vision": true}` |
| LM Studio | `type`: `"vlm"` |

OpenAI and vLLM say nothing.

The context that a model is served with: `max_model_len` (vLLM, SGLang), `recipe_options.ctx_size` (Lemonade),
`loaded_context_length` (LM Studio), `meta.n_ctx` (llama.cpp), `context_length` (Ollama, OpenRouter). What it was
trained with (`n_ctx_train`, `max_context_length`) says nothing of that.

Whether a model chats: LM Studio says it by `type`, Lemonade by `labels`, Mistral and llama.cpp by `capabilities`,
OpenRouter by `architecture.output_modalities`. The others say nothing; what embedding, reranking, speech and image
models are usually called tells them apart.
"""

import re
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


_NOT_CHAT = re.compile(r"embed|rerank|whisper|tts|bge-|minilm|stable-diffusion|sdxl|kokoro|gte-|\be5-", re.IGNORECASE)
"""Names of models that don't chat."""
_EMBEDS = re.compile(r"embed|bge-(?!reranker)|minilm|gte-|\be5-", re.IGNORECASE)
_NOT_CHAT_WORDS = frozenset(
    ("embedding", "embeddings", "rerank", "reranker", "reranking", "transcription", "tts", "speech", "image-generation")
)


class ListedModel(msgspec.Struct, frozen=True, gc=False):
    """A model that an endpoint lists."""

    id: str
    inputs: frozenset[Input]
    window: int | None = None
    """Its context in tokens; None: it isn't said."""
    chats: bool = True
    """Whether it answers a conversation, as far as its entry and its name say."""
    embeds: bool = False
    """The same for vectors of texts."""
    owner: str | None = None
    """Its `owned_by`."""


class _ModelEntry(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    model: str | None = None
    architecture: Any = None
    labels: Any = None
    capabilities: Any = None
    type: Any = None
    max_model_len: Any = None
    recipe_options: Any = None
    ctx_size: Any = None
    loaded_context_length: Any = None
    meta: Any = None
    context_length: Any = None
    owned_by: Any = None


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
        ListedModel(
            entry.id or "",
            frozenset().union(_inputs(entry), *_same(entry, beside)),
            _window(entry),
            chats=_chats(entry),
            embeds=_embeds(entry),
            owner=entry.owned_by if isinstance(entry.owned_by, str) else None,
        )
        for entry in entries
    )


def _chats(entry: _ModelEntry) -> bool:
    capabilities = entry.capabilities if isinstance(entry.capabilities, dict) else {}
    architecture = entry.architecture if isinstance(entry.architecture, dict) else {}
    outputs = architecture.get("output_modalities")
    if capabilities.get("completion_chat") is False or (isinstance(outputs, list) and "text" not in outputs):
        return False
    return not (_words(entry) & _NOT_CHAT_WORDS or _NOT_CHAT.search(entry.id or ""))


def _embeds(entry: _ModelEntry) -> bool:
    return bool(_words(entry) & {"embedding", "embeddings"} or _EMBEDS.search(entry.id or ""))


def _window(entry: _ModelEntry) -> int | None:
    options = entry.recipe_options if isinstance(entry.recipe_options, dict) else {}
    meta = entry.meta if isinstance(entry.meta, dict) else {}
    said: tuple[object, ...] = (
        entry.loaded_context_length,
        options.get("ctx_size"),
        entry.ctx_size,
        entry.max_model_len,
        meta.get("n_ctx"),
        entry.context_length,
    )
    return next((int(tokens) for tokens in said if isinstance(tokens, int | float) and tokens >= 1), None)


def _same(entry: _ModelEntry, beside: list[_ModelEntry]) -> list[frozenset[Input]]:
    return [_inputs(other) for other in beside if entry.id in (other.name, other.model)]


def _inputs(entry: _ModelEntry) -> frozenset[Input]:
    said = _words(entry)
    return frozenset(taken for word, taken in _WORDS if word in said)


def _words(entry: _ModelEntry) -> set[str]:
    """The words by which *entry* says what the model does."""
    said = {entry.type} if isinstance(entry.type, str) else set()
    architecture = entry.architecture
    for words in (architecture.get("input_modalities") if isinstance(architecture, dict) else None, entry.labels):
        said |= {word for word in words if isinstance(word, str)} if isinstance(words, list) else set()
    if isinstance(entry.capabilities, list):
        said |= {word for word in entry.capabilities if isinstance(word, str)}
    elif isinstance(entry.capabilities, dict):
        said |= {word for word, has in entry.capabilities.items() if has is True}
    return said
