"""The wire messages of Ollama's API.

Unknown fields are ignored, an explicit null is an absent field (source: Ollama's API documentation, docs/api.md; the
types of its Python library).
"""

from typing import Any

import msgspec

from gaia_http.request._decoding import Integer, decode_body
from gaia_http.request._server_options import ServerOptions

_NOTHING = msgspec.Raw(b"")


class OllamaFunctionCall(msgspec.Struct, frozen=True, gc=False):
    """The function of a call; *arguments*: an object."""

    name: str
    arguments: msgspec.Raw = _NOTHING


class OllamaCall(msgspec.Struct, frozen=True, gc=False):
    """A call in an assistant's message. Older clients send no id."""

    function: OllamaFunctionCall
    id: str | None = None


class OllamaMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of any role. *images*: base64 each."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: tuple[str, ...] | None = None
    tool_calls: tuple[OllamaCall, ...] | None = None
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None


class OllamaFunction(msgspec.Struct, frozen=True, gc=False):
    """A client's function."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw = _NOTHING


class OllamaTool(msgspec.Struct, frozen=True, gc=False):
    """A tool that the client brings."""

    type: str | None = None
    function: OllamaFunction | None = None


class ModelOptions(ServerOptions, frozen=True, gc=False):
    """`options`, as far as a turn has them; those about loading a model are accepted and ignored."""

    temperature: float | None = None
    top_p: float | None = None
    seed: Integer | None = None
    num_predict: Integer | None = None
    stop: str | tuple[str, ...] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class OllamaRequest(msgspec.Struct, frozen=True, gc=False):
    """What the bodies of POST /api/chat and /api/generate share."""

    model: str | None = None
    stream: bool | None = None
    format: msgspec.Raw = _NOTHING
    options: ModelOptions | None = None
    think: bool | str | None = None
    keep_alive: float | str | None = None
    logprobs: bool | None = None


class OllamaChatRequest(OllamaRequest, frozen=True, gc=False):
    """The body of POST /api/chat."""

    messages: tuple[OllamaMessage, ...] | None = None
    tools: tuple[OllamaTool, ...] | None = None


class OllamaGenerateRequest(OllamaRequest, frozen=True, gc=False):
    """The body of POST /api/generate."""

    prompt: str | None = None
    system: str | None = None
    images: tuple[str, ...] | None = None
    suffix: str | None = None
    template: str | None = None
    context: tuple[Any, ...] | None = None
    raw: bool | None = None


class EmbedRequest(msgspec.Struct, frozen=True, gc=False):
    """The body of POST /api/embed (*input*) and of the older /api/embeddings (*prompt*)."""

    model: str | None = None
    input: str | tuple[str, ...] | None = None
    prompt: str | None = None
    dimensions: Integer | None = None


class ShowRequest(msgspec.Struct, frozen=True, gc=False):
    """The body of POST /api/show; older clients send *name*."""

    model: str | None = None
    name: str | None = None


_chat_decoder = msgspec.json.Decoder(OllamaChatRequest)
_generate_decoder = msgspec.json.Decoder(OllamaGenerateRequest)
_embed_decoder = msgspec.json.Decoder(EmbedRequest)
_show_decoder = msgspec.json.Decoder(ShowRequest)


def decode_chat(body: bytes) -> OllamaChatRequest:
    """*body* as a request. Raises ApiError 400, which names the value at fault by its path."""
    return decode_body(body, _chat_decoder)


def decode_generate(body: bytes) -> OllamaGenerateRequest:
    """*body* as a request. Raises ApiError 400."""
    return decode_body(body, _generate_decoder)


def decode_embed(body: bytes) -> EmbedRequest:
    """*body* as a request. Raises ApiError 400."""
    return decode_body(body, _embed_decoder)


def decode_show(body: bytes) -> ShowRequest:
    """*body* as a request. Raises ApiError 400."""
    return decode_body(body, _show_decoder)
