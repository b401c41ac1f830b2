"""What a request says beside its messages: sampling, client tools, tool choice, response format → `TurnOptions`."""

import re
import sys

import msgspec

from gaia_core import Agent, SchemaError
from gaia_core.agent import FIND_TOOLS
from gaia_core.models import ResponseFormat, Sampling, ToolChoice
from gaia_core.tools import ToolDefinition
from gaia_core.turn import READ_RESULT, TurnOptions, check_format
from gaia_http._errors import ApiError, invalid
from gaia_http._settings import Settings
from gaia_http.openai.chat._wire import ChatRequest, WireFunction, decoding_error, given, shortened

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_EMPTY_SCHEMA = b'{"type":"object","properties":{}}'
_STOPS = 4
_NO_LIMIT = -1  # what clients of local servers send for none (source: the examples of LM Studio and llama.cpp)
_DEPTH = 128  # of a tool's parameters: a model's server walks them by recursion
_METADATA = (16, 64, 512)  # pairs, characters of a key, of a value


class _Name(msgspec.Struct, frozen=True):
    name: str


class _ToolChoiceEntry(msgspec.Struct, frozen=True):
    """An element of `allowed_tools`, or a forced function."""

    type: str
    function: _Name | None = None


class _Allowed(msgspec.Struct, frozen=True):
    mode: str = "auto"
    tools: tuple[_ToolChoiceEntry, ...] = ()


class _ChoiceObject(msgspec.Struct, frozen=True):
    type: str
    function: _Name | None = None
    allowed_tools: _Allowed | None = None


_function_decoder = msgspec.json.Decoder(WireFunction)
_choice_decoder = msgspec.json.Decoder(str | _ChoiceObject)


def options_of(request: ChatRequest, agent: Agent, settings: Settings) -> TurnOptions:
    """The options of *request* to *agent*. Raises ApiError 400 for what can't be done."""
    _check(request)
    tools = _client_tools(request, agent, settings)
    choice = ToolChoice()
    if given(request.tool_choice) and agent.client_tools != "ignore":
        tools, choice = _chosen(request, tools)
    return TurnOptions(
        sampling=_sampling(request),
        client_tools=tools,
        tool_choice=choice,
        parallel_tool_calls=request.parallel_tool_calls,
        response_format=_response_format(request, settings),
    )


def _check(request: ChatRequest) -> None:
    """Refuse what an agent's turn can't do: nothing is faked, nothing is dropped in silence."""
    if request.n is not None and request.n != 1:
        raise _unsupported("n", request.n, "a turn has effects, so it is run once: send several requests")
    if request.logprobs:
        raise _unsupported("logprobs", True, "an agent's answer may come from several model requests")
    if request.top_logprobs:
        raise _unsupported(
            "top_logprobs", request.top_logprobs, "an agent's answer may come from several model requests"
        )
    for kind in request.modalities or ():
        if kind != "text":
            raise _unsupported("modalities", shortened(kind), "agents answer in text")
    if given(request.functions) and bytes(request.functions).strip() != b"[]":
        raise _unsupported("functions", "[…]", "it is the first form of tools: send tools")
    if isinstance(request.stop, tuple) and len(request.stop) > _STOPS:
        raise invalid(
            f"stop has {len(request.stop)} sequences; at most {_STOPS} are taken",
            param="stop",
            code="array_above_max_length",
        )
    for name in ("max_tokens", "max_completion_tokens"):
        value = getattr(request, name)
        if value is not None and value < 1 and value != _NO_LIMIT:
            raise invalid(f"{name}: {value} is less than 1", param=name, code="integer_below_min_value")
    check_metadata(request.metadata)


def check_metadata(metadata: dict[str, str] | None) -> None:
    """Raise ApiError 400 for metadata beyond its bounds."""
    pairs, key_chars, value_chars = _METADATA
    if metadata is None:
        return
    if len(metadata) > pairs:
        raise invalid(f"metadata has more than {pairs} pairs", param="metadata")
    for key, value in metadata.items():
        if len(key) > key_chars or len(value) > value_chars:
            raise invalid(
                f"metadata: a key may have {key_chars} characters and a value {value_chars}, "
                f"which {shortened(key, 30)!r} has not",
                param="metadata",
            )


def _unsupported(param: str, value: object, why: str) -> ApiError:
    return invalid(f"{param}: {value!r} is not supported: {why}", param=param, code="unsupported_value")


def _sampling(request: ChatRequest) -> Sampling:
    most = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    bias = request.logit_bias
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        stop=request.stop,
        seed=request.seed,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        logit_bias=tuple(sorted(bias.items())) if bias else None,
        reasoning_effort=request.reasoning_effort,
        max_tokens=most if most != _NO_LIMIT else None,
    )


# Client tools.


def _client_tools(request: ChatRequest, agent: Agent, settings: Settings) -> tuple[ToolDefinition, ...]:
    """The client's functions as definitions; tools of other types are ignored."""
    if not request.tools or agent.client_tools == "ignore":
        return ()
    if len(request.tools) > settings.max_tools:
        raise invalid(
            f"tools has {len(request.tools)} tools; at most {settings.max_tools} are taken",
            param="tools",
            code="array_above_max_length",
        )
    definitions: dict[str, ToolDefinition] = {}
    for index, tool in enumerate(request.tools):
        if tool.type != "function":
            continue
        path = f"tools[{index}].function"
        definition = _definition(bytes(tool.function), path, settings.max_schema_bytes)
        if _is_taken(definition.name, agent):
            raise invalid(
                f"{path}.name: the agent {agent.name!r} has a tool {definition.name!r} of its own; rename yours",
                param=f"{path}.name",
                code="tool_name_taken",
            )
        if definition.name in definitions:
            raise invalid(f"{path}.name: two tools are called {definition.name!r}", param=f"{path}.name")
        definitions[definition.name] = definition
    if definitions and agent.client_tools == "reject":
        raise invalid(
            f"the agent {agent.name!r} takes no tools of a client; send none",
            param="tools",
            code="unsupported_value",
        )
    return tuple(definitions.values())


def _is_taken(name: str, agent: Agent) -> bool:
    """Whether *agent*'s model may be sent a tool of that name: one of the agent's, or what a turn adds to them."""
    if name == FIND_TOOLS and agent.search is not None:
        return True
    return name in agent.tools or (name == READ_RESULT and len(agent.tools) > 0)


def _definition(raw: bytes, path: str, most: int) -> ToolDefinition:
    if not raw:
        raise invalid(f"{path} is missing", param=path, code="missing_required_parameter")
    try:
        function = _function_decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise decoding_error(error, raw, path) from None
    if not _NAME.match(function.name):
        raise invalid(
            f"{path}.name: {shortened(function.name)!r} must be 1 to 64 letters, digits, '_' or '-'",
            param=f"{path}.name",
            code="invalid_value",
        )
    parameters = bytes(function.parameters) if given(function.parameters) else _EMPTY_SCHEMA
    if not parameters.startswith(b"{"):
        raise invalid(f"{path}.parameters: a JSON schema is an object", param=f"{path}.parameters")
    if len(parameters) > most:
        raise invalid(
            f"{path}.parameters has {len(parameters)} bytes; at most {most} are taken", param=f"{path}.parameters"
        )
    if parameters.count(b"{") + parameters.count(b"[") > _DEPTH and depth_of(parameters) > _DEPTH:
        raise invalid(f"{path}.parameters is nested deeper than {_DEPTH} levels", param=f"{path}.parameters")
    # Encoded here and not by the core's `define`, so that `strict` reaches the model.
    fields: dict[str, object] = {"name": function.name}
    if function.description is not None:
        fields["description"] = function.description
    fields["parameters"] = msgspec.Raw(parameters)
    if function.strict is not None:
        fields["strict"] = function.strict
    encoded = msgspec.json.encode({"type": "function", "function": fields})
    return ToolDefinition(function.name, function.description or "", parameters, encoded)


def depth_of(document: bytes) -> int:
    """How deep the JSON *document* is nested."""
    try:
        deepest, level = 0, [msgspec.json.decode(document)]
    except RecursionError:
        return sys.getrecursionlimit()
    while level := [
        item
        for value in level
        if isinstance(value, dict | list)
        for item in (value.values() if isinstance(value, dict) else value)
    ]:
        deepest += 1
    return deepest


