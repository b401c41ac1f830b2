"""One step's model request: from admission to the whole message, telling deltas as they come."""

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeAlias

import msgspec

from gaia_core.events import ClientCallDelta, Event, FinishReason, ModelRetried, Queued, ReasoningDelta, TextDelta
from gaia_core.messages import AssistantMessage, ToolCall, Usage, wire_bytes
from gaia_core.models._call_assembly import CallAssembly
from gaia_core.models._json_prefix import JsonPrefix
from gaia_core.models._protocol import Delta, Finished, ModelError, ModelRequest, ToolCallDelta
from gaia_core.models._tool_call_repair import repair
from gaia_core.models.slots._pool import SlotRequest
from gaia_core.session import new_id
from gaia_core.turn._speculative_request import SpeculativeRequest
from gaia_core.turn._turn_context import TurnContext
from gaia_core.turn.context._context_budget import ANSWER_TOKENS, CHARS_PER_TOKEN, is_cut
from gaia_core.turn.context._transcript import request_chars
from gaia_core.turn.step._call_as_text import CallAsText
from gaia_core.turn.step._streamed_calls import StreamedCalls

_log = logging.getLogger(__name__)

MAX_ANSWER_CHARS = 16 * 1024 * 1024
"""Characters of one answer, reasoning and arguments included, after which its model is not listened to any longer."""

_SERVER_GONE = frozenset(("connect", "not_ready"))
"""Errors of a server that stops, starts or loads its model."""

_LEAST_ANSWER_CHARS = 64 * 1024
_MOST_CHARS_OF_A_TOKEN = 64

Answer: TypeAlias = tuple[AssistantMessage, FinishReason, Usage]


class Clock:
    """How long a model request takes, and how long until its first token. *asked*: when it was sent, if not now."""

    __slots__ = ("_asked", "_emit", "_first", "quiet", "told")

    def __init__(self, emit: Callable[..., None], *, asked: float | None = None) -> None:
        self._emit = emit
        self._asked = time.monotonic() if asked is None else asked
        self._first: float | None = None
        self.quiet = False
        """Whether the model's text is held back until it is whole. Set for each request."""
        self.told = False
        """Some of the answer was told."""

    def __call__(self, *events: Event) -> None:
        if self._first is None and type(events[0]) in (TextDelta, ReasoningDelta, ClientCallDelta):
            self._first = time.monotonic() - self._asked
        if self.quiet:
            events = tuple([event for event in events if type(event) is not TextDelta])
        if events:
            self.told = self.told or type(events[0]) in (TextDelta, ReasoningDelta, ClientCallDelta)
            self._emit(*events)

    def read(self) -> tuple[float, float | None]:
        """Seconds until now, and until the first token."""
        return time.monotonic() - self._asked, self._first


