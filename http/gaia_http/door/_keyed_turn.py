"""KeyedTurn: where the turn of a request with an `Idempotency-Key` is recorded, so that a retry finds it.

Its ids follow from the attempt to answer the request, so every process that knows the attempt knows them. The turn's
surface says in which session it has recorded it: one that the request names, or *session*, which is made for it and
erased when the answer is kept.
"""

import hashlib
from collections.abc import Awaitable, Callable

from gaia_core import GaiaError

KEYED = "idempotency"
"""The surface of the sessions that are made for such turns alone; the UI lists these only on request."""


class AnswerKeptError(GaiaError):
    """The request was answered meanwhile, by another process."""


class KeyedTurn:
    """The turn of attempt *number* to answer the request *name*. Belongs to one request.

    *confirm* raises AnswerKeptError when the request has its answer by now. It is awaited after *session* was created
    and before a turn begins there: the answer is kept before its session is erased, so a session that was created anew
    after that runs nothing.
    """

    __slots__ = ("confirm", "created", "id", "recorded_in", "session")

    def __init__(self, name: str, number: int, confirm: Callable[[], Awaitable[None]]) -> None:
        self.confirm = confirm
        digest = hashlib.sha256(f"{name}:{number}".encode()).hexdigest()
        self.session = digest[:32]
        self.id = f"turn_{digest[32:]}"
        self.created = 0
        """When its session was created, in Unix seconds: the same in every process. Set with `recorded_in`."""
        self.recorded_in: str | None = None
        """Where it was begun or found. Set by its surface, read when the answer is over."""
