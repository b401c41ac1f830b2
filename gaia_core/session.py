"""Session: a frozen handle of one conversation. What changes is in the Runtime's SessionState and in the journal."""

import os

import attrs

from gaia_core.agent import Agent


@attrs.frozen
class Session:
    """One conversation: its *id*, the *agent* it talks to, and the *owner* whose key may reach it ("" on loopback)."""

    id: str
    agent: Agent
    owner: str = ""


def new_id() -> str:
    """A new identifier: 32 hexadecimal digits of the system's randomness."""
    return os.urandom(16).hex()