class ModelStep:
    """Collects one model request's deltas into a message. *taken_ids* are the call ids that the turn has had,
    *tools_chars* the size of the request's tools."""

    __slots__ = (
        "_call_as_text",
        "_calls",
        "_chars_left",
        "_context",
        "_finished",
        "_form",
        "_held",
        "_quiet",
        "_reasoning",
        "_request",
        "_streamed_calls",
        "_streamed_text",
        "_taken_ids",
        "_text",
        "_text_told",
        "_tools_chars",
        "most_chars",
        "reasoned_before",
    )

    def __init__(self, context: TurnContext, request: ModelRequest, taken_ids: set[str], tools_chars: int = 0) -> None:
        self._context = context
        self._tools_chars = tools_chars
        self._taken_ids = taken_ids
        self._request = request
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls = CallAssembly()
        self._quiet = context.options.response_format is not None
        self._text_told = False
        """`take` has returned text that readers receive: the step is not quiet."""
        self.reasoned_before: int | None = None
        """See `Answered`."""
        self._finished: Finished | None = None
        self._held: list[TextDelta] | None = [] if request.tools else None
        """The text that may still become a tool call; None once it can't. `run` tells it unless it became one."""
        self._call_as_text = CallAsText()
        self._form = _form_of(context, request)
        """Set when the text is sent as it comes although it has a form: it follows the text."""
        self._streamed_text: list[str] = []
        """What was sent of such a text."""
        self._streamed_calls = _streamed_calls(context, request, taken_ids)
        """Set when the client receives its calls as they come."""
        self.most_chars = _most_chars(request.sampling.max_tokens)
        """How many characters the answer may have; a server that ignores `max_tokens` sends them without end."""
        self._chars_left = self.most_chars

    @property
    def endless(self) -> bool:
        """Whether the answer was cut off here, because it exceeded `most_chars`."""
        return self._chars_left < 0

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """What the model thought so far."""
        return "".join(self._reasoning)

    @property
    def streamed_text(self) -> str:
        """What was sent of a text that has a form."""
        return "".join(self._streamed_text)

    @property
    def streamed_calls(self) -> tuple[ToolCall, ...]:
        """The client's calls as they were sent."""
        return self._streamed_calls.so_far if self._streamed_calls is not None else ()

    @property
    def quiet(self) -> bool:
        """Whether the text is held back until it is whole: it has a form, and the endpoint doesn't enforce it."""
        return self._context.options.response_format is not None and self._form is None

    async def run(self, emit: Callable[..., None], speculative: SpeculativeRequest | None = None) -> Answer:
        """Ask the model once, unless it is asked already. Holds a slot from admission until the response is closed
        (law 7)."""
        try:
            await self._asked(emit, speculative)
            answer = self.answer()
        except BaseException as error:
            self._context.budget.charge(self._so_far())
            if isinstance(error, ModelError) and error.kind in _SERVER_GONE:
                self._context.access.learnt.restarted()
            raise
        self._measure(answer[2])
        if self._held and not (answer[0].tool_calls and not answer[0].content):
            emit(*self._held)
        return answer

    async def _asked(self, emit: Callable[..., None], speculative: SpeculativeRequest | None) -> None:
        access = self._context.access
        if speculative is not None:
            async with aclosing(speculative):
                if told := self.take(await speculative.first()):
                    emit(*told)
                await self._hear(speculative.stream, emit)
            return
        asked = self._slot_request()
        request = self._context.turn.asking(self._context.path, self._context.agent, self._request)
        with await access.slots.acquire(asked, lambda position: emit(Queued(position))):
            async with aclosing(access.model.stream(request)) as stream:
                await self._hear(stream, emit)

    async def _hear(self, stream: AsyncGenerator[tuple[Delta, ...], None], emit: Callable[..., None]) -> None:
        async for batch in stream:
            if told := self.take(batch):
                emit(*told)
            if self._chars_left < 0:  # leaving closes the stream, and the endpoint stops
                self._calls = CallAssembly()  # the last one is not whole, and whether the others were meant is unknown
                self._finished = Finished("length")
                return

    def take(self, batch: tuple[Delta, ...]) -> tuple[Event, ...]:
        """Collect *batch*; returns what may be told now."""
        told: list[Event] = []
        for delta in batch:
            kind = type(delta)
            if kind is TextDelta:
                self._chars_left -= len(delta.text)  # type: ignore[union-attr]
                if self._form is not None:
                    self._take_formed(delta.text, told)  # type: ignore[union-attr]
                    continue
                self._text.append(delta.text)  # type: ignore[union-attr]
                if self._held is None:
                    told.append(delta)  # type: ignore[arg-type]
                else:
                    self._hold(delta, told)  # type: ignore[arg-type]
                if self._held is None and not self._quiet and delta.text:  # type: ignore[union-attr]
                    self._text_told = True
            elif kind is ToolCallDelta:
                self._chars_left -= len(delta.arguments) + 1  # type: ignore[union-attr]
                self._calls.add(delta)  # type: ignore[arg-type]
            elif kind is Finished:
                self._finished = self._shown(delta)  # type: ignore[arg-type]
            else:
                if kind is ModelRetried and delta.kind in _SERVER_GONE:  # type: ignore[union-attr]
                    self._context.access.learnt.restarted()
                if kind is ReasoningDelta:
                    if self._text_told and self.reasoned_before is None:
                        self.reasoned_before = len(self.reasoning)
                    self._reasoning.append(delta.text)  # type: ignore[union-attr]
                    self._chars_left -= len(delta.text)  # type: ignore[union-attr]
                told.append(delta)  # type: ignore[arg-type]
        if self._streamed_calls is not None and self._calls:
            self._tell_calls(told)
        return tuple(told)

    def _shown(self, finished: Finished) -> Finished:
        """*finished*, with the usage that the owner of the turn may know."""
        context, usage = self._context, finished.usage
        if usage is None or not context.owner:
            return finished
        shown = context.access.prefixes.shown(context.owner, context.path, self._request, usage)
        return msgspec.structs.replace(finished, usage=shown)

    def _take_formed(self, text: str, told: list[Event]) -> None:
        """Tell as much of *text* as is certain. The white space before a value is no part of it."""
        assert self._form is not None
        if not self._text and not (text := text.lstrip()):
            return
        self._text.append(text)
        if certain := self._form.feed(text):
            self._streamed_text.append(certain)
            told.append(TextDelta(certain))

    def _tell_calls(self, told: list[Event]) -> None:
        assert self._streamed_calls is not None
        found = self._streamed_calls.take(self._calls)
        if found and self._held is not None:
            told += self._held  # a model that calls has not written its call as text
            self._held = None
        told += found

    def _hold(self, delta: TextDelta, told: list[Event]) -> None:
        assert self._held is not None
        self._held.append(delta)
        if not self._call_as_text.feed(delta.text):
            told += self._held
            self._held = None

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that ended the text, where the model said so."""
        return self._finished.stop_sequence if self._finished is not None else None

    def answer(self) -> Answer:
        """The whole message. Raises ModelError when the stream had no end."""
        if self._finished is None:
            raise ModelError("broken_stream", "the model's stream ended without saying why")
        message = self._message()
        streamed = self._streamed_calls
        if self.endless:
            if streamed is not None:
                streamed.checked(message, "length")
            return message, self._finished.reason, self._estimate(message)
        reasoning = message.reasoning_content
        message, reason = repair(message, self._finished.reason, self._request.tools)
        if streamed:
            message = streamed.checked(message, self._finished.reason)
        if message.tool_calls:
            known = {call.id for call in streamed.so_far} if streamed else frozenset()
            ids = [call.id if call.id in known else _unique(call.id, self._taken_ids) for call in message.tool_calls]
            if any(new != call.id for new, call in zip(ids, message.tool_calls, strict=True)):
                calls = tuple([ToolCall(new, call.function) for new, call in zip(ids, message.tool_calls, strict=True)])
                message = AssistantMessage(message.content, calls, reasoning_content=reasoning)
            if reasoning and self._finished.reasoning_field != message.reasoning_field:
                message = msgspec.structs.replace(message, reasoning_field=self._finished.reasoning_field)
        return message, reason, self._finished.usage or self._estimate(message)

    def _message(self) -> AssistantMessage:
        """What has come so far, as it came."""
        text = self.text
        calls = self._calls.calls() if self._calls else ()
        if self._streamed_calls:
            calls = self._streamed_calls.named(calls)
        return AssistantMessage(
            text if text or not calls else None, calls, reasoning_content="".join(self._reasoning) or None
        )

    def _so_far(self) -> Usage:
        """What a request took that was cut short: nothing before its first token, then the prompt and what came."""
        if self._finished is not None and self._finished.usage is not None:
            return self._finished.usage
        return self._estimate(self._message()) if self._text or self._reasoning or self._calls else Usage()

    def _slot_request(self) -> SlotRequest:
        """Who asks, and, where that counts, for how many tokens: the prompt and the longest answer, estimated."""
        context, tokens = self._context, 0
        if (budget := context.access.slots.context_tokens) is not None:
            prompt, longest = self._prompt_tokens(), self._request.sampling.max_tokens
            # Nobody said how long: a guess, which must not refuse what the model could still answer.
            tokens = prompt + (max(0, longest) if longest is not None else min(ANSWER_TOKENS, max(1, budget - prompt)))
        return SlotRequest(context.owner, context.turn.session_id, not context.audience.waits, tokens)

    def chars(self) -> int:
        """How many characters the request has, as they count in the window, its tools included."""
        return request_chars(self._request) + self._tools_chars

    def _prompt_tokens(self) -> int:
        return int(self.chars() / self._context.transcript.chars_per_token)

    def _measure(self, usage: Usage) -> None:
        """Let the endpoint's count of this request tell how many characters a token has, unless it read a part only."""
        if usage.estimated or not self._request.encoded:
            return
        chars, tokens = self.chars(), usage.input_tokens
        if not is_cut(chars, tokens):
            self._context.transcript.measure(chars, tokens)
        elif self._context.access.learnt.begins_to_cut():
            model = self._context.agent.model
            _log.warning(
                "model %s: the server read %d tokens of a prompt of about %d, so it cuts longer ones without an error, "
                "as Ollama does. Set window = %d in [models.%s] of gaia.toml, or give the server a larger context "
                "(Ollama: OLLAMA_CONTEXT_LENGTH, or num_ctx)",
                model, tokens, chars // CHARS_PER_TOKEN, tokens, model,
            )  # fmt: skip

    def _estimate(self, message: AssistantMessage) -> Usage:
        chars = len(wire_bytes(message)) + len(message.reasoning_content or "")
        answer = int(chars / self._context.transcript.chars_per_token)
        return Usage(self._prompt_tokens(), answer, estimated=True)


