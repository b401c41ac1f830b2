"""One step's model request: from admission to the whole message, telling deltas as they come."""

import re
from collections.abc import Callable
from contextlib import aclosing
from typing import TypeAlias

from gaia_core.events import FinishReason, Queued, ReasoningDelta, TextDelta
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall, Usage
from gaia_core.models._protocol import Delta, Finished, ModelError, ModelRequest, ToolCallDelta
from gaia_core.models._repair import repair
from gaia_core.models._slots import SlotRequest
from gaia_core.session import new_id
from gaia_core.turn._context import CHARS_PER_TOKEN, estimated_tokens
from gaia_core.turn._setting import Setting
from gaia_core.turn._turn import Turn

ANSWER_TOKENS = 1024
"""What an answer without `max_tokens` is taken to need of a model's context budget."""

Answer: TypeAlias = tuple[AssistantMessage, FinishReason, Usage]

# The beginnings of a tool call that a model wrote as text. While the text may still become one, it is held back.
_CALL_AS_TEXT = re.compile(
    r"""\s*(?:<tool_call>|(?:```(?:json|tool_call)?\s*)?[\[{]\s*(?:\{\s*)?"(?:name|function|tool|tool_name|type)"\s*:)""",
)
_PREFIX_CHARS = 40


class Step:
    """Collects one model request's deltas into a message. *taken_ids* are the call ids that the turn has had."""

    def __init__(self, turn: Turn, request: ModelRequest, taken_ids: set[str]) -> None:
        self._turn = turn
        self._taken_ids = taken_ids
        self._request = request
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self._finished: Finished | None = None
        self._held: list[Delta] | None = [] if request.tools else None

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    async def run(self, setting: Setting, emit: Callable[..., None]) -> Answer:
        """Ask the model once. Holds a slot from admission until the response is closed (law 7)."""
        asked = self._slot_request(setting)
        with await setting.slots.acquire(asked, lambda position: emit(Queued(position))):
            async with aclosing(setting.model.stream(self._request)) as stream:
                async for batch in stream:
                    if told := self.take(batch):
                        emit(*told)
        answer = self.answer()
        if self._held and not (answer[0].tool_calls and not answer[0].content):
            emit(*self._held)
        return answer

    def take(self, batch: tuple[Delta, ...]) -> tuple[Delta, ...]:
        """Collect *batch*; returns what may be told now."""
        told: list[Delta] = []
        for delta in batch:
            kind = type(delta)
            if kind is TextDelta:
                self._text.append(delta.text)  # type: ignore[union-attr]
                if self._held is None:
                    told.append(delta)
                else:
                    self._hold(delta, told)
            elif kind is ToolCallDelta:
                self._add_call(delta)  # type: ignore[arg-type]
            elif kind is Finished:
                self._finished = delta  # type: ignore[assignment]
            else:
                if kind is ReasoningDelta:
                    self._reasoning.append(delta.text)  # type: ignore[union-attr]
                told.append(delta)
        return tuple(told)

    def _hold(self, delta: Delta, told: list[Delta]) -> None:
        assert self._held is not None
        self._held.append(delta)
        if not may_become_call(self.text):
            told += self._held
            self._held = None

    def _add_call(self, delta: ToolCallDelta) -> None:
        call = self._calls.setdefault(delta.index, ["", "", ""])
        call[0] = call[0] or delta.id
        call[1] = call[1] or delta.name
        call[2] += delta.arguments

    def answer(self) -> Answer:
        """The whole message. Raises ModelError when the stream had no end."""
        if self._finished is None:
            raise ModelError("broken_stream", "the model's stream ended without saying why")
        text = self.text
        calls = tuple(
            ToolCall(call_id, FunctionCall(name, arguments))
            for _, (call_id, name, arguments) in sorted(self._calls.items())
        )
        reasoning = "".join(self._reasoning) or None
        message = AssistantMessage(text if text or not calls else None, calls, reasoning_content=reasoning)
        message, reason = repair(message, self._finished.reason, self._request.tools)
        if message.tool_calls:
            calls = tuple(ToolCall(_unique(call.id, self._taken_ids), call.function) for call in message.tool_calls)
            message = AssistantMessage(message.content, calls, reasoning_content=reasoning)
        return message, reason, self._finished.usage or self._estimate(message)

    def _slot_request(self, setting: Setting) -> SlotRequest:
        """Who asks, and, where that counts, for how many tokens: the prompt and the longest answer, estimated."""
        tokens = 0
        if (budget := setting.slots.context_tokens) is not None:
            prompt, longest = self._prompt_tokens(), self._request.sampling.max_tokens
            # Nobody said how long: a guess, which must not refuse what the model could still answer.
            tokens = prompt + (longest if longest is not None else min(ANSWER_TOKENS, max(1, budget - prompt)))
        return SlotRequest(setting.key, self._turn.session_id, setting.background, tokens)

    def _prompt_tokens(self) -> int:
        sent = sum(estimated_tokens(earlier) for earlier in self._request.messages)
        return sent + sum(len(definition.encoded) for definition in self._request.tools) // CHARS_PER_TOKEN

    def _estimate(self, message: AssistantMessage) -> Usage:
        return Usage(self._prompt_tokens(), estimated_tokens(message), estimated=True)


def may_become_call(text: str) -> bool:
    """True while *text*, the beginning of an answer, may still turn out to be a tool call written as text."""
    stripped = text.lstrip()
    if not stripped:
        return True
    if stripped[0] not in "<`{[":
        return False
    return bool(_CALL_AS_TEXT.match(text)) or (len(stripped) < _PREFIX_CHARS and _is_prefix(stripped))


def _is_prefix(text: str) -> bool:
    """Whether *text* begins one of the forms of `_CALL_AS_TEXT`, white space aside."""
    packed = re.sub(r"\s+", "", text)
    heads = ("", "```", "```json", "```tool_call")
    keys = ("name", "function", "tool", "tool_name", "type")
    forms = ("<tool_call>", *(f'{head}{start}"{key}":' for head in heads for start in ("{", "[{") for key in keys))
    return any(form.startswith(packed) for form in forms)


def _unique(call_id: str, taken: set[str]) -> str:
    """*call_id*, unless the turn has had it: some endpoints count from 0 in each answer."""
    if not call_id or call_id in taken:
        call_id = f"call_{new_id()[:24]}"
    taken.add(call_id)
    return call_id
