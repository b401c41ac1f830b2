"""The request's messages as messages of the core. Results name their call by its id, by its tool, or by their order."""

from gaia_core.messages import (
    AssistantMessage,
    FunctionCall,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from gaia_http._errors import invalid
from gaia_http.ollama._wire import OllamaCall, OllamaGenerateRequest, OllamaMessage
from gaia_http.request._content_parts import PartPaths, PlacedPart, content_of, decoded_base64, image_part
from gaia_http.request._decoding import given
from gaia_http.request._fields import check_count, invalid_at, missing_at, not_one_of, shortened, unsupported_at
from gaia_http.request._part_converter import image_type

_ROLES = ("system", "user", "assistant", "tool")


class ConversationReader:
    """The conversation of one request. *messages*: of the core. Its methods raise ApiError 400."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._paths: list[tuple[PartPaths, ...]] = []
        self._open: list[ToolCall] = []
        """The calls of the last assistant message that have no result yet."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The transcript."""
        return tuple(self._messages)

    def paths(self, message: int, part: int) -> PartPaths:
        """Where a part of a message of the transcript stands in the request."""
        return self._paths[message][part]

    def read(self, sent: tuple[OllamaMessage, ...], most: int) -> None:
        """Read the messages of a chat, *most* at most."""
        check_count("messages", len(sent), "messages", most)
        for index, message in enumerate(sent):
            self._read(message, index)

    def prompt(self, request: OllamaGenerateRequest) -> None:
        """Read the instructions and the prompt of a single request."""
        if request.system:
            self._add(SystemMessage(request.system))
        self._user(request.prompt or "", request.images or (), "images")

    def _read(self, message: OllamaMessage, index: int) -> None:
        path, text = f"messages[{index}]", message.content or ""
        if message.role == "user":
            self._user(text, message.images or (), f"{path}.images")
        elif message.role == "assistant":
            calls = tuple(
                _call(call, index, i, f"{path}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls or ())
            )
            if len({call.id for call in calls}) < len(calls):
                raise invalid_at(f"{path}.tool_calls", "two calls have the same id", None)
            self._open = list(calls)
            self._add(
                AssistantMessage(text or (None if calls else ""), calls, reasoning_content=message.thinking or None)
            )
        elif message.role == "system":
            self._add(SystemMessage(text))
        elif message.role == "tool":
            self._add(ToolMessage(text, self._answered(message, path)))
            if message.images:
                self._user("", message.images, f"{path}.images")
        else:
            raise not_one_of(f"{path}.role", message.role, _ROLES)

    def _add(self, message: Message, parts: tuple[PlacedPart, ...] = ()) -> None:
        self._messages.append(message)
        self._paths.append(tuple([part.paths for part in parts]))

    def _user(self, text: str, images: tuple[str, ...], path: str) -> None:
        if not images:
            self._add(UserMessage(text))
            return
        said = [PlacedPart(TextPart(text), PartPaths(path))] if text else []
        parts = (*said, *(_image(data, f"{path}[{i}]") for i, data in enumerate(images)))
        self._add(UserMessage(content_of(parts)), parts)

    def _answered(self, message: OllamaMessage, path: str) -> str:
        """The id of the call that a result answers."""
        name = message.tool_name or message.name
        for call in self._open:
            if call.id == message.tool_call_id or (message.tool_call_id is None and name in (None, call.name)):
                self._open.remove(call)
                return call.id
        if not self._open:
            raise invalid(f"{path}: no call of the assistant message before it waits for a result", param=path)
        field, wrong = ("tool_call_id", message.tool_call_id) if message.tool_call_id else ("tool_name", name)
        raise invalid_at(f"{path}.{field}", f"{shortened(wrong or '')!r} is not a call that waits for a result", None)


def _call(call: OllamaCall, message: int, index: int, path: str) -> ToolCall:
    arguments = bytes(call.function.arguments).decode() if given(call.function.arguments) else "{}"
    if not arguments.startswith("{"):
        raise invalid_at(f"{path}.function.arguments", "must be an object")
    return ToolCall(call.id or f"call_{message}_{index}", FunctionCall(call.function.name, arguments))


def _image(data: str, path: str) -> PlacedPart:
    kind = image_type(decoded_base64(path, data))
    if not kind:
        raise invalid_at(path, "is no image of a known type (PNG, JPEG, GIF, WebP)")
    part = image_part(path, f"data:{kind};base64,{data}", None)
    return PlacedPart(part, PartPaths(path, "image", path, path))


def check_generate(request: OllamaGenerateRequest) -> None:
    """Refuse what an agent's turn can't do. Raises ApiError 400."""
    if request.prompt is None:
        raise missing_at("prompt")
    why = "an agent answers a conversation: use /api/chat"
    for path, wanted in (
        ("suffix", request.suffix),
        ("template", request.template),
        ("raw", request.raw),
        ("context", request.context),
    ):
        if wanted:
            raise unsupported_at(path, shortened(str(wanted)), why)
