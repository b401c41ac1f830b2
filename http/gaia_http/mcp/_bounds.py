"""What a client of the MCP server may send: no message that is nested too deep. It is answered with an error of the
protocol before the SDK's decoders see it, whose limits differ with the transport and with Python's version."""

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

_ID = re.compile(r'"id"\s*:\s*("[^"\\\x00-\x1f]{1,200}"|-?(?:0|[1-9]\d{0,17}))')
_TAIL = 300


async def read_ahead(receive: Receive, most: int) -> tuple[Receive, NestingError | None]:
    """What gives the whole request of *receive* again, and what is wrong with its body: nothing is said of one that has
    more than *most* bytes, or whose client has gone, because the SDK refuses those itself."""
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
    """Answer a request with 400. Its id is not known: its body was not decoded (JSON-RPC 2.0, section 5)."""
    body = _refusal(None, error).model_dump_json(by_alias=True).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _refusal(id: int | str | None, error: NestingError) -> mcp_types.JSONRPCError:
    words = f"the message is {error}; make it flatter, or send the inner part as text"
    return mcp_types.JSONRPCError(
        jsonrpc="2.0", id=id, error=mcp_types.ErrorData(code=mcp_types.INVALID_REQUEST, message=words)
    )


class Bounded:
    """The messages of *incoming*, the SDK's stream of stdin, without those that are nested too deep: their answers go
    to *outgoing*."""

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def last_context(self) -> Any:
        """The context of the newest message, which the SDK looks for here."""
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
            if refusal.id is not None:  # else it asks for no answer
                await self._outgoing.send(SessionMessage(refusal))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._incoming.aclose()


def _refused(item: SessionMessage | Exception) -> mcp_types.JSONRPCError | None:
    """The answer to a message that is nested too deep; None for any other."""
    asked: int | str | None = None
    try:
        if isinstance(item, ValidationError):  # the SDK's decoder has a limit, too, and then there is only the line
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
    """The id of the message in *line*, which is written at its beginning or at its end."""
    found = _ID.search(line.partition('"params"')[0]) or next(reversed([*_ID.finditer(line[-_TAIL:])]), None)
    asked: int | str | None = msgspec.json.decode(found[1]) if found is not None else None
    return asked
