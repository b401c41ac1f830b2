"""The end of a turn that belongs to its client and is answered in one piece."""

from litestar.types import Receive

from gaia_http.streaming._disconnect import completed
from gaia_http.streaming._followed_turn import AnyTurn


async def ended(turn: AnyTurn, receive: Receive) -> bool:
    """Wait until *turn* has ended; True when its client is still connected. If it disconnects, *turn* is cancelled."""
    try:
        return await completed(turn.result(), receive, turn.cancel)
    finally:
        if turn.ended is None:
            await turn.cancel()
