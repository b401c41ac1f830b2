"""Quirks: the shapes in which real model servers bend the chat completions protocol, by name.

`QUIRKS` is the table. `spoken` says an answer in a quirk's shape, as the data of the stream's events; `refusal_of` is
what a strict server answers to a request that it doesn't take.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import attrs
import msgspec

from gaia_core.frozen_types import made_once
from gaia_core.messages import ToolCall, is_json_object

Json: TypeAlias = dict[str, Any]

Reply: TypeAlias = str | ToolCall | tuple[ToolCall, ...]
"""What the model behind the endpoint means: a text, or calls (`gaia_core.call`)."""

CHARS_PER_TOKEN = 4
LOADING_ANSWERS = 2
"""How many requests a server answers with "Loading model" before it is ready."""
THOUGHT = "I should look first."
OPTIONS = ("parallel_tool_calls", "response_format", "stream_options", "top_k", "min_p")
"""What a server with the quirk `unknown_option` doesn't know."""


@attrs.frozen
class Quirk:
    """A shape. *servers*: where it was seen; *shape*: what they send or refuse; *meant*: what must come of it."""

    __attrs_pre_init__ = made_once

    name: str
    servers: str
    shape: str
    meant: str


_CUT = "not run; its result says to the model that the call was cut off"
_ONE = "one call, with the right arguments"
_FAILURE = "a failure in the server's words, never `stop`"

QUIRKS: tuple[Quirk, ...] = (
    Quirk("plain", "OpenAI", "the protocol as it is documented", "the answer"),
    Quirk("calls_share_index", "Ollama", "whole calls, all of index 0, each with its id", "each call"),
    Quirk("calls_without_index", "Ollama", "whole calls, each with its id, without index", "each call"),
    Quirk("calls_without_ids", "Ollama, older", "whole calls, all of index 0, without ids", "each call"),
    Quirk("calls_interleaved", "several", "the calls' fragments in turn, told apart by index", "each call"),
    Quirk("arguments_repeated", "several", "the last chunk has the whole call once more", _ONE),
    Quirk("arguments_object", "several", "arguments as an object", _ONE),
    Quirk("arguments_null", "several", "arguments null, for a call without any", "a call with {}"),
    Quirk("arguments_empty", "several", "arguments as an empty text, for a call without any", "a call with {}"),
    Quirk("arguments_json_in_json", "several", "arguments encoded as JSON twice", _ONE),
    Quirk("arguments_fenced", "several", "arguments in a Markdown fence", _ONE),
    Quirk("cut_off_tool_calls", "vLLM, llama.cpp", "arguments end in mid-string, finish `tool_calls`", _CUT),
    Quirk("cut_off_stop", "vLLM, llama.cpp", "arguments end in mid-string, finish `stop`", _CUT),
    Quirk("cut_off_done", "vLLM, llama.cpp", "arguments end in mid-string, then only [DONE]", _CUT),
    Quirk("call_in_text", "LM Studio, Qwen", "the call as text in <tool_call> tags", "the call"),
    Quirk("call_in_text_cut_off", "LM Studio, Qwen", "the call as text, ending in mid-string", _CUT),
    Quirk("names_prefixed", "gpt-oss", "functions.NAME for NAME", "the call, where one tool is meant"),
    Quirk("names_dashed", "local models", "dashes for underscores in names", "the call, where one tool is meant"),
    Quirk("strict_arguments", "llama.cpp, Jinja", "500 for a history with arguments that are no object", "never sent"),
    Quirk("strict_roles", "Gemma, Mistral", "500 for roles that don't alternate, or a late system text", "never sent"),
    Quirk("reasoning_required", "DeepSeek, Kimi", "400 for calls that come back without reasoning", "sent back"),
    Quirk("think_tags", "LM Studio, Qwen", "<think>…</think> in the text before the answer or call", "reasoning apart"),
    Quirk("think_unclosed", "LM Studio, Qwen", "<think> without an end", "reasoning, and no answer"),
    Quirk("error_line", "llama.cpp", "an SSE line `error: {…}`, then [DONE]", _FAILURE),
    Quirk("html", "llama.cpp, proxies", "a web page with status 200", "a failure that names it"),
    Quirk("html_as_stream", "proxies", "a web page with status 200, called an event stream", "a failure that names it"),
    Quirk("finish_abort", "vLLM", "finish_reason `abort`", _FAILURE),
    Quirk("finish_error", "SGLang", "finish_reason `error`", _FAILURE),
    Quirk("finish_unknown", "several", "a finish_reason that no specification has", "the answer"),
    Quirk("no_finish", "vLLM, SGLang", "a stream that ends without finish_reason and [DONE]", "a failure"),
    Quirk("overflow_event", "vLLM, SGLang", "overflow as status 200 with an error event", "shortened, sent again"),
    Quirk("overflow_code", "OpenAI, vLLM", "overflow as 400 with its code", "shortened, sent again"),
    Quirk("overflow_words", "LM Studio", "overflow as 400 in words only", "shortened, sent again"),
    Quirk("overflow_n_ctx", "llama.cpp", "overflow as 400 with n_ctx in the body", "shortened, sent again"),
    Quirk("loading", "llama.cpp, Lemonade", "503 `Loading model` at first", "waited for"),
    Quirk("unknown_option", "older servers", "400 for an option that they don't know", "left out, once learnt"),
    Quirk("max_completion_tokens", "OpenAI", "400 for max_tokens", "the client's own field is sent"),
    Quirk("usage_decimals", "any", "usage as 10.0", "taken as meant"),
    Quirk("usage_text", "any", 'usage as "10"', "taken as meant"),
    Quirk("integer_ids", "any", "call ids that are numbers", "taken as meant"),
    Quirk("line_ends_cr", "any", "CR at the ends of lines", "taken as meant"),
    Quirk("line_ends_crlf", "any", "CRLF at the ends of lines", "taken as meant"),
    Quirk("byte_by_byte", "any", "a chunk per byte", "taken as meant"),
    Quirk("endless", "broken", "an answer without an end, max_tokens ignored", "bounded, the turn ends with a limit"),
    Quirk("redirect", "any", "307 to another host", "not followed with a conversation"),
)


