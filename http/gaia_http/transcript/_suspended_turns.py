"""The hidden steps of turns that wait for a client's tools, so that a turn continues when the result arrives.

A turn may run the agent's own tools and then call one of the client's. The client sees only its own call. When it
sends the result, the results of the agent's tools are inserted into the transcript again. The client's call gets an id
that can't be guessed. The steps also belong to the owner of the turn: ids get into logs and shared histories, and with
another owner's key such an id is unknown. A missing entry does no harm: the transcript is used as it was sent.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

import attrs
import msgspec

from gaia_core import Agent
from gaia_core.messages import AssistantMessage, Message, ToolCall, ToolMessage
from gaia_http.streaming._followed_turn import AnyTurn

_decoder = msgspec.json.Decoder(tuple[Message, ...])

_ENTRIES = 1_024
_BYTES = 64_000_000
_SECONDS = 3_600.0


def client_id(turn_id: str, index: int, prefix: str = "call") -> str:
    """The id that the turn's call of that *index* has for the client when the turn may have hidden steps: made of the
    turn's random id."""
    return f"{prefix}_{turn_id.removeprefix('turn_')[:24]}_{index}"


def client_ids(turn_id: str, calls: tuple[ToolCall, ...], prefix: str = "call") -> tuple[str, ...]:
    """The same for all of the turn's *calls*."""
    return tuple(client_id(turn_id, index, prefix) for index in range(len(calls)))


@attrs.frozen
class _SuspendedTurn:
    agent: str
    ids: tuple[tuple[str, str], ...]
    """The client's ids, and those that the model gave."""
    messages: bytes
    until: float


@attrs.define(eq=False)
class _OwnMessages:
    """What one owner has there, the least lately used first."""

    entries: OrderedDict[str, _SuspendedTurn] = attrs.field(factory=OrderedDict)
    """By the first of the client's ids."""
    bytes: int = 0


class SuspendedTurns:
    """Bounded by number, bytes and age. The owner with the most entries loses its least recently used one, so that no
    owner's steps are dropped because of another owner's. Belongs to one application.
    """

    def __init__(
        self,
        entries: int = _ENTRIES,
        most_bytes: int = _BYTES,
        seconds: float = _SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_entries = entries
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._clock = clock
        self._owners: dict[str, _OwnMessages] = {}

    def __len__(self) -> int:
        return sum(len(own.entries) for own in self._owners.values())

    def keep(self, turn: AnyTurn, agent: Agent, owner: str, prefix: str = "call") -> None:
        """Keep for *owner* what a client does not see of *turn*, if it ended with the client's calls and hidden
        steps. The calls have the ids that `client_ids` makes with *prefix*."""
        ended = turn.ended
        if ended is None or not ended.client_calls or not _has_hidden(turn.messages, ended.client_calls):
            return
        ids = client_ids(turn.id, ended.client_calls, prefix)
        messages = msgspec.json.encode(turn.messages)
        pairs = tuple(zip(ids, (call.id for call in ended.client_calls), strict=True))
        own = self._owners.setdefault(owner, _OwnMessages())
        own.entries[ids[0]] = _SuspendedTurn(agent.fingerprint, pairs, messages, self._clock() + self._seconds)
        own.bytes += len(messages)
        self._shrink()

    def restored(self, transcript: tuple[Message, ...], agent: Agent, owner: str) -> tuple[Message, ...]:
        """*transcript* with the hidden steps of those suspended turns that are *owner*'s, the model's own ids
        included."""
        if owner not in self._owners:
            return transcript
        restored: list[Message] = []
        own_ids: dict[str, str] = {}
        for message in transcript:
            if isinstance(message, AssistantMessage) and message.tool_calls:
                entry = self._entry(message.tool_calls, agent, owner)
                if entry is not None:
                    restored += _decoder.decode(entry.messages)
                    own_ids.update(entry.ids)
                    continue
            elif isinstance(message, ToolMessage) and message.tool_call_id in own_ids:
                message = msgspec.structs.replace(message, tool_call_id=own_ids[message.tool_call_id])  # noqa: PLW2901
            restored.append(message)
        return tuple(restored)

    def _entry(self, calls: tuple[ToolCall, ...], agent: Agent, owner: str) -> _SuspendedTurn | None:
        own = self._owners.get(owner)
        entry = own.entries.get(calls[0].id) if own is not None else None
        if own is None or entry is None or entry.agent != agent.fingerprint:
            return None
        if tuple(call.id for call in calls) != tuple(theirs for theirs, _ in entry.ids):
            return None
        if self._clock() > entry.until:
            self._drop(owner, calls[0].id)
            return None
        own.entries.move_to_end(calls[0].id)
        return entry

    def _shrink(self) -> None:
        while len(self) > self._most_entries:
            self._drop_first(max(self._owners, key=lambda owner: len(self._owners[owner].entries)))
        while sum(own.bytes for own in self._owners.values()) > self._most_bytes:
            self._drop_first(max(self._owners, key=lambda owner: self._owners[owner].bytes))

    def _drop_first(self, owner: str) -> None:
        self._drop(owner, next(iter(self._owners[owner].entries)))

    def _drop(self, owner: str, first_id: str) -> None:
        own = self._owners[owner]
        own.bytes -= len(own.entries.pop(first_id).messages)
        if not own.entries:
            del self._owners[owner]


def _has_hidden(messages: tuple[Message, ...], calls: tuple[ToolCall, ...]) -> bool:
    if len(messages) != 1:
        return True
    (message,) = messages
    return not isinstance(message, AssistantMessage) or len(message.tool_calls) != len(calls)
