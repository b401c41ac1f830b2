"""GET /api/sessions/events: what happens to sessions, so that no client polls."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from litestar.types import ASGIApp

from gaia_core import Runtime
from gaia_http._errors import encoded
from gaia_http._settings import Settings
from gaia_http.operations._metrics import HttpCounts
from gaia_http.streaming._sse_response import SSEResponse, Verbatim
from gaia_http.ui._request import UIRequest

_TYPES = (
    ("activated", "set_active_session"),
    ("updated", "session_updated"),
    ("deleted", "session_deleted"),
    ("turn_started", "turn_started"),
    ("turn_ended", "turn_ended"),
)


class SessionEventsRoute:
    """The route of one application."""

    def __init__(self, runtime: Runtime, settings: Settings, counts: HttpCounts) -> None:
        self._runtime = runtime
        self._settings = settings
        self._counts = counts

    async def events(self, call: UIRequest) -> ASGIApp:
        """What happens from now on, without end."""
        source = self._changes(call.owner)
        return SSEResponse("a watcher of sessions", source, Verbatim(), self._settings, self._counts, first=b"")

    async def _changes(self, owner: str) -> AsyncGenerator[bytes, None]:
        types = dict(_TYPES)
        async with aclosing(self._runtime.feed.watch(owner)) as changes:
            async for change in changes:
                yield b"data: " + encoded({"type": types[change.kind], "session_id": change.id}) + b"\n\n"