def spoken(quirk: str, reply: Reply, number: int) -> list[Json]:
    """The chunks that say *reply*, the endpoint's answer *number*, with their finish reason and usage."""
    calls = (reply,) if isinstance(reply, ToolCall) else () if isinstance(reply, str) else reply
    said = _called(quirk, calls, number) if calls else _said(quirk, str(reply))
    if quirk == "reasoning_required":
        said.insert(0, _chunk({"reasoning_content": THOUGHT}))
    if quirk not in ("no_finish", "cut_off_done"):
        said.append(_chunk({}, _finish(quirk, called=bool(calls))))
    count: Any = {"usage_decimals": 10.0, "usage_text": "10"}.get(quirk, 10)
    return [*said, {"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": count}}]


def _finish(quirk: str, *, called: bool) -> str:
    if quirk.startswith("finish_"):
        return {"finish_unknown": "eos_token"}.get(quirk, quirk.removeprefix("finish_"))
    in_text = quirk in ("cut_off_stop", "call_in_text", "call_in_text_cut_off", "think_tags", "think_unclosed")
    return "tool_calls" if called and not in_text else "stop"


def _chunk(delta: Json, finish: str | None = None) -> Json:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _said(quirk: str, text: str) -> list[Json]:
    if quirk in ("think_tags", "think_unclosed"):
        text = f"<think>{THOUGHT}</think>\n\n{text}" if quirk == "think_tags" else f"<think>{THOUGHT}"
    middle = len(text) // 2
    return [_chunk({"role": "assistant", "content": ""}), _chunk({"content": text[:middle]}), _chunk(_rest(text))]


