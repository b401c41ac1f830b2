"""The context that a model is served with, asked of the server after it refused a request and named no number."""

from typing import Any

import msgspec

from gaia_core.models.endpoint._model_list import ListedModel
from gaia_core.models.http._client import Headers, HttpClient, body_of
from gaia_core.nesting import decode_json

_MAX_BYTES = 1024 * 1024


class _Generation(msgspec.Struct):
    n_ctx: int | None = None


class _Props(msgspec.Struct):
    default_generation_settings: _Generation | None = None
    n_ctx: int | None = None


class _Loaded(msgspec.Struct):
    model_name: str = ""
    recipe_options: dict[str, Any] = {}


class _Health(msgspec.Struct):
    all_models_loaded: list[_Loaded] = []


async def served_context(
    model: str, listed: tuple[ListedModel, ...], base: str, root: HttpClient, headers: Headers
) -> int | None:
    """The context of *model* in tokens: what GET /models *listed*, else llama.cpp's `/props`
    (`default_generation_settings.n_ctx`), else `recipe_options.ctx_size` in Lemonade's `/health` below *base*, the
    path of the API. None when the server says nothing. *root* sends to the server's root. Raises ExchangeError."""
    for entry in listed:
        if entry.id == model and entry.window is not None:
            return entry.window
    props = _of_props(await _get(root, "/props", headers))
    return props or _of_health(await _get(root, f"{base}/health", headers), model)


async def _get(root: HttpClient, path: str, headers: Headers) -> bytes:
    response = await root.send("GET", path, headers)
    try:
        return await body_of(response, _MAX_BYTES) if response.status == 200 else b""
    finally:
        response.close()


def _of_props(body: bytes) -> int | None:
    try:
        props = decode_json(body, _Props)
    except (msgspec.DecodeError, UnicodeError):
        return None
    settings = props.default_generation_settings
    return (settings.n_ctx if settings is not None else None) or props.n_ctx or None


def _of_health(body: bytes, model: str) -> int | None:
    try:
        loaded = decode_json(body, _Health).all_models_loaded
    except (msgspec.DecodeError, UnicodeError):
        return None
    for each in loaded:
        if each.model_name == model and type(size := each.recipe_options.get("ctx_size")) is int and size > 0:
            return size
    return None
