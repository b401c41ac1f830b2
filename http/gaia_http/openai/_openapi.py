"""The OpenAPI document of the OpenAI API: the routes that are served, with the wire structs that read their bodies.

What a route answers is OpenAI's to describe; here stands what this server takes, and the envelope of its errors.
"""

import re
from collections.abc import Iterable
from importlib.metadata import version
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from litestar import Response
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from gaia_http._errors import encoded
from gaia_http.door._post_route import METHODS
from gaia_http.openai._embeddings import EmbeddingsBody
from gaia_http.openai.chat._wire import ChatRequest
from gaia_http.openai.responses.input._wire import CreateRequest

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_BODIES = (
    ("/v1/chat/completions", ChatRequest),
    ("/v1/embeddings", EmbeddingsBody),
    ("/v1/responses", CreateRequest),
    ("/v1/responses/compact", CreateRequest),
    ("/v1/responses/input_tokens", CreateRequest),
)
_FORMS = frozenset(("/v1/files",))
_SILENT = frozenset(("HEAD", "OPTIONS"))


class ErrorObject(msgspec.Struct, frozen=True):
    """What went wrong: *param* is the JSON path of the value at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(msgspec.Struct, frozen=True):
    """Every error."""

    error: ErrorObject


def openapi_handler(handlers: Iterable[BaseRouteHandler]) -> HTTPRouteHandler:
    """GET /v1/openapi.json, about those of *handlers* that are below /v1."""
    described = encoded(document(handlers, version("gaia-server-http")))

    async def openapi() -> Response[bytes]:
        return Response(described, media_type="application/json")

    return HTTPRouteHandler("/v1/openapi.json", http_method=["GET", "HEAD"], status_code=200)(openapi)


def document(handlers: Iterable[BaseRouteHandler], version: str) -> dict[str, Any]:
    """The document of those of *handlers* that are below /v1."""
    made: dict[Any, Any] = {}
    kinds = (ErrorEnvelope, *(_described(kind, made) for _, kind in _BODIES))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    by_path = {path: schema for (path, _), schema in zip(_BODIES, schemas[1:], strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for handler in handlers:
        methods = handler.http_methods if isinstance(handler, HTTPRouteHandler) else handler.opt.get(METHODS, ())
        for given in sorted(handler.paths):
            if given.startswith("/v1/"):
                path = _PARAMETER.sub(r"{\1}", given)
                for method in sorted(set(map(str, methods)) - _SILENT):
                    paths.setdefault(path, {})[method.lower()] = _operation(method, path, by_path.get(path), schemas[0])
    return {
        "openapi": "3.1.0",
        "info": {"title": "The OpenAI API of local agents", "version": version},
        "paths": paths,
        "components": {"schemas": components},
    }


def _described(kind: Any, made: dict[Any, Any]) -> Any:
    """*kind* with JSON of any form where it keeps raw JSON, whose default ("not given") no schema can say.

    *made*: the structs that were described already.
    """
    if kind is msgspec.Raw:
        return Any
    if kind in made:
        return made[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = [(field.name, _described(field.type, made), _default(field)) for field in msgspec.structs.fields(kind)]
        needed = [field[:2] for field in fields if field[2] is msgspec.NODEFAULT]
        optional = [field for field in fields if field[2] is not msgspec.NODEFAULT]
        made[kind] = msgspec.defstruct(
            kind.__name__, [*needed, *optional], module=kind.__module__, namespace={"__doc__": kind.__doc__}
        )
        return made[kind]
    arguments = tuple(_described(one, made) for one in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return Union[arguments]  # noqa: UP007  # of a computed tuple
    if get_origin(kind) in (tuple, list, dict):
        return get_origin(kind)[arguments]
    return kind


def _default(field: "msgspec.structs.FieldInfo") -> Any:
    return None if isinstance(field.default, msgspec.Raw) else field.default


def _operation(method: str, path: str, body: dict[str, Any] | None, envelope: dict[str, Any]) -> dict[str, Any]:
    words = re.sub(r"[^A-Za-z0-9]+", "_", path.removeprefix("/v1/")).strip("_")
    names = _PARAMETER.findall(path)
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}_{words}",
        "tags": [path.split("/")[2]],
        "parameters": [{"name": one, "in": "path", "required": True, "schema": {"type": "string"}} for one in names],
        "responses": {
            "200": {"description": "Done, as OpenAI's API reference says."},
            "default": {"description": "An error.", "content": {"application/json": {"schema": envelope}}},
        },
    }
    if method == "POST" and path in _FORMS:
        form = {
            "type": "object",
            "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"type": "string"}},
        }
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    elif method == "POST":
        schema = body if body is not None else {"type": "object"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation
