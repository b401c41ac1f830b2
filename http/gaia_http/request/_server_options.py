"""Members of a request that the OpenAI API does not have: which of them reach the model's server.

| members | |
|---|---|
| `top_k`, `min_p`, `repeat_penalty`, `chat_template_kwargs` | forwarded; Ollama's clients send them in `options` |
| `reasoning` | forwarded, from chat completions; Responses has a member of that name |
| those that the model's `forward` lists in gaia.toml | forwarded, from chat completions |
| those that reach into the server: its slots, caches, templates, adapters, processors | 400 |
| any other | ignored |

Sources: the request members of llama.cpp's server, vLLM (`SamplingParams` and `ChatCompletionRequest`) and SGLang.
"""

from typing import Any

import msgspec

from gaia_core import Agent, Runtime
from gaia_core.nesting import decode_json
from gaia_http.request._decoding import decode_field, given
from gaia_http.request._fields import invalid_at

_NOTHING = msgspec.Raw(b"")

_number = msgspec.json.Decoder(float)
_count = msgspec.json.Decoder(int)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

_FORWARDED: tuple[tuple[str, msgspec.json.Decoder[Any]], ...] = (
    ("top_k", _count),
    ("min_p", _number),
    ("repeat_penalty", _number),
    ("chat_template_kwargs", _object),
)
REFUSED = (
    "id_slot",
    "slot_id",
    "cache_prompt",
    "cache_salt",
    "n_cache_reuse",
    "chat_template",
    "lora",
    "lora_path",
    "kv_transfer_params",
    "logits_processors",
    "custom_logit_processor",
)
"""Members that reach into the server."""


class ServerOptions(msgspec.Struct, frozen=True, gc=False):
    """The members of a request that concern the model's server."""

    top_k: msgspec.Raw = _NOTHING
    min_p: msgspec.Raw = _NOTHING
    repeat_penalty: msgspec.Raw = _NOTHING
    chat_template_kwargs: msgspec.Raw = _NOTHING
    id_slot: msgspec.Raw = _NOTHING
    slot_id: msgspec.Raw = _NOTHING
    cache_prompt: msgspec.Raw = _NOTHING
    cache_salt: msgspec.Raw = _NOTHING
    n_cache_reuse: msgspec.Raw = _NOTHING
    chat_template: msgspec.Raw = _NOTHING
    lora: msgspec.Raw = _NOTHING
    lora_path: msgspec.Raw = _NOTHING
    kv_transfer_params: msgspec.Raw = _NOTHING
    logits_processors: msgspec.Raw = _NOTHING
    custom_logit_processor: msgspec.Raw = _NOTHING


def forwarded(request: ServerOptions, prefix: str = "") -> tuple[tuple[str, str], ...]:
    """The members of *request* that reach every model's server, as `Sampling.further`. *prefix*: of their path in the
    request. Raises ApiError 400."""
    for name in REFUSED:
        if given(getattr(request, name)):
            words = "is not accepted: it reaches into the model's server, which other clients use too"
            raise invalid_at(f"{prefix}{name}", words, "unsupported_value")
    found = []
    for name, decoder in _FORWARDED:
        raw: msgspec.Raw = getattr(request, name)
        if given(raw):
            decode_field(raw, decoder, f"{prefix}{name}")
            found.append((name, bytes(raw).decode()))
    return tuple(found)


def reasoning_member(raw: msgspec.Raw) -> tuple[tuple[str, str], ...]:
    """`reasoning` of a chat completion request, as `Sampling.further`. Raises ApiError 400."""
    if not given(raw):
        return ()
    decode_field(raw, _object, "reasoning")
    return (("reasoning", bytes(raw).decode()),)


def configured(body: bytes, agent: Agent, runtime: Runtime) -> tuple[tuple[str, str], ...]:
    """The members of the request *body* that the model of *agent* lists in `forward`, as `Sampling.further`."""
    names = runtime.catalog.model(agent.model).forward
    if not names:
        return ()
    members: dict[str, msgspec.Raw] = decode_json(body, dict[str, msgspec.Raw])
    return tuple((name, bytes(members[name]).decode()) for name in sorted(names & set(members)) if given(members[name]))
