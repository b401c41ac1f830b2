"""Session: a frozen handle of one conversation. What changes is in the Runtime's SessionState and in the journal."""

import os

import attrs

from gaia_core.agent import Agent
from gaia_core.frozen_types import made_once, refusal


@attrs.frozen
class Session:
    """One conversation: its *id*, the *agent* it talks to, and the *owner* whose key may reach it ("" on loopback)."""

    __attrs_pre_init__ = made_once

    id: str
    agent: Agent
    owner: str = ""

    def __attrs_post_init__(self) -> None:
        if not (type(self.id) is str and type(self.owner) is str and type(self.agent) is Agent):
            raise refusal(self)


def new_id() -> str:
    """A new identifier: 32 hexadecimal digits of the system's randomness."""
    return os.urandom(16).hex()
