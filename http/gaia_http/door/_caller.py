"""Who asks: the caller of a request, as the door found it out. Everything that a request reaches is its caller's."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from gaia_http._errors import ApiError, ErrorReply

if TYPE_CHECKING:  # commands read it, too, and need no framework
    from litestar.types import Scope

_STATE = "gaia.caller"
_COUNT = "gaia.count"


@attrs.frozen(kw_only=True)
class Caller:
    """Whose objects a request reaches, and what it may do.

    *owner*: the owner key of sessions in the journal; "" is this machine's user. *name*: the key's, for logs; "": there
    is none. *agents*: those that it may use; None: all. *admin*: it may see and change what belongs to the server.
    """

    owner: str = ""
    name: str = ""
    agents: frozenset[str] | None = None
    admin: bool = True

    def may_use(self, agent: str) -> bool:
        """Whether the agent of that name is one of its own."""
        return self.agents is None or agent in self.agents

    def check_agent(self, agent: str) -> None:
        """Raise ApiError 403 unless it may use the agent of that name."""
        if not self.may_use(agent):
            raise ApiError(
                ErrorReply(
                    status=403,
                    message=f"the key {self.name!r} may not use the agent {agent!r}; gaia keys create --agent says "
                    "which ones a key may use",
                    param="model",
                    code="agent_not_allowed",
                )
            )

    def check_admin(self) -> None:
        """Raise ApiError 403 unless it may see and change what belongs to the server."""
        if not self.admin:
            raise ApiError(
                ErrorReply(
                    status=403,
                    message=f"the key {self.name!r} is not an administrator's (gaia keys create --admin)",
                    code="admin_only",
                )
            )


LOCAL = Caller()


def caller_of(scope: "Scope") -> Caller:
    """The caller of a request or a WebSocket; without keys, this machine's user."""
    found: Caller = scope["state"].get(_STATE, LOCAL)
    return found


def set_caller(scope: "Scope", caller: Caller) -> None:
    """Note the caller of a request, once it is known."""
    scope["state"][_STATE] = caller


def set_count(scope: "Scope", count: Callable[[], None]) -> None:
    """Note what counts a request for work against the limits of the caller's key, where the door can't count it."""
    scope["state"][_COUNT] = count


def count_request(scope: "Scope") -> None:
    """Count one call of an MCP client, as a request. Raises LimitError: not now."""
    count: Callable[[], None] | None = scope["state"].get(_COUNT)
    if count is not None:
        count()