def _rest(text: str) -> Json:
    return {"content": text[len(text) // 2 :]}


def _called(quirk: str, calls: Sequence[ToolCall], number: int) -> list[Json]:
    if quirk in ("call_in_text", "call_in_text_cut_off", "think_tags", "think_unclosed"):
        texts = [f'{{"name": "{call.name}", "arguments": {call.arguments}}}' for call in calls]
        if quirk == "call_in_text_cut_off":
            return _said(quirk, "".join(f"<tool_call>{_cut(text)}" for text in texts[:1]))
        return _said(quirk, "".join(f"<tool_call>\n{text}\n</tool_call>" for text in texts))
    fragments = [_fragments(quirk, call, index, number) for index, call in enumerate(calls)]
    if quirk == "calls_interleaved":
        longest = max(map(len, fragments))
        ordered = [parts[at] for at in range(longest) for parts in fragments if at < len(parts)]
    else:
        ordered = [part for parts in fragments for part in parts]
    return [_chunk({"tool_calls": [part]}) for part in ordered]


def _fragments(quirk: str, call: ToolCall, index: int, number: int) -> list[Json]:
    """The pieces of *call*: its name first, then its arguments in two, unless they come whole."""
    call_id: Any = 100 * number + index if quirk == "integer_ids" else call.id or f"call_{number}_{index}"
    whole: Json = {"index": index, "id": call_id, "type": "function"}
    whole["function"] = {"name": _name(quirk, call.name), "arguments": _arguments(quirk, call.arguments)}
    if quirk.startswith("calls_") and quirk != "calls_interleaved":
        whole["index"] = 0
        if quirk == "calls_without_index":
            del whole["index"]
        if quirk == "calls_without_ids":
            del whole["id"]
        return [whole]
    arguments = whole["function"]["arguments"]
    if not isinstance(arguments, str):
        return [whole]
    middle = len(arguments) // 2
    first = {**whole, "function": {**whole["function"], "arguments": ""}}
    rest: list[Json] = [
        {"index": index, "function": {"arguments": part}} for part in (arguments[:middle], arguments[middle:])
    ]
    return [first, *rest, whole] if quirk == "arguments_repeated" else [first, *rest]


def _name(quirk: str, name: str) -> str:
    if quirk == "names_prefixed":
        return f"functions.{name}"
    return name.replace("_", "-") if quirk == "names_dashed" else name


def _arguments(quirk: str, arguments: str) -> Any:
    match quirk:
        case "arguments_object":
            return msgspec.Raw(arguments.encode())
        case "arguments_null":
            return None if arguments == "{}" else arguments
        case "arguments_empty":
            return "" if arguments == "{}" else arguments
        case "arguments_json_in_json":
            return msgspec.json.encode(arguments).decode()
        case "arguments_fenced":
            return f"```json\n{arguments}\n```"
        case "cut_off_tool_calls" | "cut_off_stop" | "cut_off_done":
            return _cut(arguments)
        case _:
            return arguments


def _cut(text: str) -> str:
    """*text* without the end of its last string."""
    return text[: text.rfind('"')] if '"' in text else text[:-1]


def refusal_of(quirk: str, request: Json, number: int, window: int) -> tuple[int, Json] | None:
    """The status and body with which the server refuses *request*, its request *number*; None when it takes it."""
    match quirk:
        case "strict_arguments" if not all(map(is_json_object, _sent_arguments(request))):
            return 500, _error("Value is not callable: arguments must be a JSON object", 500)
        case "strict_roles" if not _alternate(request):
            return 500, _error("Conversation roles must alternate user/assistant/user/assistant/...", 500)
        case "reasoning_required" if _lacks_reasoning(request):
            return 400, _error("Missing `reasoning_content` field in the assistant message", 400)
        case "overflow_code" | "overflow_words" | "overflow_n_ctx" | "overflow_event":
            return _overflow(quirk, request, window)
        case "loading" if number < LOADING_ANSWERS:
            return 503, _error("Loading model", 503, type="unavailable_error")
        case "unknown_option" if unknown := next((name for name in OPTIONS if name in request), None):
            return 400, _error(f"Unrecognized request argument supplied: {unknown}", 400)
        case "max_completion_tokens" if "max_tokens" in request:
            words = "Unsupported parameter: 'max_tokens' is not supported with this model."
            return 400, _error(
                f"{words} Use 'max_completion_tokens' instead.",
                "unsupported_parameter",
                type="invalid_request_error",
                param="max_tokens",
            )
        case _:
            return None


def _error(message: str, code: int | str, **more: Any) -> Json:
    return {"error": {"message": message, "code": code, **more}}


def _messages(request: Json) -> list[Json]:
    return [message for message in request.get("messages", ()) if isinstance(message, dict)]


def _sent_arguments(request: Json) -> list[str]:
    sent = [call for message in _messages(request) for call in message.get("tool_calls") or ()]
    return [call["function"]["arguments"] for call in sent]


def _alternate(request: Json) -> bool:
    """Whether the roles are those of strict templates: one system text first, then user and assistant in turn."""
    roles = [message["role"] for message in _messages(request)]
    if roles[:1] in (["system"], ["developer"]):
        roles = roles[1:]
    turns = [role for at, role in enumerate(roles) if role != "tool" or roles[at - 1 : at] != ["tool"]]
    pairs = pairwise(turns)
    follows = all(after == "assistant" if before in ("user", "tool") else after != before for before, after in pairs)
    return follows and turns[:1] == ["user"] and not {"system", "developer"} & set(turns)


def _lacks_reasoning(request: Json) -> bool:
    messages = _messages(request)
    asked = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=0)
    return any(message.get("tool_calls") and not message.get("reasoning_content") for message in messages[asked:])


def _overflow(quirk: str, request: Json, window: int) -> tuple[int, Json] | None:
    tokens = len(msgspec.json.encode(request.get("messages", ()))) // CHARS_PER_TOKEN
    if tokens <= window:
        return None
    match quirk:
        case "overflow_n_ctx":
            more = {"type": "exceed_context_size_error", "n_prompt_tokens": tokens, "n_ctx": window}
            return 400, _error("the request exceeds the available context size, try increasing it", 400, **more)
        case "overflow_words":
            words = f"Trying to keep the first {tokens} tokens when context the overflows. The model is loaded with"
            return 400, {"error": f"{words} context length of only {window} tokens, which is not enough."}
        case _:
            words = f"This model's maximum context length is {window} tokens. However, you requested {tokens} tokens"
            status = 200 if quirk == "overflow_event" else 400
            return status, _error(f"{words} in the messages.", "context_length_exceeded", param="messages")
