"""POST /api/embed and the older /api/embeddings: texts → vectors (source: Ollama's API documentation, docs/api.md)."""

import time

import msgspec
from litestar.types import ASGIApp, Receive, Scope

from gaia_core import Runtime
from gaia_core.models import EmbeddingRequest, Embeddings
from gaia_http._errors import encoded
from gaia_http._json_response import no_response, send_json
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.ollama._wire import EmbedRequest, decode_embed
from gaia_http.request._fields import check_count, check_least, invalid_at, missing_at
from gaia_http.vectors._embedding_model import VectorsResponse, embedding_model, vectors_of

_INPUTS = 2_048


class _Embedded(msgspec.Struct, frozen=True, gc=False):
    model: str
    embeddings: tuple[tuple[float, ...], ...]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OllamaEmbed:
    """The handlers of both routes, for one application."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        self._runtime = runtime
        self._settings = settings

    async def embed(self, scope: Scope, receive: Receive) -> ASGIApp:
        """The vectors of `input`, a text or several. Raises ApiError."""
        return await self._respond(scope, receive, several=True)

    async def embeddings(self, scope: Scope, receive: Receive) -> ASGIApp:
        """The vector of `prompt`, as older clients ask for it. Raises ApiError."""
        return await self._respond(scope, receive, several=False)

    async def _respond(self, scope: Scope, receive: Receive, *, several: bool) -> ASGIApp:
        check_headers(scope["headers"], curl=True)
        try:
            request = decode_embed(await read_body(receive, self._settings))
        except ClientGone:
            return no_response
        caller = caller_of(scope)
        spec = embedding_model(self._runtime.catalog, request.model, caller)
        texts = _texts(request) if several else (_prompt(request),)
        check_least("dimensions", request.dimensions, 1)
        if not any(texts):  # what clients ask to load the model, and get no vectors for
            nothing = encoded(_Embedded(request.model or "", (), 0, 0, 0) if several else {"embedding": ()})
            return lambda _scope, _receive, send: send_json(send, nothing)
        asked = EmbeddingRequest(msgspec.json.encode(texts), len(texts), request.dimensions)

        async def make() -> bytes:
            began = time.monotonic_ns()
            made: Embeddings = await vectors_of(self._runtime, spec, asked, caller)
            if not several:
                return encoded({"embedding": made.vectors[0]})
            took = time.monotonic_ns() - began
            return encoded(_Embedded(request.model or spec.name, made.vectors, took, 0, made.tokens))

        return VectorsResponse(make())


def _texts(request: EmbedRequest) -> tuple[str, ...]:
    given = request.input
    if given is None:
        raise missing_at("input", ": a text, or several in a list")
    texts = (given,) if isinstance(given, str) else given
    check_count("input", len(texts), "texts", _INPUTS)
    for index, text in enumerate(texts if len(texts) > 1 else ()):
        if not text:
            raise invalid_at(f"input[{index}]", "is empty", "invalid_value")
    return texts


def _prompt(request: EmbedRequest) -> str:
    if request.prompt is None:
        raise missing_at("prompt", ": the text")
    return request.prompt
