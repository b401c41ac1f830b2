"""The envelope of errors: which protocol a request speaks, by its path and headers.

| request | envelope |
|---|---|
| below /v1/messages, or below /v1 with the header `anthropic-version` | Anthropic's, with the request's id |
| below /v1 | OpenAI's |
| below /ollama/api, and Ollama's own paths below /api | Ollama's |
| below /api | the UI API's |
| elsewhere | plain JSON |
"""

from litestar.types import Scope

from gaia_http._errors import ErrorReply

OLLAMA = ("chat", "generate", "embed", "embeddings", "tags", "show", "version", "ps")
"""Ollama's paths below /api. The UI API has none of these."""

_OLLAMA_PATHS = frozenset(f"/api/{name}" for name in OLLAMA)
OLLAMA_WORK = frozenset(
    f"{prefix}/api/{name}" for prefix in ("", "/ollama") for name in ("chat", "generate", "embed", "embeddings")
)
"""Those that end in a model's work."""

_REQUEST_ID = "gaia.request_id"
_REPLY = "gaia.error_reply"
_VERSION = b"anthropic-version"


def body_of(reply: ErrorReply, scope: Scope) -> bytes:
    """*reply* as it is sent to the request of *scope*, which notes it for the log."""
    scope.setdefault("state", {})[_REPLY] = reply
    path = str(scope["path"])
    if speaks_anthropic(scope):
        return reply.anthropic_body(request_id_of(scope))
    if is_below(path, "/v1"):
        return reply.body
    if is_below(path, "/ollama") or path in _OLLAMA_PATHS:
        return reply.plain_body
    return reply.ui_body if is_below(path, "/api") else reply.plain_body


def speaks_anthropic(scope: Scope) -> bool:
    """Whether the request is one of Anthropic's API."""
    path = scope["path"]
    if not is_below(path, "/v1"):
        return False
    return is_below(path, "/v1/messages") or any(name == _VERSION for name, _ in scope["headers"])


def is_below(path: str, prefix: str) -> bool:
    """Whether *path* is *prefix* or below it."""
    return path == prefix or path.startswith(f"{prefix}/")


def set_request_id(scope: Scope, request_id: bytes) -> None:
    """Note the id of a request, which its errors name."""
    scope["state"][_REQUEST_ID] = request_id.decode("latin-1")


def request_id_of(scope: Scope) -> str:
    """The id of a request; "" outside the door."""
    found: str = scope["state"].get(_REQUEST_ID, "")
    return found


def error_of(scope: Scope) -> ErrorReply | None:
    """The error that answered the request, if one did."""
    found: ErrorReply | None = scope.get("state", {}).get(_REPLY)
    return found
