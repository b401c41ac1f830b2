"""What a request says beside its input → `TurnOptions`, by the rules of chat completions; and its echo.

The echo is what a response object repeats of its request. Unknown types of tools are ignored.
"""

import re
from typing import Any

import attrs
import msgspec

from gaia_core import Agent
from gaia_core.turn import TurnOptions
from gaia_http._errors import ApiError, encoded, invalid
from gaia_http._settings import Settings
from gaia_http.openai.chat._options import options_of as chat_options_of
from gaia_http.openai.chat._wire import ChatRequest, WireFormat, WireSchema, given, shortened
from gaia_http.openai.chat._wire import WireTool as ChatTool
from gaia_http.openai.responses.input._wire import CreateRequest, ResponsesTool

_CUSTOM = (
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)
_LOGPROBS = "message.output_text.logprobs"
_PARAMS = (
    (re.compile(r"tools\[(\d+)\]\.function"), r"tools[\1]"),
    (re.compile(r"tool_choice\.allowed_tools\.tools\[(\d+)\]\.function"), r"tool_choice.tools[\1]"),
    (re.compile(r"tool_choice\.allowed_tools"), "tool_choice"),
    (re.compile(r"tool_choice\.function"), "tool_choice"),
    (re.compile(r"response_format\.json_schema"), "text.format"),
    (re.compile(r"response_format"), "text.format"),
)


class _Named(msgspec.Struct, frozen=True):
    type: str = ""
    name: str | None = None
    mode: str = "auto"
    tools: "tuple[_Named, ...]" = ()


_choice_decoder = msgspec.json.Decoder(str | _Named)


def options_of(request: CreateRequest, agent: Agent, settings: Settings) -> TurnOptions:
    """The options of *request* to *agent*. Raises ApiError 400 for what can't be done."""
    _check(request)
    try:
        options = chat_options_of(_as_chat(request), agent, settings)
    except ApiError as error:
        raise _renamed(error) from None
    return attrs.evolve(
        options,
        instructions=request.instructions or "",
        tool_calls=request.max_tool_calls,
    )


def _check(request: CreateRequest) -> None:
    if given(request.prompt):
        raise invalid(
            "prompt: there are no stored prompts here; send instructions", param="prompt", code="unsupported_value"
        )
    logprobs = "top_logprobs" if request.top_logprobs else "include" if _LOGPROBS in (request.include or ()) else None
    if logprobs is not None:
        raise invalid(
            f"{logprobs}: there are no logprobs: an agent's answer may come from several model requests",
            param=logprobs,
            code="unsupported_value",
        )
    for name, least in (("max_output_tokens", 1), ("max_tool_calls", 0)):
        value = getattr(request, name)
        if value is not None and value < least:
            raise invalid(f"{name}: {value} is less than {least}", param=name, code="integer_below_min_value")
    if request.truncation not in (None, "auto", "disabled"):
        raise invalid(
            f"truncation: {shortened(request.truncation or '')!r} is not one of auto, disabled",
            param="truncation",
            code="invalid_value",
        )


def _renamed(error: ApiError) -> ApiError:
    """*error* with the names that the fields have in this API."""
    reply = error.reply
    param, message = reply.param, reply.message
    for pattern, name in _PARAMS:
        param = pattern.sub(name, param) if param is not None else None
        message = pattern.sub(name, message)
    return ApiError(attrs.evolve(reply, message=message, param=param))


def _as_chat(request: CreateRequest) -> ChatRequest:
    reasoning = request.reasoning
    return ChatRequest(
        tools=tuple(map(_tool, request.tools)) if request.tools is not None else None,
        tool_choice=_choice(request),
        parallel_tool_calls=request.parallel_tool_calls,
        response_format=_format(request),
        temperature=request.temperature,
        top_p=request.top_p,
        reasoning_effort=reasoning.effort if reasoning is not None else None,
        max_completion_tokens=request.max_output_tokens,
        metadata=request.metadata,
    )