def _form_of(context: TurnContext, request: ModelRequest) -> JsonPrefix | None:
    """What follows the text of a form that the endpoint enforces; None when there is no such form, and when the caller
    checks the text further: it may have to be corrected."""
    form = request.response_format
    if form is None or not context.access.enforces_format or context.check_answer is not None:
        return None
    return JsonPrefix(object_only=form.type == "json_object")


def _streamed_calls(context: TurnContext, request: ModelRequest, taken_ids: set[str]) -> StreamedCalls | None:
    options = context.options
    if not options.stream_client_calls or not options.client_tools:
        return None
    return StreamedCalls(
        frozenset([tool.name for tool in options.client_tools]),
        request.tools,
        lambda call_id: _unique(call_id, taken_ids),
        one_at_a_time=options.parallel_tool_calls is False,
    )


def _most_chars(max_tokens: int | None) -> int:
    if max_tokens is None:
        return MAX_ANSWER_CHARS
    return min(MAX_ANSWER_CHARS, max(_LEAST_ANSWER_CHARS, max_tokens * _MOST_CHARS_OF_A_TOKEN))


def _unique(call_id: str, taken: set[str]) -> str:
    """*call_id*, unless the turn has had it: some endpoints count from 0 in each answer."""
    if not call_id or call_id in taken:
        call_id = f"call_{new_id()[:24]}"
    taken.add(call_id)
    return call_id
