"""Items of a request's input → messages of the core. Nothing is lost, and what can't be kept is refused.

| item | becomes |
|---|---|
| message | a message of its role |
| function_call, custom_tool_call, mcp_call | calls of one assistant message, with what follows without a gap |
| function_call_output, custom_tool_call_output | the result behind its call, here or in the stored conversation |
| mcp_approval_response | an answer to a turn that waits: see `_create` |
| item_reference | the stored item |
| compaction | the summary that `_compact` made |
| reasoning, mcp_list_tools, mcp_approval_request, calls of a host's own search tools | kept, not sent to a model |

Messages are read by the rules of chat completions (`_transcript`): parts, images and files have the same bounds in
both APIs.
"""

import re
from collections.abc import Iterable, Sequence

import attrs
import msgspec

from gaia_core.messages import AssistantMessage, Message, ToolMessage
from gaia_http._errors import ApiError, invalid
from gaia_http._settings import Settings
from gaia_http.openai._transcript import transcript_of
from gaia_http.openai._wire import (
    WireAudio,
    WireCall,
    WireFile,
    WireFunctionCall,
    WireImage,
    WireMessage,
    decoding_error,
    given,
    shortened,
)
from gaia_http.openai._wire import WirePart as ChatPart
from gaia_http.openai.responses._summary import summary_of
from gaia_http.openai.responses._wire import WireItem, WirePart, decode_content, decode_text

_KEPT = frozenset(
    (
        "reasoning",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "tool_search_call",
        "tool_search_output",
        "compaction_trigger",
    )
)
_OUTPUTS = frozenset(("function_call_output", "custom_tool_call_output"))
_CALLS = frozenset(("function_call", "custom_tool_call", "mcp_call"))
_ROLES = frozenset(("user", "assistant", "system", "developer"))
_TEXTS = frozenset(("input_text", "output_text", "text", "summary_text", "reasoning_text"))
_PATH = re.compile(r"messages\[(\d+)\](\.content)?")


@attrs.frozen
class Approval:
    """An `mcp_approval_response`, and its path."""

    request_id: str
    approve: bool
    reason: str
    param: str


def approvals_in(items: Sequence[WireItem]) -> tuple[Approval, ...]:
    """The answers to approvals among *items*. Raises ApiError 400 for one that is incomplete."""
    found = []
    for index, item in enumerate(items):
        if item.type != "mcp_approval_response":
            continue
        param = f"input[{index}]"
        if not item.approval_request_id:
            raise _missing(f"{param}.approval_request_id")
        if item.approve is None:
            raise _missing(f"{param}.approve")
        found.append(Approval(item.approval_request_id, item.approve, item.reason or "", param))
    return tuple(found)


@attrs.frozen
class Read:
    """What an input says: *messages*, and of each the path of its content."""

    messages: tuple[Message, ...]
    paths: tuple[str, ...]

    def place(self, message: int, part: int) -> str:
        """The path of a part, see `_parts.Place`."""
        return f"{self.paths[message]}[{part}]"


def read_items(
    items: Sequence[WireItem], settings: Settings, waiting: Iterable[str] = (), *, param: str = "input"
) -> Read:
    """*items* as messages. *waiting*: the client's calls of the stored conversation that have no result yet.

    Raises ApiError 400, whose `param` is the path of the item at fault.
    """
    if len(items) > settings.max_messages:
        raise invalid(
            f"{param} has {len(items)} items; at most {settings.max_messages} are taken",
            param=param,
            code="array_above_max_length",
        )
    reading = _Reading(items, tuple(waiting), param)
    reading.read()
    return Read(reading.messages(settings), reading.places())


