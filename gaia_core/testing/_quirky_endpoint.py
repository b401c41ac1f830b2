"""A model server that bends the protocol as real ones do, for tests of agents and of what stands between.

    async with QuirkyEndpoint("index-0", (call("read_file", path="a"), call("read_file", path="b")), "Done.") as server:
        model = Endpoint(EndpointConfig(url=server.url, model="m"))
        …
        server.requests                        # the bodies that were sent to it, decoded

It is an HTTP server on a loopback port. Each request gets the next of its answers, in the form that `QUIRKS` says; the
last one is an ordinary answer to all later requests. An answer is a text, a call, several calls, or an
`AssistantMessage`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import msgspec
from aiohttp import web

from gaia_core.errors import ConfigError
from gaia_core.frozen_types import made_once
from gaia_core.messages import AssistantMessage, ToolCall, text_of
from gaia_core.testing._loopback_server import LoopbackEndpoint
from gaia_core.tools import nearest

Scripted: TypeAlias = str | ToolCall | tuple[ToolCall, ...] | AssistantMessage

_DONE = b"data: [DONE]\n\n"
_HALF = 2


@attrs.frozen
class _Reply:
    __attrs_pre_init__ = made_once

    pieces: tuple[bytes, ...]
    status: int = 200
    media: str = "text/event-stream"
    headers: tuple[tuple[str, str], ...] = ()


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _chunk(finish: str | None = None, **delta: object) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _finish(message: AssistantMessage) -> str:
    return "tool_calls" if message.tool_calls else "stop"


def _words(message: AssistantMessage) -> Iterator[bytes]:
    for word in text_of(message.content).split(" "):
        yield _chunk(content=f"{word} ")


def _whole(number: int, call: ToolCall, **changes: object) -> dict[str, Any]:
    """A call in one piece; *changes* of None leave a field out."""
    arguments = changes.pop("arguments", call.arguments)
    fields = {"index": number, "id": call.id or f"call_{number}", "type": "function", **changes}
    return {k: v for k, v in fields.items() if v is not None} | {
        "function": {"name": call.name, "arguments": arguments}
    }


def _stream(message: AssistantMessage, calls: Iterable[dict[str, Any]] | None = None, finish: str = "") -> _Reply:
    made = [_whole(n, call) for n, call in enumerate(message.tool_calls)] if calls is None else list(calls)
    reasoning = (_chunk(reasoning_content=message.reasoning_content),) if message.reasoning_content else ()
    body = (*reasoning, *_words(message), *(_chunk(tool_calls=[call]) for call in made))
    return _Reply((*body, _chunk(finish or _finish(message)), _DONE))


def _each(**changes: object) -> Callable[[AssistantMessage], _Reply]:
    return lambda message: _stream(message, [_whole(n, call, **changes) for n, call in enumerate(message.tool_calls)])


def _given(arguments: Callable[[str], object]) -> Callable[[AssistantMessage], _Reply]:
    return lambda message: _stream(
        message, [_whole(n, call, arguments=arguments(call.arguments)) for n, call in enumerate(message.tool_calls)]
    )


def _halves(message: AssistantMessage) -> list[list[dict[str, Any]]]:
    made = []
    for number, call in enumerate(message.tool_calls):
        half = len(call.arguments) // _HALF
        first = _whole(number, call, arguments=call.arguments[:half])
        made.append([first, {"index": number, "function": {"arguments": call.arguments[half:]}}])
    return made


def _interleaved(message: AssistantMessage) -> _Reply:
    halves = _halves(message)
    return _stream(message, [pair[0] for pair in halves] + [pair[1] for pair in halves])


def _repeated(message: AssistantMessage) -> _Reply:
    pieces = [piece for pair in _halves(message) for piece in pair]
    return _stream(message, pieces + [_whole(n, call) for n, call in enumerate(message.tool_calls)])


def _cut(finish: str) -> Callable[[AssistantMessage], _Reply]:
    """The last call's arguments end in their middle."""

    def cut(message: AssistantMessage) -> _Reply:
        *calls, last = [_whole(n, call) for n, call in enumerate(message.tool_calls)]
        arguments = message.tool_calls[-1].arguments
        last["function"]["arguments"] = arguments[: max(1, len(arguments) - 3)]
        reply = _stream(message, [*calls, last], finish or "stop")
        return reply if finish else attrs.evolve(reply, pieces=(*reply.pieces[:-2], _DONE))

    return cut


def _tagged(message: AssistantMessage) -> _Reply:
    """The thought and the calls are in the text, in tags."""
    thought = f"<think>\n{message.reasoning_content or 'Let me see.'}\n</think>\n\n"
    calls = [{"name": call.name, "arguments": json.loads(call.arguments)} for call in message.tool_calls]
    written = "".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)
    text = thought + text_of(message.content) + written
    return _Reply((*(_chunk(content=text[at : at + 5]) for at in range(0, len(text), 5)), _chunk("stop"), _DONE))


def _ended(finish: str) -> Callable[[AssistantMessage], _Reply]:
    return lambda message: _Reply((*_words(message), _chunk(finish), _DONE))


def _reshaped(change: Callable[[bytes], tuple[bytes, ...]]) -> Callable[[AssistantMessage], _Reply]:
    return lambda message: attrs.evolve(_stream(message), pieces=change(b"".join(_stream(message).pieces)))


def _fails(status: int, body: bytes, media: str = "application/json", **headers: str) -> _Reply:
    return _Reply((body,), status, media, tuple((name.replace("_", "-"), value) for name, value in headers.items()))


def _usage(usage: object) -> Callable[[AssistantMessage], _Reply]:
    def with_usage(message: AssistantMessage) -> _Reply:
        *pieces, done = _stream(message).pieces
        return _Reply((*pieces, _event({"choices": [], "usage": usage}), done))

    return with_usage


