"""The Ollama API, as far as its clients need it to talk to agents: what they ask first, and a conversation.

| module | what it owns |
|---|---|
| `_chat` | POST /api/chat and /api/generate: a request's way to a turn |
| `_wire`, `_message_reader`, `_options` | the request → transcript and options |
| `_answer` | events → lines of JSON, or one object |
| `_embed` | POST /api/embed, /api/embeddings: vectors, by a model that makes them |
| `_models` | GET /api/tags, /api/ps, /api/version; POST /api/show |

An agent is a model, called `NAME:latest`. All of it is served below /ollama, which such clients are given as their
host, and at the root, where the UI API has none of these paths. The agent's own tools run here and are shown as
thinking. A call that needs approval is denied, as on chat completions. Begin with `_chat`.
"""

from typing import Any, Literal

from litestar import Response
from litestar.connection import Request
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from gaia_core import Runtime
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._idempotency import Idempotency
from gaia_http.door._post_route import post_handler
from gaia_http.ollama._chat import OllamaChat
from gaia_http.ollama._embed import OllamaEmbed
from gaia_http.ollama._models import OllamaModels, version
from gaia_http.operations._metrics import HttpCounts
from gaia_http.request._part_converter import PartConverter

_READ: tuple[Literal["GET", "HEAD"], ...] = ("GET", "HEAD")
_PREFIXES = ("", "/ollama")


def ollama_handlers(
    settings: Settings, runtime: Runtime, counts: HttpCounts, parts: PartConverter, idempotency: Idempotency
) -> tuple[BaseRouteHandler, ...]:
    """The routes of the API, below /ollama and at the root."""
    chat, models = OllamaChat(runtime, settings, counts, parts, idempotency), OllamaModels(runtime, settings)
    vectors = OllamaEmbed(runtime, settings)

    async def tags(request: Request[Any, Any, Any]) -> Response[bytes]:
        return Response(models.tags(caller_of(request.scope)), media_type="application/json")

    async def loaded(request: Request[Any, Any, Any]) -> Response[bytes]:
        return Response(models.loaded(caller_of(request.scope)), media_type="application/json")

    async def api_version() -> Response[bytes]:
        return Response(version(), media_type="application/json")

    async def running() -> Response[bytes]:
        return Response(b"Ollama is running", media_type="text/plain")

    def read(path: str, handler: Any) -> HTTPRouteHandler:
        return HTTPRouteHandler([f"{prefix}{path}" for prefix in _PREFIXES], http_method=_READ, status_code=200)(
            handler
        )

    return (
        *(post_handler(f"{prefix}/api/chat", chat.chat) for prefix in _PREFIXES),
        *(post_handler(f"{prefix}/api/generate", chat.generate) for prefix in _PREFIXES),
        *(post_handler(f"{prefix}/api/show", models.show) for prefix in _PREFIXES),
        *(post_handler(f"{prefix}/api/embed", vectors.embed) for prefix in _PREFIXES),
        *(post_handler(f"{prefix}/api/embeddings", vectors.embeddings) for prefix in _PREFIXES),
        read("/api/tags", tags),
        read("/api/ps", loaded),
        read("/api/version", api_version),
        # What `ollama` itself asks first: whether anybody is there.
        HTTPRouteHandler("/ollama", http_method=_READ, status_code=200)(running),
    )
