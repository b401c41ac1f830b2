"""The nesting limit for messages of MCP clients. A message that is nested too deep is answered with an error of the
protocol before the SDK decodes it, because the limits of the SDK's decoders depend on transport and Python version."""

import re
from typing import Any, Self

import anyio
import mcp_types
import msgspec
from litestar.types import Receive, Send
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from gaia_core import NestingError
from gaia_core.nesting import check_nesting, encode_json
from gaia_http._json_response import send_json

_ID = re.compile(r'"id"\s*:\s*("[^"\\\x00-\x1f]{1,200}"|-?(?:0|[1-9]\d{0,17}))')
_TAIL = 300


async def read_ahead(receive: Receive, most: int) -> tuple[Receive, NestingError | None]:
    """Read the request body and check it. Returns a `receive` that replays the request, and the error if there is one.

    A body of more than *most* bytes and one whose client disconnects are not checked; the SDK handles those.
    """
    messages: list[Any] = []
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= most:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = bool(message.get("more_body"))
    replayed = iter(messages)

    async def again() -> Any:
        return next(replayed, None) or await receive()

    try:
        if not more and size <= most:
            check_nesting(b"".join(parts))
    except NestingError as error:
        return again, error
    return again, None


async def refuse(send: Send, error: NestingError) -> None:
    """Answer a request with status 400. The id is null, because the body was not decoded (JSON-RPC 2.0, section 5)."""
    body = _refusal(None, error).model_dump_json(by_alias=True).encode()
    await send_json(send, body, status=400)


def _refusal(id: int | str | None, error: NestingError) -> mcp_types.JSONRPCError:
    words = f"the message is {error}; make it flatter, or send the inner part as a string"
    return mcp_types.JSONRPCError(
        jsonrpc="2.0", id=id, error=mcp_types.ErrorData(code=mcp_types.INVALID_REQUEST, message=words)
    )


class NestingFilter:
    """Passes on the messages of *incoming*, the SDK's stream of stdin. A message that is nested too deep is left out,
    and its error is sent to *outgoing*."""

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def last_context(self) -> Any:
        """The context of the latest message; the SDK reads this attribute."""
        return self._incoming.last_context

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def receive(self) -> SessionMessage | Exception:
        """The next message. Raises anyio.EndOfStream."""
        while True:
            item: SessionMessage | Exception = await self._incoming.receive()
            if (refusal := _refused(item)) is None:
                return item
            if refusal.id is not None:  # a notification gets no answer
                await self._outgoing.send(SessionMessage(refusal))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._incoming.aclose()


def _refused(item: SessionMessage | Exception) -> mcp_types.JSONRPCError | None:
    """The error for a message that is nested too deep; None for any other."""
    asked: int | str | None = None
    try:
        if isinstance(item, ValidationError):  # the SDK's decoder stops at a limit too; only the line is left then
            line = str(item.errors()[0]["input"])
            asked = _id_in(line)
            check_nesting(line)
        elif isinstance(item, SessionMessage):
            asked = getattr(item.message, "id", None)
            encode_json({name: getattr(item.message, name, None) for name in ("params", "result")}, enc_hook=str)
    except NestingError as error:
        return _refusal(asked, error)
    return None


def _id_in(line: str) -> int | str | None:
    """The id of the message in *line*; SDKs write it at the beginning or at the end."""
    found = _ID.search(line.partition('"params"')[0]) or next(reversed([*_ID.finditer(line[-_TAIL:])]), None)
    asked: int | str | None = msgspec.json.decode(found[1]) if found is not None else None
    return asked
