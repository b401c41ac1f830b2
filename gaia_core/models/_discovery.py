"""Discovery: model servers that already run on this machine."""

import asyncio

import attrs
import msgspec

from gaia_core.frozen_types import made_once, typed
from gaia_core.models.endpoint._chunk_wire import MAX_LIST_BYTES
from gaia_core.models.endpoint._model_list import listed_models
from gaia_core.models.http._client import ExchangeError, body_of
from gaia_core.models.http._plain_client import PlainClient

OWN = "gaia"
"""What this project's own server says in `owned_by`: a server must not find itself."""


@attrs.frozen(field_transformer=typed)
class Candidate:
    """Where a known server listens by default."""

    __attrs_pre_init__ = made_once

    name: str
    url: str


CANDIDATES = (
    Candidate("Lemonade", "http://127.0.0.1:13305/api/v1"),
    Candidate("Lemonade", "http://127.0.0.1:8000/api/v1"),
    Candidate("Ollama", "http://127.0.0.1:11434/v1"),
    Candidate("llama.cpp", "http://127.0.0.1:8080/v1"),
    Candidate("LM Studio", "http://127.0.0.1:1234/v1"),
    Candidate("vLLM", "http://127.0.0.1:8000/v1"),
)


@attrs.frozen(field_transformer=typed)
class Found:
    """A server that answered, and the models that it lists, those that can't chat left out."""

    __attrs_pre_init__ = made_once

    name: str
    url: str
    models: tuple[str, ...]


async def discover(candidates: tuple[Candidate, ...] = CANDIDATES, timeout: float = 0.3) -> tuple[Found, ...]:
    """Ask all *candidates* at once for their models, *timeout* seconds long; those that have one, in their order."""

    async def ask(candidate: Candidate) -> Found | None:
        client = PlainClient(candidate.url, connect_timeout=timeout)
        try:
            async with asyncio.timeout(timeout):
                response = await client.send("GET", "/models", ())
                if response.status != 200:
                    return None
                listed = listed_models(await body_of(response, MAX_LIST_BYTES))
        except (ExchangeError, TimeoutError, msgspec.DecodeError, UnicodeError):
            return None
        finally:
            await client.aclose()
        if any(entry.owner == OWN for entry in listed):
            return None
        models = tuple(entry.id for entry in listed if entry.chats)
        return Found(candidate.name, candidate.url, models) if models else None

    answers = await asyncio.gather(*(ask(candidate) for candidate in candidates))
    return tuple(answer for answer in answers if answer is not None)
