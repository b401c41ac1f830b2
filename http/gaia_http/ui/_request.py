"""A call of the UI API: what a route reads of its request, with errors that name the field; and who asks."""

from typing import Any, TypeVar

import msgspec
from litestar.connection import Request

from gaia_http._errors import ApiError, ErrorReply
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._keyed_turn import KeyedTurn
from gaia_http.door._request_body import check_headers, read_body
from gaia_http.request._decoding import decode_body

T = TypeVar("T")


def unfit(message: str) -> ApiError:
    """A request with a value that doesn't fit: 422."""
    return ApiError(ErrorReply(status=422, message=message, code="invalid_value"))


class UIRequest:
    """One request to one route."""

    def __init__(self, request: "Request[Any, Any, Any]", settings: Settings) -> None:
        self._request = request
        self._settings = settings
        self._raw: bytes | None = None
        self.keyed: KeyedTurn | None = None
        """The turn of its `Idempotency-Key`."""
        self.caller = caller_of(request.scope)
        self.owner = self.caller.owner

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self._request.path_params[name])

    def message_id(self) -> int:
        """The message that the path names; a number that no message has for what is none."""
        text = self.path("mid")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else -1

    def header(self, name: str) -> str | None:
        """A header's value."""
        return self._request.headers.get(name)

    def text(self, name: str, default: str = "") -> str:
        """A value of the query."""
        return str(self._request.query_params.get(name, default))

    def number(self, name: str, default: int, most: int, least: int = 0) -> int:
        """A number of the query. Raises 422 for what is none, or out of its bounds."""
        text = self.text(name)
        if not text:
            return default
        value = int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else least - 1
        if not least <= value <= most:
            raise unfit(f"{name} must be a whole number from {least} to {most}, not {text[:80]!r}")
        return value

    async def raw(self) -> bytes:
        """The body as it came. Raises 413."""
        if self._raw is None:
            self._raw = await read_body(self._request.receive, self._settings)
        return self._raw

    async def body(self, kind: type[T]) -> T:
        """The body as *kind*; none counts as `{}`. Raises 400 for what is no JSON, 422 naming the field, 413, 415."""
        raw = await self.raw()
        if raw.strip():
            check_headers(self._request.scope["headers"])
        else:
            raw = b"{}"
        return decode_body(raw, msgspec.json.Decoder(kind), status=422)
