"""Items of a request's input → messages of the core. Nothing is lost, and what can't be kept is refused.

| item | becomes |
|---|---|
| message | a message of its role |
| function_call, custom_tool_call, mcp_call | calls of one assistant message, with what follows without a gap |
| function_call_output, custom_tool_call_output | the result behind its call, here or in the stored conversation |
| images and files of such an output | a user's, behind the results: a model's server takes text from tools |
| mcp_approval_response | an answer to a turn that waits: see `_create_response` |
| item_reference | the stored item |
| compaction | the summary that `_compact` made |
| reasoning, mcp_list_tools, mcp_approval_request, calls of a host's own search tools | kept, not sent to a model |

Messages are read by the rules of chat completions (`_message_reader`): parts, images and files have the same bounds in
both APIs.
"""

import re
from collections.abc import Iterable, Sequence

import attrs
import msgspec

from gaia_core.messages import AssistantMessage, Message, ToolMessage
from gaia_http._errors import ApiError, invalid
from gaia_http._settings import Settings
from gaia_http.openai.chat._message_reader import transcript_of
from gaia_http.openai.chat._wire import WireCall, WireFunctionCall, WireMessage, given, shortened
from gaia_http.openai.chat._wire import WirePart as ChatPart
from gaia_http.openai.responses.input._compaction_item import summary_of
from gaia_http.openai.responses.input._content import content_of, missing_field, urls_in, with_names_of_here
from gaia_http.openai.responses.input._wire import WireItem, decode_content, decode_text

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
_ATTACHED = "Attached to the result of the call {}:"
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
            raise missing_field(f"{param}.approval_request_id")
        if item.approve is None:
            raise missing_field(f"{param}.approve")
        found.append(Approval(item.approval_request_id, item.approve, item.reason or "", param))
    return tuple(found)


@attrs.frozen
class Read:
    """What an input says: *messages*, and of each the path of its content."""

    messages: tuple[Message, ...]
    paths: tuple[str, ...]
    attached: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """Messages whose parts come from elsewhere, and the path of each part."""
    urls: frozenset[str] = frozenset()
    """The paths of files that are given by a URL."""

    def place(self, message: int, part: int) -> str:
        """The path of a part, see `_parts.Place`."""
        for index, paths in self.attached:
            if index == message:
                return paths[part]
        return f"{self.paths[message]}[{part}]"

    def of_here(self, error: ApiError) -> ApiError:
        """*error*, which one of its parts met, with the names of this API."""
        return with_names_of_here(error, self.urls)


@attrs.frozen
class _Result:
    """What a call gave: the text, and the *parts* that no tool's message may have."""

    message: WireMessage
    path: str
    parts: tuple[ChatPart, ...] = ()
    paths: tuple[str, ...] = ()


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
    reading = _ItemReading(items, tuple(waiting), param)
    reading.read()
    return Read(reading.messages(settings), reading.places(), tuple(reading.attached.items()), frozenset(reading.urls))


class _ItemReading:
    """One input while it is read."""

    def __init__(self, items: Sequence[WireItem], waiting: tuple[str, ...], param: str) -> None:
        self._items = items
        self._waiting = waiting
        self._param = param
        self._wire: list[WireMessage] = []
        self._paths: list[str] = []
        self._calls: list[WireCall] = []
        self._results: dict[str, _Result] = {}
        self._behind: dict[str, _Result] = {}
        self._open = False
        self.attached: dict[int, tuple[str, ...]] = {}
        self.urls: set[str] = set()

    def read(self) -> None:
        """Read all items."""
        self._collect_results()
        for index, item in enumerate(self._items):
            self._take(item, f"{self._param}[{index}]")
        self._close()
        for call_id, result in self._results.items():
            raise invalid(
                f"{result.path}.call_id: {shortened(call_id)!r} is no call that waits for a result",
                param=f"{result.path}.call_id",
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
        placed = ApiError(attrs.evolve(reply, message=_PATH.sub(path, reply.message), param=param))
        return with_names_of_here(placed, frozenset(self.urls))

    def _collect_results(self) -> None:
        for index, item in enumerate(self._items):
            path = f"{self._param}[{index}]"
            if item.type not in _OUTPUTS:
                continue
            if not item.call_id:
                raise missing_field(f"{path}.call_id")
            if item.call_id in self._results:
                raise invalid(
                    f"{path}.call_id: the call {shortened(item.call_id)!r} has a result already",
                    param=f"{path}.call_id",
                    code="invalid_value",
                )
            content = self._content(item.output, f"{path}.output")
            self._results[item.call_id] = _result(item.call_id, content, path)
        self._add_results([self._results.pop(call_id) for call_id in self._waiting if call_id in self._results])

    def _content(self, raw: msgspec.Raw, path: str) -> str | tuple[ChatPart, ...]:
        content = decode_content(raw, path)
        self.urls |= urls_in(content, path)
        return content_of(content, path)

    def _add_results(self, results: Sequence[_Result]) -> None:
        """Results, right behind their calls; what they have beside text is shown as a user's, as no other may."""
        for result in results:
            self._add(result.message, result.path)
        shown = [result for result in results if result.parts]
        if not shown:
            return
        parts: list[ChatPart] = []
        paths: list[str] = []
        for result in shown:
            parts += [ChatPart("text", text=_ATTACHED.format(result.message.tool_call_id)), *result.parts]
            paths += [f"{result.path}.output", *result.paths]
        self.attached[len(self._wire)] = tuple(paths)
        self._add(WireMessage("user", tuple(parts)), shown[0].path)

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
        content = self._content(item.content, f"{path}.content")
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
            raise missing_field(f"{path}.{'call_id' if kind != 'mcp_call' else 'id'}")
        if not item.name:
            raise missing_field(f"{path}.name")
        if any(call.id == call_id for call in self._calls):
            raise invalid(f"{path}: two calls have the id {shortened(call_id)!r}", param=path, code="invalid_value")
        if kind == "custom_tool_call":
            arguments = msgspec.json.encode({"input": decode_text(item.input, f"{path}.input")}).decode()
        else:
            arguments = decode_text(item.arguments, f"{path}.arguments")
        if kind == "mcp_call":
            self._behind[call_id] = _result(call_id, _outcome(item, path), path)
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
            called = [call.id or "" for call in self._calls]
            self._add_results([self._behind.pop(call_id) for call_id in called if call_id in self._behind])
        self._calls = []
        self._open = False

    def _add(self, message: WireMessage, path: str) -> None:
        self._wire.append(message)
        self._paths.append(path)


def _result(call_id: str, content: str | tuple[ChatPart, ...], path: str) -> _Result:
    """The result of a call; a model's server takes text for it and nothing else."""
    if isinstance(content, str) or all(part.type == "text" for part in content):
        return _Result(WireMessage("tool", content, tool_call_id=call_id), path)
    texts = tuple(part for part in content if part.type == "text")
    others = [(n, part) for n, part in enumerate(content) if part.type != "text"]
    message = WireMessage("tool", texts or "The result is attached.", tool_call_id=call_id)
    paths = tuple([f"{path}.output[{n}]" for n, _ in others])
    return _Result(message, path, tuple([part for _, part in others]), paths)


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
