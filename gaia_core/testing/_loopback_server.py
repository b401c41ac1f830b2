"""The server of the model endpoints for tests: on a free loopback port, from `async with` to its end."""

from types import TracebackType
from typing import Any, Self

from aiohttp import web

_MAX_BODY_BYTES = 64 * 1024 * 1024


class LoopbackEndpoint:
    """An endpoint of chat completions. What it answers is its subclass's (`_complete`)."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self.url = ""
        """Its base URL, which ends in /v1. Set when it is entered."""
        self.requests: list[dict[str, Any]] = []
        """The bodies of the requests so far."""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", _models)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError


async def _models(_request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "m"}]})