def _chosen(request: ChatRequest, tools: tuple[ToolDefinition, ...]) -> tuple[tuple[ToolDefinition, ...], ToolChoice]:
    """The client's tools that `tool_choice` leaves, and what it says of them; the agent's own are not its business."""
    raw = bytes(request.tool_choice)
    try:
        choice = _choice_decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise decoding_error(error, raw, "tool_choice") from None
    if isinstance(choice, str):
        return _by_mode(choice, tools, "tool_choice")
    if choice.type == "function" and choice.function is not None:
        return tools, ToolChoice("required", _known(choice.function.name, tools, "tool_choice.function.name"))
    if choice.type == "allowed_tools" and choice.allowed_tools is not None:
        allowed = frozenset(
            _known(item.function.name, tools, f"tool_choice.allowed_tools.tools[{index}].function.name")
            for index, item in enumerate(choice.allowed_tools.tools)
            if item.type == "function" and item.function is not None
        )
        kept = tuple(tool for tool in tools if tool.name in allowed)
        return _by_mode(choice.allowed_tools.mode, kept, "tool_choice.allowed_tools.mode")
    if choice.type in ("function", "allowed_tools"):
        param = f"tool_choice.{choice.type}"
        raise invalid(f"{param} is missing", param=param, code="missing_required_parameter")
    raise invalid(
        f"tool_choice: the type {shortened(choice.type)!r} is not supported; "
        "send none, auto, required, a function or allowed_tools",
        param="tool_choice",
        code="unsupported_value",
    )


def _by_mode(mode: str, tools: tuple[ToolDefinition, ...], param: str) -> tuple[tuple[ToolDefinition, ...], ToolChoice]:
    if mode == "none":
        return (), ToolChoice()
    if mode == "auto":
        return tools, ToolChoice()
    if mode == "required":
        if not tools:
            words = f"{param}: 'required', but there are no tools to choose from"
            raise invalid(words, param=param, code="invalid_value")
        return tools, ToolChoice("required")
    raise invalid(f"{param}: {shortened(mode)!r} is not one of none, auto, required", param=param, code="invalid_value")


def _known(name: str, tools: tuple[ToolDefinition, ...], param: str) -> str:
    if any(tool.name == name for tool in tools):
        return name
    raise invalid(f"{param}: there is no tool {shortened(name)!r} in tools", param=param, code="invalid_value")


# Response format.


def _response_format(request: ChatRequest, settings: Settings) -> ResponseFormat | None:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type not in ("json_object", "json_schema"):
        raise invalid(
            f"response_format.type: {shortened(wanted.type)!r} is not one of text, json_object, json_schema",
            param="response_format.type",
            code="invalid_value",
        )
    if wanted.type == "json_object":
        return ResponseFormat("json_object")
    schema = wanted.json_schema
    if schema is None:
        param = "response_format.json_schema"
        raise invalid(f"{param} is missing", param=param, code="missing_required_parameter")
    return schema_format(
        bytes(schema.schema) if given(schema.schema) else b"{}",
        schema.name,
        schema.strict,
        settings,
        "response_format.json_schema",
    )


def schema_format(schema: bytes, name: str, strict: bool | None, settings: Settings, path: str) -> ResponseFormat:
    """The form of one *schema* (JSON). Raises ApiError 400 for one that can't be checked, at *path*."""
    if not _NAME.match(name):
        raise invalid(
            f"{path}.name: {shortened(name)!r} must be 1 to 64 letters, digits, '_' or '-'",
            param=f"{path}.name",
            code="invalid_value",
        )
    param = f"{path}.schema"
    if len(schema) > settings.max_schema_bytes:
        raise invalid(f"{param} has {len(schema)} bytes; at most {settings.max_schema_bytes} are taken", param=param)
    wanted = ResponseFormat("json_schema", schema, name, strict)
    try:
        check_format(wanted)
    except SchemaError as error:
        raise invalid(f"{param}: {error}", param=param, code="invalid_json_schema") from None
    return wanted
