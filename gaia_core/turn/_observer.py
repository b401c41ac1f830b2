"""Observers: who sees turns as they happen, beside their readers: traces, logs. A turn without one pays nothing.

An observer sees what a turn tells, in the moment and in the task in which it is told, and steers nothing: one that
fails is logged and left out for the rest of its turn.
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from gaia_core.agent import Agent
from gaia_core.events import Event
from gaia_core.models import ModelRequest
from gaia_core.session import Session

Headers: TypeAlias = tuple[tuple[str, str], ...]


class TurnObserver(Protocol):
    """Sees one turn."""

    def take(self, events: Sequence[Event]) -> None:
        """*events* are told, the live ones too."""
        ...

    def asking(self, path: str, agent: Agent, request: ModelRequest) -> Headers:
        """*agent* asks its model, before it has a slot; returns headers that the request carries on.

        *path*: the ids of the calls that led to a sub-agent, each followed by a slash; "" for the turn's own agent.
        """
        ...

    def close(self) -> None:
        """The turn is over here: it has ended, or another process continues it."""
        ...


class Observer(Protocol):
    """Belongs to a Runtime."""

    @property
    def sees_turns(self) -> bool:
        """Whether `turn` may return something; when it never does, models may be asked before a turn begins."""
        ...

    def turn(self, session: Session, turn_id: str) -> TurnObserver | None:
        """A turn of *session* begins, in the task that asked for it; None when there is nothing to see of it."""
        ...


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    @property
    def sees_turns(self) -> bool:
        """See Observer."""
        return any(observer.sees_turns for observer in self._observers)

    def turn(self, session: Session, turn_id: str) -> TurnObserver | None:
        """See Observer."""
        each = tuple(found for one in self._observers if (found := one.turn(session, turn_id)) is not None)
        return each[0] if len(each) == 1 else _Each(each) if each else None


class _Each:
    def __init__(self, observers: tuple[TurnObserver, ...]) -> None:
        self._observers = observers

    def take(self, events: Sequence[Event]) -> None:
        for observer in self._observers:
            observer.take(events)

    def asking(self, path: str, agent: Agent, request: ModelRequest) -> Headers:
        return tuple(header for observer in self._observers for header in observer.asking(path, agent, request))

    def close(self) -> None:
        for observer in self._observers:
            observer.close()
