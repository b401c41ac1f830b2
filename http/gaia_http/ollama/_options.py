"""What a request says beside its messages: sampling, client tools, format → `TurnOptions`."""

import msgspec

from gaia_core import Agent
from gaia_core.models import ResponseFormat, Sampling
from gaia_core.turn import TurnOptions
from gaia_http._settings import Settings
from gaia_http.ollama._wire import ModelOptions, OllamaRequest, OllamaTool
from gaia_http.request._client_tools import ClientFunction, OfferedTools, offered_tools
from gaia_http.request._decoding import given
from gaia_http.request._fields import missing_at, not_one_of, unsupported_at
from gaia_http.request._response_format import schema_format
from gaia_http.request._server_options import forwarded

_NO_CHOICE = msgspec.Raw(b"")
_SERVED = (None, "function")
_LEVELS = ("low", "medium", "high")


def options_of(
    request: OllamaRequest, tools: tuple[OllamaTool, ...] | None, agent: Agent, settings: Settings
) -> TurnOptions:
    """The options of *request* to *agent*. Raises ApiError 400 for what can't be done."""
    if request.logprobs:
        raise unsupported_at("logprobs", request.logprobs, "an agent's answer may come from several model requests")
    offered = offered_tools(tools, _function, _NO_CHOICE, _unchosen, agent, settings)
    return TurnOptions(
        sampling=_sampling(request.options or ModelOptions(), request.think),
        client_tools=offered.tools,
        response_format=_format(request.format, settings),
    )


def shows_thinking(request: OllamaRequest) -> bool:
    """Whether the client is shown what a model thinks: unless it says no, as Ollama has it."""
    return request.think is not False


def _sampling(options: ModelOptions, think: bool | str | None) -> Sampling:
    if isinstance(think, str) and think not in _LEVELS:
        raise not_one_of("think", think, ("true", "false", *_LEVELS))
    most = options.num_predict
    return Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        stop=options.stop or None,
        seed=options.seed,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        reasoning_effort=think if isinstance(think, str) else None,
        max_tokens=most if most is not None and most > 0 else None,  # -1: no limit, -2: what fits
        further=forwarded(options, "options."),
    )


def unserved_tools(tools: tuple[OllamaTool, ...] | None) -> tuple[str, ...]:
    """Those of *tools* that can't be served, each by its type."""
    return tuple(tool.type for tool in tools or () if tool.type not in _SERVED and tool.type is not None)


def _function(tool: OllamaTool, path: str) -> ClientFunction | None:
    function = tool.function
    if tool.type not in _SERVED:
        return None
    if function is None:
        raise missing_at(f"{path}.function")
    at = f"{path}.function"
    return ClientFunction(
        name=function.name,
        description=function.description,
        parameters=function.parameters,
        name_path=f"{at}.name",
        parameters_path=f"{at}.parameters",
    )


def _unchosen(_choice: msgspec.Raw, offered: OfferedTools) -> OfferedTools:
    return offered


def _format(sent: msgspec.Raw, settings: Settings) -> ResponseFormat | None:
    raw = bytes(sent)
    if not given(sent) or raw == b'""':
        return None
    if raw == b'"json"':
        return ResponseFormat("json_object")
    if not raw.startswith(b"{"):
        raise not_one_of("format", raw.decode().strip('"'), ("json", "a JSON schema"))
    return schema_format("format", sent, settings, name="output", name_path="format")
