"""Prompted tools: tool calls from models that can't make them, over any endpoint that takes a JSON schema.

The model must answer with one JSON object: `{"name": <a tool>, "arguments": {…}}`, or `{"name": "reply", "text": …}`.
The text of a reply is streamed on as it comes. In the step after a tool's result the tools are left out and the model
is asked to answer from the result, because small models repeat the call otherwise; when the result was an error they
stay, so that the call can be corrected.
"""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from gaia_core.events import FinishReason, TextDelta
from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
    text_of,
)
from gaia_core.models._protocol import Delta, EndpointLoad, Finished, Model, ModelRequest, ResponseFormat, ToolCallDelta
from gaia_core.tools import ToolDefinition

REPLY = "reply"

_REPLY = re.compile(r'\s*\{\s*"name"\s*:\s*"reply"\s*,\s*"text"\s*:\s*"')
_FAILED = ("Error:", "The arguments of", "There is no tool")
_EXAMPLES = """\
Examples of the form, with a tool that you do not have:

User: Hello!
{"name": "reply", "text": "Hello! What can I do for you?"}

User: How warm is it in Oslo?
{"name": "get_temperature", "arguments": {"city": "Oslo"}}

User: Thank you, that helps.
{"name": "reply", "text": "You are welcome."}"""
_ANSWER = "Answer my question from this result, in plain words. Do not call a tool now."


class PromptedTools:
    """*model*, with tools. Requests without tools pass through as they are."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """See `Model`."""
        tools = _offered(request)
        asked = msgspec.structs.replace(
            request,
            messages=_plain(request.messages, tools),
            tools=(),
            response_format=_form(tools, may_reply=_may_reply(request)) if tools else request.response_format,
        )
        decoder = _Decoder(tools) if tools else None
        async with aclosing(self._model.stream(asked)) as answering:
            async for batch in answering:
                told = decoder.feed(batch) if decoder is not None else batch
                if told:
                    yield told

    @property
    def endpoints(self) -> tuple[EndpointLoad, ...]:
        """Those of the model beneath; see `Failover`."""
        return getattr(self._model, "endpoints", ())

    async def aclose(self) -> None:
        """Close the model beneath."""
        if (close := getattr(self._model, "aclose", None)) is not None:
            await close()


def _offered(request: ModelRequest) -> tuple[ToolDefinition, ...]:
    """The tools that the model may call in this step."""
    choice = request.tool_choice
    if choice.mode == "none" and choice.name is None:
        return ()
    if choice.name is not None:
        return tuple(tool for tool in request.tools if tool.name == choice.name)
    last = request.messages[-1] if request.messages else None
    if isinstance(last, ToolMessage) and choice.mode == "auto" and not text_of(last.content).startswith(_FAILED):
        return ()
    return request.tools


def _may_reply(request: ModelRequest) -> bool:
    return request.tool_choice.mode != "required" and request.tool_choice.name is None


def _form(tools: tuple[ToolDefinition, ...], *, may_reply: bool) -> ResponseFormat:
    """The schema of one answer: any of the calls, or a reply."""
    forms = [
        b'{"type":"object","properties":{"name":{"const":%b},"arguments":%b},'
        b'"required":["name","arguments"],"additionalProperties":false}'
        % (msgspec.json.encode(tool.name), tool.parameters)
        for tool in tools
    ]
    if may_reply:
        forms.append(
            b'{"type":"object","properties":{"name":{"const":"reply"},"text":{"type":"string"}},'
            b'"required":["name","text"],"additionalProperties":false}'
        )
    return ResponseFormat("json_schema", b'{"anyOf":[%b]}' % b",".join(forms), name="answer")


def _plain(messages: tuple[Message, ...], tools: tuple[ToolDefinition, ...]) -> tuple[Message, ...]:
    """*messages* without the API's tool calls, which the model's template doesn't know."""
    plain: list[Message] = []
    names: dict[str, str] = {}
    previous: Message | None = None
    for message in messages:
        if isinstance(message, AssistantMessage) and message.tool_calls:
            names |= {call.id: call.name for call in message.tool_calls}
            calls = (f'{{"name": "{call.name}", "arguments": {call.arguments or "{}"}}}' for call in message.tool_calls)
            said = text_of(message.content)
            plain.append(AssistantMessage("\n".join((*((said,) if said else ()), *calls))))
        elif isinstance(message, ToolMessage):
            result = f"Result of {names.get(message.tool_call_id, 'the tool')}:\n{text_of(message.content)}"
            if isinstance(previous, ToolMessage):  # results of one step are one message
                plain[-1] = UserMessage(f"{text_of(plain[-1].content)}\n\n{result}")
            else:
                plain.append(UserMessage(result))
        else:
            plain.append(message)
        previous = message
    if not tools and messages and isinstance(messages[-1], ToolMessage):
        plain[-1] = UserMessage(f"{text_of(plain[-1].content)}\n\n{_ANSWER}")
    return _instructed(tuple(plain), tools) if tools else tuple(plain)


