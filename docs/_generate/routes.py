"""The HTTP routes: those of the application, with what its OpenAPI documents say of their bodies."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from gaia_core import Agent, Catalog, Runtime, scripted
from gaia_http import Settings, create_app
from gaia_http.door._post_route import METHODS

_GROUPS = (
    ("OpenAI", "/v1/", "/v1/messages"),
    ("Anthropic", "/v1/messages", ""),
    ("UI", "/api/", ""),
    ("Ollama", "/ollama/", ""),
    ("Operation", "/", ""),
)


def page() -> str:
    """A table for each API."""
    runtime = Runtime(Catalog.of(Agent("a"), models={"local": scripted("")}))
    app = create_app(Settings(), runtime)
    described = {path: found for name in ("/v1", "/api") for path, found in _document(app, name).items()}
    text: list[str] = []
    rows = sorted({row for row in _rows(app) if row[0] not in ("HEAD", "OPTIONS")}, key=lambda row: (row[1], row[0]))
    for title, prefix, other in _GROUPS:
        mine = [row for row in rows if row[1].startswith(prefix) and not (other and row[1].startswith(other))]
        rows = [row for row in rows if row not in mine]
        text += [f"## {title}", "", "| method | path | body or summary |", "|---|---|---|"]
        text += [f"| {method} | `{path}` | {described.get(path, {}).get(method, '')} |" for method, path in mine]
        text.append("")
    return "\n".join(text)


def _rows(app: Litestar) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", None) or (route.route_handler,):
            methods = handler.http_methods if isinstance(handler, HTTPRouteHandler) else handler.opt.get(METHODS, ())
            path = re.sub(r"\{(\w+)(?::\w+)?\}", r"{\1}", route.path)
            yield from ((str(getattr(method, "value", method)), path) for method in methods)


def _document(app: Litestar, name: str) -> dict[str, dict[str, str]]:
    """The paths of the OpenAPI document at *name*/openapi.json, and what it says of each method."""
    (handler,) = (
        each
        for route in app.routes
        if isinstance(route, HTTPRoute) and route.path == f"{name}/openapi.json"
        for each in route.route_handlers
        if "GET" in each.http_methods
    )
    answer = asyncio.run(handler.fn())
    document = msgspec.json.decode(answer.content if isinstance(answer.content, bytes) else answer.content.encode())
    schemas = document["components"]["schemas"]
    return {
        path: {method.upper(): _words(operation, schemas) for method, operation in operations.items()}
        for path, operations in document["paths"].items()
    }


def _words(operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    schema = next(iter(content.values()), {}).get("schema", {})
    schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
    needed = schema.get("required", ())
    members = ", ".join(f"**`{name}`**" if name in needed else f"`{name}`" for name in schema.get("properties", ()))
    return " ".join(filter(None, (operation.get("summary", ""), members))).replace("|", "\\|")
