"""What a request says beside its messages: sampling, client tools, tool choice, output format → `TurnOptions`."""

import attrs
import msgspec

from gaia_core import Agent
from gaia_core.models import ResponseFormat, Sampling
from gaia_core.turn import TurnOptions
from gaia_http._settings import Settings
from gaia_http.anthropic._wire import InputTool, MessagesRequest, OutputFormat, ThinkingConfig
from gaia_http.request._client_tools import ClientFunction, OfferedTools, offered_tools
from gaia_http.request._decoding import decode_field, given
from gaia_http.request._fields import invalid_at, missing_at, not_one_of, unsupported_at
from gaia_http.request._response_format import schema_format
from gaia_http.request._sampling import token_limit
from gaia_http.request._server_options import forwarded

_SERVED = (None, "custom")
_CHOICES = ("auto", "any", "tool", "none")
_THINKING = ("enabled", "disabled", "adaptive", "between_tools")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


class _ToolChoiceObject(msgspec.Struct, frozen=True):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


_choice_decoder = msgspec.json.Decoder(_ToolChoiceObject)


def options_of(request: MessagesRequest, agent: Agent, settings: Settings) -> TurnOptions:
    """The options of *request* to *agent*. Raises ApiError 400 for what can't be done."""
    parallel: list[bool] = []

    def chosen(raw: msgspec.Raw, offered: OfferedTools) -> OfferedTools:
        choice = decode_field(raw, _choice_decoder, "tool_choice")
        if choice.disable_parallel_tool_use is not None:
            parallel.append(not choice.disable_parallel_tool_use)
        return _chosen(choice, offered)

    offered = offered_tools(request.tools, _function, request.tool_choice, chosen, agent, settings)
    return TurnOptions(
        sampling=_sampling(request),
        client_tools=offered.tools,
        tool_choice=offered.choice,
        parallel_tool_calls=parallel[0] if parallel else None,
        response_format=_format(request, settings),
        stream_client_calls=bool(request.stream),
    )


def counted_options(request: MessagesRequest, agent: Agent, settings: Settings) -> TurnOptions:
    """The options as far as they change how many tokens a prompt has; `max_tokens` is not asked for there."""
    return attrs.evolve(options_of(request, agent, settings), sampling=Sampling())


def shows_thinking(thinking: ThinkingConfig | None) -> bool:
    """Whether the client wants to see what a model thinks. Raises ApiError 400 for a wrong type."""
    if thinking is None:
        return False
    if thinking.type not in _THINKING:
        raise not_one_of("thinking.type", thinking.type, _THINKING)
    return thinking.type != "disabled" and thinking.display != "omitted"


def check_max_tokens(request: MessagesRequest) -> None:
    """Raise ApiError 400 where `max_tokens` is missing, which the API requires, or less than 1."""
    if request.max_tokens is None:
        raise missing_at("max_tokens", ": say how many tokens the answer may have")
    token_limit("max_tokens", request.max_tokens)


def check_thread(request: MessagesRequest) -> None:
    """Raise ApiError 400 for a request that begins or continues a thread on the server (beta `message-threads`): there
    are none here. SDKs know that code, and send the whole conversation (source: Anthropic's Python SDK, lib/threads).
    """
    if given(request.thread):
        words = "threads are not kept here: send the whole conversation, without thread"
        raise invalid_at("thread", words, "thread_unsupported_request")


def _sampling(request: MessagesRequest) -> Sampling:
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        stop=request.stop_sequences or None,
        reasoning_effort=_effort(request),
        max_tokens=request.max_tokens,
        further=forwarded(request),
    )


def unserved_tools(request: MessagesRequest) -> tuple[str, ...]:
    """The tools of *request* that can't be served, each by its type: those that Anthropic defines."""
    return tuple(tool.type for tool in request.tools or () if tool.type not in _SERVED and tool.type is not None)


def _effort(request: MessagesRequest) -> str | None:
    """`output_config.effort` in the words of chat endpoints, which know none above `high`."""
    effort = request.output_config.effort if request.output_config is not None else None
    if effort is None:
        return None
    if effort not in _EFFORTS:
        raise not_one_of("output_config.effort", effort, _EFFORTS)
    return "high" if effort in ("xhigh", "max") else effort


def _function(tool: InputTool, path: str) -> ClientFunction | None:
    if tool.type not in _SERVED:
        return None
    if tool.name is None:
        raise missing_at(f"{path}.name")
    return ClientFunction(
        name=tool.name,
        description=tool.description,
        parameters=tool.input_schema,
        strict=tool.strict,
        name_path=f"{path}.name",
        parameters_path=f"{path}.input_schema",
    )


def _chosen(choice: _ToolChoiceObject, offered: OfferedTools) -> OfferedTools:
    match choice.type:
        case "auto" | "none":
            return offered.by_mode("tool_choice.type", choice.type)
        case "any":
            return offered.by_mode("tool_choice.type", "required")
        case "tool":
            if choice.name is None:
                raise missing_at("tool_choice.name")
            return offered.forced("tool_choice.name", choice.name)
        case other:
            raise not_one_of("tool_choice.type", other, _CHOICES)


def _format(request: MessagesRequest, settings: Settings) -> ResponseFormat | None:
    config = request.output_config
    if config is not None and config.format is not None:
        return _schema(config.format, "output_config.format", settings)
    return _schema(request.output_format, "output_format", settings) if request.output_format is not None else None


def _schema(wanted: OutputFormat, path: str, settings: Settings) -> ResponseFormat:
    if wanted.type != "json_schema":
        raise unsupported_at(f"{path}.type", wanted.type, "send json_schema")
    return schema_format(f"{path}.schema", wanted.schema, settings, name="output", name_path=path)
