"""Prompted tools: tool calls from models that can't make them, over any endpoint that takes a JSON schema.

The model must write one JSON object: `{"name": <a tool>, "arguments": {…}}`, or `{"answer": …}`, whose text is streamed
on as it comes (`_prompted_form`). Three rules make small models look, and stop:

- in the first step there is no answer to give when the message names something that a tool can show (`_must_look`);
- after a result all tools are still there, for a further call;
- the same call is not made twice since the user spoke: the model is asked once more, and can only answer.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

import attrs
import msgspec

from gaia_core.events import FinishReason, TextDelta
from gaia_core.messages import AssistantMessage, Message, ToolMessage, is_users, text_of
from gaia_core.models._must_look import must_look
from gaia_core.models._prompted_form import (
    FAILURES,
    OfferedTool,
    conversation,
    offered,
    repeated,
    response_format,
)
from gaia_core.models._protocol import (
    Delta,
    EndpointLoad,
    Finished,
    Input,
    Model,
    ModelRequest,
    ToolCallDelta,
)
from gaia_core.nesting import decode_json
from gaia_core.tools import ToolDefinition

_FORCED = 2
"""So many calls are made before an answer, when the message names something and they fail."""

_ANSWER = '{"answer":"'
_ANSWER_GAPS = (0, 1, len('{"answer"'), len('{"answer":'))
"""Where in it there may be white space."""
_CODE = re.compile(r"\\u[0-9a-fA-F]{4}")
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_HIGH = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)


class PromptedTools:
    """*model*, with tools. Requests without tools pass through as they are."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.any_task: bool = getattr(model, "any_task", False)
        """See Model."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """See `Model`."""
        step = _Step.of(request)
        asked = _asked(request, step)
        decoder = _Decoder(step) if step.callable else None
        async with aclosing(self._model.stream(asked)) as answering:
            async for batch in answering:
                told = decoder.feed(batch) if decoder is not None else batch
                if told:
                    yield told
        if decoder is None or not decoder.repeated:
            return
        # The same call once more: its result is shown again, and what is left is another tool, or the answer.
        left = step.without(decoder.repeated) if step.failed else attrs.evolve(step, callable=(), may_answer=True)
        asked = msgspec.structs.replace(
            asked,
            messages=repeated(asked.messages, request.messages, decoder.text, failed=step.failed),
            response_format=response_format(left.callable, may_answer=left.may_answer),
        )
        again = _Decoder(left, before=decoder.finished)
        async with aclosing(self._model.stream(asked)) as answering:
            async for batch in answering:
                if told := again.feed(batch):
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
        return await ask(_asked(request, _Step.of(request))) if ask is not None else None

    async def aclose(self) -> None:
        """Close the model beneath."""
        if (close := getattr(self._model, "aclose", None)) is not None:
            await close()


@attrs.frozen
class _Step:
    """What the model may do in answer to one request.

    *listed* are the tools that its prompt lists, *callable* those that it may call now; *made* the calls, with their
    decoded arguments, since the user spoke, when they may not be made again.
    """

    listed: tuple[ToolDefinition, ...]
    callable: tuple[OfferedTool, ...]
    may_answer: bool
    made: tuple[tuple[str, object], ...] = ()
    failed: bool = False
    """Whether there were calls since the user spoke, and each failed."""

    def without(self, name: str) -> "_Step":
        """This step without the tool *name*; where there is no other, only an answer is left (`response_format`). No
        call is looked up again: another one that was made already is made again, and the turn's own limits end it."""
        others = tuple(tool for tool in self.callable if tool.name != name)
        return attrs.evolve(self, callable=others, made=())

    @classmethod
    def of(cls, request: ModelRequest) -> "_Step":
        choice, tools = request.tool_choice, request.tools
        if choice.name is not None:
            named = tuple(tool for tool in tools if tool.name == choice.name)
            return cls(tools, offered(named, request.messages), may_answer=False)
        if choice.mode == "none" or not tools:
            return cls((), (), may_answer=True)
        if choice.mode == "required":
            return cls(tools, offered(tools, request.messages), may_answer=False)
        reading = tuple(tool for tool in tools if tool.reads)
        since = _since_user(request.messages)
        made = _made(since)
        failed = _failed(since)
        if made and not failed and request.response_format is not None:
            # The form of the final text can't be a part of the schema of calls: the answer is made without tools.
            return cls((), (), may_answer=True)
        looks = bool(reading) and len(made) < _FORCED and failed
        looks = looks and (_only_read(made, reading) or must_look(_asked_last(request.messages), reading))
        chosen = offered(reading if looks else tools, request.messages)
        return cls(tools, chosen, may_answer=not looks, made=made, failed=bool(made) and failed)


def _asked(request: ModelRequest, step: _Step) -> ModelRequest:
    """*request* with its tools in words."""
    form = response_format(step.callable, may_answer=step.may_answer) if step.callable else request.response_format
    return msgspec.structs.replace(
        request,
        messages=conversation(request.messages, step.listed),
        encoded=(),
        tools=(),
        response_format=form,
    )


