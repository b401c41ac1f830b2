"""What the routes share: pages of items, the query's values, answers in JSON."""

from collections.abc import Sequence
from typing import Any

from litestar.connection import Request
from litestar.types import ASGIApp, Receive, Scope, Send

from gaia_http._errors import encoded
from gaia_http._json_response import send_json
from gaia_http.request._fields import invalid_at, not_one_of, shortened

_MOST_ITEMS = 100
_DEFAULT_ITEMS = 20


def page(request: Request[Any, Any, Any], items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A page of *items*, which are oldest first; the newest come first unless `order` says otherwise."""
    order = request.query_params.get("order") or "desc"
    if order not in ("asc", "desc"):
        raise not_one_of("order", order, ("asc", "desc"))
    limit = number(request, "limit", _DEFAULT_ITEMS, least=1, most=_MOST_ITEMS)
    ordered = list(items) if order == "asc" else list(reversed(items))
    if after := request.query_params.get("after"):
        place = next((n for n, item in enumerate(ordered) if item["id"] == after), None)
        if place is None:
            raise invalid_at("after", f"there is no item {shortened(after)!r} here")
        ordered = ordered[place + 1 :]
    data = ordered[:limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(ordered) > limit,
    }


def number(request: Request[Any, Any, Any], name: str, default: int, *, least: int, most: int = 2**53) -> int:
    """The number that the query gives as *name*. Raises ApiError 400."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and least <= int(text) <= most):
        raise invalid_at(name, f"{shortened(text)!r} is not a number from {least} to {most}")
    return int(text)


def flag(request: Request[Any, Any, Any], name: str) -> bool:
    """Whether the query says *name* is true. Raises ApiError 400."""
    text = request.query_params.get(name) or "false"
    if text not in ("true", "false", "1", "0"):
        raise invalid_at(name, f"{shortened(text)!r} is not true or false")
    return text in ("true", "1")


def json(value: object) -> ASGIApp:
    """*value* as an answer."""
    body = encoded(value)

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, body)

    return answer


async def nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """The response to a client that has gone."""