def _instructed(messages: tuple[Message, ...], tools: tuple[ToolDefinition, ...]) -> tuple[Message, ...]:
    listed = "\n".join(
        f"- {tool.name}: {' '.join(tool.description.split())} Arguments: {_arguments(tool)}" for tool in tools
    )
    words = (
        "Answer every message with one JSON object and nothing else.\n"
        'To call a tool: {"name": "<the tool>", "arguments": {…}}\n'
        'To talk to the user: {"name": "reply", "text": "<your words>"}\n'
        "Call a tool only when the message needs it; a greeting or general question needs none.\n\n"
        f"Your tools:\n{listed}\n\n{_EXAMPLES}"
    )
    if messages and isinstance(messages[0], SystemMessage | DeveloperMessage):
        return (SystemMessage(f"{text_of(messages[0].content)}\n\n{words}"), *messages[1:])
    return (SystemMessage(words), *messages)


def _arguments(tool: ToolDefinition) -> str:
    schema = msgspec.json.decode(tool.parameters)
    required = schema.get("required", ())
    members = [
        f"{name}{'' if name in required else ' (optional)'}: {member.get('description') or member.get('type', 'any')}"
        for name, member in schema.get("properties", {}).items()
    ]
    return "; ".join(members) or "none"


class _Decoder:
    """Turns the text of the JSON object, as it streams, into the text of the reply or a tool call."""

    def __init__(self, tools: tuple[ToolDefinition, ...]) -> None:
        self._names = frozenset(tool.name for tool in tools)
        self._text = ""
        self._told = -1  # where the reply's text is told up to; -1: it is no reply yet
        self._ended = False

    def feed(self, batch: tuple[Delta, ...]) -> tuple[Delta, ...]:
        """What *batch* means."""
        told: list[Delta] = []
        for delta in batch:
            if isinstance(delta, TextDelta):
                self._text += delta.text
            elif isinstance(delta, Finished):
                told += self._finish(delta)
            else:
                told.append(delta)
        if text := self._more():
            told.insert(0, TextDelta(text))
        return tuple(told)

    def _more(self) -> str:
        """The reply's text that came since."""
        if self._told < 0:
            if (match := _REPLY.match(self._text)) is None:
                return ""
            self._told = match.end()
        if self._ended:
            return ""
        end, self._ended = _safe_end(self._text, self._told)
        raw, self._told = self._text[self._told : end], end
        text: str = json.loads(f'"{raw}"', strict=False) if raw else ""
        return text.encode("utf-8", "replace").decode()  # half a surrogate pair can't be written

    def _finish(self, finished: Finished) -> tuple[Delta, ...]:
        reason: FinishReason = finished.reason
        if self._told >= 0 or _REPLY.match(self._text):
            return (Finished("stop" if self._ended and reason == "tool_calls" else reason, finished.usage),)
        try:
            answer = msgspec.json.decode(self._text, type=dict[str, msgspec.Raw])
            name = msgspec.json.decode(answer["name"], type=str)
            arguments = bytes(answer["arguments"]).decode()
        except (msgspec.DecodeError, KeyError, UnicodeError):
            # Cut off, or an endpoint that ignores schemas: half a call is not run, and plain text is an answer.
            text = () if reason == "length" and self._text.lstrip().startswith("{") else (TextDelta(self._text),)
            return (*text, finished)
        if name not in self._names:
            return (TextDelta(self._text), finished)
        return (ToolCallDelta(0, "", name, arguments), Finished("tool_calls", finished.usage))


def _safe_end(text: str, start: int) -> tuple[int, bool]:
    """Up to where the JSON string that began before *start* can be decoded now, and whether it ends there."""
    index = safe = start
    high = False
    while index < len(text):
        character = text[index]
        if character == '"':
            return index, True
        if character != "\\":
            index += 1
            high = False
        else:
            length = 6 if text[index + 1 : index + 2] == "u" else 2
            if index + length > len(text):
                break
            code = text[index + 2 : index + 6].lower() if length == 6 else ""
            index += length
            high = not high and "d800" <= code <= "dbff"  # its other half may follow
        if not high:
            safe = index
    return safe, False
