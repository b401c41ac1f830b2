"""What a chat completion endpoint is sent: a `ModelRequest` as the bytes of its body."""

import hmac
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from gaia_core.messages import AssistantMessage, wire_bytes
from gaia_core.models._protocol import ModelRequest, Sampling

SendReasoning: TypeAlias = Literal["as_received", "reasoning_content", "reasoning", "off"]
"""The field in which a model's reasoning is sent back within a turn's tool loop: that in which it came, this one, or
none."""

_ENCODE = msgspec.json.Encoder().encode


_AS_IS: Mapping[str, str] = MappingProxyType({})
_OWN_MEMBERS = frozenset(("limit_name", "further"))


def request_body(
    request: ModelRequest,
    model: str,
    extra: str,
    renamed: Mapping[str, str] = _AS_IS,
    *,
    local: bool = True,
    reasoning: SendReasoning = "as_received",
    salt: str = "",
) -> bytes:
    """The body of *request* to the endpoint's *model*, with the further members *extra* (JSON text).

    *renamed*: members that the endpoint refuses, by name, each with the name under which it is sent ("": it is left
    out). What the operator wrote in *extra* is sent as it is. A limit that the client sent as `max_completion_tokens`
    keeps that name. A *local* server gets it as `max_tokens` too, since some know only that (source: Ollama's
    ChatCompletionRequest); OpenAI refuses both together. *reasoning*: the field for what the request sends back of the
    model's reasoning. *salt*: sent as `cache_salt`, if there is one.
    """
    members: dict[str, Any] = {
        "model": model,
        "messages": msgspec.Raw(b"[%b]" % b",".join(_messages(request, reasoning))),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    members |= _sampling_members(request.sampling, local=local)
    if request.tools:
        members["tools"] = msgspec.Raw(b"[%b]" % b",".join([tool.encoded for tool in request.tools]))
        choice = request.tool_choice
        if choice.name is not None:
            members["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
        elif choice.mode != "auto":
            members["tool_choice"] = choice.mode
        if request.parallel_tool_calls is not None:
            members["parallel_tool_calls"] = request.parallel_tool_calls
    if (form := request.response_format) is not None:
        members["response_format"] = {"type": form.type}
        if form.type == "json_schema":
            schema: dict[str, Any] = {"name": form.name, "schema": msgspec.Raw(form.schema)}
            members["response_format"]["json_schema"] = (
                schema if form.strict is None else {**schema, "strict": form.strict}
            )
    for old, new in renamed.items():
        if old in members:
            value = members.pop(old)
            if new:
                members[new] = value
    if salt:
        members["cache_salt"] = salt
    if extra != "{}":
        members |= msgspec.json.decode(extra)
    return _ENCODE(members)


def cache_salt(owner: str, secret: str | None) -> str:
    """The `cache_salt` of *owner*'s requests: the same in every process, and no way back to the owner. *secret* is the
    endpoint's key: who knows the owners' names but not that can't make it."""
    return hmac.digest((secret or "").encode(), b"gaia cache salt\0" + owner.encode(), "sha256").hex()


def _messages(request: ModelRequest, reasoning: SendReasoning) -> Sequence[bytes]:
    if not request.encoded:
        return [wire_bytes(message) for message in request.messages]
    if reasoning == "as_received":
        return request.encoded
    sent = list(request.encoded)
    for index, message in enumerate(request.messages):
        if type(message) is AssistantMessage and message.reasoning_content:
            plain = wire_bytes(message)
            if reasoning == "off":
                sent[index] = plain
            elif sent[index] != plain:
                sent[index] = wire_bytes(replace(message, reasoning_field=reasoning), reasoning=True)
    return sent


def _sampling_members(sampling: Sampling, *, local: bool) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name in sampling.__struct_fields__:
        if (value := getattr(sampling, name)) is not None and name not in _OWN_MEMBERS:
            members[name] = dict(value) if name == "logit_bias" else value
    if sampling.limit_name != "max_tokens" and sampling.max_tokens is not None:
        members[sampling.limit_name] = sampling.max_tokens
        if not local:
            del members["max_tokens"]
    for name, value in sampling.further:
        members[name] = msgspec.Raw(value.encode())
    return members
