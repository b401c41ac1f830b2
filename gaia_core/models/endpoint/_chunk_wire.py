"""What chat completion endpoints answer, as far as it is used: typed, tolerant of what they leave out or add."""

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gaia_core.errors import NestingError
from gaia_core.events import FinishReason, ReasoningDelta, TextDelta
from gaia_core.messages import Usage
from gaia_core.models._protocol import Delta, ModelError, ToolCallDelta
from gaia_core.models.endpoint._known_errors import Overflow, is_loading, overflow_of
from gaia_core.nesting import check_nesting, decode_json

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_MAX_WORDS = 500
_MAX_SHOWN = 120
_MOST_TOKENS = 2**53
MAX_LIST_BYTES = 4 * 1024 * 1024
RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


_NOTHING = msgspec.Raw()


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: msgspec.Raw = _NOTHING
    """A JSON string; from some servers null, an object, or what the model wrote instead of one."""


class _ToolCall(msgspec.Struct, gc=False):
    index: int | float | str | None = None
    id: str | int | float | None = None
    function: _Function | None = None


class ChunkMessage(msgspec.Struct, gc=False):
    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _ChunkChoice(msgspec.Struct, gc=False):
    delta: ChunkMessage | None = None
    message: ChunkMessage | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    """The stop sequence that ended the text, or a token's id (source: vLLM)."""
    matched_stop: Any = None
    """The same of SGLang."""


class Chunk(msgspec.Struct, gc=False):
    """One chunk of a stream, or a whole completion."""

    choices: list[_ChunkChoice] | None = None
    usage: Any = None
    """A side field: whatever it is, it never costs the answer (`usage_of`)."""
    error: Any = None
    object: Any = None
    message: Any = None
    """Of an error that stands in the stream without a name around it (vLLM): `{"object": "error", "message": …}`."""


_CHUNK = msgspec.json.Decoder(Chunk)


def decode_chunk(data: bytes, secret: str | None) -> Chunk:
    """One event's data. Raises ModelError("broken_stream"), without the *secret*, for what isn't a chunk."""
    try:
        check_nesting(data)
        return _CHUNK.decode(data)
    except NestingError as error:
        raise _no_chunk(data, error, secret) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        return _tolerant(data, error, secret)


def _tolerant(data: bytes, error: Exception, secret: str | None) -> Chunk:
    """A chunk with lone surrogates, or bytes that are not UTF-8, which msgspec refuses: they become `?` or U+FFFD."""
    try:
        value = json.loads(data.decode("utf-8", "replace"))
        return msgspec.convert(clean(value), Chunk)
    except (ValueError, msgspec.ValidationError):
        raise _no_chunk(data, error, secret) from None


def web_page() -> ModelError:
    """The error of an endpoint that answers with HTML, as login pages, proxies and wrong paths do, with status 200."""
    words = "answered with a web page (HTML) instead of a chat completion; check the model's url"
    return ModelError("bad_request", f"the model's endpoint {words}")


def is_web_page(data: bytes) -> bool:
    """Whether *data*, the beginning of an answer, is HTML: neither JSON nor events begin so."""
    return data.lstrip()[:1] == b"<"


def _no_chunk(data: bytes, error: Exception, secret: str | None) -> ModelError:
    if is_web_page(data):
        return web_page()
    shown = _CONTROL.sub(" ", redacted(data[:4096].decode("utf-8", "replace"), secret))[:_MAX_SHOWN]
    return ModelError("broken_stream", f"the endpoint sent something that is no chunk ({error}): {shown}")


