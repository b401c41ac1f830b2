"""The request's messages as messages of the core: nothing is lost, and what can't be kept is refused.

The first form of function calls (`function_call`, role `function`) becomes tool calls and results.
"""

from gaia_core.messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    FileData,
    FilePart,
    FunctionCall,
    FunctionMessage,
    Message,
    Part,
    ReasoningField,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from gaia_http._errors import invalid
from gaia_http.openai.chat._wire import WireCall, WireFunctionCall, WireMessage, WirePart
from gaia_http.request._content_parts import PartPaths, PartTypes, audio_part, check_part_type, image_part
from gaia_http.request._decoding import check_nested_json
from gaia_http.request._fields import check_count, invalid_at, missing_at, not_one_of
from gaia_http.request._part_converter import PathsOfParts
from gaia_http.request._tool_results import OpenCalls

_THOUGHT: ReasoningField = "reasoning_content"
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_TYPES = PartTypes(text="text", image="image_url", audio="input_audio", file="file", refusal="refusal")


def transcript_of(messages: tuple[WireMessage, ...] | None, most: int) -> tuple[Message, ...]:
    """*messages* as messages of the core. Raises ApiError 400; more than *most* are refused."""
    if not messages:
        words = "is missing" if messages is None else "is empty"
        raise invalid(f"messages {words}; send at least one", param="messages", code="missing_required_parameter")
    check_count("messages", len(messages), "messages", most)
    reading = _MessageReading()
    return tuple([reading.message(message, index) for index, message in enumerate(messages)])


def paths_in(messages: tuple[WireMessage, ...]) -> PathsOfParts:
    """Where the parts of *messages* stand in the request."""

    def paths(message: int, index: int) -> PartPaths:
        content = messages[message].content
        assert isinstance(content, tuple)
        path, kind = f"messages[{message}].content[{index}]", content[index].type
        field = f"{path}.{kind}"
        data = "url" if kind == _TYPES.image else "file_data"
        return PartPaths(path, kind, field, f"{field}.{data}", f"{field}.file_id")

    return paths


class _MessageReading:
    """One transcript while it is read: which calls the last assistant message left open."""

    def __init__(self) -> None:
        self._open = OpenCalls()
        self._legacy: tuple[str, str] | None = None

    def message(self, message: WireMessage, index: int) -> Message:
        role = message.role
        if role == "user":
            self._begin()
            return UserMessage(_content(message, index), message.name)
        if role == "assistant":
            return self._assistant(message, index)
        if role == "tool":
            return self._tool(message, index)
        if role == "system":
            self._begin()
            return SystemMessage(_content(message, index), message.name)
        if role == "developer":
            self._begin()
            return DeveloperMessage(_content(message, index), message.name)
        if role == "function":
            return self._function(message, index)
        raise not_one_of(f"messages[{index}].role", role, _ROLES)

    def _begin(self, path: str = "", calls: tuple[ToolCall, ...] = ()) -> None:
        self._open.begin(path, calls)
        self._legacy = None

    def _assistant(self, message: WireMessage, index: int) -> AssistantMessage:
        calls = tuple(
            _call(call, f"messages[{index}].tool_calls[{i}]") for i, call in enumerate(message.tool_calls or ())
        )
        self._begin(f"messages[{index}].tool_calls", calls)
        if message.function_call is not None and not calls:
            function = _function_call(message.function_call, f"messages[{index}].function_call")
            call = ToolCall(f"call_function_{index}", function)
            calls = (call,)
            self._legacy = (function.name, call.id)
        content: Content | None = None
        if message.content or (message.content is not None and not calls):
            content = _content(message, index)
        elif not calls and message.refusal is None:
            content = ""
        thought, field = message.reasoning_content, _THOUGHT
        if not thought and isinstance(message.reasoning, str) and message.reasoning:
            thought, field = message.reasoning, "reasoning"
        return AssistantMessage(content, calls, message.name, message.refusal, thought, field)

    def _tool(self, message: WireMessage, index: int) -> ToolMessage:
        call_id = self._open.answer(f"messages[{index}].tool_call_id", message.tool_call_id)
        # A tool that gave nothing: null or no parts, as clients have it.
        return ToolMessage(_content(message, index) if message.content else "", call_id)

    def _function(self, message: WireMessage, index: int) -> Message:
        if not message.name:
            raise invalid(f"messages[{index}].name is missing", param=f"messages[{index}].name")
        content = None if message.content is None else _content(message, index)
        legacy, self._legacy = self._legacy, None
        if legacy is not None and legacy[0] == message.name:
            return ToolMessage(content or "", legacy[1])
        return FunctionMessage(content, message.name)


def _call(call: WireCall, path: str) -> ToolCall:
    if call.type not in (None, "function") or call.function is None:
        raise invalid_at(path, "only calls of type 'function' are accepted", "unsupported_value")
    if not call.id:
        raise invalid(f"{path}.id is missing", param=f"{path}.id")
    return ToolCall(call.id, _function_call(call.function, f"{path}.function"))


def _function_call(called: WireFunctionCall, path: str) -> FunctionCall:
    arguments = called.arguments or ""
    check_nested_json(arguments, f"{path}.arguments")
    return FunctionCall(called.name, arguments)


def _content(message: WireMessage, index: int) -> Content:
    content = message.content
    if type(content) is str:
        return content
    path = f"messages[{index}].content"
    if not content:
        words = "is missing" if content is None else "has no parts"
        raise invalid(f"{path} {words}", param=path, code="missing_required_parameter")
    allowed = _TYPES.allowed(message.role)
    return tuple([_part(part, f"{path}[{i}]", message.role, allowed) for i, part in enumerate(content)])  # type: ignore[arg-type]


def _part(part: WirePart, path: str, role: str, allowed: tuple[str, ...]) -> Part:
    kind = part.type
    check_part_type(path, kind, allowed, role)
    if kind == "text" and part.text is not None:
        return TextPart(part.text)
    if kind == "refusal" and part.refusal is not None:
        return RefusalPart(part.refusal)
    if kind == "image_url" and part.image_url is not None:
        return image_part(f"{path}.image_url.url", part.image_url.url, part.image_url.detail)
    if kind == "input_audio" and part.input_audio is not None:
        return audio_part(f"{path}.input_audio.data", part.input_audio.data, part.input_audio.format)
    if kind == "file" and (file := part.file) is not None:
        if file.file_data is None and file.file_id is None:
            raise invalid_at(f"{path}.file", "it has neither file_data nor file_id", None)
        return FilePart(FileData(file.file_data, file.file_id, file.filename))
    raise missing_at(f"{path}.{kind}")
