"""The wire message of POST /v1/chat/completions, and decoding errors in the API's words.

Unknown fields are ignored, an explicit null is an absent field (source: OpenAI API reference, chat/create; what
clients send beyond it was seen on the wire). Structs are flat where the API has unions, so that a wrong role or part
is answered by its own error instead of a decoder's.
"""

import re
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from gaia_http._errors import ApiError, invalid

T = TypeVar("T")

_NOTHING = msgspec.Raw(b"")
_INT64 = msgspec.Meta(ge=-(2**63), le=2**63 - 1)
_AT = re.compile(r" - at `(?:key` in `)?\$\.?(?P<path>[^`]*)`\Z")
_STEP = re.compile(r"\.?([A-Za-z0-9_]+)|\[(\d+)\]")
_SOME_VALUE = "[...]"
_SHOWN_CHARS = 80

Integer: TypeAlias = Annotated[int, _INT64]


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


class ChatRequest(msgspec.Struct, frozen=True, gc=False):
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
    max_tokens: Integer | None = None
    max_completion_tokens: Integer | None = None
    n: Integer | None = None
    logprobs: bool | None = None
    top_logprobs: Integer | None = None
    modalities: tuple[str, ...] | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_key: str | None = None


_request_decoder = msgspec.json.Decoder(ChatRequest)


def decode_request(body: bytes) -> ChatRequest:
    """*body* as a request. Raises ApiError 400, whose `param` is the JSON path of the value at fault."""
    return decode_body(body, _request_decoder)


def decode_body(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """*body* as what *decoder* gives. Raises ApiError 400, whose `param` is the JSON path of the value at fault."""
    try:
        if not body.isascii():
            body.decode()  # the decoder skips over bytes in fields that it does not know
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise _not_json("it is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise decoding_error(error, body) from None
    except msgspec.DecodeError as error:
        hint = " (it begins with a byte order mark: leave that out)" if body.startswith(b"\xef\xbb\xbf") else ""
        words = "it is empty" if not body.strip() else f"{str(error).removeprefix('JSON is malformed: ')}{hint}"
        raise _not_json(words) from None


def _not_json(words: str) -> ApiError:
    return invalid(f"the body is not valid JSON: {words}", code="invalid_json")


def decoding_error(error: msgspec.ValidationError, document: bytes, root: str = "") -> ApiError:
    """A decoder's error about *document*, which stands at the path *root* of the request."""
    text = str(error)
    found = _AT.search(text)
    path = found["path"] if found else ""
    param = f"{root}.{path}" if root and path and not path.startswith("[") else f"{root}{path}"
    words = text[: found.start()] if found else text
    words = words[:1].lower() + words[1:]
    if param.endswith(_SOME_VALUE):  # of a map's value the decoder doesn't say which
        param, words = param.removesuffix(_SOME_VALUE), f"one of its values is wrong: {words}"
    return invalid(f"{param or 'the body'}: {words}{_shown(document, path)}", param=param or None, code="invalid_type")


def _shown(document: bytes, path: str) -> str:
    """The value at *path*, shortened, for a message; nothing where it can't be had or says nothing."""
    try:
        value: object = msgspec.json.decode(document)
        for name, index in _STEP.findall(path):
            value = value[int(index)] if index else value[name]  # type: ignore[index]
    except (msgspec.DecodeError, RecursionError, LookupError, TypeError, ValueError):
        return ""
    if isinstance(value, dict | list):
        return ""
    return f" ({shortened(msgspec.json.encode(value).decode())})"


def shortened(text: str, chars: int = _SHOWN_CHARS) -> str:
    """*text*, cut with an ellipsis after *chars*."""
    return text if len(text) <= chars else f"{text[:chars]}…"


def given(raw: msgspec.Raw) -> bool:
    """Whether a raw field was sent, and not as null."""
    return bytes(raw) not in (b"", b"null")