def _since_user(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages after the user's last one; none, when no user has spoken."""
    for position in range(len(messages) - 1, -1, -1):
        if is_users(messages[position]):
            return messages[position + 1 :]
    return ()


def _asked_last(messages: tuple[Message, ...]) -> str:
    return next((text_of(one.content) for one in reversed(messages) if is_users(one)), "")


def _failed(messages: tuple[Message, ...]) -> bool:
    """Whether no call of *messages* brought something: there was none, or each failed."""
    return all(one.outcome in FAILURES for one in messages if isinstance(one, ToolMessage))


def _only_read(made: tuple[tuple[str, object], ...], reading: tuple[ToolDefinition, ...]) -> bool:
    """Whether there are calls, all of tools that read: such a model has begun to look."""
    names = {tool.name for tool in reading}
    return bool(made) and all(name in names for name, _ in made)


def _made(messages: tuple[Message, ...]) -> tuple[tuple[str, object], ...]:
    """The calls in *messages*, with their decoded arguments."""
    return tuple(
        (call.name, _decoded(call.arguments))
        for message in messages
        if isinstance(message, AssistantMessage)
        for call in message.tool_calls
    )


def _decoded(arguments: str) -> object:
    """What *arguments* mean, so that the same ones in another spelling are equal; their text, when they are no JSON."""
    try:
        return decode_json(arguments or "{}", object)
    except (msgspec.DecodeError, UnicodeError):
        return arguments


class _Decoder:
    """Turns the text of the JSON object, as it streams, into the text of the answer or a tool call.

    *before*: how an earlier request of this step finished, whose usage is added.
    """

    def __init__(self, step: _Step, before: Finished | None = None) -> None:
        self._names = frozenset(tool.name for tool in step.callable)
        self._made = step.made
        self._before = before
        self._pieces: list[str] = []
        self._begun = 0
        """How much of _ANSWER the text began with: all of it when it is an answer, -1 when it is something else."""
        self._rest = ""
        """The end of the answer's text that can't be told yet: half an escape, or half a character."""
        self._ended = False
        self.repeated = ""
        """The tool whose call the model made again that it has the result of; nothing was passed on then."""
        self.finished: Finished | None = None
        """How the model finished then."""

    @property
    def text(self) -> str:
        """All that came."""
        return "".join(self._pieces)

    @property
    def _answers(self) -> bool:
        return self._begun == len(_ANSWER)

    def feed(self, batch: tuple[Delta, ...]) -> tuple[Delta, ...]:
        """What *batch* means."""
        told: list[Delta] = []
        for delta in batch:
            if isinstance(delta, TextDelta):
                self._pieces.append(delta.text)
                if text := self._more(delta.text):
                    told.append(TextDelta(text))
            elif isinstance(delta, Finished):
                told += self._finish(_summed(delta, self._before))
            else:
                told.append(delta)
        return tuple(told)

    def _more(self, text: str) -> str:
        """The answer's text that came with the piece *text*."""
        text = text if self._answers else self._begin(text)
        if self._ended or not self._answers:
            return ""
        text = self._rest + text
        end, self._ended = _safe_end(text)
        self._rest = text[end:]
        return _unescaped(text[:end])

    def _begin(self, text: str) -> str:
        """What follows the beginning of an answer in *text*; "" until that is complete."""
        for index, character in enumerate(text):
            if self._begun < 0:
                return ""
            if self._answers:
                return text[index:]
            if character == _ANSWER[self._begun]:
                self._begun += 1
            elif not (character.isspace() and self._begun in _ANSWER_GAPS):
                self._begun = -1
        return ""

    def _finish(self, finished: Finished) -> tuple[Delta, ...]:
        reason: FinishReason = finished.reason
        if self._answers:
            return (
                Finished(
                    "stop" if self._ended and reason == "tool_calls" else reason, finished.usage, finished.stop_sequence
                ),
            )
        whole = self.text
        try:
            answer = decode_json(whole, _DecodedAnswer)
        except (msgspec.DecodeError, UnicodeError):
            # Cut off, or an endpoint that ignores schemas: half a call is not run, and plain text is an answer.
            text = whole if reason != "length" or not whole.lstrip().startswith("{") else ""
        else:
            if answer.name in self._names and (arguments := bytes(answer.arguments).decode()):
                if (answer.name, _decoded(arguments)) in self._made:
                    self.repeated, self.finished = answer.name, finished
                    return ()
                return (ToolCallDelta(0, "", answer.name, arguments), Finished("tool_calls", finished.usage))
            text = whole if answer.answer is None else answer.answer
        return (TextDelta(text), finished) if text else (finished,)


class _DecodedAnswer(msgspec.Struct):
    """A call; or an answer with further members, or whose endpoint doesn't keep to the schema."""

    name: str = ""
    answer: str | None = None
    arguments: msgspec.Raw = msgspec.Raw(b"")


def _summed(finished: Finished, before: Finished | None) -> Finished:
    if before is None or before.usage is None:
        return finished
    usage = before.usage if finished.usage is None else before.usage + finished.usage
    return Finished(finished.reason, usage)


def _safe_end(text: str) -> tuple[int, bool]:
    """Up to where *text*, from the inside of a JSON string, can be decoded now, and whether the string ends there."""
    index = safe = 0
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
