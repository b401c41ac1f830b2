"""What a model that answers by a JSON schema is asked: its tools in words, examples, the conversation, the schema.

The text of a conversation only grows: each result is one message, with the question below it, and the same one in every
later request, so that an endpoint's prefix cache keeps what it has read.

A tool is offered with its required parameters alone, or, when it has none, with its first one: small models fill in
every parameter that they see. An optional parameter is offered as soon as the user's message or a result since then
has its name, or a value of its enumeration, as a word ("continue with start_line=201").
"""

import re
from collections.abc import Iterator
from typing import Any

import attrs
import msgspec

from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
    is_users,
    text_of,
)
from gaia_core.models._protocol import ResponseFormat
from gaia_core.tools import ToolDefinition

ANSWER = "answer"
FAILURES = frozenset({"error", "timeout", "invalid", "unknown_tool"})
"""The outcomes after which the model should make another call."""

_QUESTION_CHARS = 500
_REPEATED = "You have the result of this call already. Answer from it."
_FAILED_AGAIN = "This call failed already, and fails again. Call another tool."
_FORM = (
    "Answer every message with one JSON object and nothing else: a call of a tool, or an answer.\n"
    'To call a tool: {"name": "<the tool>", "arguments": {…}}\n'
    'To answer: {"answer": "<your words>"}\n'
    "Call a tool before you answer about something that a tool can show. Answer from the result, with its own names "
    "and numbers; when it has nothing about the question, say so. The conversation begins with examples, whose tools "
    "you do not have."
)


def _call(tool: str, **arguments: str) -> str:
    return msgspec.json.encode({"name": tool, "arguments": arguments}).decode()


def _examples() -> Iterator[Message]:
    """A short conversation with tools for letters; one that has no tools of this kind still learns the form by it."""
    told = (
        ("Hello!", "", "", "Hello! What can I do for you?"),
        (
            "How many letters are in the box 2024?",
            _call("list_letters", box="2024"),
            "Result of list_letters, 2 lines:\n2024/may.doc\n2024/zoe.doc",
            "There are 2 letters in the box 2024: may.doc and zoe.doc.",
        ),
        (
            "Which letter mentions the piano?",
            _call("search_letters", text="piano"),
            "Result of search_letters, 1 line:\n2024/may.doc:3: The piano was tuned.",
            "2024/may.doc mentions the piano.",
        ),
        (
            "What is the rent, according to 2024/zoe.doc?",
            _call("open_letter", letter="2024/zoe.doc"),
            "Result of open_letter, 3 lines:\nDear all,\nrent = 410 euros\nYours, Zoe",
            "The rent is 410 euros.",
        ),
        (
            "What is the phone number in 2024/zoe.doc?",
            _call("open_letter", letter="2024/zoe.doc"),
            "Result of open_letter, 3 lines:\nDear all,\nrent = 410 euros\nYours, Zoe",
            "There is no phone number in 2024/zoe.doc.",
        ),
        (
            "Is there a letter called june.doc?",
            _call("search_letters", text="june.doc"),
            "Result of search_letters, 0 lines:\n[Nothing contains 'june.doc']",
            "No, there is no letter called june.doc.",
        ),
        ("What is 8 plus 5?", "", "", "8 plus 5 is 13."),
        ("Thank you, that helps.", "", "", "You are welcome."),
    )
    for question, call, result, answer in told:
        yield UserMessage(question)
        if call:
            yield AssistantMessage(call)
            yield UserMessage(f"{result}\n\nMy question: {question}")
        yield AssistantMessage(_answer(answer))


def _answer(text: str) -> str:
    return msgspec.json.encode({"answer": text}).decode()


_EXAMPLES = tuple(_examples())


@attrs.frozen
class OfferedTool:
    """A tool as it is offered: its name and the schema of the arguments that it may be given."""

    name: str
    schema: bytes


