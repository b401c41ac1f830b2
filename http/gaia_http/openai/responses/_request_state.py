"""What a request for a response becomes on its way: taken in, and begun."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import attrs

from gaia_core import Agent, OutcomeUnknownError
from gaia_core.events import Event
from gaia_core.facts import Edit
from gaia_core.messages import Message
from gaia_core.turn import Turn
from gaia_http.openai.responses._ids import Ref
from gaia_http.openai.responses.output._response_events import Told
from gaia_http.openai.responses.stored._request_note import RequestNote
from gaia_http.openai.responses.stored._stored_responses import ResponseStore
from gaia_http.streaming._followed_turn import AnyTurn

UNKNOWN = "how this response ends is not known here; retrieve it to learn that"


@attrs.frozen(kw_only=True)
class Begun:
    """A response that runs. *owned*: its turn is its client's alone, and ends when that goes. *turn* is None where
    another process runs it. *session_id*: the session that the client named.
    """

    owner: str
    ref: Ref
    note: RequestNote
    turn: AnyTurn | None
    owned: bool
    session_id: str | None = None
    store: ResponseStore
    said: tuple[Message, ...] = ()
    """The conversation so far, where it isn't stored."""
    ignored: tuple[tuple[bytes, bytes], ...] = ()
    """The header that names the client's tools which were left out, if there are any."""

    def batches(self) -> AsyncGenerator[Sequence[Event], None]:
        """The events of its turn."""
        return self.turn.batches() if self.turn is not None else self.store.batches(self.owner, self.ref)

    async def cancel(self) -> None:
        """End its turn, as its client has gone. It may go on to record its end."""
        if self.turn is not None:
            with suppress(OutcomeUnknownError):
                await self.turn.cancel()

    def check_stopped(self) -> None:
        """Its events have ended without an end: raises OutcomeUnknownError, unless this process stops."""
        if isinstance(self.turn, Turn) and not self.turn.suspended:
            raise OutcomeUnknownError(UNKNOWN)


@attrs.frozen
class Base:
    """What a conversation continues from: the record *at* of a session, and its messages so far. *edits* are to be made
    first, because the items *omitted* were deleted from it."""

    info_id: str
    at: int
    messages: tuple[Message, ...]
    edits: tuple[Edit, ...] = ()
    omitted: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Taken:
    """A parsed request. *base*: what it continues, where that is stored; *before*: the messages until then."""

    agent: Agent
    base: Base | None
    before: tuple[Message, ...]
    messages: tuple[Message, ...]
    conversation: str | None

    @property
    def said(self) -> tuple[Message, ...]:
        """The whole conversation."""
        return (*self.before, *self.messages)


@attrs.frozen(kw_only=True)
class Warmed:
    """A request that was taken in and not answered: the id that stands for it, and its events."""

    ref: Ref
    messages: tuple[Message, ...]
    told: tuple[Told, ...]
