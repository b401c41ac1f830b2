"""What a request says beside its input → `TurnOptions`; and its echo.

The echo is what a response object repeats of its request. Tools of other types than a client can run are left out.
"""

from typing import Any

import msgspec

from gaia_core import Agent
from gaia_core.models import ResponseFormat, Sampling
from gaia_core.turn import TurnOptions
from gaia_http._errors import encoded
from gaia_http._settings import Settings
from gaia_http.openai.responses.input._wire import CreateRequest, ResponsesTool, WireTextFormat
from gaia_http.request._client_tools import ClientFunction, OfferedTools, offered_tools
from gaia_http.request._decoding import decode_field, given
from gaia_http.request._fields import check_least, invalid_at, missing_at, not_one_of, shortened, unsupported_at
from gaia_http.request._metadata import check_metadata
from gaia_http.request._response_format import format_of_type, schema_format
from gaia_http.request._sampling import token_limit
from gaia_http.request._server_options import forwarded

_CUSTOM = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)
_FUNCTIONS = ("function", "custom")
_TRUNCATIONS = ("auto", "disabled")
_LOGPROBS = "message.output_text.logprobs"


class _ResponsesToolChoice(msgspec.Struct, frozen=True):
    """`tool_choice` as an object: a forced tool, `allowed_tools`, or an element of that."""

    type: str = ""
    name: str | None = None
    mode: str = "auto"
    tools: "tuple[_ResponsesToolChoice, ...]" = ()


_choice_decoder = msgspec.json.Decoder(str | _ResponsesToolChoice)


def options_of(request: CreateRequest, agent: Agent, settings: Settings, *, streamed: bool = False) -> TurnOptions:
    """The options of *request* to *agent*; *streamed*: its events are sent as they come. Raises ApiError 400 for what
    can't be done."""
    _check(request)
    sampling = _sampling(request)
    offered = offered_tools(request.tools, _function, request.tool_choice, _chosen, agent, settings)
    return TurnOptions(
        sampling=sampling,
        client_tools=offered.tools,
        tool_choice=offered.choice,
        parallel_tool_calls=request.parallel_tool_calls,
        response_format=_format(request.text.format if request.text is not None else None, settings),
        instructions=request.instructions or "",
        tool_calls=request.max_tool_calls,
        stream_client_calls=streamed,
    )


def _check(request: CreateRequest) -> None:
    if given(request.prompt):
        raise invalid_at("prompt", "there are no stored prompts here; send instructions", "unsupported_value")
    logprobs = "top_logprobs" if request.top_logprobs else "include" if _LOGPROBS in (request.include or ()) else None
    if logprobs is not None:
        words = "there are no logprobs: an agent's answer may come from several model requests"
        raise invalid_at(logprobs, words, "unsupported_value")
    check_least("max_tool_calls", request.max_tool_calls, 0)
    if request.truncation is not None and request.truncation not in _TRUNCATIONS:
        raise not_one_of("truncation", request.truncation, _TRUNCATIONS)
    check_metadata(request.metadata)


def _sampling(request: CreateRequest) -> Sampling:
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        reasoning_effort=request.reasoning.effort if request.reasoning is not None else None,
        max_tokens=token_limit("max_output_tokens", request.max_output_tokens),
        further=forwarded(request),
    )


def unserved_tools(request: CreateRequest) -> tuple[str, ...]:
    """The tools of *request* that can't be served, each by its type: hosted ones."""
    return tuple(tool.type for tool in request.tools or () if tool.type not in _FUNCTIONS)


def _function(tool: ResponsesTool, path: str) -> ClientFunction | None:
    if tool.type not in _FUNCTIONS:
        return None
    if tool.name is None:
        raise invalid_at(path, "name is missing", "invalid_type")
    custom = tool.type == "custom"
    return ClientFunction(
        name=tool.name,
        description=_custom_description(tool) if custom else tool.description,
        parameters=_CUSTOM if custom else tool.parameters,
        strict=tool.strict if not custom else None,
        name_path=f"{path}.name",
        parameters_path=f"{path}.parameters",
    )


def _custom_description(tool: ResponsesTool) -> str:
    """The description, for models, of a tool that takes free text, with its grammar where it has one."""
    words = tool.description or ""
    if given(tool.format):
        wanted = msgspec.json.decode(tool.format)
        if isinstance(wanted, dict) and isinstance(grammar := wanted.get("definition"), str):
            words = f"{words}\n\nThe input follows this {wanted.get('syntax', '')} grammar:\n{grammar}".strip()
    return words


def _chosen(raw: msgspec.Raw, offered: OfferedTools) -> OfferedTools:
    """The tools that `tool_choice` leaves. Raises ApiError 400 where it forces a hosted tool: there are none here."""
    choice = decode_field(raw, _choice_decoder, "tool_choice")
    if isinstance(choice, str):
        return offered.by_mode("tool_choice", choice)
    if choice.type in _FUNCTIONS:
        return offered.forced("tool_choice.name", choice.name or "")
    if choice.type != "allowed_tools":
        raise unsupported_at("tool_choice", shortened(choice.type), "this server has no tool of that type")
    names = [
        (f"tool_choice.tools[{index}].name", entry.name or "")
        for index, entry in enumerate(choice.tools)
        if entry.type in _FUNCTIONS
    ]
    return offered.only(names).by_mode("tool_choice.mode", choice.mode)


def _format(wanted: WireTextFormat | None, settings: Settings) -> ResponseFormat | None:
    if wanted is None:
        return None
    path, name = "text.format", wanted.name

    def schema() -> ResponseFormat:
        if name is None:
            raise missing_at(f"{path}.name")
        return schema_format(
            f"{path}.schema", wanted.schema, settings, name=name, name_path=f"{path}.name", strict=wanted.strict
        )

    return format_of_type(f"{path}.type", wanted.type, schema)


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
            form |= {"name": text.format.name, "schema": schema, "strict": bool(text.format.strict)}
            if text.format.description is not None:
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
        "temperature": _number(request.temperature, 1.0),
        "text": {"format": form, "verbosity": (text.verbosity if text is not None else None) or "medium"},
        "tool_choice": request.tool_choice if given(request.tool_choice) else "auto",
        "tools": [_echoed(tool) for tool in request.tools or () if tool.type in ("function", "custom")],
        "top_p": _number(request.top_p, 1.0),
        "presence_penalty": _number(request.presence_penalty, 0.0),
        "frequency_penalty": _number(request.frequency_penalty, 0.0),
        "truncation": request.truncation or "disabled",
    }
    if given(request.prompt_cache_options):
        shown["prompt_cache_options"] = request.prompt_cache_options
    if given(request.user):
        shown["user"] = request.user
    return msgspec.Raw(encoded(shown))


def _number(sent: float | None, default: float) -> float:
    """A sampling option in the response object: a number in any case (source: Open Responses, ResponseResource). The
    *default* is OpenAI's; the model's own applies, because nothing was sent to it."""
    return sent if sent is not None else default


def _echoed(tool: ResponsesTool) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": tool.type, "name": tool.name, "description": tool.description}
    if tool.type == "custom":
        return {**shown, "format": tool.format if given(tool.format) else {"type": "text"}}
    parameters = tool.parameters if given(tool.parameters) else None
    return {**shown, "parameters": parameters, "strict": tool.strict if tool.strict is not None else True}