def offered(tools: tuple[ToolDefinition, ...], messages: tuple[Message, ...]) -> tuple[OfferedTool, ...]:
    """*tools* with the parameters that they are offered with after *messages*."""
    told = _told_since_user(messages)
    return tuple(OfferedTool(tool.name, _offered_schema(tool, told)) for tool in tools)


def response_format(tools: tuple[OfferedTool, ...], *, may_answer: bool) -> ResponseFormat:
    """The schema of one message: any of the calls, or an answer."""
    shared: list[bytes] = []
    forms = [
        b'{"type":"object","properties":{"name":{"const":%b},"arguments":%b},'
        b'"required":["name","arguments"],"additionalProperties":false}'
        % (msgspec.json.encode(tool.name), _embedded(tool, shared))
        for tool in tools
    ]
    if may_answer or not forms:
        forms.append(
            b'{"type":"object","properties":{"answer":{"type":"string"}},'
            b'"required":["answer"],"additionalProperties":false}'
        )
    defined = b',"$defs":{%b}' % b",".join(shared) if shared else b""
    return ResponseFormat("json_schema", b'{"anyOf":[%b]%b}' % (b",".join(forms), defined), name="answer")


def conversation(messages: tuple[Message, ...], tools: tuple[ToolDefinition, ...]) -> tuple[Message, ...]:
    """*messages* without the API's tool calls, which the model's template doesn't know; with the *tools* in words."""
    plain = _plain(messages, as_json=bool(tools))
    if not tools:
        return tuple(plain)
    listed = "\n".join(
        f"- {tool.name}: {' '.join(tool.description.split())} Arguments: {_arguments(tool)}" for tool in tools
    )
    # Small models follow best what they read last: the agent's words after the tools, the form and its examples last.
    if plain and isinstance(plain[0], SystemMessage | DeveloperMessage):
        system = f"Your tools:\n{listed}\n\n{text_of(plain[0].content)}\n\n{_FORM}"
        return (SystemMessage(system), *_EXAMPLES, *plain[1:])
    return (SystemMessage(f"Your tools:\n{listed}\n\n{_FORM}"), *_EXAMPLES, *plain)


def repeated(
    asked: tuple[Message, ...], messages: tuple[Message, ...], call: str, *, failed: bool
) -> tuple[Message, ...]:
    """*asked* of *messages*, the same *call* made once more, and that its result is there, or that it *failed*."""
    question = question_in(messages)
    words = _FAILED_AGAIN if failed else _REPEATED
    again = f"{words}\n\nMy question: {question}" if question else words
    return (*asked, AssistantMessage(call), UserMessage(again))


def question_in(messages: tuple[Message, ...]) -> str:
    """What the user asked last, to be said again: after a long result a small model has forgotten it. "": too long."""
    asked = next((text_of(one.content) for one in reversed(messages) if is_users(one)), "").strip()
    return asked if len(asked) <= _QUESTION_CHARS else ""


def _plain(messages: tuple[Message, ...], *, as_json: bool) -> list[Message]:
    plain: list[Message] = []
    names: dict[str, str] = {}
    question, results = "", ""
    for position, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            results += f"{_result(message, names.get(message.tool_call_id, 'the tool'))}\n\n"
            if position + 1 < len(messages) and isinstance(messages[position + 1], ToolMessage):
                continue  # results of one step are one message
            plain.append(UserMessage(results + f"My question: {question}" if question else results.rstrip()))
            results = ""
        elif isinstance(message, AssistantMessage) and message.tool_calls:
            names |= {call.id: call.name for call in message.tool_calls}
            calls = (f'{{"name": "{call.name}", "arguments": {call.arguments or "{}"}}}' for call in message.tool_calls)
            said = text_of(message.content)
            plain.append(AssistantMessage("\n".join((*((said,) if said else ()), *calls))))
        elif isinstance(message, AssistantMessage) and as_json and (said := text_of(message.content)):
            plain.append(AssistantMessage(_answer(said)))
        elif isinstance(message, UserMessage) and not is_users(message) and _follows_results(messages, position):
            plain.pop()  # what stands between the results and this, for templates that have results of their own
            plain.append(_with_parts(plain.pop(), message))
        else:
            if isinstance(message, UserMessage):
                question = question_in((message,))
            plain.append(message)
    return plain


