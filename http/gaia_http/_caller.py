"""Who asks: the caller of a request, as the door found it out. Everything that a request reaches is its caller's."""

import attrs
from litestar.types import Scope

_STATE = "gaia.caller"


@attrs.frozen(kw_only=True)
class Caller:
    """Whose objects a request reaches. *owner*: the owner key of sessions in the journal; "" is this machine's user."""

    owner: str = ""


LOCAL = Caller()


def caller_of(scope: Scope) -> Caller:
    """The caller of a request or a WebSocket; without keys, this machine's user."""
    found: Caller = scope["state"].get(_STATE, LOCAL)
    return found


def set_caller(scope: Scope, caller: Caller) -> None:
    """Note the caller of a request, once it is known."""
    scope["state"][_STATE] = caller
