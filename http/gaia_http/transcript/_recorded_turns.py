"""Turns that are begun once, because their request has an `Idempotency-Key`; and those on a client's transcript.

One on a transcript has a session of its own for its record. The session that the request names gives its resources and
grants.
"""

import asyncio
from collections.abc import Awaitable, Callable

import attrs

from gaia_core import Agent, BusyError, Runtime, Session
from gaia_core.turn import Turn, TurnRequest
from gaia_http.door._keyed_turn import KEYED, KeyedTurn
from gaia_http.request._session_headers import NamedSession
from gaia_http.streaming._followed_turn import FollowedTurn

_LOOK_SECONDS = 0.1


async def begun_before(runtime: Runtime, owner: str, keyed: KeyedTurn, place: str) -> FollowedTurn | None:
    """The turn, if any process has begun it in the session *place*."""
    turn = FollowedTurn(runtime, owner, place, keyed.id)
    if not await turn.exists():
        return None
    keyed.recorded_in = place
    keyed.created = int((await runtime.sessions.get(owner, place)).created_at)
    return turn


async def begin_once(
    runtime: Runtime, session: Session, keyed: KeyedTurn, place: str, begin: Callable[[], Awaitable[Turn]]
) -> FollowedTurn:
    """The turn that is recorded in the session *place*: as *begin* starts it in *session*, or another process that was
    quicker. Raises as *begin* does."""
    owner = session.owner
    keyed.recorded_in = place
    while True:
        try:
            turn = await begin()
        except BusyError:
            if (found := await begun_before(runtime, owner, keyed, place)) is not None:
                return found
            runs = (await runtime.sessions.get(owner, place)).turn
            here = runtime.running(owner, session.id)
            if runs not in (None, keyed.id) or here is not None or not runtime.accepting:
                raise
            # The session is being claimed, for this turn by another process or by one that is freed here: that process
            # died before it could record the turn.
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            return FollowedTurn(runtime, owner, place, keyed.id, turn)


async def begin_keyed(
    runtime: Runtime, agent: Agent, owner: str, named: NamedSession | None, request: TurnRequest, keyed: KeyedTurn
) -> FollowedTurn:
    """A turn on a transcript, in a session of its own. Raises as `Runtime.start` does."""
    record = await runtime.open(agent, keyed.session, owner=owner, surface=KEYED)
    keyed.recorded_in = keyed.session
    await keyed.confirm()
    keyed.created = int((await runtime.sessions.get(owner, record.id)).created_at)
    session = Session(named.id, agent, owner) if named is not None else record
    asked = attrs.evolve(request, record=keyed.session, id=keyed.id)
    when_busy = named.when_busy if named is not None else "reject"
    return await begin_once(
        runtime, session, keyed, keyed.session, lambda: runtime.start(session, asked, when_busy=when_busy)
    )
