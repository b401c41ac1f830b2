"""The items of a response's output while they come: each tells its own events, from `added` to `done`."""

from typing import Any, Literal, Protocol, TypeAlias

from gaia_core.events import ToolEnded
from gaia_http._errors import encoded
from gaia_http.openai.responses._ids import Ref
from gaia_http.openai.responses.output._chunked import Chunked
from gaia_http.streaming._json_text import encoded_text

Phase: TypeAlias = Literal["commentary", "final_answer"]
"""What an assistant's message is: said before calls, or the answer (source: OpenAI API reference, responses)."""


class Emit(Protocol):
    """Tells an event of a response."""

    def __call__(self, kind: str, fields: dict[str, Any] | tuple[bytes, bytes]) -> None:
        """*fields* are the event's own, or its JSON before and after the sequence number."""
        ...


class ItemText:
    """A text that is sent in deltas, whose events are *kind* with *fields*."""

    def __init__(self, emit: Emit, index: int, kind: str, fields: dict[str, Any]) -> None:
        self._emit = emit
        self._index = index
        self._kind = kind
        self._delta = encoded({"type": kind, **fields})[:-1] + b',"delta":'
        self._chunked = Chunked()

    @property
    def text(self) -> str:
        """The text that was sent so far."""
        return self._chunked.text

    def feed(self, text: str) -> None:
        """More of it."""
        for chunk in self._chunked.feed(text):
            self._say(chunk)

    def _rest(self) -> str:
        """Tell what was held back; the whole text."""
        for chunk in self._chunked.rest():
            self._say(chunk)
        return self._chunked.text

    def _say(self, chunk: str) -> None:
        self._emit(self._kind, (self._delta + encoded_text(chunk) + b",", b"}"))


class MessageItem(ItemText):
    """The text of a step. *item* is its state, as the response shows it."""

    def __init__(self, emit: Emit, ref: Ref, index: int) -> None:
        item_id = ref.item("msg", index)
        self.item: dict[str, Any] = {
            "id": item_id,
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        self._place = {"item_id": item_id, "output_index": index, "content_index": 0}
        self.phase: Phase | Literal[""] = ""
        """What it is in its turn; "" until its step has ended, which only then is known to call tools or not."""
        super().__init__(emit, index, "response.output_text.delta", {**self._place, "logprobs": []})
        emit("response.output_item.added", {"output_index": index, "item": dict(self.item)})
        emit("response.content_part.added", {**self._place, "part": _text_part("")})

    def close(self, status: str) -> None:
        """It is whole, or `incomplete`."""
        text = self._rest()
        self._emit("response.output_text.done", {**self._place, "text": text, "logprobs": []})
        self._emit("response.content_part.done", {**self._place, "part": _text_part(text)})
        self.item |= {"status": status, "content": [_text_part(text)]}
        if self.phase:
            self.item["phase"] = self.phase
        self._emit("response.output_item.done", {"output_index": self._index, "item": self.item})


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class ReasoningItem(ItemText):
    """The model's reasoning of a step, as a summary of one part."""

    def __init__(self, emit: Emit, ref: Ref, index: int) -> None:
        item_id = ref.item("rs", index)
        self.item: dict[str, Any] = {"id": item_id, "type": "reasoning", "status": "in_progress", "summary": []}
        self._place = {"item_id": item_id, "output_index": index, "summary_index": 0}
        super().__init__(emit, index, "response.reasoning_summary_text.delta", self._place)
        emit("response.output_item.added", {"output_index": index, "item": dict(self.item)})
        emit("response.reasoning_summary_part.added", {**self._place, "part": _summary("")})

    def close(self, status: str) -> None:
        """It is whole, or `incomplete`."""
        text = self._rest()
        self._emit("response.reasoning_summary_text.done", {**self._place, "text": text})
        self._emit("response.reasoning_summary_part.done", {**self._place, "part": _summary(text)})
        self.item |= {"status": status, "summary": [_summary(text)]}
        self._emit("response.output_item.done", {"output_index": self._index, "item": self.item})


def _summary(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


def activity_item(emit: Emit, ref: Ref, index: int, text: str) -> dict[str, Any]:
    """A whole item of reasoning that says *text*."""
    reasoning = ReasoningItem(emit, ref, index)
    reasoning.feed(text)
    reasoning.close("completed")
    return reasoning.item


class McpCallItem:
    """A call of the agent's own tools. *label* is the agent; *approval*: the item that asked for it."""

    def __init__(
        self, emit: Emit, item_id: str, index: int, *, label: str, name: str, arguments: str, approval: str | None
    ) -> None:
        self._emit = emit
        self._index = index
        self._arguments = arguments
        self._place = {"item_id": item_id, "output_index": index}
        self.item: dict[str, Any] = {
            "id": item_id,
            "type": "mcp_call",
            "status": "in_progress",
            "server_label": label,
            "name": name,
            "arguments": "",
            "approval_request_id": approval,
            "output": None,
            "error": None,
        }

    def begin(self) -> None:
        """It is called, with its whole arguments."""
        self._emit("response.output_item.added", {"output_index": self._index, "item": dict(self.item)})
        self._emit("response.mcp_call.in_progress", self._place)
        if self._arguments:
            self._emit("response.mcp_call_arguments.delta", {**self._place, "delta": self._arguments})
        self._emit("response.mcp_call_arguments.done", {**self._place, "arguments": self._arguments})
        self.item["arguments"] = self._arguments

    def end(self, event: ToolEnded) -> None:
        """It is over."""
        if event.outcome == "ok":
            self._done("completed", {"status": "completed", "output": event.content})
            return
        content = [{"type": "text", "text": event.content}]
        self._done("failed", {"status": "failed", "error": {"type": "mcp_tool_execution_error", "content": content}})

    def stop(self) -> None:
        """The turn ended before it."""
        self._done("failed", {"status": "incomplete"})

    def _done(self, how: str, fields: dict[str, Any]) -> None:
        self.item |= fields
        self._emit(f"response.mcp_call.{how}", self._place)
        self._emit("response.output_item.done", {"output_index": self._index, "item": self.item})
