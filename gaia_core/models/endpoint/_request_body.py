"""What a chat completion endpoint is sent: a `ModelRequest` as the bytes of its body."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from gaia_core.messages import wire_bytes
from gaia_core.models._protocol import ModelRequest

_ENCODE = msgspec.json.Encoder().encode


_AS_IS: Mapping[str, str] = MappingProxyType({})


def request_body(request: ModelRequest, model: str, extra: str, renamed: Mapping[str, str] = _AS_IS) -> bytes:
    """The body of *request* to the endpoint's *model*, with the further members *extra* (JSON text).

    *renamed*: members that the endpoint refuses, by name, each with the name under which it is sent ("": it is left
    out). What the operator wrote in *extra* is sent as it is.
    """
    members: dict[str, Any] = {
        "model": model,
        "messages": msgspec.Raw(b"[%b]" % b",".join(request.encoded or map(wire_bytes, request.messages))),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    sampling = request.sampling
    for name in sampling.__struct_fields__:
        if (value := getattr(sampling, name)) is not None:
            members[name] = dict(value) if name == "logit_bias" else value
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
    if extra != "{}":
        members |= msgspec.json.decode(extra)
    return _ENCODE(members)
