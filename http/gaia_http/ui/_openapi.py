"""The OpenAPI document of the UI API, made from its routes: one table says what is served and what is described."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gaia_http.ui._response_bodies import ErrorDetail
from gaia_http.ui._route import Query, Route, Streamed

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_ERRORS = (
    (400, "The request is wrong."),
    (404, "What it names isn't there."),
    (409, "It can't be done now, or was done already."),
    (422, "A value doesn't fit; the detail names it."),
    (429, "No capacity; Retry-After says when to come back."),
    (503, "The server stops, or its model isn't ready."),
)


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The document of *routes*."""
    types = [ErrorDetail, *(kind for route in routes for kind in _types(route))]
    schemas, components = msgspec.json.schema_components(dict.fromkeys(types), ref_template=_REF)
    by_type = dict(zip(dict.fromkeys(types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "GAIA's UI API", "version": version, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": components},
    }


_DESCRIPTION = (
    'Sessions, conversations and their streams. Errors are `{"detail": "…"}`. Streams are server-sent events; a '
    "frame of a turn has an id, from which `GET /api/chat/attach` continues."
)


def _types(route: Route) -> Iterable[Any]:
    if route.body is not None:
        yield route.body
    if not isinstance(route.reply, Streamed):
        yield route.reply
    elif route.reply.whole is not None:
        yield route.reply.whole


def _operation(route: Route, by_type: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route),
        "tags": [route.path.split("/")[2]],
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in _PARAMETER.findall(route.path)
            ),
            *(_query(query) for query in route.query),
        ],
        "responses": {"200": _response(route, by_type)} | {str(code): _problem(words) for code, words in _ERRORS},
    }
    if route.body is not None:
        media: dict[str, Any] = {"schema": by_type[route.body]}
        if route.example is not None:
            media["example"] = msgspec.to_builtins(route.example)
        operation["requestBody"] = {"required": route.example is not None, "content": {"application/json": media}}
    return operation


def _operation_id(route: Route) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", route.path.removeprefix("/api/")).strip("_")
    return f"{route.method.lower()}_{words}"


def _query(query: Query) -> dict[str, Any]:
    schema = {"type": query.type} | ({"default": query.default} if query.default is not None else {})
    return {"name": query.name, "in": query.place, "required": False, "description": query.text, "schema": schema}


def _response(route: Route, by_type: dict[Any, Any]) -> dict[str, Any]:
    if not isinstance(route.reply, Streamed):
        media: dict[str, Any] = {"schema": by_type[route.reply]}
        if route.answer_example is not None:
            media["example"] = msgspec.to_builtins(route.answer_example)
        return {"description": "Done.", "content": {"application/json": media}}
    content: dict[str, Any] = {
        "text/event-stream": {"schema": {"type": "string"}, "example": route.reply.example},
    }
    if route.reply.whole is not None:
        content["application/json"] = {"schema": by_type[route.reply.whole]}
    return {"description": "Server-sent events.", "content": content}


def _problem(words: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name="ErrorDetail")}
    return {"description": words, "content": {"application/json": {"schema": schema}}}
