"""The wire message of POST /v1/chat/completions.

Unknown fields are ignored, an explicit null is an absent field (source: OpenAI API reference, chat/create; what
clients send beyond it was seen on the wire). Structs are flat where the API has unions, so that a wrong role or part
is answered by its own error instead of a decoder's.
"""

from typing import Any

import msgspec

from gaia_http.request._decoding import Integer, decode_body
from gaia_http.request._server_options import ServerOptions

_NOTHING = msgspec.Raw(b"")


class WireImage(msgspec.Struct, frozen=True, gc=False):
    """`image_url` of a part."""

    url: str
    detail: str | None = None


class WireAudio(msgspec.Struct, frozen=True, gc=False):
    """`input_audio` of a part."""

    data: str
    format: str


class WireFile(msgspec.Struct, frozen=True, gc=False):
    """`file` of a part."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class WirePart(msgspec.Struct, frozen=True, gc=False):
    """A part of a message's content, of any type."""

    type: str
    text: str | None = None
    image_url: WireImage | None = None
    input_audio: WireAudio | None = None
    file: WireFile | None = None
    refusal: str | None = None


class WireFunctionCall(msgspec.Struct, frozen=True, gc=False):
    """The function of a tool call."""

    name: str
    arguments: str | None = None


class WireCall(msgspec.Struct, frozen=True, gc=False):
    """A tool call in an assistant's message."""

    id: str | None = None
    type: str | None = None
    function: WireFunctionCall | None = None


class WireMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of any role."""

    role: str
    content: str | tuple[WirePart, ...] | None = None
    name: str | None = None
    tool_calls: tuple[WireCall, ...] | None = None
    tool_call_id: str | None = None
    function_call: WireFunctionCall | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    """The same, of clients that speak to servers with that field."""


class WireTool(msgspec.Struct, frozen=True, gc=False):
    """A tool that the client brings; *function* is read only where *type* is `function`."""

    type: str
    function: msgspec.Raw = _NOTHING


class WireFunction(msgspec.Struct, frozen=True, gc=False):
    """A client's function."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw = _NOTHING
    strict: bool | None = None


class WireSchema(msgspec.Struct, frozen=True, gc=False):
    """`json_schema` of a response format."""

    name: str
    schema: msgspec.Raw = _NOTHING
    strict: bool | None = None


class WireFormat(msgspec.Struct, frozen=True, gc=False):
    """`response_format`."""

    type: str
    json_schema: WireSchema | None = None


class WireStreamOptions(msgspec.Struct, frozen=True, gc=False):
    """`stream_options`."""

    include_usage: bool | None = None


class ChatRequest(ServerOptions, frozen=True, gc=False):
    """The body of POST /v1/chat/completions. Fields of OpenAI's that concern no agent are accepted and ignored."""

    model: str | None = None
    messages: tuple[WireMessage, ...] | None = None
    stream: bool | None = None
    stream_options: WireStreamOptions | None = None
    tools: tuple[WireTool, ...] | None = None
    tool_choice: msgspec.Raw = _NOTHING
    parallel_tool_calls: bool | None = None
    functions: msgspec.Raw = _NOTHING
    response_format: WireFormat | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | tuple[str, ...] | None = None
    seed: Integer | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    reasoning: msgspec.Raw = _NOTHING
    max_tokens: Integer | None = None
    max_completion_tokens: Integer | None = None
    n: Integer | None = None
    logprobs: bool | None = None
    top_logprobs: Integer | None = None
    modalities: tuple[str, ...] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    prompt_cache_key: str | None = None


_request_decoder = msgspec.json.Decoder(ChatRequest)


def decode_request(body: bytes) -> ChatRequest:
    """*body* as a request. Raises ApiError 400, whose `param` is the JSON path of the value at fault."""
    return decode_body(body, _request_decoder)
