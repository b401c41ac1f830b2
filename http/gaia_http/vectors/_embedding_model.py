"""Embeddings by a model of the configuration that makes them, in one of its slots."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from litestar.types import Receive, Scope, Send

from gaia_core import Catalog, ModelSpec, Runtime
from gaia_core.events import ErrorInfo
from gaia_core.models import EmbeddingRequest, Embeddings, ModelError
from gaia_http._errors import ApiError, invalid, of_turn
from gaia_http._json_response import send_json
from gaia_http.door._caller import Caller
from gaia_http.request._fields import missing_at, shortened
from gaia_http.streaming._disconnect import task_completed


def embedding_model(catalog: Catalog, name: str | None, caller: Caller) -> ModelSpec:
    """The model that *caller* calls *name*, by its name here or by the one that it is served as, with or without
    Ollama's tag. Raises ApiError 400, 403, 404."""
    if name is None:
        raise missing_at("model", ": name a model that makes embeddings")
    making = [spec for spec in catalog.models if spec.embeddings]
    called = (name, name.removesuffix(":latest"))
    for spec in making:
        if spec.name in called or spec.served in called:
            caller.check_agent(spec.name)
            return spec
    there = ", ".join(spec.name for spec in making)
    words = (
        f"there are {there}"
        if making
        else "none is configured: add [models.NAME] with url, model and embeddings = true to gaia.toml"
    )
    message = f"there is no model {shortened(name)!r} that makes embeddings; {words}"
    raise invalid(message, param="model", code="model_not_found", status=404)


async def vectors_of(runtime: Runtime, spec: ModelSpec, asked: EmbeddingRequest, caller: Caller) -> Embeddings:
    """The vectors that the model *spec* makes. Raises ApiError."""
    try:
        return await runtime.models.embed(spec.name, asked, owner=caller.owner)
    except ModelError as error:
        told = ErrorInfo(error.kind, str(error), error.retryable, error.retry_after, error.status)
        raise ApiError(of_turn(told, tools_ran=False)) from None


class VectorsResponse:
    """The ASGI response of what takes a while. If its client disconnects, the task that makes it is cancelled."""

    def __init__(self, making: Coroutine[Any, Any, bytes]) -> None:
        self._making = asyncio.create_task(making, name="gaia embeddings")

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        if not await task_completed(self._making, receive):
            return
        await send_json(send, self._making.result())
