"""Prompted tools: tool calls from models that can't make them, over any endpoint that takes a JSON schema.

The model must answer with one JSON object: `{"name": <a tool>, "arguments": {…}}`, or `{"name": "reply", "text": …}`.
The text of a reply is streamed on as it comes. In the step after a tool's result the tools are left out and the model
is asked to answer from the result, because small models repeat the call otherwise. When the call failed, the tools
stay, so that the model can correct the call; a tool whose same call was made twice is left out.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

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
from gaia_core.models._protocol import (
    Delta,
    EndpointLoad,
    Finished,
    Input,
    Model,
    ModelRequest,
    ResponseFormat,
    ToolCallDelta,
)
from gaia_core.nesting import decode_json
from gaia_core.tools import ToolDefinition

REPLY = "reply"

_REPLY = re.compile(r'\s*\{\s*"name"\s*:\s*"reply"\s*,\s*"text"\s*:\s*"')
_CODE = re.compile(r"\\u[0-9a-fA-F]{4}")
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_HIGH = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_CORRECTABLE = frozenset({"error", "timeout", "invalid", "unknown_tool"})
"""The outcomes after which the model may make the call again."""

_EXAMPLES = """\
Examples of the form, with tools that you do not have:

User: Hello!
{"name": "reply", "text": "Hello! What can I do for you?"}

User: How warm is it in Oslo?
{"name": "get_temperature", "arguments": {"city": "Oslo"}}

User: Which lamps are on?
{"name": "list_lamps", "arguments": {}}

User: What does "serendipity" mean?
{"name": "reply", "text": "A happy discovery made by chance."}

User: What does the letter from Zoe say?
{"name": "open_letter", "arguments": {"from": "Zoe"}}

User: Thank you, that helps.
{"name": "reply", "text": "You are welcome."}"""
_LOOKED = "Let me look."
_CORRECT = "This call failed. Read the error, and make the right call for {}."
_QUESTION_CHARS = 500


class PromptedTools:
    """*model*, with tools. Requests without tools pass through as they are."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.any_task: bool = getattr(model, "any_task", False)
        """See Model."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """See `Model`."""
        tools = _offered(request)
        decoder = _Decoder(tools) if tools else None
        async with aclosing(self._model.stream(_asked(request, tools))) as answering:
            async for batch in answering:
                told = decoder.feed(batch) if decoder is not None else batch
                if told:
                    yield told

    @property
    def endpoints(self) -> tuple[EndpointLoad, ...]:
        """Those of the model beneath; see `Failover`."""
        return getattr(self._model, "endpoints", ())

    async def inputs(self) -> frozenset[Input]:
        """Those of the model beneath."""
        ask = getattr(self._model, "inputs", None)
        return await ask() if ask is not None else frozenset()

    async def count(self, request: ModelRequest) -> int | None:
        """The tokens of the prompt, as the model beneath counts them."""
        ask = getattr(self._model, "count", None)
        return await ask(_asked(request, _offered(request))) if ask is not None else None

    async def aclose(self) -> None:
        """Close the model beneath."""
        if (close := getattr(self._model, "aclose", None)) is not None:
            await close()


def _asked(request: ModelRequest, tools: tuple[ToolDefinition, ...]) -> ModelRequest:
    """*request* with its *tools* in words."""
    return msgspec.structs.replace(
        request,
        messages=_plain(request.messages, tools),
        encoded=(),
        tools=(),
        response_format=_form(tools, may_reply=_may_reply(request)) if tools else request.response_format,
    )


def _offered(request: ModelRequest) -> tuple[ToolDefinition, ...]:
    """The tools that the model may call in this step."""
    choice = request.tool_choice
    if choice.mode == "none" and choice.name is None:
        return ()
    if choice.name is not None:
        return tuple(tool for tool in request.tools if tool.name == choice.name)
    last = request.messages[-1] if request.messages else None
    if isinstance(last, ToolMessage) and choice.mode == "auto" and last.outcome not in _CORRECTABLE:
        return ()
    stuck = _stuck(request.messages)
    return tuple(tool for tool in request.tools if tool.name not in stuck) or request.tools


def _stuck(messages: tuple[Message, ...]) -> frozenset[str]:
    """Tools of which the same call was made twice since the user spoke, and failed at last: once more won't help."""
    seen: list[tuple[str, str]] = []
    for message in reversed(messages):
        if isinstance(message, UserMessage):
            break
        if isinstance(message, AssistantMessage):
            seen += [(call.name, call.arguments) for call in message.tool_calls]
    return frozenset(name for name, arguments in seen if seen.count((name, arguments)) > 1)


