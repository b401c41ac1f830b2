"""Activity: the agent's own tools in a line each, for people who watch on any surface.

→ read_file(path="a.txt")
← the first words of the result …
✗ Denied: …
"""

from collections.abc import Iterable

import msgspec

from gaia_core.events import (
    ApprovalDecided,
    Event,
    LimitReached,
    Nested,
    ToolCalled,
    ToolEnded,
    ToolProgress,
    ToolsReplaced,
    ToolStarted,
)
from gaia_core.nesting import decode_json
from gaia_core.visible_text import visible

_VALUE_CHARS = 60
_LINE_CHARS = 160

TOLD = frozenset((ToolCalled, ToolStarted, ToolProgress, ToolEnded, ApprovalDecided, LimitReached, ToolsReplaced))
"""The events that a client receives beside the text."""


def told(event: Event) -> Event | None:
    """The innermost event if clients receive it (see `TOLD`), also from a sub-agent's turn; else None."""
    while isinstance(event, Nested):
        event = event.event
    return event if type(event) in TOLD else None


def line_of(event: Event, *, named: bool = False) -> str | None:
    """The line for *event*, or None when it needs none; *named*: a result says of which tool, for calls in parallel."""
    if isinstance(event, Nested):
        line = line_of(event.event, named=named)
        return f"  {line}" if line is not None else None
    if isinstance(event, ToolCalled):
        return f"→ {detail_of(event)}\n"
    if isinstance(event, ToolEnded):
        mark, name = "←" if event.outcome == "ok" else "✗", f"{event.tool}: " if named else ""
        return f"{mark} {name}{_short(event.content, _LINE_CHARS)}\n"
    if isinstance(event, LimitReached):
        return f"■ {event.message}\n"
    return None


def detail_of(called: ToolCalled) -> str:
    """The call alone: `read_file(path="a.txt")`; what can't be seen of its arguments is written out."""
    return f"{called.tool}({_arguments(called.arguments)})"


def _arguments(text: str) -> str:
    try:
        arguments = decode_json(text)
    except (msgspec.DecodeError, UnicodeError):
        return visible(_short(text, _VALUE_CHARS))
    if not isinstance(arguments, dict):
        return visible(_short(text, _VALUE_CHARS))
    return _short(", ".join(_argument(arguments.items())), _LINE_CHARS)


def _argument(items: Iterable[tuple[str, object]]) -> Iterable[str]:
    for name, value in items:
        yield visible(f"{name}={_short(msgspec.json.encode(value).decode(), _VALUE_CHARS)}")


def _short(text: str, chars: int) -> str:
    flat = " ".join(text[: chars * 2].split())
    return flat if len(flat) <= chars and len(text) <= chars * 2 else f"{flat[:chars]}…"
