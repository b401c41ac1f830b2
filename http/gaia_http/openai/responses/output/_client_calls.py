"""The items of the calls that the client runs, which come before their step is recorded.

A call is complete only when its step is: so several are open at once, and end together. They begin one after the other,
and what was held back of one is sent before the next begins: live and from the record that is the same. An item's id
says where the model made its call, because it may have made calls of the agent's own between them.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from gaia_core.messages import ToolCall
from gaia_http.openai.responses._ids import CallPlace, Ref
from gaia_http.openai.responses.output._free_text import FreeText, free_text
from gaia_http.openai.responses.output._output_items import Emit, ItemText


class ClientCalls:
    """The calls of one step, whose items are added to *items*. *custom*: the names of the custom tools.

    *emit* is its owner's, which it does not refer to while no call is open.
    """

    def __init__(self, ref: Ref, items: list[dict[str, Any]], custom: Container[str]) -> None:
        self._ref = ref
        self._items = items
        self._custom = custom
        self._calls: dict[str, _ClientCallItem] = {}
        """By the model's id."""

    def __bool__(self) -> bool:
        return bool(self._calls)

    def more(self, emit: Emit, step: int, call_id: str, name: str, arguments: str) -> None:
        """More of a call. No call of the agent's own stands before it in its *step*: else it comes with `complete`."""
        self._item(emit, call_id, name, step, len(self._calls)).arguments(arguments)

    def complete(self, emit: Emit, calls: Sequence[ToolCall], places: Mapping[str, CallPlace]) -> None:
        """These are the step's *calls*, and they are whole."""
        for call in calls:
            place = places[call.id]
            self._item(emit, call.id, call.name, place.step, place.index).whole(call.arguments)
        for call in calls:
            self._calls[call.id].complete()
        self._calls = {}

    def stop(self, emit: Emit, partial: Sequence[ToolCall], step: int) -> None:
        """The turn has ended within these calls of its *step*; *partial* is what is known of them."""
        for call in partial:
            self._item(emit, call.id, call.name, step, len(self._calls)).partial(call.arguments)
        for item in self._calls.values():
            item.stop()
        self._calls = {}

    def _item(self, emit: Emit, call_id: str, name: str, step: int, index: int) -> "_ClientCallItem":
        """The item of a call, begun."""
        item = self._calls.get(call_id)
        if item is None:
            for earlier in self._calls.values():
                earlier.flush()
            custom = name in self._custom
            place = CallPlace(step, index)
            item = _ClientCallItem(emit, self._ref, len(self._items), place, call_id, name, custom=custom)
            self._calls[call_id] = item
            self._items.append(item.item)
        return item


class _ClientCallItem(ItemText):
    """A call that the client runs: of a function, or of a *custom* tool, whose input is free text."""

    def __init__(
        self, emit: Emit, ref: Ref, index: int, place: CallPlace, call_id: str, name: str, *, custom: bool
    ) -> None:
        kind, self._field, prefix = (
            ("custom_tool_call", "input", "ctc") if custom else ("function_call", "arguments", "fc")
        )
        self._event = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        self._read = 0
        """How much of the arguments was fed."""
        self._free_text = FreeText() if custom else None
        item_id = ref.call_item(prefix, index, place)
        self.item: dict[str, Any] = {
            "id": item_id,
            "type": kind,
            "status": "in_progress",
            "call_id": call_id,
            "name": name,
            self._field: "",
        }
        self._place = {"item_id": item_id, "output_index": index}
        super().__init__(emit, index, f"{self._event}.delta", self._place)
        emit("response.output_item.added", {"output_index": index, "item": dict(self.item)})

    def arguments(self, more: str) -> None:
        """More of the arguments."""
        self._read += len(more)
        self.feed(more if self._free_text is None else self._free_text.feed(more))

    def whole(self, arguments: str) -> None:
        """All of the *arguments*, as far as they were not fed yet."""
        if self._free_text is None:
            self.feed(arguments[self._read :])
        else:
            self.feed(free_text(arguments).removeprefix(self.text))

    def partial(self, arguments: str) -> None:
        """The same of arguments that are not whole."""
        self.arguments(arguments[self._read :])

    def flush(self) -> None:
        """Tell what was held back: the next call begins."""
        self._rest()

    def complete(self) -> None:
        """It is whole."""
        words = self._rest()
        named = {} if self._free_text is not None else {"name": self.item["name"]}
        self._emit(f"{self._event}.done", {**self._place, **named, self._field: words})
        self._done("completed", words)

    def stop(self) -> None:
        """It is not whole, and must not be run."""
        self._done("incomplete", self._rest())

    def _done(self, status: str, words: str) -> None:
        self.item |= {"status": status, self._field: words}
        self._emit("response.output_item.done", {"output_index": self._index, "item": self.item})