def _tool(tool: ResponsesTool) -> ChatTool:
    if tool.type not in ("function", "custom"):
        return ChatTool(tool.type)
    function: dict[str, Any] = {} if tool.name is None else {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.type == "custom":
        function["description"] = _custom_words(tool)
        function["parameters"] = msgspec.Raw(_CUSTOM)
    else:
        if given(tool.parameters):
            function["parameters"] = tool.parameters
        if tool.strict is not None:
            function["strict"] = tool.strict
    return ChatTool("function", msgspec.Raw(encoded(function)))


def _custom_words(tool: ResponsesTool) -> str:
    """What a model is told of a tool that takes free text: where that has a grammar, the grammar."""
    words = tool.description or ""
    if given(tool.format):
        wanted = msgspec.json.decode(tool.format)
        if isinstance(wanted, dict) and isinstance(grammar := wanted.get("definition"), str):
            words = f"{words}\n\nThe input follows this {wanted.get('syntax', '')} grammar:\n{grammar}".strip()
    return words


def _choice(request: CreateRequest) -> msgspec.Raw:
    """`tool_choice` in the form of chat completions. One of a hosted tool, which there is none of, is none."""
    if not given(request.tool_choice):
        return request.tool_choice
    try:
        choice = _choice_decoder.decode(request.tool_choice)
    except msgspec.ValidationError:
        return request.tool_choice  # its own error says what is wrong
    if isinstance(choice, str):
        return request.tool_choice
    if choice.type in ("function", "custom"):
        return _raw({"type": "function", "function": {"name": choice.name or ""}})
    if choice.type == "allowed_tools":
        known = frozenset(("function", "custom"))
        tools = [
            {"type": "function", "function": {"name": each.name or ""}} for each in choice.tools if each.type in known
        ]
        return _raw({"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}})
    return _raw("auto")


def _format(request: CreateRequest) -> WireFormat | None:
    wanted = request.text.format if request.text is not None else None
    if wanted is None:
        return None
    if wanted.type != "json_schema":
        return WireFormat(wanted.type)
    if wanted.name is None:
        raise invalid("text.format.name is missing", param="text.format.name", code="missing_required_parameter")
    return WireFormat("json_schema", WireSchema(wanted.name, wanted.schema, wanted.strict))


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


# The echo.


def custom_names(request: CreateRequest) -> tuple[str, ...]:
    """The names of the client's tools that take free text."""
    return tuple(tool.name for tool in request.tools or () if tool.type == "custom" and tool.name is not None)


def echo_of(request: CreateRequest) -> msgspec.Raw:
    """What the response repeats of *request*."""
    reasoning, text = request.reasoning, request.text
    form: dict[str, Any] = {"type": "text"}
    if text is not None and text.format is not None:
        form = {"type": text.format.type}
        if text.format.type == "json_schema":
            schema = text.format.schema if given(text.format.schema) else msgspec.Raw(b"{}")
            form |= {"name": text.format.name, "schema": schema, "strict": text.format.strict}
            form["description"] = text.format.description
    shown: dict[str, Any] = {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_retention": request.prompt_cache_retention,
        "reasoning": {
            "effort": reasoning.effort if reasoning is not None else None,
            "summary": reasoning.summary if reasoning is not None else None,
        },
        "safety_identifier": request.safety_identifier,
        "service_tier": request.service_tier if request.service_tier not in (None, "auto") else "default",
        "temperature": request.temperature,
        "text": {"format": form, "verbosity": (text.verbosity if text is not None else None) or "medium"},
        "tool_choice": request.tool_choice if given(request.tool_choice) else "auto",
        "tools": [_echoed(tool) for tool in request.tools or () if tool.type in ("function", "custom")],
        "top_p": request.top_p,
        "truncation": request.truncation or "disabled",
    }
    if given(request.user):
        shown["user"] = request.user
    return msgspec.Raw(encoded(shown))


def _echoed(tool: ResponsesTool) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": tool.type, "name": tool.name, "description": tool.description}
    if tool.type == "custom":
        return {**shown, "format": tool.format if given(tool.format) else {"type": "text"}}
    parameters = tool.parameters if given(tool.parameters) else None
    return {**shown, "parameters": parameters, "strict": tool.strict if tool.strict is not None else True}