class _Reading:
    """One input while it is read."""

    def __init__(self, items: Sequence[WireItem], waiting: tuple[str, ...], param: str) -> None:
        self._items = items
        self._waiting = waiting
        self._param = param
        self._wire: list[WireMessage] = []
        self._paths: list[str] = []
        self._calls: list[WireCall] = []
        self._results: dict[str, tuple[WireMessage, str]] = {}
        self._behind: dict[str, tuple[WireMessage, str]] = {}
        self._open = False

    def read(self) -> None:
        """Read all items."""
        self._collect_results()
        for index, item in enumerate(self._items):
            self._take(item, f"{self._param}[{index}]")
        self._close()
        for call_id, (_, path) in self._results.items():
            raise invalid(
                f"{path}.call_id: {shortened(call_id)!r} is no call that waits for a result",
                param=f"{path}.call_id",
                code="invalid_value",
            )

    def messages(self, settings: Settings) -> tuple[Message, ...]:
        """What was read, by the rules of chat completions."""
        if not self._wire:
            return ()
        before = 1 if self._waiting and self._wire[0].role == "tool" else 0
        wire = self._wire
        if before:  # results of the stored conversation: their calls stand before them while the rules are applied
            calls = tuple(WireCall(call_id, "function", WireFunctionCall("f", "{}")) for call_id in self._waiting)
            wire = [WireMessage("assistant", None, None, calls), *wire]
        try:
            read = transcript_of(tuple(wire), settings.max_messages * 2 + 1)
        except ApiError as error:
            raise self._at(error, before) from None
        return read[before:]

    def places(self) -> tuple[str, ...]:
        """The path of each message's content."""
        return tuple(map(self._place, range(len(self._wire))))

    def _place(self, index: int) -> str:
        return self._paths[index] + (".output" if self._wire[index].role == "tool" else ".content")

    def _at(self, error: ApiError, before: int) -> ApiError:
        """*error* with the paths of the input's items."""

        def path(found: re.Match[str]) -> str:
            index = int(found[1]) - before
            if not 0 <= index < len(self._paths):
                return self._param
            return self._place(index) if found[2] else self._paths[index]

        reply = error.reply
        param = _PATH.sub(path, reply.param) if reply.param is not None else None
        return ApiError(attrs.evolve(reply, message=_PATH.sub(path, reply.message), param=param))

    def _collect_results(self) -> None:
        for index, item in enumerate(self._items):
            path = f"{self._param}[{index}]"
            if item.type not in _OUTPUTS:
                continue
            if not item.call_id:
                raise _missing(f"{path}.call_id")
            if item.call_id in self._results:
                raise invalid(
                    f"{path}.call_id: the call {shortened(item.call_id)!r} has a result already",
                    param=f"{path}.call_id",
                    code="invalid_value",
                )
            content = _content(decode_content(item.output, f"{path}.output"), f"{path}.output")
            self._results[item.call_id] = (WireMessage("tool", content, tool_call_id=item.call_id), path)
        for call_id in self._waiting:
            if (result := self._results.pop(call_id, None)) is not None:
                self._add(*result)

    def _take(self, item: WireItem, path: str) -> None:
        kind = item.type or "message"
        if kind in _OUTPUTS or kind in _KEPT:
            return
        if kind in _CALLS:
            self._call(kind, item, path)
            return
        if kind == "message":
            self._message(item, path)
            return
        if kind == "compaction":
            self._close()
            words = summary_of(item.encrypted_content, f"{path}.encrypted_content")
            self._add(WireMessage("user", words), path)
            return
        raise invalid(
            f"{path}.type: items of type {shortened(kind)!r} are not taken",
            param=f"{path}.type",
            code="unsupported_value",
        )

    def _message(self, item: WireItem, path: str) -> None:
        if item.role not in _ROLES:
            words = f"{shortened(item.role)!r} is not one of" if item.role is not None else "is missing; it is one of"
            raise invalid(
                f"{path}.role {words} {', '.join(sorted(_ROLES))}", param=f"{path}.role", code="invalid_value"
            )
        content = _content(decode_content(item.content, f"{path}.content"), f"{path}.content")
        self._close()
        if item.role == "assistant":
            said, refusal = _without_refusal(content)
            self._add(WireMessage("assistant", said, refusal=refusal), path)
            self._open = True
            return
        self._add(WireMessage(item.role or "", content), path)

    def _call(self, kind: str, item: WireItem, path: str) -> None:
        call_id = item.call_id if kind != "mcp_call" else item.id
        if not call_id:
            raise _missing(f"{path}.{'call_id' if kind != 'mcp_call' else 'id'}")
        if not item.name:
            raise _missing(f"{path}.name")
        if any(call.id == call_id for call in self._calls):
            raise invalid(f"{path}: two calls have the id {shortened(call_id)!r}", param=path, code="invalid_value")
        if kind == "custom_tool_call":
            arguments = msgspec.json.encode({"input": decode_text(item.input, f"{path}.input")}).decode()
        else:
            arguments = decode_text(item.arguments, f"{path}.arguments")
        if kind == "mcp_call":
            self._behind[call_id] = (WireMessage("tool", _outcome(item, path), tool_call_id=call_id), path)
        elif (result := self._results.pop(call_id, None)) is not None:
            self._behind[call_id] = result
        self._calls.append(WireCall(call_id, "function", WireFunctionCall(item.name, arguments)))
        self._paths_of_calls(path)

    def _paths_of_calls(self, path: str) -> None:
        if not self._open:
            self._add(WireMessage("assistant"), path)
            self._open = True

    def _close(self) -> None:
        """End the assistant's message: its calls, and their results right behind."""
        if self._open and self._calls:
            message = self._wire[-1]
            self._wire[-1] = msgspec.structs.replace(message, tool_calls=tuple(self._calls))
            for call in self._calls:
                if (result := self._behind.pop(call.id or "", None)) is not None:
                    self._add(*result)
        self._calls = []
        self._open = False

    def _add(self, message: WireMessage, path: str) -> None:
        self._wire.append(message)
        self._paths.append(path)


def _outcome(item: WireItem, path: str) -> str:
    """What an mcp_call says to the model: its output, or its error."""
    if given(item.output):
        return decode_text(item.output, f"{path}.output")
    if given(item.error):
        return f"Error: {bytes(item.error).decode('utf-8', 'replace')}"
    return "The call has no result."


def _without_refusal(content: str | tuple[ChatPart, ...]) -> tuple[str | tuple[ChatPart, ...] | None, str | None]:
    if isinstance(content, str) or not all(part.type == "refusal" for part in content) or not content:
        return content, None
    return None, "".join(part.refusal or "" for part in content)


def _content(content: str | tuple[WirePart, ...], path: str) -> str | tuple[ChatPart, ...]:
    if isinstance(content, str):
        return content
    parts = tuple(_part(part, f"{path}[{index}]") for index, part in enumerate(content))
    if len(parts) == 1 and parts[0].type == "text" and parts[0].text is not None:
        return parts[0].text
    return parts


def _part(part: WirePart, path: str) -> ChatPart:
    kind = part.type
    if kind in _TEXTS:
        if part.text is None:
            raise _missing(f"{path}.text")
        return ChatPart("text", text=part.text)
    if kind == "input_image":
        if part.image_url is not None:
            return ChatPart("image_url", image_url=WireImage(part.image_url, part.detail))
        if part.file_id is not None:
            return ChatPart("file", file=WireFile(file_id=part.file_id))
        raise _missing(f"{path}.image_url")
    if kind == "input_file":
        if part.file_url is not None:
            raise invalid(
                f"{path}.file_url: files are not fetched; send file_data",
                param=f"{path}.file_url",
                code="unsupported_value",
            )
        return ChatPart("file", file=WireFile(part.file_data, part.file_id, part.filename))
    if kind == "input_audio" and given(part.input_audio):
        try:
            audio = msgspec.json.decode(part.input_audio, type=WireAudio)
        except msgspec.ValidationError as error:
            raise decoding_error(error, bytes(part.input_audio), f"{path}.input_audio") from None
        return ChatPart("input_audio", input_audio=audio)
    if kind == "refusal":
        return ChatPart("refusal", refusal=part.refusal)
    return ChatPart(kind)


def _missing(param: str) -> ApiError:
    return invalid(f"{param} is missing", param=param, code="missing_required_parameter")


def waiting_calls(messages: Sequence[Message]) -> tuple[str, ...]:
    """The calls of the last assistant message in *messages* that have no result behind them."""
    answered = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AssistantMessage):
            return tuple(call.id for call in message.tool_calls if call.id not in answered)
        else:
            break
    return ()
