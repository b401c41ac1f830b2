"""Repair: answers that are nearly right tool calls, made right. Never invents a call.

| nearly right | becomes |
|---|---|
| the whole text is one call, or a list of them, in JSON; bare, fenced, or in `<tool_call>` tags | tool calls |
| arguments that are `null`, empty, or an object written twice as JSON | an object |
| arguments that are almost JSON | JSON (json-repair) |
| a name in another case, or with `-` for `_` | the tool's name |
| a call that `length` cut off | is left out, and the answer ends by `length` |
"""

import re
from typing import Any

import msgspec

from gaia_core.errors import NestingError
from gaia_core.events import FinishReason
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall
from gaia_core.nesting import MAX_NESTING, decode_json
from gaia_core.tools import ToolDefinition

_LANGUAGE = re.compile(r"\A[A-Za-z_]*")
_TAG, _TAG_END = "<tool_call>", "</tool_call>"
_BRACKET = re.compile(r"[\[\]{}]")
# json-repair takes 5 µs a character, and seconds for what opens thousands of brackets; meanwhile nothing else runs.
_MAX_MENDED_CHARS = 50_000
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
    if finish == "length" and not _is_object(calls[-1].arguments):
        calls = calls[:-1]  # the call that was being written
    repaired = tuple(
        ToolCall(call.id, FunctionCall(_offered(call.name, tools) or call.name, _arguments(call.arguments)))
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
    return any(tool.name == name for tool in tools) and _is_object(call.function.arguments)


def _calls_in(text: str, tools: tuple[ToolDefinition, ...]) -> tuple[ToolCall, ...]:
    """The calls that *text* is, wholly; none when any part of it is something else."""
    found: list[Any] = []
    for part in _parts(text):
        values = _values(part)
        if values is None:
            return ()
        for value in map(_decoded, values):
            found += value if isinstance(value, list) else [value]
    calls = [_call(item, tools) for item in found]
    return tuple(call for call in calls if call is not None) if all(calls) else ()


def _parts(text: str) -> tuple[str, ...]:
    """What stands in *text*'s tags or fence, or *text* itself; none when it can be no call."""
    if text.startswith(_TAG):
        pairs = [piece.partition(_TAG_END) for piece in text.split(_TAG)[1:]]
        return () if any(rest.strip() for *_, rest in pairs) else tuple(inside for inside, *_ in pairs)
    if text.startswith("```"):
        return (_LANGUAGE.sub("", text[3:].removesuffix("```"), count=1),)
    return (text,) if text.startswith(("{", "[")) else ()


def _values(text: str) -> list[str] | None:
    """The objects and arrays of *text*, well made or not; None when something stands before, between or after them.

    json-repair would pass over that, and a text *about* a call would become one.
    """
    values: list[str] = []
    depth = start = 0
    quoted = escaped = False
    for index, character in enumerate(text):
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"' and depth:
            quoted = True
        elif character in "{[":
            start = start if depth else index
            depth += 1
        elif character in "}]":
            if depth == 1:
                values.append(text[start : index + 1])
            depth = max(0, depth - 1)
        elif not depth and not (character.isspace() or character in ",;"):
            return None
    return [*values, text[start:]] if depth else values


def _call(item: Any, tools: tuple[ToolDefinition, ...]) -> ToolCall | None:
    if not isinstance(item, dict):
        return None
    inner = item.get("function")
    if isinstance(inner, dict):
        item = inner
    name = next((item[key] for key in _NAMES if isinstance(item.get(key), str)), None)
    offered = _offered(name, tools) if name is not None else None
    if offered is None or not set(item) <= {*_NAMES, *_ARGUMENTS, "id", "type"}:
        return None
    arguments: Any = next((item[key] for key in _ARGUMENTS if key in item), {})
    text = arguments if isinstance(arguments, str) else _encoded(arguments)
    return None if text is None else ToolCall("", FunctionCall(offered, _arguments(text)))


def _offered(name: str, tools: tuple[ToolDefinition, ...]) -> str | None:
    """The offered tool that *name* means: itself, or the only one that is written alike."""
    if any(tool.name == name for tool in tools):
        return name
    plain = _plain(name)
    alike = [tool.name for tool in tools if _plain(tool.name) == plain]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").removeprefix("functions.")


def _arguments(text: str) -> str:
    """*text* as the JSON object that it means; as it is when it means none: validation then says what is wrong."""
    if _is_object(text):
        return text
    if text.strip() in ("", "null", '""', '"null"'):
        return "{}"
    try:
        value = decode_json(text)
    except (msgspec.DecodeError, UnicodeError):
        return _mended(text)
    return value if isinstance(value, str) and _is_object(value) else text


def _is_object(text: str) -> bool:
    try:
        decode_json(text, dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True


def _mended(text: str) -> str:
    value = _decoded(text)
    return (_encoded(value) if isinstance(value, dict) and value else None) or text


def _encoded(value: Any) -> str | None:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, UnicodeError):  # half a surrogate pair, a name that is no text
        return None


def _decoded(text: str) -> Any:
    try:
        return decode_json(text)
    except NestingError:
        return None
    except (msgspec.DecodeError, UnicodeError):
        pass
    if len(text) > _MAX_MENDED_CHARS or _depth(text) > MAX_NESTING:
        return None
    import json_repair  # noqa: PLC0415  # only for what is broken

    try:
        return json_repair.loads(text, skip_json_loads=True)
    except Exception:  # noqa: BLE001  # on some texts the library itself fails, by AssertionError for one
        return None


def _depth(text: str) -> int:
    """How deep the brackets of *text* are nested at most; those in strings count as well."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest
