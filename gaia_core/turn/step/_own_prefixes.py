"""Own prefixes: how much of a prompt may be reported as cached to the owner who asks.

A model server's prefix cache is shared by all who ask it. A count of cached tokens that depends on what others asked
lets a key guess another key's conversation, a piece at a time: a right guess is cached, a wrong one isn't. So an owner
sees no more cached tokens than the last request of the same conversation had, and only if the new prompt begins with
that one, byte for byte: those it has paid for itself. This machine's own user, whose owner key is "", sees all.
"""

import hashlib
from collections import OrderedDict
from typing import TypeAlias

import msgspec

from gaia_core.messages import Usage, wire_bytes
from gaia_core.models._protocol import ModelRequest

_MOST = 4_096

Conversation: TypeAlias = tuple[str, str, str]
"""The owner, the request's `session_key`, and the path of the sub-agent in it."""


class OwnPrefixes:
    """The last prompt of each conversation with one model, as a digest. Bounded: the least recently used goes first.

    `shown` awaits nothing; it is called by the tasks of turns.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[Conversation, tuple[int, bytes, int]] = OrderedDict()
        """How many messages it had, their digest, and its tokens."""

    def shown(self, owner: str, path: str, request: ModelRequest, usage: Usage) -> Usage:
        """*usage* of *request*, which was answered, with the cached tokens that *owner* may know."""
        if not owner:
            return usage
        key = (owner, request.session_key, path)
        messages, before, tokens = self._kept.pop(key, (0, b"", 0))
        encoded = request.encoded or tuple(map(wire_bytes, request.messages))
        digest = hashlib.blake2b(_head(request), digest_size=16)
        known = 0
        for index, message in enumerate(encoded, 1):
            digest.update(b"%d\0" % len(message))
            digest.update(message)
            if index == messages and digest.digest() == before:
                known = tokens
        self._kept[key] = (len(encoded), digest.digest(), 0 if usage.estimated else usage.input_tokens)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        if usage.cached_tokens <= known:
            return usage
        return msgspec.structs.replace(usage, cached_tokens=known)


def _head(request: ModelRequest) -> bytes:
    """What a server's template may put before the messages."""
    sampling = request.sampling
    parts = (*(tool.encoded for tool in request.tools), repr(request.tool_choice).encode())
    options = (request.response_format, request.parallel_tool_calls, sampling.reasoning_effort, sampling.further)
    return b"\0".join((*parts, repr(options).encode()))
