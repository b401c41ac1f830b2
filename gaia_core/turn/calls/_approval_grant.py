"""Approval: whether a validated call may run, and what a yes for the whole session covers.

A session-wide yes is a pattern of the tool and the arguments that were shown: short arguments must be equal, long
texts (a file's content, say) may differ and are shown as `…`. It never covers more than the request said, and holds
for the agent that the request was shown for: with another root or another server, the same call is another one.
"""

from typing import Any

import attrs
import msgspec

from gaia_core.frozen_types import made_once, typed
from gaia_core.visible_text import visible

_SHORT = 200


@attrs.frozen(field_transformer=typed)
class Grant:
    """A yes for the rest of a session. *fixed* is the canonical JSON of the arguments that must be equal, *free* the
    names of those that may differ. *agent* is the fingerprint of the agent that it was given to; "" in records of
    earlier versions: it is not known, so the yes holds for none."""

    __attrs_pre_init__ = made_once

    tool: str
    fixed: bytes
    free: tuple[str, ...] = ()
    agent: str = ""

    def holds_for(self, agent: str) -> bool:
        """Whether it was given to the agent of that fingerprint."""
        return bool(agent) and self.agent == agent

    def covers(self, tool: str, arguments: str) -> bool:
        """Whether a call of *tool* with these (validated) *arguments* is covered."""
        if tool != self.tool:
            return False
        given = _object(arguments)
        if set(self.free) - set(given):
            return False
        rest = {name: value for name, value in given.items() if name not in self.free}
        return all(_is_free(given[name]) for name in self.free) and _canonical(rest) == self.fixed

    def __str__(self) -> str:
        """What a person is shown of it."""
        fixed = msgspec.json.decode(self.fixed)
        shown = [f"{name}={msgspec.json.encode(value).decode()}" for name, value in fixed.items()]
        return visible(f"{self.tool}({', '.join((*shown, *(f'{name}=…' for name in self.free)))})")


def grant_of(tool: str, arguments: str, agent: str) -> Grant:
    """What a session-wide yes to this call covers; *agent*: the fingerprint of the agent that makes it."""
    given = _object(arguments)
    free = tuple(sorted(name for name, value in given.items() if _is_free(value)))
    return Grant(tool, _canonical({name: value for name, value in given.items() if name not in free}), free, agent)


def encode_grant(grant: Grant) -> str:
    """*grant* for the record."""
    return msgspec.json.encode((grant.tool, grant.fixed.decode(), grant.free, grant.agent)).decode()


def decode_grant(text: str) -> Grant:
    """The grant that `encode_grant` made, also in an earlier version."""
    tool, fixed, free, agent = (*msgspec.json.decode(text, type=list[Any]), "")[:4]
    return Grant(tool, fixed.encode(), tuple(free), agent)


def _is_free(value: Any) -> bool:
    return isinstance(value, str) and (len(value) > _SHORT or "\n" in value)


def _object(arguments: str) -> dict[str, Any]:
    return msgspec.json.decode(arguments or "{}", type=dict[str, Any])


def _canonical(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
