"""The request's messages as messages of the core: nothing is lost, and what can't be kept is refused.

Messages of one role in a row are one message (source: Anthropic API reference, messages/create). A user's message may
hold results of the client's tools: these become tool messages right behind the calls, and what they have beside text,
and what else the user says, follows in one user message.
"""

from collections.abc import Iterator
from itertools import groupby

from gaia_core.messages import (
    AssistantMessage,
    FunctionCall,
    Message,
    SystemMessage,
    ToolCall,
    UserMessage,
)
from gaia_http._errors import invalid
from gaia_http.anthropic._blocks import (
    block_text,
    input_json,
    joined,
    result_content,
    system_text,
    unsupported_block,
    user_parts,
)
from gaia_http.anthropic._wire import ACTIVITY, ContentBlock, InputMessage, MessagesRequest
from gaia_http.request._content_parts import PartPaths, PlacedContent, PlacedPart, content_of
from gaia_http.request._fields import check_count, invalid_at, missing_at, not_one_of
from gaia_http.request._tool_results import OpenCalls, ToolResult, attachments, tool_result

_ROLES = ("user", "assistant", "system")
_ASSISTANT = ("text", "thinking", "redacted_thinking", "tool_use")


class TranscriptReader:
    """The conversation of one request. *messages*: of the core. Raises ApiError 400; more than *most* are refused."""

    def __init__(self, request: MessagesRequest, most: int) -> None:
        sent = request.messages
        if not sent:
            words = "is missing" if sent is None else "is empty"
            raise invalid(f"messages {words}; send at least one", param="messages", code="missing_required_parameter")
        check_count("messages", len(sent), "messages", most)
        self._messages: list[Message] = []
        self._paths: list[tuple[PartPaths, ...]] = []
        self._open = OpenCalls()
        if request.system and (text := system_text(request.system, "system")):
            self._add(SystemMessage(text))
        for role, group in groupby(enumerate(sent), key=lambda pair: pair[1].role):
            self._read(role, list(group))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The transcript."""
        return tuple(self._messages)

    def paths(self, message: int, part: int) -> PartPaths:
        """Where a part of a message of the transcript stands in the request."""
        return self._paths[message][part]

    def _read(self, role: str, group: list[tuple[int, InputMessage]]) -> None:
        if role == "user":
            self._user(group)
        elif role == "assistant":
            self._assistant(group)
        elif role == "system":
            for index, message in group:
                self._add(SystemMessage(system_text(message.content, f"messages[{index}].content")))
        else:
            raise not_one_of(f"messages[{group[0][0]}].role", role, _ROLES)

    def _add(self, message: Message, content: PlacedContent = "") -> None:
        self._messages.append(message)
        self._paths.append(() if isinstance(content, str) else tuple([each.paths for each in content]))

    def _user(self, group: list[tuple[int, InputMessage]]) -> None:
        results: list[ToolResult] = []
        said: list[PlacedPart] = []
        for path, block in _blocks(group):
            if block.type == "tool_result":
                results.append(self._result(block, path))
            else:
                said += user_parts(block, path)
        for result in results:
            self._add(result.message)
        shown = joined([*attachments(results), *said])
        if shown or not results:
            self._add(UserMessage(content_of(shown)), shown)

    def _result(self, block: ContentBlock, path: str) -> ToolResult:
        call_id = self._open.answer(f"{path}.tool_use_id", block.tool_use_id)
        content = result_content(block.content, f"{path}.content")
        return tool_result(path, call_id, content, outcome="error" if block.is_error else None)

    def _assistant(self, group: list[tuple[int, InputMessage]]) -> None:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[ToolCall] = []
        for path, block in _blocks(group):
            if block.type == "text":
                texts.append(block_text(block, path, "assistant"))
            elif block.type == "thinking":
                if block.thinking and block.signature != ACTIVITY:
                    thoughts.append(block.thinking)
            elif block.type == "tool_use":
                calls.append(_call(block, path))
            elif block.type != "redacted_thinking":  # which only its author can read
                raise unsupported_block(block, path, "assistant", _ASSISTANT)
        self._open.begin(f"messages[{group[-1][0]}].content", tuple(calls))
        text = "\n\n".join(filter(None, texts))
        reasoning = "\n".join(thoughts) or None
        self._add(AssistantMessage(text if text or not calls else None, tuple(calls), reasoning_content=reasoning))


def _blocks(group: list[tuple[int, InputMessage]]) -> Iterator[tuple[str, ContentBlock]]:
    """The blocks of messages, each with its path; text alone is a block of text."""
    for index, message in group:
        path = f"messages[{index}].content"
        if isinstance(message.content, str):
            yield path, ContentBlock("text", message.content)
            continue
        if not message.content and message.role == "user":
            raise invalid(f"{path} has no blocks", param=path, code="missing_required_parameter")
        for i, block in enumerate(message.content):
            yield f"{path}[{i}]", block


def _call(block: ContentBlock, path: str) -> ToolCall:
    if not block.id:
        raise missing_at(f"{path}.id")
    if not block.name:
        raise missing_at(f"{path}.name")
    arguments = input_json(block)
    if not arguments.startswith("{"):
        raise invalid_at(f"{path}.input", "must be an object")
    return ToolCall(block.id, FunctionCall(block.name, arguments))
