"""What a request says beside its messages: sampling, client tools, tool choice, response format → `TurnOptions`."""

import msgspec

from gaia_core import Agent
from gaia_core.models import ResponseFormat, Sampling
from gaia_core.turn import TurnOptions
from gaia_http._settings import Settings
from gaia_http.openai.chat._wire import ChatRequest, WireFormat, WireFunction, WireTool
from gaia_http.request._client_tools import ClientFunction, OfferedTools, offered_tools
from gaia_http.request._decoding import decode_field, given
from gaia_http.request._fields import missing_at, shortened, unsupported_at
from gaia_http.request._metadata import check_metadata
from gaia_http.request._response_format import format_of_type, schema_format
from gaia_http.request._sampling import logit_bias_of, stop_sequences, token_limit
from gaia_http.request._server_options import forwarded, reasoning_member

_UNLIMITED = -1  # what clients of local servers send for no limit (source: the examples of LM Studio and llama.cpp)


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


def options_of(
    request: ChatRequest, agent: Agent, settings: Settings, further: tuple[tuple[str, str], ...] = ()
) -> TurnOptions:
    """The options of *request* to *agent*; *further*: members that the agent's model has configured.

    Raises ApiError 400 for what can't be done.
    """
    _check(request)
    sampling = _sampling(request, further)
    offered = offered_tools(request.tools, _function, request.tool_choice, _chosen, agent, settings)
    return TurnOptions(
        sampling=sampling,
        client_tools=offered.tools,
        tool_choice=offered.choice,
        parallel_tool_calls=request.parallel_tool_calls,
        response_format=_format(request.response_format, settings),
        stream_client_calls=bool(request.stream),
    )


def _check(request: ChatRequest) -> None:
    """Refuse what an agent's turn can't do: nothing is faked, nothing is dropped silently."""
    if request.n is not None and request.n != 1:
        raise unsupported_at("n", request.n, "a turn has effects, so it is run once: send several requests")
    for path, wanted in (("logprobs", request.logprobs), ("top_logprobs", request.top_logprobs)):
        if wanted:
            raise unsupported_at(path, wanted, "an agent's answer may come from several model requests")
    for kind in request.modalities or ():
        if kind != "text":
            raise unsupported_at("modalities", shortened(kind), "agents answer in text")
    if given(request.functions) and bytes(request.functions).strip() != b"[]":
        raise unsupported_at("functions", "[…]", "send tools instead")
    check_metadata(request.metadata)


def _sampling(request: ChatRequest, further: tuple[tuple[str, str], ...]) -> Sampling:
    most = token_limit("max_tokens", request.max_tokens, unlimited=_UNLIMITED)
    if request.max_completion_tokens is not None:
        most = token_limit("max_completion_tokens", request.max_completion_tokens, unlimited=_UNLIMITED)
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        stop=stop_sequences("stop", request.stop),
        seed=request.seed,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        logit_bias=logit_bias_of(request.logit_bias),
        reasoning_effort=request.reasoning_effort,
        max_tokens=most,
        limit_name="max_tokens" if request.max_completion_tokens is None else "max_completion_tokens",
        further=(*forwarded(request), *reasoning_member(request.reasoning), *further),
    )


def unserved_tools(request: ChatRequest) -> tuple[str, ...]:
    """The tools of *request* that can't be served, each by its type."""
    return tuple(tool.type for tool in request.tools or () if tool.type != "function")


def _function(tool: WireTool, path: str) -> ClientFunction | None:
    if tool.type != "function":
        return None
    path = f"{path}.function"
    if not bytes(tool.function):
        raise missing_at(path)
    function = decode_field(tool.function, _function_decoder, path)
    return ClientFunction(
        name=function.name,
        description=function.description,
        parameters=function.parameters,
        strict=function.strict,
        name_path=f"{path}.name",
        parameters_path=f"{path}.parameters",
    )


def _chosen(raw: msgspec.Raw, offered: OfferedTools) -> OfferedTools:
    choice = decode_field(raw, _choice_decoder, "tool_choice")
    if isinstance(choice, str):
        return offered.by_mode("tool_choice", choice)
    if choice.type not in ("function", "allowed_tools"):
        why = "send none, auto, required, a function or allowed_tools"
        raise unsupported_at("tool_choice", shortened(choice.type), why)
    if choice.type == "function" and choice.function is not None:
        return offered.forced("tool_choice.function.name", choice.function.name)
    path = f"tool_choice.{choice.type}"
    allowed = choice.allowed_tools
    if choice.type == "function" or allowed is None:
        raise missing_at(path)
    names = [
        (f"{path}.tools[{index}].function.name", entry.function.name)
        for index, entry in enumerate(allowed.tools)
        if entry.type == "function" and entry.function is not None
    ]
    return offered.only(names).by_mode(f"{path}.mode", allowed.mode)


def _format(wanted: WireFormat | None, settings: Settings) -> ResponseFormat | None:
    if wanted is None:
        return None
    path, sent = "response_format.json_schema", wanted.json_schema

    def schema() -> ResponseFormat:
        if sent is None:
            raise missing_at(path)
        return schema_format(
            f"{path}.schema", sent.schema, settings, name=sent.name, name_path=f"{path}.name", strict=sent.strict
        )

    return format_of_type("response_format.type", wanted.type, schema)
