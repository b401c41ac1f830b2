"""What the endpoints of a model say: which models each has, which one answers and why, and how fast it is."""

import time
from contextlib import aclosing

import msgspec

from gaia_core.catalog import ModelSpec
from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import UserMessage
from gaia_core.models import Endpoint, EndpointConfig, Finished, ModelError, ModelRequest, OpenEndpoints, Sampling

_ASK_SECONDS = 3.0
_MEASURED = ModelRequest(
    (UserMessage("Count from 1 to 40, separated by spaces."),), sampling=Sampling(max_tokens=64, temperature=0.0)
)


class EndpointModel(msgspec.Struct, frozen=True):
    """A model that an endpoint lists, and what it is for: `chat`, `embeddings` or `other`."""

    id: str
    use: str
    context: int | None = None


class EndpointStatus(msgspec.Struct, frozen=True):
    """An endpoint: what it lists, and which of it *answers* ("": none); *why* says the reason, or what is wrong."""

    url: str
    answers: str
    why: str
    models: tuple[EndpointModel, ...] = ()


class ModelReport(msgspec.Struct, frozen=True):
    """A model of the catalog. *speed* is measured only when that was asked for."""

    name: str
    kind: str
    description: str
    endpoints: tuple[EndpointStatus, ...] = ()
    speed: str = ""


async def model_status(spec: ModelSpec, *, measure: bool = False) -> ModelReport:
    """How the model *spec* is now. *measure*: it is also asked once, for 64 tokens."""
    configs = spec.open.configs if isinstance(spec.open, OpenEndpoints) else ()
    endpoints = tuple([await _endpoint_status(config, spec) for config in configs])
    speed = await _speed(spec) if measure and spec.kind != "none" and not spec.embeddings else ""
    return ModelReport(spec.name, spec.kind, spec.description or spec.kind, endpoints, speed)


async def _endpoint_status(config: EndpointConfig, spec: ModelSpec) -> EndpointStatus:
    endpoint = Endpoint(config)
    try:
        listed = await endpoint.listed(_ASK_SECONDS)
    except ModelError as error:
        return EndpointStatus(config.base, config.model or "", f"doesn't say what it has: {error}")
    finally:
        await endpoint.aclose()
    ids = [each.id for each in listed]
    fits = [each.id for each in listed if (each.embeds if spec.embeddings else each.chats)]
    if config.model:
        answers, why = config.model, f"{config.model} answers: it is configured"
        if config.model not in ids:
            why += f", but not listed; listed: {', '.join(ids) or 'none'}"
    elif fits:
        kind = "that makes vectors" if spec.embeddings else "that chats"
        answers, why = fits[0], f"{fits[0]} answers: the first of {len(ids)} listed {kind}; set model to choose another"
    else:
        answers, why = "", f"nothing answers: no listed model fits; listed: {', '.join(ids) or 'none'}"
    models = tuple(
        EndpointModel(each.id, "chat" if each.chats else "embeddings" if each.embeds else "other", each.window)
        for each in listed
    )
    return EndpointStatus(config.base, answers, why, models)


async def _speed(spec: ModelSpec) -> str:
    """How fast the model answers one short question, in words."""
    model = spec.open()
    began, first, tokens, pieces = time.monotonic(), 0.0, 0, 0
    try:
        async with aclosing(model.stream(_MEASURED)) as stream:
            async for batch in stream:
                for delta in batch:
                    if isinstance(delta, TextDelta | ReasoningDelta):
                        first = first or time.monotonic()
                        pieces += 1
                    elif isinstance(delta, Finished):
                        tokens = delta.usage.output_tokens if delta.usage is not None else 0
    except ModelError as error:
        return f"not measured: {error}"
    finally:
        if (aclose := getattr(model, "aclose", None)) is not None:
            await aclose()
    if not first:
        return "not measured: it answered nothing"
    count, counted = (tokens, "tokens") if tokens else (pieces, "pieces of text")
    seconds = time.monotonic() - first
    rate = f", then {(count - 1) / seconds:.1f} {counted} a second" if count > 1 and seconds > 0 else ""
    return f"measured: first token after {first - began:.2f} s{rate} ({count} {counted})"