def _follows_results(messages: tuple[Message, ...], position: int) -> bool:
    return position > 1 and isinstance(messages[position - 2], ToolMessage)


def _with_parts(results: Message, attached: UserMessage) -> UserMessage:
    parts = attached.content if isinstance(attached.content, tuple) else ()
    return UserMessage((TextPart(text_of(results.content)), *parts))


def _result(message: ToolMessage, name: str) -> str:
    content = text_of(message.content)
    if message.outcome in FAILURES:
        return f"{name} failed:\n{content}"
    lines = sum(1 for line in content.splitlines() if line.strip() and not _is_note(line))
    return f"Result of {name}, {lines} {'line' if lines == 1 else 'lines'}:\n{content}"


def _is_note(line: str) -> bool:
    """Whether *line* is a tool's remark and not what it found."""
    return line.startswith("[") and line.endswith("]")


def _told_since_user(messages: tuple[Message, ...]) -> str:
    """The user's last message and the results since, as one text."""
    told: list[str] = []
    for message in reversed(messages):
        if isinstance(message, ToolMessage | UserMessage):
            told.append(text_of(message.content))
        if is_users(message):
            break
    return "\n".join(told).casefold()


def _offered_schema(tool: ToolDefinition, told: str) -> bytes:
    schema = msgspec.json.decode(tool.parameters)
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not properties:
        return tool.parameters
    required = [name for name in schema.get("required", ()) if name in properties]
    main = required or [next(iter(properties))]
    chosen = {name: one for name, one in properties.items() if name in main or _mentioned(name, one, told)}
    if len(chosen) == len(properties) and required:
        return tool.parameters
    return msgspec.json.encode({**schema, "properties": chosen, "required": required})


def _mentioned(name: str, member: Any, told: str) -> bool:
    values = member.get("enum", ()) if isinstance(member, dict) else ()
    words = [
        name.casefold(),
        name.replace("_", " ").casefold(),
        *(one.casefold() for one in values if type(one) is str),
    ]
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", told) for word in words if word)


def _embedded(tool: OfferedTool, shared: list[bytes]) -> bytes:
    """The schema of *tool*'s arguments as a part of another one: what refers to its own root goes into *shared*."""
    if b'"$ref"' not in tool.schema:
        return tool.schema
    place = f"#/$defs/{tool.name}".encode()
    compact = msgspec.json.encode(msgspec.json.decode(tool.schema))
    shared.append(b"%b:%b" % (msgspec.json.encode(tool.name), compact.replace(b'"$ref":"#', b'"$ref":"' + place)))
    return b'{"$ref":"%b"}' % place


def _arguments(tool: ToolDefinition) -> str:
    return "; ".join(_described_arguments(tool)) or "none"


def _described_arguments(tool: ToolDefinition) -> Iterator[str]:
    schema = msgspec.json.decode(tool.parameters)
    properties = schema.get("properties", {})
    main = schema.get("required") or list(properties)[:1]
    for name, member in properties.items():
        if name in main:
            yield f"{name}: {_described(member)}{_default(member)}"
    if rest := [name for name in properties if name not in main]:
        yield f"optional, when they are spoken of: {', '.join(rest)}"


def _default(member: Any) -> str:
    if not isinstance(member, dict) or "default" not in member:
        return ""
    return f" (else {msgspec.json.encode(member['default']).decode()})"


def _described(member: Any) -> Any:
    if not isinstance(member, dict):  # a schema may be `true`
        return "any"
    return member.get("description") or member.get("type", "any")
