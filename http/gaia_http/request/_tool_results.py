"""Results of tools that a client has run. Each answers one call.

Model servers accept only text from a tool: the images and files of a result become a user's message behind the results.
"""

from collections.abc import Sequence

import attrs

from gaia_core.messages import ATTACHED, Outcome, TextPart, ToolCall, ToolMessage
from gaia_http._errors import invalid
from gaia_http.request._content_parts import PartPaths, PlacedContent, PlacedPart, content_of
from gaia_http.request._fields import invalid_at, shortened


class OpenCalls:
    """The calls of the last assistant message, while a transcript is read that has results right behind their calls."""

    def __init__(self) -> None:
        self._ids: frozenset[str] = frozenset()
        self._answered: set[str] = set()

    def begin(self, path: str, calls: tuple[ToolCall, ...]) -> None:
        """A message follows that calls *calls*, which stand at *path*. Raises ApiError 400 when two have one id."""
        self._ids = frozenset(call.id for call in calls)
        self._answered.clear()
        if len(self._ids) < len(calls):
            raise invalid_at(path, "two calls have the same id", None)

    def answer(self, path: str, call_id: str | None) -> str:
        """The id, at *path*, of the call that a result answers. Raises ApiError 400 for one that can't be answered."""
        if not call_id:
            raise invalid(f"{path} is missing: a result must name the call that it answers", param=path)
        if call_id in self._answered:
            raise invalid_at(path, f"the call {shortened(call_id)!r} already has a result", None)
        if call_id not in self._ids:
            raise invalid_at(path, f"{shortened(call_id)!r} is not a call of the assistant message before it", None)
        self._answered.add(call_id)
        return call_id


@attrs.frozen
class ToolResult:
    """What a call gave: a *message*, and the *attached* parts that no tool's message may hold. *path*: of the whole."""

    path: str
    message: ToolMessage
    attached: tuple[PlacedPart, ...] = ()


def tool_result(path: str, call_id: str, content: PlacedContent, *, outcome: Outcome | None = None) -> ToolResult:
    """The result at *path*. *outcome*: how the call ended, where the request says so."""
    if isinstance(content, str):
        return ToolResult(path, ToolMessage(content, call_id, outcome))
    texts = tuple(each for each in content if isinstance(each.part, TextPart))
    attached = tuple(each for each in content if not isinstance(each.part, TextPart))
    told = content_of(texts) or ("The result is attached." if attached else "")
    return ToolResult(path, ToolMessage(told, call_id, outcome), attached)


def attachments(results: Sequence[ToolResult]) -> tuple[PlacedPart, ...]:
    """What *results* have beside text, as the content of a user's message behind them: no other may hold it."""
    shown: list[PlacedPart] = []
    for result in results:
        if result.attached:
            title = TextPart(ATTACHED.format(result.message.tool_call_id))
            shown += [PlacedPart(title, PartPaths(result.path)), *result.attached]
    return tuple(shown)
