"""Listings as the SDK takes them: it refuses all tools of a server when one of them doesn't fit the protocol.

So a listing is looked through before the SDK sees it. What a tool needs is kept; what only describes it further and
doesn't fit is dropped; a tool that can't be used is left out and named.
"""

from types import TracebackType
from typing import Any, Self

import mcp_types
from mcp.shared._stream_protocols import ReadStream
from mcp.shared.message import SessionMessage

from gaia_mcp._input_schemas import BadSchemaError, usable

_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_MOST_NAMED = 20


class RepairedListings:
    """The messages of a server, with the listings of its tools repaired; reads like the stream that it wraps.

    *problems* are the tools that had to be left out, each with its reason: written by the SDK's reading task, taken
    and cleared by `take` once a listing has arrived.
    """

    def __init__(self, stream: ReadStream[SessionMessage | Exception]) -> None:
        self._stream = stream
        self.problems: list[str] = []

    def take(self) -> tuple[str, ...]:
        """The problems since the last time."""
        found, self.problems = tuple(self.problems), []
        return found

    @property
    def last_context(self) -> Any:
        """The context of the last message's sender, which the SDK asks for."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """The next message."""
        return self._looked_through(await self._stream.receive())

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return self._looked_through(await self._stream.__anext__())

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)

    def _looked_through(self, item: SessionMessage | Exception) -> SessionMessage | Exception:
        if isinstance(item, Exception) or not isinstance(item.message, mcp_types.JSONRPCResponse):
            return item
        listed = item.message.result.get("tools")
        if isinstance(listed, list):
            taken: list[dict[str, Any]] = []
            for tool in listed:
                try:
                    taken.append(_repaired(tool))
                except BadSchemaError as error:
                    name = tool.get("name") if isinstance(tool, dict) else None
                    if len(self.problems) < _MOST_NAMED:
                        called = f"the tool {name[:80]!r}" if isinstance(name, str) else "a tool without a name"
                        self.problems.append(f"{called} is left out: {error}")
            item.message.result["tools"] = taken
        return item


def _repaired(tool: Any) -> dict[str, Any]:
    """A tool of a listing with what is used of it. Raises BadSchemaError."""
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        raise BadSchemaError("its name must be a text")
    found: dict[str, Any] = {"name": tool["name"], "inputSchema": usable(tool.get("inputSchema"))}
    if isinstance(description := tool.get("description"), str):
        found["description"] = description
    if isinstance(hints := tool.get("annotations"), dict):
        found["annotations"] = {name: hints[name] for name in _HINTS if isinstance(hints.get(name), bool)}
    return found
