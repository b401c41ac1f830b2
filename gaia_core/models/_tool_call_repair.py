"""Repair: answers that are nearly right tool calls, made right. Never invents a call.

| nearly right | becomes |
|---|---|
| the whole text is one call, or a list of them, in JSON; bare, fenced, or in `<tool_call>` tags | tool calls |
| the same, and the text ends before the call does | a call whose arguments are cut off: it is refused, not completed |
| arguments whose form is wrong (`_call_arguments`) | an object |
| a name in another case, or with `-` for `_` | the tool's name |
| a call that `length` cut off | is left out, and the answer ends by `length` |
"""

import re
from typing import Any

import msgspec

from gaia_core.errors import NestingError
from gaia_core.events import FinishReason
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall, is_json_object
from gaia_core.models._call_arguments import arguments_of, encoded_json, mended, says_twice, values_of, without_fence
from gaia_core.nesting import decode_json
from gaia_core.tools import ToolDefinition

_TAG, _TAG_END = "<tool_call>", "</tool_call>"
_CALL_HEAD = re.compile(
    r'\s*\[?\s*\{\s*"(?:name|function|tool|tool_name)"\s*:\s*"([^"\\]+)"\s*,\s*"(?:arguments|parameters|args|input)"\s*:'
)
_NAME_HEAD = re.compile(r'\s*\[?\s*\{\s*"(?:name|function|tool|tool_name)"\s*:\s*"([^"\\]+)"')
_NAMES = ("name", "function", "tool", "tool_name")
_BEGINS = ("{", "[", "`", "<")
_ARGUMENTS = ("arguments", "parameters", "args", "input")


def repair(
    message: AssistantMessage, finish: FinishReason, tools: tuple[ToolDefinition, ...]
) -> tuple[AssistantMessage, FinishReason]:
    """*message* and *finish* as the model meant them, given the *tools* that it was offered."""
    if message.tool_calls:
        return _repair_calls(message, finish, tools)
    if tools and isinstance(message.content, str) and finish != "length" and message.content.lstrip()[:1] in _BEGINS:
        calls = _calls_in(message.content.strip(), tools)
        if calls:
            return AssistantMessage(None, calls, reasoning_content=message.reasoning_content), "tool_calls"
    return message, finish


def _repair_calls(
    message: AssistantMessage, finish: FinishReason, tools: tuple[ToolDefinition, ...]
) -> tuple[AssistantMessage, FinishReason]:
    calls = message.tool_calls
    if finish == "tool_calls" and all(_is_right(call, tools) for call in calls):
        return message, finish
    if finish == "length" and not is_json_object(calls[-1].arguments):
        calls = calls[:-1]  # the call that was being written
    repaired = tuple(
        ToolCall(call.id, FunctionCall(offered_name(call.name, tools) or call.name, arguments_of(call.arguments)))
        for call in calls
    )
    if not repaired:
        return AssistantMessage(message.content or "", reasoning_content=message.reasoning_content), "length"
    if repaired == message.tool_calls and finish == "tool_calls":
        return message, finish
    changed = AssistantMessage(message.content, repaired, reasoning_content=message.reasoning_content)
    return changed, "tool_calls"


def _is_right(call: ToolCall, tools: tuple[ToolDefinition, ...]) -> bool:
    """Whether *call* needs no repair: most don't."""
    name = call.function.name
    return any(tool.name == name for tool in tools) and is_json_object(call.function.arguments)


def _calls_in(text: str, tools: tuple[ToolDefinition, ...]) -> tuple[ToolCall, ...]:
    """The calls that *text* is, wholly; none when any part of it is something else."""
    calls: list[ToolCall | None] = []
    for part in _parts(text):
        values, rest = values_of(part)
        for text in values:
            if says_twice(text):
                calls += _cut_off_in(text, tools)  # as a call that is refused: which of the two is meant?
                continue
            value = _decoded(text)
            calls += [_call(item, tools) for item in (value if isinstance(value, list) else [value])]
        if rest:
            calls += _cut_off_in(rest, tools)
        elif not values:
            return ()
    return tuple(call for call in calls if call is not None) if all(calls) else ()


def _parts(text: str) -> tuple[str, ...]:
    """What stands in *text*'s tags or fence, or *text* itself; none when it can be no call."""
    if text.startswith(_TAG):
        pairs = [piece.partition(_TAG_END) for piece in text.split(_TAG)[1:]]
        return () if any(rest.strip() for *_, rest in pairs) else tuple(inside for inside, *_ in pairs)
    if text.startswith("```"):
        return (without_fence(text),)
    return (text,) if text.startswith(("{", "[")) else ()


def _cut_off_in(rest: str, tools: tuple[ToolDefinition, ...]) -> list[ToolCall | None]:
    """The calls of *rest*, a value that has no end (or that says a name twice).

    Where only the outermost brackets are missing, after arguments that are whole, it is the calls. Else the last of
    them gets what was cut off as its arguments, which are refused (`problem_of`).
    """
    if rest.rstrip().endswith("}") and not is_json_object(rest):
        for missing in ("}", "}]", "]"):
            value = _decoded_strictly(rest.rstrip() + missing)
            if value is not None:
                return [_call(item, tools) for item in (value if isinstance(value, list) else [value])]
    head = _CALL_HEAD.match(rest)
    named = head or _NAME_HEAD.match(rest)
    offered = offered_name(named[1], tools) if named is not None else None
    if offered is None:
        return [None]
    whole = is_json_object(rest)
    return [ToolCall("", FunctionCall(offered, rest if head is None or whole else rest[head.end() :].strip() or rest))]


def _call(item: Any, tools: tuple[ToolDefinition, ...]) -> ToolCall | None:
    if not isinstance(item, dict):
        return None
    inner = item.get("function")
    if isinstance(inner, dict):
        item = inner
    name = next((item[key] for key in _NAMES if isinstance(item.get(key), str)), None)
    offered = offered_name(name, tools) if name is not None else None
    if offered is None or not set(item) <= {*_NAMES, *_ARGUMENTS, "id", "type"}:
        return None
    arguments: Any = next((item[key] for key in _ARGUMENTS if key in item), {})
    text = arguments if isinstance(arguments, str) else encoded_json(arguments)
    return None if text is None else ToolCall("", FunctionCall(offered, arguments_of(text)))


def offered_name(name: str, tools: tuple[ToolDefinition, ...]) -> str | None:
    """The offered tool that *name* means: itself, or the only one that is written alike."""
    if any(tool.name == name for tool in tools):
        return name
    plain = _plain(name)
    alike = [tool.name for tool in tools if _plain(tool.name) == plain]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").removeprefix("functions.")


def _decoded(text: str) -> Any:
    try:
        return decode_json(text)
    except NestingError:
        return None
    except (msgspec.DecodeError, UnicodeError):
        return mended(text)


def _decoded_strictly(text: str) -> Any:
    try:
        return decode_json(text)
    except (msgspec.DecodeError, UnicodeError):
        return None