def clean(value: Any) -> Any:
    """*value* (of JSON) with `?` for each half of a surrogate pair, which can't be written."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return value


def piece_of(chunk: Chunk) -> TextDelta | ReasoningDelta | None:
    """The piece of text that is all that *chunk* says, as it is with nearly every chunk; else None."""
    if not chunk.choices or chunk.usage is not None or chunk.error is not None:
        return None
    choice = chunk.choices[0]
    message = choice.delta
    if message is None or choice.finish_reason or message.tool_calls:
        return None
    content = message.content
    if reasoning := message.reasoning_content or message.reasoning:
        return None if content or message.refusal else ReasoningDelta(reasoning)
    return TextDelta(content) if content and type(content) is str else None


def deltas_of(message: ChunkMessage, into: list[Delta]) -> None:
    """Append what *message* adds to *into*; reasoning comes before the text that it led to."""
    reasoning = message.reasoning_content or message.reasoning
    if reasoning:
        into.append(ReasoningDelta(reasoning))
    if message.content:
        if isinstance(message.content, str):
            into.append(TextDelta(message.content))
        else:
            into += [TextDelta(part["text"]) for part in message.content if isinstance(part.get("text"), str)]
    elif message.refusal:
        into.append(TextDelta(message.refusal))
    for call in message.tool_calls or ():
        function = call.function or _Function()
        name, call_id = function.name or "", "" if call.id is None else str(call.id)
        into.append(ToolCallDelta(_index(call.index), call_id, name, _arguments(bytes(function.arguments))))


def _index(given: float | str | None) -> int | None:
    return None if given is None or (number := _count(given)) is None else number


def _arguments(raw: bytes) -> str:
    if raw in (b"", b"null"):
        return ""
    return decode_json(raw, str) if raw[:1] == b'"' else raw.decode()


def usage_of(usage: Any) -> Usage | None:
    """The endpoint's usage as ours; None when it says no number of tokens. Numbers may be text or have decimals."""
    if not isinstance(usage, dict):
        return None
    asked, answered = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if asked is None and answered is None:
        return None
    cached = _count(_dict(usage.get("prompt_tokens_details")).get("cached_tokens"))
    reasoning = _count(_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    return Usage(asked or 0, answered or 0, cached or 0, reasoning or 0)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    """*value* as a number of 0 or more; None for anything else."""
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and 0 <= number <= _MOST_TOKENS else None


def finish_of(reason: str, *, called: bool) -> FinishReason:
    """The endpoint's finish reason as one of the API's four; unknown ones are `stop`. Raises ModelError for a failure
    (vLLM, SGLang: `abort`, `error`), which must not look like a finished answer."""
    if reason in ("abort", "aborted", "error", "cancelled", "failed"):
        raise ModelError("server", f"the model's endpoint gave up: it ended its answer with {reason!r}", retryable=True)
    if reason in ("length", "max_tokens"):
        return "length"
    if reason == "content_filter":
        return "content_filter"
    return "tool_calls" if called or reason in ("tool_calls", "function_call") else "stop"


def error_of(status: int, body: bytes, headers: Mapping[str, str], secret: str | None) -> ModelError:
    """The error that an endpoint answered with."""
    words = words_of(body, secret)
    retry_after = retry_after_of(headers)
    overflow = overflow_of(words, body.decode("utf-8", "replace"))
    if status in (401, 403):
        kind = "auth"
        words = f"{words}. Check the model's api_key_env"
    elif status == 404:
        kind = "not_found"
    elif 300 <= status < 400:
        kind = "bad_request"
        words = f"a redirect to {_shown_location(headers)}, which is not followed; set the model's url anew"
    elif status == 429:
        kind = "rate_limited"
    elif overflow is not None:
        kind = "context_length"
    elif is_loading(status, words):
        kind = "not_ready"
    elif status in (502, 503, 504, 529):
        kind = "overloaded"
    else:
        kind = "bad_request" if 400 <= status < 500 else "server"
    overflow = overflow if kind == "context_length" and overflow is not None else Overflow()
    return ModelError(
        kind,
        f"the model's endpoint answered {status}: {words}",
        retryable=status in RETRYABLE and kind != "context_length",
        retry_after=retry_after,
        status=status,
        window=overflow.window,
        prompt_tokens=overflow.prompt_tokens,
    )


def _shown_location(headers: Mapping[str, str]) -> str:
    """Where a redirect leads: scheme and host, without what may be a secret."""
    try:
        parts = urlsplit(headers.get("location", ""))
    except ValueError:
        return "nowhere"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"[:_MAX_SHOWN] if parts.netloc else "another path"


def stream_error(error: Any, secret: str | None) -> ModelError:
    """An error object in the stream."""
    body = msgspec.json.encode({"error": error}, enc_hook=str)
    said = words_of(body, secret)
    overflow = overflow_of(said, body.decode())
    words = f"the model's endpoint failed: {said}"
    if overflow is None:
        return ModelError("server", words)
    return ModelError("context_length", words, window=overflow.window, prompt_tokens=overflow.prompt_tokens)


def words_of(body: bytes, secret: str | None) -> str:
    """An error body's own words: bounded, without control characters, without the key."""
    text = body.decode("utf-8", "replace")
    try:
        check_nesting(text)
        found = json.loads(text)
        inner = found.get("error", found) if isinstance(found, dict) else found
        message = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
        # Written anew, so that the key stands in it as it is, and not with escapes.
        text = message if isinstance(message, str) else json.dumps(found, ensure_ascii=False)
    except (ValueError, NestingError):
        pass
    text = redacted(text, secret)
    text = _CONTROL.sub(" ", text.encode("utf-8", "replace").decode()).strip()
    return text if len(text) <= _MAX_WORDS else f"{text[:_MAX_WORDS]}…"


def redacted(text: str, secret: str | None) -> str:
    """*text* without the *secret*, also where it stands in JSON."""
    if not secret:
        return text
    quoted = json.dumps(secret)[1:-1]
    for form in (secret, quoted, quoted.replace("/", "\\/")):
        text = text.replace(form, "***")
    return text


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms` or `Retry-After` (seconds or a date: RFC 9110, section 10.2.3)."""
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        when = email.utils.parsedate_to_datetime(value)
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _number(value: str) -> float | None:
    """*value* when it is a finite number of 0 or more."""
    if not re.fullmatch(r"\d+(\.\d+)?", value.strip(), re.ASCII):
        return None
    return number if math.isfinite(number := float(value)) else None
