"""The wire message of POST /v1/responses (source: OpenAI API reference, responses/create).

Unknown fields are ignored, an explicit null is an absent field. Where the API has unions, fields are raw and are read
by what their `type` says, so that a wrong one is answered by its own error.
"""

import msgspec

from gaia_http.request._decoding import Integer, decode_body, decode_field, given
from gaia_http.request._fields import missing_at
from gaia_http.request._server_options import ServerOptions

_NOTHING = msgspec.Raw(b"")


class WireReasoning(msgspec.Struct, frozen=True, gc=False):
    """`reasoning`."""

    effort: str | None = None
    summary: str | None = None


class WireTextFormat(msgspec.Struct, frozen=True, gc=False):
    """`text.format`."""

    type: str
    name: str | None = None
    schema: msgspec.Raw = _NOTHING
    strict: bool | None = None
    description: str | None = None


class WireText(msgspec.Struct, frozen=True, gc=False):
    """`text`."""

    format: WireTextFormat | None = None
    verbosity: str | None = None


class ResponsesTool(msgspec.Struct, frozen=True, gc=False):
    """A tool that the client brings."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = _NOTHING
    strict: bool | None = None
    format: msgspec.Raw = _NOTHING


class ResponsesStreamOptions(msgspec.Struct, frozen=True, gc=False):
    """`stream_options`; what it offers concerns lines that are overheard, which this server's are not."""

    include_obfuscation: bool | None = None


class CreateRequest(ServerOptions, frozen=True, gc=False):
    """The body of POST /v1/responses. Fields of OpenAI's that concern no agent are accepted and ignored."""

    model: str | None = None
    input: msgspec.Raw = _NOTHING
    instructions: str | None = None
    stream: bool | None = None
    stream_options: ResponsesStreamOptions | None = None
    background: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: msgspec.Raw = _NOTHING
    tools: tuple[ResponsesTool, ...] | None = None
    tool_choice: msgspec.Raw = _NOTHING
    parallel_tool_calls: bool | None = None
    text: WireText | None = None
    reasoning: WireReasoning | None = None
    max_output_tokens: Integer | None = None
    max_tool_calls: Integer | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_logprobs: Integer | None = None
    metadata: dict[str, str] | None = None
    include: tuple[str, ...] | None = None
    truncation: str | None = None
    user: msgspec.Raw = _NOTHING
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: msgspec.Raw = _NOTHING
    service_tier: str | None = None
    prompt: msgspec.Raw = _NOTHING


class ResponsesPart(msgspec.Struct, frozen=True, gc=False):
    """A part of a message's or a result's content, of any type."""

    type: str
    text: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    input_audio: msgspec.Raw = _NOTHING
    refusal: str | None = None


class WireInputAudio(msgspec.Struct, frozen=True, gc=False):
    """`input_audio` of a part."""

    data: str
    format: str


class WireItem(msgspec.Struct, frozen=True, gc=False):
    """An item of `input`, of any type."""

    type: str | None = None
    id: str | None = None
    role: str | None = None
    content: msgspec.Raw = _NOTHING
    call_id: str | None = None
    name: str | None = None
    arguments: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    output: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING
    approval_request_id: str | None = None
    approve: bool | None = None
    reason: str | None = None
    encrypted_content: str | None = None
    summary: msgspec.Raw = _NOTHING
    phase: str | None = None


class _ConversationId(msgspec.Struct, frozen=True, gc=False):
    id: str


_create_decoder = msgspec.json.Decoder(CreateRequest)
_items_decoder = msgspec.json.Decoder(tuple[WireItem, ...])
_content_decoder = msgspec.json.Decoder(str | tuple[ResponsesPart, ...])
_conversation_decoder = msgspec.json.Decoder(str | _ConversationId)
_text_decoder = msgspec.json.Decoder(str)


def decode_create(body: bytes) -> CreateRequest:
    """*body* as a request. Raises ApiError 400, whose `param` is the JSON path of the value at fault."""
    return decode_body(body, _create_decoder)


def decode_items(raw: msgspec.Raw, param: str = "input") -> tuple[WireItem, ...]:
    """The items of `input`; a text is a user's message. Raises ApiError 400."""
    if bytes(raw)[:1] == b'"':
        return (WireItem(type="message", role="user", content=raw),)
    return decode_field(raw, _items_decoder, param)


def decode_content(raw: msgspec.Raw, param: str) -> str | tuple[ResponsesPart, ...]:
    """The content at *param*: a text, or parts. Raises ApiError 400."""
    if not given(raw):
        raise missing_at(param)
    content: str | tuple[ResponsesPart, ...] = decode_field(raw, _content_decoder, param)
    return content


def decode_text(raw: msgspec.Raw, param: str) -> str:
    """The text at *param*, empty when there is none. Raises ApiError 400."""
    return decode_field(raw, _text_decoder, param) if given(raw) else ""


def conversation_id(raw: msgspec.Raw) -> str | None:
    """The id that `conversation` names, as a text or in an object."""
    if not given(raw):
        return None
    found = decode_field(raw, _conversation_decoder, "conversation")
    return found if isinstance(found, str) else found.id
