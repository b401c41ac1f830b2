"""POST /v1/embeddings: texts → vectors, by a model of the configuration that makes them, in one of its slots.

The SDKs ask for base64 of float32, little-endian, by default (source: OpenAI's Python and Node SDKs).
"""

import array
import base64
import sys
from contextlib import suppress
from typing import Annotated

import msgspec
from litestar.connection import Request
from litestar.types import ASGIApp

from gaia_core import Runtime
from gaia_core.models import EmbeddingRequest, Embeddings
from gaia_http._errors import encoded, invalid
from gaia_http._json_response import no_response
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.request._decoding import decode_body, given
from gaia_http.request._fields import check_count, invalid_at, missing_at, not_one_of
from gaia_http.vectors._embedding_model import VectorsResponse, embedding_model, vectors_of

_INPUTS = 2_048
_TOKENS = 8_192 * 16
_DIMENSIONS = 65_536
_NOTHING = msgspec.Raw(b"")

_Token = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class EmbeddingsBody(msgspec.Struct, frozen=True, gc=False):
    """The body of a request. `user` and whatever else is accepted and ignored."""

    model: str | None = None
    input: msgspec.Raw = _NOTHING
    encoding_format: str | None = None
    dimensions: int | None = None


class _EncodedVector(msgspec.Struct, frozen=True, gc=False):
    object: str
    index: int
    embedding: tuple[float, ...] | str


class _UsedTokens(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: int
    total_tokens: int


class _EmbeddingList(msgspec.Struct, frozen=True, gc=False):
    object: str
    data: tuple[_EncodedVector, ...]
    model: str
    usage: _UsedTokens


_body_decoder = msgspec.json.Decoder(EmbeddingsBody)
_one_decoder = msgspec.json.Decoder(str)
_texts_decoder = msgspec.json.Decoder(tuple[str, ...])
_tokens_decoder = msgspec.json.Decoder(tuple[_Token, ...])
_several_decoder = msgspec.json.Decoder(tuple[tuple[_Token, ...], ...])


class EmbeddingsRoute:
    """The route's handler, for one application."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        self._runtime = runtime
        self._settings = settings

    async def handle(self, request: Request) -> ASGIApp:  # type: ignore[type-arg]
        """The response that gives the vectors. Raises ApiError."""
        check_headers(request.scope["headers"])
        try:
            raw = await read_body(request.receive, self._settings)
        except ClientGone:
            return no_response
        body = decode_body(raw, _body_decoder)
        caller = caller_of(request.scope)
        spec = embedding_model(self._runtime.catalog, body.model, caller)
        asked = _asked(body)
        if body.encoding_format not in (None, "float", "base64"):
            raise not_one_of("encoding_format", body.encoding_format, ("float", "base64"))

        async def make() -> bytes:
            made = await vectors_of(self._runtime, spec, asked, caller)
            _check_dimensions(made, asked)
            return _answer(made, spec.name, in_base64=body.encoding_format == "base64")

        return VectorsResponse(make())


def _asked(body: EmbeddingsBody) -> EmbeddingRequest:
    if not given(body.input):
        raise missing_at("input")
    if body.dimensions is not None and not 1 <= body.dimensions <= _DIMENSIONS:
        raise invalid(
            f"dimensions must be from 1 to {_DIMENSIONS}, not {body.dimensions}",
            param="dimensions",
            code="invalid_value",
        )
    items = _items(bytes(body.input))
    if not items:
        raise invalid("input is empty", param="input", code="invalid_value")
    check_count("input", len(items), "texts", _INPUTS)
    for index, item in enumerate(items):
        if not item:
            raise invalid(f"input[{index}] is empty", param=f"input[{index}]", code="invalid_value")
        if not isinstance(item, str):
            check_count(f"input[{index}]", len(item), "tokens", _TOKENS)
    return EmbeddingRequest(msgspec.json.encode(items), len(items), body.dimensions)


def _items(raw: bytes) -> tuple[str, ...] | tuple[tuple[int, ...], ...]:
    """*raw* as texts, or as tokens of texts."""
    with suppress(msgspec.ValidationError):
        return (_one_decoder.decode(raw),)
    with suppress(msgspec.ValidationError):
        return _texts_decoder.decode(raw)
    with suppress(msgspec.ValidationError):
        return _several_decoder.decode(raw)
    try:
        return (_tokens_decoder.decode(raw),)
    except msgspec.ValidationError:
        words = "input must be a text, a list of texts, a list of tokens, or a list of such lists"
        raise invalid(words, param="input", code="invalid_type") from None


def _check_dimensions(made: Embeddings, asked: EmbeddingRequest) -> None:
    wanted = asked.dimensions
    if wanted is not None and any(len(vector) != wanted for vector in made.vectors):
        found = len(made.vectors[0])
        words = f"the model makes vectors of {found} dimensions, not of {wanted}; leave it out"
        raise invalid_at("dimensions", words, "unsupported_value")


def _answer(made: Embeddings, model: str, *, in_base64: bool) -> bytes:
    data = tuple(
        _EncodedVector("embedding", index, _base64(vector) if in_base64 else vector)
        for index, vector in enumerate(made.vectors)
    )
    return encoded(_EmbeddingList("list", data, model, _UsedTokens(made.tokens, made.tokens)))


def _base64(vector: tuple[float, ...]) -> str:
    numbers = array.array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
