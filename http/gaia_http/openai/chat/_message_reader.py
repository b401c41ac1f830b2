"""The request's messages as messages of the core: nothing is lost, and what can't be kept is refused.

The first form of function calls (`function_call`, role `function`) becomes tool calls and results.
"""

import base64
import binascii
import re

from gaia_core.messages import (
    AssistantMessage,
    AudioPart,
    Content,
    DeveloperMessage,
    FileData,
    FilePart,
    FunctionCall,
    FunctionMessage,
    ImagePart,
    ImageURL,
    InputAudio,
    Message,
    Part,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from gaia_http._errors import ApiError, invalid
from gaia_http.openai.chat._wire import WireCall, WireMessage, WirePart, shortened

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_PARTS = (
    ("user", ("text", "image_url", "input_audio", "file")),
    ("assistant", ("text", "refusal")),
)
_DATA_URL = re.compile(r"data:[a-zA-Z0-9.+-]+/[a-zA-Z0-9.+-]+(?:;[a-zA-Z0-9=._-]+)*;base64,", re.ASCII)


def transcript_of(messages: tuple[WireMessage, ...] | None, most: int) -> tuple[Message, ...]:
    """*messages* as messages of the core. Raises ApiError 400; more than *most* are refused."""
    if not messages:
        words = "is missing" if messages is None else "is empty"
        raise invalid(f"messages {words}; send at least one", param="messages", code="missing_required_parameter")
    if len(messages) > most:
        raise invalid(
            f"messages has {len(messages)} messages; at most {most} are taken",
            param="messages",
            code="array_above_max_length",
        )
    reading = _MessageReading()
    return tuple([reading.message(message, index) for index, message in enumerate(messages)])


class _MessageReading:
    """One transcript while it is read: which calls the last assistant message left open."""

    def __init__(self) -> None:
        self._calls: frozenset[str] = frozenset()
        self._answered: set[str] = set()
        self._legacy: tuple[str, str] | None = None

    def message(self, message: WireMessage, index: int) -> Message:
        role = message.role
        if role == "user":
            self._expect(())
            return UserMessage(_content(message, index), message.name)
        if role == "assistant":
            return self._assistant(message, index)
        if role == "tool":
            return self._tool(message, index)
        if role == "system":
            self._expect(())
            return SystemMessage(_content(message, index), message.name)
        if role == "developer":
            self._expect(())
            return DeveloperMessage(_content(message, index), message.name)
        if role == "function":
            return self._function(message, index)
        raise invalid(
            f"messages[{index}].role: {shortened(role)!r} is not one of {', '.join(_ROLES)}",
            param=f"messages[{index}].role",
            code="invalid_value",
        )

    def _expect(self, calls: tuple[ToolCall, ...]) -> None:
        self._calls = frozenset(call.id for call in calls)
        self._answered.clear()
        self._legacy = None

    def _assistant(self, message: WireMessage, index: int) -> AssistantMessage:
        calls = tuple(
            _call(call, f"messages[{index}].tool_calls[{i}]") for i, call in enumerate(message.tool_calls or ())
        )
        self._expect(calls)
        if len(self._calls) < len(calls):
            raise invalid(f"messages[{index}].tool_calls: two calls have one id", param=f"messages[{index}].tool_calls")
        if message.function_call is not None and not calls:
            function = message.function_call
            call = ToolCall(f"call_function_{index}", FunctionCall(function.name, function.arguments or ""))
            calls = (call,)
            self._legacy = (function.name, call.id)
        content: Content | None = None
        if message.content or (message.content is not None and not calls):
            content = _content(message, index)
        elif not calls and message.refusal is None:
            content = ""
        return AssistantMessage(content, calls, message.name, message.refusal, message.reasoning_content)

    def _tool(self, message: WireMessage, index: int) -> ToolMessage:
        param = f"messages[{index}].tool_call_id"
        call_id = message.tool_call_id
        if not call_id:
            raise invalid(f"{param} is missing: a tool's result names its call", param=param)
        if call_id in self._answered:
            raise invalid(f"{param}: the call {shortened(call_id)!r} has a result already", param=param)
        if call_id not in self._calls:
            raise invalid(f"{param}: {shortened(call_id)!r} is no call of the assistant message before it", param=param)
        self._answered.add(call_id)
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
        raise invalid(f"{path}: only calls of type 'function' are taken", param=path, code="unsupported_value")
    if not call.id:
        raise invalid(f"{path}.id is missing", param=f"{path}.id")
    return ToolCall(call.id, FunctionCall(call.function.name, call.function.arguments or ""))


def _content(message: WireMessage, index: int) -> Content:
    content = message.content
    if type(content) is str:
        return content
    path = f"messages[{index}].content"
    if not content:
        words = "is missing" if content is None else "has no parts"
        raise invalid(f"{path} {words}", param=path, code="missing_required_parameter")
    allowed = next((types for role, types in _PARTS if role == message.role), ("text",))
    return tuple([_part(part, f"{path}[{i}]", message.role, allowed) for i, part in enumerate(content)])  # type: ignore[arg-type]


def _part(part: WirePart, path: str, role: str, allowed: tuple[str, ...]) -> Part:
    kind = part.type
    if kind not in allowed:
        raise invalid(
            f"{path}.type: {shortened(kind)!r} can't be taken in a message of role {role!r}; "
            f"it may be {' or '.join(allowed)}",
            param=f"{path}.type",
            code="unsupported_content_type",
        )
    if kind == "text" and part.text is not None:
        return TextPart(part.text)
    if kind == "refusal" and part.refusal is not None:
        return RefusalPart(part.refusal)
    if kind == "image_url" and part.image_url is not None:
        return ImagePart(ImageURL(_image_url(part.image_url.url, f"{path}.image_url.url"), part.image_url.detail))
    if kind == "input_audio" and part.input_audio is not None:
        audio = part.input_audio
        _check_base64(audio.data, f"{path}.input_audio.data")
        return AudioPart(InputAudio(audio.data, audio.format))
    if kind == "file" and part.file is not None:
        return _file(part, path)
    raise invalid(f"{path}.{kind} is missing", param=f"{path}.{kind}", code="missing_required_parameter")


def _file(part: WirePart, path: str) -> FilePart:
    file = part.file
    assert file is not None
    if file.file_data is None and file.file_id is None:
        raise invalid(f"{path}.file: neither file_data nor file_id is there", param=f"{path}.file")
    return FilePart(FileData(file.file_data, file.file_id, file.filename))


def _image_url(url: str, param: str) -> str:
    """*url*, if it is the data itself or of the web: an endpoint might open `file:` and the like on its machine."""
    if url.startswith("data:"):
        return _data_url(url, param)
    if url[:8].lower().startswith(("http://", "https://")):
        return url
    raise _bad_image(f"{shortened(url)!r} is neither a data: URL nor an http(s) URL", param)


def _data_url(url: str, param: str) -> str:
    head = _DATA_URL.match(url)
    if head is None:
        raise _bad_image(f"{shortened(url)!r} is not of the form data:<type>;base64,<data>", param)
    _check_base64(url[head.end() :], param)
    return url


def _check_base64(data: str, param: str) -> None:
    try:
        base64.b64decode(data.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise _bad_image(f"the base64 data is broken ({error})", param) from None


def _bad_image(words: str, param: str) -> ApiError:
    return invalid(f"{param}: {words}", param=param, code="invalid_value")
