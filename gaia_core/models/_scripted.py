"""Models for tests: a function, a list of answers, or a recording.

model = ScriptedModel(lambda request: "Hello")
model = scripted(call("read_file", path="a.txt"), "It says: contents")
model = ReplayModel(events)                       # raises DivergenceError at the first difference
"""

import asyncio
import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from gaia_core.errors import ConfigError, DivergenceError, GaiaError
from gaia_core.events import Event, FinishReason, ModelRetried, ReasoningDelta, StepEnded, TextDelta, ToolEnded
from gaia_core.frozen_types import shown
from gaia_core.messages import (
    AssistantMessage,
    FunctionCall,
    Message,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    text_of,
)
from gaia_core.models._protocol import Delta, Finished, ModelRequest, ToolCallDelta
from gaia_core.tool_output import unshown

Answer: TypeAlias = Any
"""A text, an AssistantMessage, a ToolCall, several ToolCalls, several deltas, or an async iterable of deltas."""

_WORDS = re.compile(r"\s*\S+\s*|\s+")
_DELTAS = (TextDelta, ReasoningDelta, ToolCallDelta, ModelRetried, Finished)
_SHOWN = 120
_ANSWERS = "an answer is a text, call(…), a tuple of calls, an AssistantMessage, or deltas"


def call(name: str, /, **arguments: Any) -> ToolCall:
    """A tool call for a script; the id is filled in by the model that gives it."""
    return ToolCall("", FunctionCall(name, msgspec.json.encode(arguments).decode()))


class ScriptedModel:
    """A model for tests: a function of the request; sync, async, or an async generator of deltas.

        model = ScriptedModel(lambda request: "Hello")
        model = ScriptedModel(lambda request: text_of(request.messages[-1].content).upper())
        assert await run(agent, "Hi", model=model) == "Hello"
        assert model.requests[0].messages[-1].content == "Hi"

    The function returns a text (streamed word by word), an AssistantMessage, a ToolCall (`call`) or several, or
    deltas; or raises, as a model that fails (`ModelError`). *requests* lists what was asked, in order. For a list of
    answers, one a request, use `scripted`. Raises ConfigError for what is no function of one argument.
    """

    def __init__(self, function: Callable[[ModelRequest], Answer]) -> None:
        given: object = function
        if not callable(given):
            answers = ", ".join(map(repr, given if isinstance(given, list | tuple) else (given,)))
            raise ConfigError(
                f"ScriptedModel takes a function of the request, not {shown(given)}; write scripted({answers})"
            )
        try:
            inspect.signature(function).bind(None)
        except TypeError:
            raise ConfigError(
                f"ScriptedModel: {getattr(function, '__name__', function)} must take one argument, the request; "
                "write lambda request: …"
            ) from None
        except ValueError:  # a builtin without a signature
            pass
        self._function = function
        self._calls = 0
        self.requests: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """See `Model`."""
        self.requests.append(request)
        answer = self._function(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, AsyncIterable):
            finished = False
            try:
                async for delta in answer:
                    finished = isinstance(delta, Finished)
                    yield (_checked(delta),)
            finally:
                if isinstance(answer, AsyncGenerator):
                    await answer.aclose()
            if not finished:
                yield (Finished("stop", None),)
            return
        for batch in self._batches(answer, request):
            yield batch
            await asyncio.sleep(0)

    def _batches(self, answer: Answer, request: ModelRequest) -> Iterator[tuple[Delta, ...]]:
        if isinstance(answer, AssistantMessage):
            yield from self._message(answer, request)
        elif isinstance(answer, str):
            yield from self._message(AssistantMessage(answer), request)
        elif isinstance(answer, ToolCall):
            yield from self._message(AssistantMessage(None, (answer,)), request)
        elif isinstance(answer, Iterable):
            items = tuple(answer)
            if items and all(isinstance(item, ToolCall) for item in items):
                yield from self._message(AssistantMessage(None, items), request)
                return
            for item in items:
                yield (_checked(item),)
            if not items or not isinstance(items[-1], Finished):
                yield (Finished("stop", None),)
        else:
            raise ConfigError(f"a scripted model can't answer with {shown(answer)}; {_ANSWERS}")

    def _message(self, message: AssistantMessage, request: ModelRequest) -> Iterator[tuple[Delta, ...]]:
        text = text_of(message.content)
        if message.reasoning_content:
            yield (ReasoningDelta(message.reasoning_content),)
        for word in _WORDS.findall(text):
            yield (TextDelta(word),)
        for index, wanted in enumerate(message.tool_calls):
            self._calls += 1
            yield (ToolCallDelta(index, wanted.id or f"call_{self._calls}", wanted.name, wanted.arguments),)
        reason: FinishReason = "tool_calls" if message.tool_calls else "stop"
        asked = sum(len(text_of(earlier.content).split()) for earlier in request.messages)
        yield (Finished(reason, Usage(asked, max(1, len(text.split()) + len(message.tool_calls)))),)


