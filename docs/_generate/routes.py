"""The HTTP routes: those of the application, with what its OpenAPI documents say of their bodies and answers."""

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
    ("Anthropic", "/v1/messages"),
    ("OpenAI", "/v1/"),
    ("UI", "/api/"),
    ("Ollama", ("/api/", "/ollama")),
    ("Operation", "/"),
)


def page() -> str:
    """A table for each API, then the members of what the UI API answers."""
    runtime = Runtime(Catalog.of(Agent("a"), models={"local": scripted("")}))
    app = create_app(Settings(), runtime)
    documents = [_document(app, name) for name in ("/v1", "/api")]
    described = {path: found for document in documents for path, found in _operations(document).items()}
    text: list[str] = []
    rows = sorted({row for row in _rows(app) if row[0] not in ("HEAD", "OPTIONS")}, key=lambda row: (row[1], row[0]))
    for title, prefix in _GROUPS:
        mine = [row for row in rows if row[1].startswith(prefix)]
        if title == "UI":  # Ollama's API has the same prefix
            mine = [row for row in mine if row[1] in described or row[1] == "/api/openapi.json"]
        rows = [row for row in rows if row not in mine]
        text += [f"## {title}", "", "| method | path | body or summary | answer |", "|---|---|---|---|"]
        for method, path in mine:
            words, answer = described.get(path, {}).get(method, ("", ""))
            text.append(f"| {method} | `{path}` | {words} | {answer} |")
        text.append("")
    return "\n".join((*text, *_answers(documents[-1])))


def _rows(app: Litestar) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", None) or (route.route_handler,):
            methods = handler.http_methods if isinstance(handler, HTTPRouteHandler) else handler.opt.get(METHODS, ())
            path = re.sub(r"\{(\w+)(?::\w+)?\}", r"{\1}", route.path)
            yield from ((str(getattr(method, "value", method)), path) for method in methods)


def _document(app: Litestar, name: str) -> dict[str, Any]:
    """The OpenAPI document at *name*/openapi.json."""
    (handler,) = (
        each
        for route in app.routes
        if isinstance(route, HTTPRoute) and route.path == f"{name}/openapi.json"
        for each in route.route_handlers
        if "GET" in each.http_methods
    )
    answer = asyncio.run(handler.fn())
    content = answer.content if isinstance(answer.content, bytes) else answer.content.encode()
    document: dict[str, Any] = msgspec.json.decode(content)
    return document


def _operations(document: dict[str, Any]) -> dict[str, dict[str, tuple[str, str]]]:
    """The paths, and what *document* says of each method: words and its answer."""
    schemas = document["components"]["schemas"]
    return {
        path: {
            method.upper(): (_words(operation, schemas), _answer(operation)) for method, operation in operations.items()
        }
        for path, operations in document["paths"].items()
    }


def _words(operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    schema = next(iter(content.values()), {}).get("schema", {})
    schema = schemas.get(_name(schema), schema)
    needed = schema.get("required", ())
    members = ", ".join(f"**`{name}`**" if name in needed else f"`{name}`" for name in schema.get("properties", ()))
    return " ".join(filter(None, (operation.get("summary", ""), members))).replace("|", "\\|")


def _answer(operation: dict[str, Any]) -> str:
    """What status 200 has, by content type."""
    kinds = []
    for kind, content in operation["responses"]["200"].get("content", {}).items():
        schema = content.get("schema", {})
        if kind != "text/event-stream":
            kinds.append(_type(schema))
        elif _name(schema):
            kinds.append(f"[events](events.md) of {_type(schema)}")
        else:
            kinds.append("server-sent events")
    return " or ".join(kinds)


def _answers(document: dict[str, Any]) -> Iterator[str]:
    """A table of members for each schema that an answer of the UI API has, itself or within another."""
    schemas = document["components"]["schemas"]
    found: set[str] = set()
    waiting = [
        name
        for operations in document["paths"].values()
        for operation in operations.values()
        for name in _names(operation["responses"])
    ]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _names(schemas[name])
    yield from ("## Answers of the UI API", "", "Members in bold are always there.", "")
    for name in sorted(found):
        schema = schemas[name]
        yield from (f"### {name}", "", schema.get("description", ""), "")
        if "properties" in schema:
            needed = schema.get("required", ())
            yield from ("| member | type |", "|---|---|")
            for member, kind in schema["properties"].items():
                shown = f"**`{member}`**" if member in needed else f"`{member}`"
                yield f"| {shown} | {_type(kind)} |"
        else:
            yield _type(schema)
        yield ""


def _names(part: Any) -> Iterator[str]:
    """The schemas that a part of the document refers to."""
    if isinstance(part, dict):
        if name := _name(part):
            yield name
        part = tuple(part.values())
    if isinstance(part, list | tuple):
        for each in part:
            yield from _names(each)


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words; another one by its name."""
    if name := _name(schema):
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[several]))
    if "enum" in schema or "const" in schema:
        return ", ".join(
            f"`{msgspec.json.encode(each).decode()}`" for each in schema.get("enum", [schema.get("const")])
        )
    kind = schema.get("type", "any JSON")
    if kind == "array":
        parts = [schema["items"]] if schema.get("items") else schema.get("prefixItems", [])
        return f"array of {' and '.join(_type(each) for each in parts)}" if parts else "array"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(kind)


def _name(schema: dict[str, Any]) -> str:
    """The name of the schema that *schema* refers to; "" when it is none."""
    reference = schema.get("$ref", "")
    return str(reference).rpartition("/")[2] if isinstance(reference, str) else ""
