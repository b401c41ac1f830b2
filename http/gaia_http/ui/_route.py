"""A route of the UI API as a value: what is served and what its OpenAPI document says of it."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

import attrs
import msgspec

from gaia_http.ui._request import UIRequest

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@attrs.frozen
class Query:
    """A parameter of the query, or a header."""

    name: str
    text: str
    type: str = "string"
    default: object = None
    place: str = "query"


@attrs.frozen
class Streamed:
    """A reply that is server-sent events; *whole*: what answers instead where no stream is wanted."""

    example: str
    whole: Any = None


@attrs.frozen(kw_only=True)
class Route:
    """*answer* gives a value that is encoded as *reply*, or an ASGI response. *admin*: not every key may."""

    method: Method
    path: str
    answer: Callable[[UIRequest], Awaitable[Any]]
    summary: str
    reply: Any
    body: Any = None
    query: tuple[Query, ...] = ()
    keyed: bool = False
    """Whether an `Idempotency-Key` makes it run once."""
    example: msgspec.Struct | None = None
    answer_example: msgspec.Struct | None = None
    admin: bool = False