def _may_reply(request: ModelRequest) -> bool:
    return request.tool_choice.mode != "required" and request.tool_choice.name is None


def _form(tools: tuple[ToolDefinition, ...], *, may_reply: bool) -> ResponseFormat:
    """The schema of one answer: any of the calls, or a reply."""
    shared: list[bytes] = []
    forms = [
        b'{"type":"object","properties":{"name":{"const":%b},"arguments":%b},'
        b'"required":["name","arguments"],"additionalProperties":false}'
        % (msgspec.json.encode(tool.name), _embedded(tool, shared))
        for tool in tools
    ]
    if may_reply:
        forms.append(
            b'{"type":"object","properties":{"name":{"const":"reply"},"text":{"type":"string"}},'
            b'"required":["name","text"],"additionalProperties":false}'
        )
    defined = b',"$defs":{%b}' % b",".join(shared) if shared else b""
    return ResponseFormat("json_schema", b'{"anyOf":[%b]%b}' % (b",".join(forms), defined), name="answer")


def _embedded(tool: ToolDefinition, shared: list[bytes]) -> bytes:
    """The schema of *tool*'s arguments as a part of another one: what refers to its own root goes into *shared*."""
    if b'"$ref"' not in tool.parameters:
        return tool.parameters
    place = f"#/$defs/{tool.name}".encode()
    compact = msgspec.json.encode(msgspec.json.decode(tool.parameters))
    shared.append(b"%b:%b" % (msgspec.json.encode(tool.name), compact.replace(b'"$ref":"#', b'"$ref":"' + place)))
    return b'{"$ref":"%b"}' % place


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
    if isinstance(previous, ToolMessage):
        if not tools:
            return _answering(plain, messages)
        asked = _question(messages)
        words = _CORRECT.format(f'my question "{asked}"' if asked else "my question")
        plain[-1] = UserMessage(f"{text_of(plain[-1].content)}\n\n{words}")
    return _instructed(tuple(plain), tools) if tools else tuple(plain)