_ERROR = b'{"code":500,"message":"Failed to parse tool call","type":"server_error"}'

_QUIRKS: MappingProxyType[str, tuple[str, Callable[[AssistantMessage], _Reply]]] = MappingProxyType(
    {
        "plain": ("as OpenAI does it", _stream),
        "index-0": ("Ollama: each call whole, all of index 0, ids of their own", _each(index=0)),
        "no-index": ("Ollama: each call whole, no index", _each(index=None)),
        "no-ids": ("older Ollama: all of index 0, no ids", _each(index=0, id=None)),
        "integer-ids": (
            "ids are numbers",
            lambda m: _stream(m, [_whole(n, call, id=n + 7) for n, call in enumerate(m.tool_calls)]),
        ),
        "interleaved": ("the pieces of parallel calls are mixed, told apart by their index", _interleaved),
        "repeated": ("each call once more, whole, in the last chunks", _repeated),
        "arguments-object": ("arguments are an object instead of a text", _given(json.loads)),
        "arguments-null": ("arguments are null", _given(lambda _: None)),
        "arguments-in-json": ("arguments are a JSON text within a JSON text", _given(json.dumps)),
        "arguments-fenced": ("arguments are fenced", _given(lambda text: f"```json\n{text}\n```")),
        "cut-off": ("vLLM, llama.cpp: arguments end in their middle, finish_reason tool_calls", _cut("tool_calls")),
        "cut-off-stop": ("the same, finish_reason stop", _cut("stop")),
        "cut-off-done": ("the same, only [DONE]", _cut("")),
        "think-tags": ("LM Studio, Qwen: the thought and the calls are tags in the text", _tagged),
        "reasoning": (
            "vLLM, OpenRouter: the thought is in `reasoning`",
            lambda m: attrs.evolve(
                _stream(m), pieces=(_chunk(reasoning=m.reasoning_content or "Let me see."), *_stream(m).pieces)
            ),
        ),
        "reasoning-only": (
            "Groq, newer vLLM: the same, and whole in one piece",
            lambda m: attrs.evolve(
                _stream(msgspec.structs.replace(m, reasoning_content=None)),
                pieces=(
                    *((_chunk(reasoning=m.reasoning_content),) if m.reasoning_content else ()),
                    *_stream(msgspec.structs.replace(m, reasoning_content=None)).pieces,
                ),
            ),
        ),
        "error-line": (
            "llama.cpp: an SSE field `error`, then [DONE]",
            lambda m: _Reply((*_words(m), b"error: " + _ERROR + b"\n\n", _DONE)),
        ),
        "error-event": (
            "vLLM: an error within a stream of status 200",
            lambda m: _Reply((*_words(m), b'data: {"error":' + _ERROR + b"}\n\n", _DONE)),
        ),
        "html": (
            "a proxy: a web page with status 200",
            lambda _: _fails(200, b"<!doctype html><title>Welcome</title>", "text/html"),
        ),
        "finish-abort": ("vLLM, SGLang: finish_reason abort", _ended("abort")),
        "finish-error": ("finish_reason error", _ended("error")),
        "no-finish": ("the stream ends without a finish_reason and without [DONE]", lambda m: _Reply(tuple(_words(m)))),
        "usage-decimals": ("usage has decimals", _usage({"prompt_tokens": 10.0, "completion_tokens": 2.0})),
        "usage-text": ("usage is text", _usage({"prompt_tokens": "10", "completion_tokens": "2"})),
        "usage-odd": ("usage is none", _usage([None])),
        "crlf": ("lines end in CRLF", _reshaped(lambda raw: (raw.replace(b"\n", b"\r\n"),))),
        "cr": ("lines end in CR", _reshaped(lambda raw: (raw.replace(b"\n", b"\r"),))),
        "bytes": ("a write for each byte", _reshaped(lambda raw: tuple(raw[i : i + 1] for i in range(len(raw))))),
        "redirect": ("a redirect to another host", lambda _: _fails(307, b"", location="http://127.0.0.1:9/v1")),
    }
)

QUIRKS = MappingProxyType({name: words for name, (words, _) in _QUIRKS.items()})
"""The quirks by name, and what each one does."""


class QuirkyEndpoint(LoopbackEndpoint):
    """See the module's text. *quirk* is a name of `QUIRKS`; raises ConfigError for another."""

    def __init__(self, quirk: str, *answers: Scripted) -> None:
        if quirk not in _QUIRKS:
            raise ConfigError(f"there is no quirk {quirk!r}.{nearest(quirk, _QUIRKS)} There are: {', '.join(_QUIRKS)}")
        super().__init__()
        self._bend = _QUIRKS[quirk][1]
        self._answers = [message_of(answer) for answer in answers]

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        number = len(self.requests) - 1
        last = number >= len(self._answers) - 1
        message = self._answers[min(number, len(self._answers) - 1)] if self._answers else AssistantMessage("Hello")
        reply = _stream(message) if last and len(self._answers) > 1 else self._bend(message)
        headers = {"content-type": reply.media, **dict(reply.headers)}
        response = web.StreamResponse(status=reply.status, headers=headers)
        await response.prepare(request)
        for piece in reply.pieces:
            await response.write(piece)
        await response.write_eof()
        return response


def plain_pieces(message: AssistantMessage) -> tuple[bytes, ...]:
    """The writes of an ordinary answer that says *message*."""
    return _stream(message).pieces


def message_of(answer: Scripted) -> AssistantMessage:
    """*answer* as a message."""
    if isinstance(answer, AssistantMessage):
        return answer
    if isinstance(answer, str):
        return AssistantMessage(answer)
    return AssistantMessage(None, (answer,) if isinstance(answer, ToolCall) else answer)
