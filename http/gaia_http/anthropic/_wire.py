"""The wire message of POST /v1/messages.

Unknown fields are ignored, an explicit null is an absent field (source: Anthropic API reference, messages/create; the
types of its Python SDK). Structs are flat where the API has unions, so that a wrong type is answered by its own error
instead of a decoder's.
"""

import msgspec

from gaia_http.request._decoding import Integer, decode_body
from gaia_http.request._server_options import ServerOptions

REASONING = "gaia:reasoning"
"""The signature of a thinking block that a model thought, and that is sent back to it."""
ACTIVITY = "gaia:activity"
"""The signature of a thinking block about the agent's own tools, which is not."""
CALL_PREFIX = "toolu"
"""How the ids of calls begin."""

_NOTHING = msgspec.Raw(b"")


class BlockSource(msgspec.Struct, frozen=True, gc=False):
    """`source` of an image or a document, of any type."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: "str | tuple[ContentBlock, ...] | None" = None


class ContentBlock(msgspec.Struct, frozen=True, gc=False):
    """A block of a message's content, of any type."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    source: BlockSource | str | None = None
    title: str | None = None
    context: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NOTHING
    tool_use_id: str | None = None
    tool_name: str | None = None
    is_error: bool | None = None
    content: "str | tuple[ContentBlock, ...] | None" = None


BlockContent = str | tuple[ContentBlock, ...]


class InputMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of any role."""

    role: str
    content: str | tuple[ContentBlock, ...]


class InputTool(msgspec.Struct, frozen=True, gc=False):
    """A tool that the client brings; of type `custom` unless *type* names one that Anthropic defines."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = _NOTHING
    strict: bool | None = None


class ThinkingConfig(msgspec.Struct, frozen=True, gc=False):
    """`thinking`."""

    type: str
    budget_tokens: Integer | None = None
    display: str | None = None


class OutputFormat(msgspec.Struct, frozen=True, gc=False):
    """The format of the final text."""

    type: str
    schema: msgspec.Raw = _NOTHING


class OutputConfig(msgspec.Struct, frozen=True, gc=False):
    """`output_config`."""

    effort: str | None = None
    format: OutputFormat | None = None


class MessagesRequest(ServerOptions, frozen=True, gc=False):
    """The body of POST /v1/messages and /v1/messages/count_tokens. Fields that concern no agent (`cache_control`,
    `metadata`, `service_tier` and the like) are accepted and ignored."""

    model: str | None = None
    messages: tuple[InputMessage, ...] | None = None
    max_tokens: Integer | None = None
    system: str | tuple[ContentBlock, ...] | None = None
    stream: bool | None = None
    tools: tuple[InputTool, ...] | None = None
    tool_choice: msgspec.Raw = _NOTHING
    stop_sequences: tuple[str, ...] | None = None
    temperature: float | None = None
    top_p: float | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    thread: msgspec.Raw = _NOTHING


_request_decoder = msgspec.json.Decoder(MessagesRequest)


def decode_request(body: bytes) -> MessagesRequest:
    """*body* as a request. Raises ApiError 400, whose `param` is the JSON path of the value at fault."""
    return decode_body(body, _request_decoder)
