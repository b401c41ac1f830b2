"""Events → an answer of Ollama's API: lines of JSON as a stream, or one object. A fold.

Each line has what came together: text, thinking, or the client's calls; the last one says `done`, why, and what it
took, in nanoseconds. A failure in mid-stream is a line with `error` (source: Ollama's API documentation, docs/api.md).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec

from gaia_core.events import Event, TurnEnded
from gaia_core.runtime import AnswerText
from gaia_http._errors import ErrorReply, encoded
from gaia_http.transcript._content_blocks import BlockChange, BlockDelta, BlockStarted, ContentBlocks

Shape: TypeAlias = Literal["chat", "generate"]

NDJSON = (
    200,
    ((b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")),
)

_NANOSECONDS = 1e9


class _CalledFunction(msgspec.Struct, frozen=True, gc=False):
    index: int
    name: str
    arguments: msgspec.Raw


class _OllamaToolCall(msgspec.Struct, frozen=True, gc=False):
    id: str
    function: _CalledFunction


class _Said(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[_OllamaToolCall, ...] = ()


class _Took(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a line has at its end; the last line alone has more than *done*."""

    done: bool
    done_reason: str | msgspec.UnsetType = msgspec.UNSET
    total_duration: int | msgspec.UnsetType = msgspec.UNSET
    load_duration: int | msgspec.UnsetType = msgspec.UNSET
    prompt_eval_count: int | msgspec.UnsetType = msgspec.UNSET
    prompt_eval_duration: int | msgspec.UnsetType = msgspec.UNSET
    eval_count: int | msgspec.UnsetType = msgspec.UNSET
    eval_duration: int | msgspec.UnsetType = msgspec.UNSET


class _Head(msgspec.Struct, frozen=True, gc=False):
    model: str
    created_at: str


_MORE = _Took(False)


class OllamaAnswer:
    """One answer to the model that the client calls *model*. *done* and *failure*: see `Translator`."""

    def __init__(self, model: str, shape: Shape, blocks: ContentBlocks) -> None:
        self._model = model
        self._shape = shape
        self._blocks = blocks
        self._times = AnswerText()
        self._calls = 0
        self._name = ""
        self._id = ""
        self.done = False
        self.failure: ErrorReply | None = None

    def interrupted(self) -> bytes:
        """See `Translator`: a turn's events always end with its end."""
        return b""

    def take(self, batch: Sequence[Event]) -> bytes:
        """The lines of *batch*; none when nothing of it concerns the client."""
        for event in batch:
            self._times.take(event)
        lines = [self._line(said, _MORE) for said in self._said(self._blocks.take(batch))]
        if self._blocks.failure is not None:
            self.done, self.failure = True, self._blocks.failure
            lines.append(encoded({"error": self._blocks.failure.message}))
        elif self._blocks.ended is not None:
            self.done = True
            lines.append(self._line(_Said("assistant", ""), self._took(self._blocks.ended)))
        return b"".join([line + b"\n" for line in lines])

    def whole(self, events: Sequence[Event]) -> bytes | ErrorReply:
        """The answer to all of an ended turn's *events* in one object, or the reply to its failure."""
        for event in events:
            self._times.take(event)
        said = self._said(self._blocks.take(events))
        if self._blocks.failure is not None:
            return self._blocks.failure
        ended = self._blocks.ended
        assert ended is not None
        calls = tuple([call for each in said for call in each.tool_calls])
        one = _Said(
            "assistant", "".join([each.content for each in said]), "".join([each.thinking for each in said]), calls
        )
        return self._line(one, self._took(ended))

    def _said(self, changes: Sequence[BlockChange]) -> list[_Said]:
        said: list[_Said] = []
        for change in changes:
            if isinstance(change, BlockStarted) and change.call is not None:
                self._id, self._name = change.call.id, change.call.name
            elif not isinstance(change, BlockDelta):
                continue
            elif change.kind == "text":
                said.append(_Said("assistant", change.text))
            elif change.kind == "call":
                arguments = msgspec.Raw(change.text.encode("utf-8", "replace"))
                call = _OllamaToolCall(self._id, _CalledFunction(self._calls, self._name, arguments))
                self._calls += 1
                said.append(_Said("assistant", "", tool_calls=(call,)))
            else:
                said.append(_Said("assistant", "", change.text))
        return said

    def _line(self, said: _Said, took: _Took) -> bytes:
        head = encoded(_Head(self._model, now()))
        if self._shape == "chat":
            middle = b'"message":' + encoded(said)
        else:
            thinking = b',"thinking":' + encoded(said.thinking) if said.thinking else b""
            middle = b'"response":' + encoded(said.content) + thinking
        return b"".join((head[:-1], b",", middle, b",", encoded(took)[1:]))

    def _took(self, ended: TurnEnded) -> _Took:
        first = self._times.first_seconds or 0.0
        reason = "length" if ended.finish_reason == "length" else "stop"
        return _Took(
            done=True,
            done_reason=reason,
            total_duration=_nanoseconds(ended.seconds),
            load_duration=0,
            prompt_eval_count=ended.usage.input_tokens,
            prompt_eval_duration=_nanoseconds(first),
            eval_count=ended.usage.output_tokens,
            eval_duration=_nanoseconds(max(0.0, ended.seconds - first)),
        )


def loaded_answer(model: str, shape: Shape, reason: str) -> bytes:
    """What a request without a prompt is answered: the model is there (*reason* `load`), or was let go (`unload`)."""
    head = {"model": model, "created_at": now()}
    said: dict[str, object] = {"response": ""} if shape == "generate" else {"message": _Said("assistant", "")}
    return encoded({**head, **said, "done": True, "done_reason": reason})


def now() -> str:
    """The time as the API has it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _NANOSECONDS)