def _answering(plain: list[Message], messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """*plain* for the step that answers from a result: a small model that sees its call there calls again, or names
    the tool, so the result stands as what was found, with the question behind it."""
    calls = len(plain) - 2
    if calls >= 0 and isinstance(plain[calls], AssistantMessage):
        said = next((one for one in reversed(messages) if isinstance(one, AssistantMessage)), None)
        plain[calls] = AssistantMessage((text_of(said.content) if said is not None else "") or _LOOKED)
    single = len(messages) < 2 or not isinstance(messages[-2], ToolMessage)
    found = text_of((messages if single else plain)[-1].content)  # of one result, without its heading
    asked = _question(messages)
    words = (
        f"Answer from it, in plain words, with all names and numbers: {asked}"
        if asked
        else "Answer my question from it, in plain words."
    )
    plain[-1] = UserMessage(f"This is there:\n{found}\n\n{words}")
    return tuple(plain)


def _question(messages: tuple[Message, ...]) -> str:
    """What the user asked last, said again: after a long result a small model has forgotten it. "" if it is long."""
    asked = next((text_of(one.content) for one in reversed(messages) if isinstance(one, UserMessage)), "").strip()
    return asked if len(asked) <= _QUESTION_CHARS else ""


def _instructed(messages: tuple[Message, ...], tools: tuple[ToolDefinition, ...]) -> tuple[Message, ...]:
    listed = "\n".join(
        f"- {tool.name}: {' '.join(tool.description.split())} Arguments: {_arguments(tool)}" for tool in tools
    )
    # Small models follow best what they read last: the agent's words after the tools, the form and its examples last.
    first = f"Your tools:\n{listed}\n\n"
    last = (
        "Answer every message with one JSON object and nothing else: a call of the tool that fits, or a reply.\n"
        'To call a tool: {"name": "<the tool>", "arguments": {…}}; '
        "leave out arguments that the message does not speak of.\n"
        'To talk to the user: {"name": "reply", "text": "<your words>"}, for greetings and general knowledge.\n\n'
        f"{_EXAMPLES}"
    )
    if messages and isinstance(messages[0], SystemMessage | DeveloperMessage):
        return (SystemMessage(f"{first}{text_of(messages[0].content)}\n\n{last}"), *messages[1:])
    return (SystemMessage(first + last), *messages)


def _arguments(tool: ToolDefinition) -> str:
    schema = msgspec.json.decode(tool.parameters)
    required = schema.get("required", ())
    members = [
        f"{name}{'' if name in required else _optional(member)}: {_described(member)}"
        for name, member in schema.get("properties", {}).items()
    ]
    return "; ".join(members) or "none"


def _optional(member: Any) -> str:
    """That it may be left out, and what is meant then: small models give every argument that they see otherwise."""
    if isinstance(member, dict) and "default" in member:
        return f" (optional, else {msgspec.json.encode(member['default']).decode()})"
    return " (optional)"


def _described(member: Any) -> Any:
    if not isinstance(member, dict):  # a schema may be `true`
        return "any"
    return member.get("description") or member.get("type", "any")


class _Decoder:
    """Turns the text of the JSON object, as it streams, into the text of the reply or a tool call."""

    def __init__(self, tools: tuple[ToolDefinition, ...]) -> None:
        self._names = frozenset(tool.name for tool in tools)
        self._text = ""
        self._told = -1  # the reply's text up to here was sent; -1: there is no reply yet
        self._ended = False

    def feed(self, batch: tuple[Delta, ...]) -> tuple[Delta, ...]:
        """What *batch* means."""
        told: list[Delta] = []
        for delta in batch:
            if isinstance(delta, TextDelta):
                self._text += delta.text
                if text := self._more():
                    told.append(TextDelta(text))
            elif isinstance(delta, Finished):
                told += self._finish(delta)
            else:
                told.append(delta)
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
        return _unescaped(raw)

    def _finish(self, finished: Finished) -> tuple[Delta, ...]:
        reason: FinishReason = finished.reason
        if self._told >= 0:
            return (
                Finished(
                    "stop" if self._ended and reason == "tool_calls" else reason, finished.usage, finished.stop_sequence
                ),
            )
        try:
            answer = decode_json(self._text, _DecodedAnswer)
        except (msgspec.DecodeError, UnicodeError):
            # Cut off, or an endpoint that ignores schemas: half a call is not run, and plain text is an answer.
            text = self._text if reason != "length" or not self._text.lstrip().startswith("{") else ""
        else:
            if answer.name in self._names and (arguments := bytes(answer.arguments).decode()):
                return (ToolCallDelta(0, "", answer.name, arguments), Finished("tool_calls", finished.usage))
            text = self._text if (reply := answer.reply) is None else reply
        return (TextDelta(text), finished) if text else (finished,)


class _DecodedAnswer(msgspec.Struct):
    """An answer whose members came in another order than the schema's, or that is a call."""

    name: str
    text: str | None = None
    arguments: msgspec.Raw = msgspec.Raw(b"")

    @property
    def reply(self) -> str | None:
        """The text, when this is a reply, also one in the form of a call; else None."""
        if self.name != REPLY or self.text is not None:
            return self.text if self.name == REPLY else None
        try:
            return msgspec.json.decode(self.arguments, type=dict[str, str]).get("text")
        except (msgspec.DecodeError, UnicodeError):
            return None


def _safe_end(text: str, start: int) -> tuple[int, bool]:
    """Up to where the JSON string that began before *start* can be decoded now, and whether it ends there."""
    index = safe = start
    while index < len(text):
        character = text[index]
        if character == '"':
            return index, True
        step = 1
        if character == "\\":
            if _HALF_ESCAPE.match(text, index):
                return safe, False
            step = 6 if _CODE.match(text, index) else 2
        if _HIGH.match(text, index):
            safe = index  # its other half may follow
            index += step
        else:
            index += step
            safe = index
    return safe, False


def _unescaped(raw: str) -> str:
    """The text that the inside of a JSON string means; what is no JSON is taken as it stands."""
    if "\\" in raw:
        raw = _ESCAPE.sub(_meant, raw)
    # Halves of surrogate pairs that belong together are joined; others can't be written.
    return raw.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _meant(escape: re.Match[str]) -> str:
    code = escape[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    index = "bfnrt".find(code)
    return code if index < 0 else "\b\f\n\r\t"[index]