def _checked(delta: Any) -> Delta:
    if not isinstance(delta, _DELTAS):
        raise ConfigError(f"a scripted answer holds {shown(delta)}, which is no delta; {_ANSWERS}")
    return delta


def scripted(*answers: Answer) -> ScriptedModel:
    """A model that gives *answers*, one for each request, and fails a turn that asks for more.

        model = scripted("Hello")                                                # one answer, a text
        model = scripted(call("read_file", path="a.txt"), "It says: contents")  # a tool call, then the answer
        model = scripted((call("a"), call("b")), "Both are done.")               # two calls in one step

    Raises ConfigError for an answer that a `ScriptedModel` can't give.
    """
    for answer in answers:
        if isinstance(answer, list | tuple) and any(isinstance(item, str) for item in answer):
            raise ConfigError(
                f"scripted takes the answers one after the other, not {shown(answer)}; "
                f"write scripted({', '.join(map(repr, answer))})"
            )
    left = list(answers)

    def next_answer(request: ModelRequest) -> Answer:
        if not left:
            last = _show(request.messages[-1]) if request.messages else "nothing"
            raise GaiaError(f"the script of {len(answers)} answers has run out; the model was asked: {last}")
        return left.pop(0)

    return ScriptedModel(next_answer)


class ReplayModel:
    """Answers as the recorded *events* of a turn say, as long as the requests are those of the record.

    A request fits when what it adds to the first one is what was recorded: the model's messages, and the results of
    its calls. Raises DivergenceError, naming the step, the message and both sides, at the first difference.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self._steps: list[StepEnded] = []
        self._added: list[Message] = []
        results: dict[str, ToolMessage] = {}
        self._by_step: list[tuple[Message, ...]] = []
        for event in events:
            if isinstance(event, StepEnded):
                self._settle(results)
                self._by_step.append(tuple(self._added))
                self._steps.append(event)
                self._added.append(event.message)
                if event.objection:
                    self._added.append(UserMessage(event.objection))
            elif isinstance(event, ToolEnded):
                content = unshown(event.content, event.images)  # as it takes none
                results[event.call_id] = ToolMessage(content, event.call_id, event.outcome)
        self._asked = 0
        self._first = 0

    def _settle(self, results: dict[str, ToolMessage]) -> None:
        """Add the results of the last step's calls, in the order of the calls."""
        if self._steps:
            self._added += [results[made.id] for made in self._steps[-1].message.tool_calls if made.id in results]

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """See `Model`. Raises DivergenceError."""
        number = self._asked
        self._asked += 1
        if number >= len(self._steps):
            raise DivergenceError(
                f"step {number + 1}: the record has {len(self._steps)} steps, and the model is asked again"
            )
        if number == 0:
            self._first = len(request.messages)
        self._compare(number, request.messages[self._first :])
        recorded = self._steps[number]
        message = recorded.message
        deltas: list[Delta] = []
        if message.reasoning_content:
            deltas.append(ReasoningDelta(message.reasoning_content))
        if text := text_of(message.content):
            deltas.append(TextDelta(text))
        deltas += [ToolCallDelta(n, made.id, made.name, made.arguments) for n, made in enumerate(message.tool_calls)]
        deltas.append(Finished(recorded.finish_reason, recorded.usage))
        yield tuple(deltas)

    def _compare(self, number: int, added: tuple[Message, ...]) -> None:
        expected = self._by_step[number]
        index = first_difference(expected, added)
        if index is None:
            return
        if index < min(len(expected), len(added)):
            old, new = expected[index], added[index]
            raise DivergenceError(
                f"step {number + 1}, message {index + 1}: recorded {_show(old)}, but now there is {_show(new)}"
            )
        raise DivergenceError(f"step {number + 1}: recorded {len(expected)} messages, but now there are {len(added)}")


def first_difference(recorded: Sequence[Message], now: Sequence[Message]) -> int | None:
    """Where two conversations part, as an index; None when they are the same."""
    for index, (old, new) in enumerate(zip(recorded, now, strict=False)):
        if old != new:
            return index
    return min(len(recorded), len(now)) if len(recorded) != len(now) else None


def _show(message: Message) -> str:
    try:
        text = msgspec.json.encode(message).decode()
    except UnicodeEncodeError:  # half a surrogate pair
        text = repr(message)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
