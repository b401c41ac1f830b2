"""Answers in one piece, as ASGI messages."""

from collections.abc import Iterable
from typing import Any

from litestar.types import Send


async def send_json(send: Send, body: bytes, headers: Iterable[tuple[bytes, bytes]] = (), status: int = 200) -> None:
    """Answer with *body*, which is JSON; *headers* come after its type and length."""
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def no_response(*_scope_receive_send: Any) -> None:
    """The ASGI response to a client that has disconnected."""
