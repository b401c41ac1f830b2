"""Embeddings as endpoints speak of them (source: OpenAI API reference, embeddings/create).

Vectors are asked for as numbers, which every endpoint gives; base64 is this server's to make.
"""

from typing import Any

import msgspec

from gaia_core.models._protocol import EmbeddingRequest, Embeddings, ModelError
from gaia_core.nesting import decode_json

_BYTES_OF_A_TOKEN = 4


class _WireVector(msgspec.Struct):
    embedding: tuple[float, ...]
    index: int = -1


class _EmbeddingsUsage(msgspec.Struct):
    prompt_tokens: int | None = None


class _EmbeddingsAnswer(msgspec.Struct):
    data: list[_WireVector]
    usage: _EmbeddingsUsage | None = None


def embedding_body(request: EmbeddingRequest, model: str) -> bytes:
    """What the endpoint is sent."""
    members: dict[str, Any] = {"model": model, "input": msgspec.Raw(request.input), "encoding_format": "float"}
    if request.dimensions is not None:
        members["dimensions"] = request.dimensions
    return msgspec.json.encode(members)


def embeddings_of(body: bytes, request: EmbeddingRequest) -> Embeddings:
    """What the endpoint answered to *request*: a vector for each text. Raises ModelError for anything else."""
    count = request.count
    try:
        answer = decode_json(body, _EmbeddingsAnswer)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ModelError("broken_stream", f"the endpoint answered something else than embeddings ({error})") from None
    if len(answer.data) != count:
        raise ModelError("broken_stream", f"the endpoint answered {len(answer.data)} embeddings for {count} inputs")
    if all(vector.index >= 0 for vector in answer.data):
        answer.data.sort(key=lambda vector: vector.index)
    vectors = tuple([vector.embedding for vector in answer.data])
    return Embeddings(vectors, (answer.usage and answer.usage.prompt_tokens) or _estimated(request))


def _estimated(request: EmbeddingRequest) -> int:
    """About how many tokens *request* has, for an endpoint that doesn't say: else they would count against nothing."""
    given = request.input
    if b'"' not in given:
        return given.count(b",") + 1  # it is tokens
    return max(request.count, len(given) // _BYTES_OF_A_TOKEN)
