"""Models: what a surface asks a runtime's models beside turns: whether they have room, what they take, vectors."""

import logging

from gaia_core.agent import Agent
from gaia_core.errors import ClosedError
from gaia_core.messages import Message, Usage
from gaia_core.models import EmbeddingRequest, Embeddings, Input, Model, ModelError, SlotRequest
from gaia_core.runtime._catalog_generations import Generations
from gaia_core.runtime._quota import Quota
from gaia_core.runtime._session_gate import SessionGate
from gaia_core.runtime._session_state import Counts
from gaia_core.turn import NO_OPTIONS, Transcript, TurnOptions, request_of, tokens_of

_log = logging.getLogger(__name__)


class Models:
    """Belongs to one Runtime, and asks the models of the catalog as it is now."""

    def __init__(self, generations: Generations, gate: SessionGate, counts: Counts, quota: Quota) -> None:
        self._generations = generations
        self._gate = gate
        self._counts = counts
        self._quota = quota

    def get(self, name: str) -> Model:
        """The open model of that name in the catalog, opened at first use. Raises NotFoundError."""
        return self._generations.current.access(name).model

    def check_room(self, name: str) -> None:
        """Raise QueueFullError when an interactive request to the model that came now would be refused."""
        self._generations.current.access(name).slots.check_room()

    async def inputs(self, name: str) -> frozenset[Input]:
        """What the model of that name takes beside text, as configured or as it says; nothing when it doesn't."""
        try:
            return await self._generations.current.access(name).takes()
        except ModelError as error:
            _log.warning("model %s doesn't say what it takes: %s", name, error)
            return frozenset()

    async def count_tokens(
        self, agent: Agent, transcript: tuple[Message, ...], options: TurnOptions = NO_OPTIONS
    ) -> Usage:
        """The input tokens of the first request that a turn on the whole *transcript* would make; nobody answers it.

        `estimated` where the model doesn't count itself. Raises NotFoundError, ModelError, ClosedError.
        """
        if not self._gate.accepting:
            raise ClosedError("the server stops; no new requests are taken")
        request = request_of(agent, Transcript(transcript), options, None, "", first=True)
        return await tokens_of(self.get(agent.model), request)

    async def embed(self, name: str, request: EmbeddingRequest, *, owner: str = "") -> Embeddings:
        """The vectors that the model of that name makes, in one of its slots.

        Raises NotFoundError, ModelError, QueueFullError, LimitError, ClosedError.
        """
        if not self._gate.accepting:
            raise ClosedError("the server stops; no new requests are taken")
        access = self._generations.current.access(name)
        make = getattr(access.model, "embed", None)
        if make is None:
            raise ModelError("bad_request", f"the model {name} makes no embeddings")
        self._quota.begin(owner)
        used = Usage()
        try:
            with await access.slots.acquire(SlotRequest(owner, ""), lambda _position: None):
                made: Embeddings = await make(request)
            used = Usage(input_tokens=made.tokens)
            self._counts.usage += used
        finally:
            self._quota.ended(owner, used)
        return made
