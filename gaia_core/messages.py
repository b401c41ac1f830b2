"""Messages: what a conversation is made of, as immutable values that encode to the OpenAI chat wire format.

The structs have the field names and order of the chat completions API; `wire_bytes(message)` is what an endpoint
receives (source: OpenAI API reference, chat/create).

    UserMessage("What is in a.txt?")
    AssistantMessage(None, (ToolCall("c1", FunctionCall("read_file", '{"path": "a.txt"}')),))
    ToolMessage("contents", "c1")
    AssistantMessage("It says: contents")
"""

from typing import Any, Literal, TypeAlias, get_args

import msgspec

from gaia_core.frozen_types import refusal
from gaia_core.nesting import decode_json
from gaia_core.tool_output import Image

# The checks are plain comparisons: a message is made in 0.1 µs, and a turn makes ten.
_TEXT = frozenset((str, type(None)))


class TextPart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """Text in a message of several parts."""

    text: str

    def __post_init__(self) -> None:
        if type(self.text) is not str:
            raise refusal(self)


class ImageURL(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An image by URL or `data:` URL; *detail* is `low`, `high` or `auto`."""

    url: str
    detail: str | None = None

    def __post_init__(self) -> None:
        if not (type(self.url) is str and type(self.detail) in _TEXT):
            raise refusal(self)


class ImagePart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="image_url"):
    """An image in a user message."""

    image_url: ImageURL

    def __post_init__(self) -> None:
        if type(self.image_url) is not ImageURL:
            raise refusal(self)


class InputAudio(msgspec.Struct, frozen=True, gc=False):
    """Base64 audio data; *format* is `wav` or `mp3`."""

    data: str
    format: str

    def __post_init__(self) -> None:
        if not (type(self.data) is str and type(self.format) is str):
            raise refusal(self)


class AudioPart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="input_audio"):
    """Audio in a user message."""

    input_audio: InputAudio

    def __post_init__(self) -> None:
        if type(self.input_audio) is not InputAudio:
            raise refusal(self)


class FileData(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A file by content (`data:` URL) or by the id of an upload."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None

    def __post_init__(self) -> None:
        if not (type(self.file_data) in _TEXT and type(self.file_id) in _TEXT and type(self.filename) in _TEXT):
            raise refusal(self)


class FilePart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="file"):
    """A file in a user message."""

    file: FileData

    def __post_init__(self) -> None:
        if type(self.file) is not FileData:
            raise refusal(self)


class RefusalPart(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="refusal"):
    """A refusal in an assistant message."""

    refusal: str

    def __post_init__(self) -> None:
        if type(self.refusal) is not str:
            raise refusal(self)


Part: TypeAlias = TextPart | ImagePart | AudioPart | FilePart | RefusalPart
Content: TypeAlias = str | tuple[Part, ...]

Outcome: TypeAlias = Literal["ok", "error", "invalid", "unknown_tool", "denied", "timeout", "cancelled", "unknown"]
"""How a tool call ended; every outcome but `cancelled` gives the model a result that it can act on.

`unknown`: its process died while it ran, and it is not safe to run it again.
"""

_OUTCOMES = frozenset(get_args(Outcome))

_PARTS = frozenset(get_args(Part))


def is_content(value: object) -> bool:
    """Whether *value* is a message's content."""
    return type(value) is str or (type(value) is tuple and all(type(part) in _PARTS for part in value))


class FunctionCall(msgspec.Struct, frozen=True, gc=False):
    """The function that a model calls: its name, and its arguments as the JSON text that the model wrote."""

    name: str
    arguments: str

    def __post_init__(self) -> None:
        if not (type(self.name) is str and type(self.arguments) is str):
            raise refusal(self)


class ToolCall(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="function"):
    """One tool call of an assistant message; *id* pairs it with its result."""

    id: str
    function: FunctionCall

    def __post_init__(self) -> None:
        if not (type(self.id) is str and type(self.function) is FunctionCall):
            raise refusal(self)

    @property
    def name(self) -> str:
        """The called tool's name."""
        return self.function.name

    @property
    def arguments(self) -> str:
        """The arguments, as the JSON text that the model wrote; not yet validated."""
        return self.function.arguments


class SystemMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="role", tag="system"):
    """Instructions to the model, before the conversation."""

    content: Content
    name: str | None = None

    def __post_init__(self) -> None:
        if not ((type(self.content) is str or is_content(self.content)) and type(self.name) in _TEXT):
            raise refusal(self)


class DeveloperMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="role", tag="developer"):
    """The newer name of a system message; endpoints get it as `system`, which all of them know."""

    content: Content
    name: str | None = None

    def __post_init__(self) -> None:
        if not ((type(self.content) is str or is_content(self.content)) and type(self.name) in _TEXT):
            raise refusal(self)


class UserMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="role", tag="user"):
    """What the user says."""

    content: Content
    name: str | None = None

    def __post_init__(self) -> None:
        if not ((type(self.content) is str or is_content(self.content)) and type(self.name) in _TEXT):
            raise refusal(self)


ReasoningField: TypeAlias = Literal["reasoning_content", "reasoning"]
"""Names that endpoints have for a model's reasoning: DeepSeek's, which most take over, and that of newer vLLM versions,
of OpenRouter and Groq."""

_REASONING_FIELDS = get_args(ReasoningField)


class AssistantMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="role", tag="assistant"):
    """What the model answered; *content* is None beside tool calls."""

    content: Content | None
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning_field: ReasoningField = "reasoning_content"
    """The field in which an endpoint or a client sent the reasoning, and in which it is sent back."""

    def __post_init__(self) -> None:
        calls: object = self.tool_calls
        if not (
            (type(self.content) in _TEXT or is_content(self.content))
            and type(calls) is tuple
            and (not calls or all(type(call) is ToolCall for call in calls))
            and type(self.name) in _TEXT
            and type(self.refusal) in _TEXT
            and type(self.reasoning_content) in _TEXT
            and self.reasoning_field in _REASONING_FIELDS
        ):
            raise refusal(self)


class ToolMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="role", tag="tool"):
    """The result of one tool call."""

    content: Content
    tool_call_id: str
    outcome: Outcome | None = None
    """How the call ended. It is never sent to an endpoint (`wire_bytes`). None: not known, as for a client's tool."""
    images: tuple[Image, ...] = ()
    """What an agent's own tool gave beside text. No endpoint takes them in this message (`_result_images`)."""

    def __post_init__(self) -> None:
        outcome: object = self.outcome
        if not (
            is_content(self.content)
            and type(self.tool_call_id) is str
            and (outcome is None or (type(outcome) is str and outcome in _OUTCOMES))
            and (self.images == () or (type(self.images) is tuple and all(type(one) is Image for one in self.images)))
        ):
            raise refusal(self)


class FunctionMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="role", tag="function"):
    """A function's result in the API's first form, without a call id."""

    content: Content | None
    name: str

    def __post_init__(self) -> None:
        if not ((type(self.content) in _TEXT or is_content(self.content)) and type(self.name) is str):
            raise refusal(self)


Message: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage

MESSAGE_TYPES = frozenset(get_args(Message))


def are_messages(value: object) -> bool:
    """Whether *value* is a tuple of messages."""
    return type(value) is tuple and (not value or all(type(message) in MESSAGE_TYPES for message in value))


def text_of(content: Content | None) -> str:
    """The text of *content*, parts joined by line breaks; other parts are left out."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


ATTACHED = "Attached to the result of the call {}:"
"""What stands before the images and files of a result in the user's message behind it: most servers take only text
from a tool."""


def is_users(message: Message) -> bool:
    """Whether the user said *message*: one that has what is attached to results is a user's in form only."""
    if not isinstance(message, UserMessage):
        return False
    first = message.content[0] if isinstance(message.content, tuple) and message.content else None
    return not (isinstance(first, TextPart) and first.text.startswith(_ATTACHED_HEAD))


_ATTACHED_HEAD = ATTACHED.partition("{")[0]

_encoder = msgspec.json.Encoder()


def wire_bytes(message: Message, *, reasoning: bool = False) -> bytes:
    """*message* in the encoded form that all chat endpoints take.

    A developer's message is sent as `system`. A tool result's outcome and images are not sent, a model's reasoning only
    if *reasoning* is set, under the field in which it came. A refusal is sent as text, because most endpoints know text
    parts only and refuse an empty message. Arguments of a call that are no JSON object are sent as `{}`, because
    templates of local servers refuse any other for ever. Half a surrogate pair, which has no UTF-8, becomes U+FFFD.
    """
    if isinstance(message, DeveloperMessage):
        message = SystemMessage(message.content, message.name)
    elif isinstance(message, AssistantMessage):
        thought, field = message.reasoning_content, message.reasoning_field
        if message.refusal is not None or type(message.content) is tuple:
            message = AssistantMessage(_said(message), message.tool_calls, message.name)
        elif thought is not None:
            message = AssistantMessage(message.content, message.tool_calls, message.name)
        if message.tool_calls and not all(is_json_object(call.function.arguments) for call in message.tool_calls):
            message = msgspec.structs.replace(message, tool_calls=tuple(map(_with_object, message.tool_calls)))
        if reasoning and thought:
            return b'%b,"%b":%b}' % (wire_bytes(message)[:-1], field.encode(), _encoder.encode(mended(thought)))
    elif isinstance(message, ToolMessage) and (message.outcome is not None or message.images):
        message = ToolMessage(message.content, message.tool_call_id)
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError:
        return _encoder.encode(mended(msgspec.to_builtins(message)))


def is_json_object(text: str) -> bool:
    """Whether *text* is one JSON object, as a call's arguments have to be; nested at most `MAX_NESTING` deep."""
    try:
        decode_json(text, dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True


def _with_object(call: ToolCall) -> ToolCall:
    function = call.function
    return call if is_json_object(function.arguments) else ToolCall(call.id, FunctionCall(function.name, "{}"))


def _said(message: AssistantMessage) -> Content | None:
    """The content of *message* in which a refusal is text."""
    content, refusal = message.content, message.refusal
    if not content:
        return refusal if refusal is not None else content
    if isinstance(content, str):
        return content if refusal is None else f"{content}\n\n{refusal}"
    parts = [TextPart(part.refusal) if isinstance(part, RefusalPart) else part for part in content]
    return tuple(parts) if refusal is None else (*parts, TextPart(refusal))


def mended(value: Any) -> Any:
    """*value* with surrogate pairs joined and lone surrogates replaced by U+FFFD, in all its texts."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {mended(key): mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mended(item) for item in value]
    return value


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens that one model request took, or the sum over the steps of a turn. Field by field addable.

    *estimated* says that an endpoint sent no usage and the numbers are counted from the text.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )
