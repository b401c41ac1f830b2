"""Items of a request's input → messages of the core. Nothing is lost, and what can't be kept is refused.

| item | becomes |
|---|---|
| message | a message of its role; an assistant's `phase` is kept with the item, models' servers have no field for it |
| function_call, custom_tool_call, mcp_call | calls of one assistant message: those of a step, see below |
| function_call_output, custom_tool_call_output | the result behind its call, here or in the stored conversation |
| images and files of such an output | a user's, behind the results: a model's server takes text from tools |
| mcp_approval_response | an answer to a turn that waits: see `_create_response` |
| item_reference | the stored item |
| compaction | the summary that `_compact` made |
| reasoning | the reasoning of the step that follows |
| mcp_list_tools, mcp_approval_request, calls of a host's own search tools | kept, not sent to a model |

The calls of a step are one assistant message, as they were when the model made them, so that what it is sent begins
with what it was sent before. A new step begins with a message, with reasoning, and with a call behind a result, unless
its id says that it comes from the same response. An mcp_call has its result with it, and an id that says in which step
of the turn the model made it, and under which id.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress

import attrs
import msgspec

from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    Message,
    RefusalPart,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from gaia_http._errors import ApiError, invalid
from gaia_http._settings import Settings
from gaia_http.openai.responses._ids import Ref, parse_item
from gaia_http.openai.responses.input._compaction_item import summary_of
from gaia_http.openai.responses.input._content import message_content, reasoning_of, result_content
from gaia_http.openai.responses.input._wire import WireItem, decode_text
from gaia_http.request._content_parts import PartPaths, PlacedContent, content_of
from gaia_http.request._decoding import check_nested_json, given
from gaia_http.request._fields import check_count, invalid_at, missing_at, not_one_of, shortened
from gaia_http.request._tool_results import ToolResult, attachments, tool_result

_KEPT = frozenset(
    (
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
_PHASES = ("commentary", "final_answer")
_ROLES = ("assistant", "developer", "system", "user")


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
            raise missing_at(f"{param}.approval_request_id")
        if item.approve is None:
            raise missing_at(f"{param}.approve")
        found.append(Approval(item.approval_request_id, item.approve, item.reason or "", param))
    return tuple(found)


@attrs.frozen
class InputMessages:
    """What an input says: *messages*, and of each its item and where the parts of its content stand in the request."""

    messages: tuple[Message, ...]
    items: tuple[str | None, ...]
    """The path of the first item of each message; None: it has the images and files of results."""
    paths: tuple[tuple[PartPaths, ...], ...]

    def part_paths(self, message: int, part: int) -> PartPaths:
        """Where a part stands; see `PathsOfParts`."""
        return self.paths[message][part]


def read_items(
    items: Sequence[WireItem], settings: Settings, waiting: Iterable[str] = (), *, param: str = "input"
) -> InputMessages:
    """*items* as messages. *waiting*: the client's calls of the stored conversation that have no result yet.

    Raises ApiError 400, whose `param` is the path of the item at fault.
    """
    check_count(param, len(items), "items", settings.max_messages)
    reading = _ItemReading(items, tuple(waiting), param)
    reading.read()
    return InputMessages(tuple(reading.messages), tuple(reading.sources), tuple(reading.paths))


@attrs.frozen
class _AssistantItem:
    """An assistant's message that calls may follow. *path*: of the item that it begins with."""

    path: str
    content: PlacedContent | None = None
    refusal: str | None = None


class _ItemReading:
    """One input while it is read."""

    def __init__(self, items: Sequence[WireItem], waiting: tuple[str, ...], param: str) -> None:
        self._items = items
        self._waiting = waiting
        self._param = param
        self._open: _AssistantItem | None = None
        self._calls: list[ToolCall] = []
        self._results: dict[str, ToolResult] = {}
        """Results whose calls were not met yet, by their ids."""
        self._behind: list[ToolResult] = []
        """The results of *_calls*."""
        self._call_ids: set[str] = set()
        """The ids of the calls since the last message."""
        self._answered = False
        """Whether a result stands behind one of *_calls* in the input."""
        self._response: Ref | None = None
        """The response from which the first of *_calls* comes, where its id says so."""
        self._step: tuple[str, int] | None = None
        """The turn and the step in which the model made the first of *_calls*, where its id says so."""
        self._indices: dict[str, tuple[bool, int]] = {}
        """By the id of each of *_calls* whether the client ran it, and where it stood in its step, where that is
        known."""
        self._reasoning = ""
        """The reasoning of the step that is read or follows."""
        self.messages: list[Message] = []
        self.sources: list[str | None] = []
        self.paths: list[tuple[PartPaths, ...]] = []

    def read(self) -> None:
        """Read all items."""
        self._collect_results()
        for index, item in enumerate(self._items):
            self._take(item, f"{self._param}[{index}]")
        self._close()
        for call_id, result in self._results.items():
            raise invalid_at(f"{result.path}.call_id", f"{shortened(call_id)!r} is not a call that waits for a result")

    def _collect_results(self) -> None:
        for index, item in enumerate(self._items):
            if item.type not in _OUTPUTS:
                continue
            path = f"{self._param}[{index}]"
            if not item.call_id:
                raise missing_at(f"{path}.call_id")
            if item.call_id in self._results:
                raise invalid_at(f"{path}.call_id", f"the call {shortened(item.call_id)!r} already has a result")
            content = result_content(item.output, f"{path}.output")
            self._results[item.call_id] = tool_result(path, item.call_id, content)
        self._add_results([self._results.pop(call_id) for call_id in self._waiting if call_id in self._results])

    def _add(self, path: str | None, message: Message, content: PlacedContent = "") -> None:
        self.messages.append(message)
        self.sources.append(path)
        self.paths.append(() if isinstance(content, str) else tuple([each.paths for each in content]))

    def _add_results(self, results: Sequence[ToolResult]) -> None:
        """Results, right behind their calls; what they have beside text is shown as a user's."""
        for result in results:
            self._add(result.path, result.message)
        if shown := attachments(results):
            self._add(None, UserMessage(content_of(shown)), shown)

    def _take(self, item: WireItem, path: str) -> None:
        kind = item.type or "message"
        if kind in _KEPT:
            return
        if kind in _OUTPUTS:
            self._answered = bool(self._calls)
            return
        if kind == "reasoning":
            self._close()
            self._reasoning = "\n\n".join(text for text in (self._reasoning, reasoning_of(item)) if text)
            return
        if kind in _CALLS:
            self._call(kind, item, path)
        elif kind == "message":
            self._message(item, path)
        elif kind == "compaction":
            self._close()
            self._call_ids.clear()
            self._add(path, UserMessage(summary_of(item.encrypted_content, f"{path}.encrypted_content")))
        else:
            raise invalid_at(f"{path}.type", f"items of type {shortened(kind)!r} are not accepted", "unsupported_value")

    def _message(self, item: WireItem, path: str) -> None:
        role = item.role
        if role not in _ROLES:
            words = f"{shortened(role)!r} is not one of" if role is not None else "is missing; it is one of"
            raise invalid(f"{path}.role {words} {', '.join(_ROLES)}", param=f"{path}.role", code="invalid_value")
        if role == "assistant" and item.phase is not None and item.phase not in _PHASES:
            raise not_one_of(f"{path}.phase", item.phase, _PHASES)
        content = message_content(item.content, f"{path}.content", role)
        self._close()
        self._call_ids.clear()
        if role != "assistant":
            self._reasoning = ""
        if role == "assistant":
            self._open = _assistant_item(path, content)
            return
        if content == ():
            raise _no_parts(path)
        kind = UserMessage if role == "user" else SystemMessage if role == "system" else DeveloperMessage
        self._add(path, kind(content_of(content)), content)

    def _call(self, kind: str, item: WireItem, path: str) -> None:
        id_field = "id" if kind == "mcp_call" else "call_id"
        made = parse_item(item.id) if item.id else None
        place = made.call if made is not None else None
        call_id = item.call_id if kind != "mcp_call" else place.call_id if place is not None else item.id
        if not call_id:
            raise missing_at(f"{path}.{id_field}")
        if not item.name:
            raise missing_at(f"{path}.name")
        response = made.response if made is not None and (kind != "mcp_call" or place is not None) else None
        step = (made.response.turn, place.step) if made is not None and place is not None else None
        if self._begins_step(response, step):
            self._close()
        if not self._calls:
            self._response, self._step = response, step
        if place is not None:
            self._indices[call_id] = (kind != "mcp_call", place.index)
        if call_id in self._call_ids:
            raise invalid_at(path, f"two calls have the id {shortened(call_id)!r}")
        self._call_ids.add(call_id)
        if kind == "custom_tool_call":
            arguments = msgspec.json.encode({"input": decode_text(item.input, f"{path}.input")}).decode()
        else:
            arguments = decode_text(item.arguments, f"{path}.arguments")
            check_nested_json(arguments, f"{path}.arguments")
        if kind == "mcp_call":
            failed = given(item.error) and not given(item.output)
            content = _call_result(item, path)
            self._behind.append(tool_result(path, call_id, content, outcome="error" if failed else None))
            self._answered = True
        elif (result := self._results.pop(call_id, None)) is not None:
            self._behind.append(result)
        self._calls.append(ToolCall(call_id, FunctionCall(item.name, arguments)))
        self._open = self._open or _AssistantItem(path)

    def _begins_step(self, response: Ref | None, step: tuple[str, int] | None) -> bool:
        """Whether a call that comes from there belongs to another step than those before it."""
        if not self._calls:
            return False
        if step is not None and self._step is not None:
            return step != self._step
        return self._answered and (response is None or response != self._response)

    def _close(self) -> None:
        """End the assistant's message: its calls, and their results right behind."""
        if self._open is None:
            return
        if len(self._indices) == len(self._calls):  # items stand in the order in which calls began to run
            self._calls.sort(key=lambda call: self._indices[call.id][1])
            self._behind.sort(key=lambda result: self._indices[result.message.tool_call_id])
        content, calls = self._open.content, tuple(self._calls)
        if content == () and not calls:
            raise _no_parts(self._open.path)
        if calls and not content:
            content = None
        said = content_of(content) if content is not None else None
        message = AssistantMessage(said, calls, refusal=self._open.refusal, reasoning_content=self._reasoning or None)
        self._add(self._open.path, message, content or "")
        self._add_results(self._behind)
        self._open, self._calls, self._behind, self._indices = None, [], [], {}
        self._answered, self._reasoning = False, ""


def _assistant_item(path: str, content: PlacedContent) -> _AssistantItem:
    """An assistant's message with that *content*; one of nothing but refusals says these beside its content."""
    if content and not isinstance(content, str):
        refusals = [each.part.refusal for each in content if isinstance(each.part, RefusalPart)]
        if len(refusals) == len(content):
            return _AssistantItem(path, None, "".join(refusals))
    return _AssistantItem(path, content)


def _no_parts(item: str) -> ApiError:
    path = f"{item}.content"
    return invalid(f"{path} has no parts", param=path, code="missing_required_parameter")


class _ErrorText(msgspec.Struct, tag="text"):
    text: str


class _CallError(msgspec.Struct, tag="mcp_tool_execution_error"):
    content: list[_ErrorText]


def _call_result(item: WireItem, path: str) -> str:
    """The result of an mcp_call for the model: its output, or its error."""
    if given(item.output):
        return decode_text(item.output, f"{path}.output")
    if given(item.error):
        with suppress(msgspec.ValidationError):  # in the form in which this server gave it
            return "\n".join(block.text for block in msgspec.json.decode(item.error, type=_CallError).content)
        return f"Error: {bytes(item.error).decode('utf-8', 'replace')}"
    return "The call has no result."


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
