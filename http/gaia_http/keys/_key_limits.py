"""Allowances: how much of its limits each key has used, and what it approves. They belong to one process, and begin
anew with it.

Requests and tokens are buckets that fill evenly, a sixtieth of a minute's share each second. What a turn used is known
when it has ended, so a bucket of tokens may be overdrawn; nothing begins until it has filled again.
"""

import time
from collections.abc import Callable
from fnmatch import fnmatchcase

import attrs

from gaia_core import LimitError
from gaia_core.catalog import LIMITED, UNLIMITED, StorageLimits, StorageQuota
from gaia_core.messages import Usage
from gaia_http.keys._key import Key, KeyLimits
from gaia_http.keys._keyring import Keyring

Headers = tuple[tuple[bytes, bytes], ...]

_MINUTE = 60.0
_ONE = 1 - 1e-6
"""What counts as one: a client that retries exactly after `Retry-After` must not be rejected by a rounding error."""
_TURN_SECONDS = 1.0
"""`Retry-After` where a turn of the same key has to end first: its end can't be predicted."""


@attrs.define(eq=False)
class _Bucket:
    """What is left of a minute's share: at most all of it, and less than nothing when it was overdrawn."""

    left: float
    at: float

    def fill(self, share: int, now: float) -> None:
        self.left = min(float(share), self.left + (now - self.at) * share / _MINUTE)
        self.at = now

    def seconds_until(self, wanted: float, share: int) -> float:
        """Until so much is left."""
        return max(0.0, (wanted - self.left) * _MINUTE / share)


@attrs.define(eq=False)
class _Allowance:
    """Of one key."""

    running: int = 0
    requests: _Bucket | None = None
    tokens: _Bucket | None = None


class Allowances:
    """What the keys of *keyring* may use. Belongs to one runtime, whose quota it is (`gaia_core.runtime.Quota`), and
    to the applications that serve it: what a key has used in one of them counts in all."""

    def __init__(self, keyring: Keyring, clock: Callable[[], float] = time.monotonic) -> None:
        self._keyring = keyring
        self._clock = clock
        self._kept: dict[str, _Allowance] = {}

    @property
    def keyring(self) -> Keyring:
        """The keys."""
        return self._keyring

    def request(self, key: Key, *, tokens: bool = True) -> None:
        """Count a request that asks for work; *tokens*: one that needs some. Raises LimitError: not now."""
        share = key.limits.requests_per_minute
        if tokens:
            self._check_tokens(key)
        if share is None:
            return
        bucket = self._requests(key, share)
        if bucket.left < _ONE:
            raise LimitError(
                f"rate limit of the key {key.name!r} reached: {share} requests a minute",
                bucket.seconds_until(1, share),
            )
        bucket.left -= 1

    def begin(self, owner: str, *, resumed: bool = False) -> None:
        """Count a turn. Raises LimitError: not now."""
        allowance = self._of(owner)
        key = self._keyring.of(owner) if not resumed else None
        if key is not None:
            self._check_tokens(key)
            most = key.limits.running_turns
            if most is not None and allowance.running >= most:
                raise LimitError(
                    f"limit of the key {key.name!r} reached: {most} concurrent turns, {allowance.running} are running; "
                    "wait until one has ended",
                    _TURN_SECONDS,
                )
        allowance.running += 1

    def ended(self, owner: str, usage: Usage) -> None:
        """A turn has ended, and has used this."""
        allowance, key = self._of(owner), self._keyring.of(owner)
        allowance.running -= 1
        share = key.limits.tokens_per_minute if key is not None else None
        if key is not None and share is not None:
            self._tokens(key, share).left -= usage.total_tokens
        if not allowance.running and allowance.requests is None and allowance.tokens is None:
            del self._kept[owner]

    def approves(self, owner: str, tool: str) -> bool:
        """Whether the key says yes beforehand to calls of *tool*: by what it says now, and not once it is revoked."""
        key = self._keyring.now(owner)
        return key is not None and any(fnmatchcase(tool, pattern) for pattern in key.approves)

    def storage(self, owner: str, configured: StorageQuota) -> StorageLimits:
        """What the key may keep: by its own limits, by gaia.toml, or else something if it is limited at all. What a
        revoked key has made is as that of a limited one."""
        if not owner:
            return configured.local
        key = self._keyring.of(owner)
        limits = key.limits if key is not None else None
        default = configured.keys or (UNLIMITED if limits == KeyLimits() else LIMITED)
        if limits is None:
            return default
        return StorageLimits(
            limits.stored_objects if limits.stored_objects is not None else default.objects,
            limits.stored_bytes if limits.stored_bytes is not None else default.bytes,
        )

    def headers(self, key: Key) -> Headers:
        """What a response says of the key's limits, in OpenAI's names; nothing of what has no limit."""
        found: list[tuple[bytes, bytes]] = []
        for kind, share, bucket_of in (
            ("requests", key.limits.requests_per_minute, self._requests),
            ("tokens", key.limits.tokens_per_minute, self._tokens),
        ):
            if share is None:
                continue
            bucket = bucket_of(key, share)
            for name, value in (
                ("limit", str(share)),
                ("remaining", str(max(0, int(bucket.left)))),
                ("reset", duration(bucket.seconds_until(share, share))),
            ):
                found.append((f"x-ratelimit-{name}-{kind}".encode(), value.encode()))
        return tuple(found)

    def _check_tokens(self, key: Key) -> None:
        share = key.limits.tokens_per_minute
        if share is None:
            return
        bucket = self._tokens(key, share)
        if bucket.left < _ONE:
            raise LimitError(
                f"rate limit of the key {key.name!r} reached: {share} tokens a minute",
                bucket.seconds_until(1, share),
            )

    def _requests(self, key: Key, share: int) -> _Bucket:
        allowance = self._of(key.id)
        allowance.requests = self._filled(allowance.requests, share)
        return allowance.requests

    def _tokens(self, key: Key, share: int) -> _Bucket:
        allowance = self._of(key.id)
        allowance.tokens = self._filled(allowance.tokens, share)
        return allowance.tokens

    def _filled(self, bucket: _Bucket | None, share: int) -> _Bucket:
        now = self._clock()
        if bucket is None:
            return _Bucket(float(share), now)
        bucket.fill(share, now)
        return bucket

    def _of(self, owner: str) -> _Allowance:
        found = self._kept.get(owner)
        if found is None:
            found = self._kept[owner] = _Allowance()
        return found


def duration(seconds: float) -> str:
    """Seconds as OpenAI's headers give them: `17ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1_000)}ms"
    minutes, rest = divmod(round(seconds, 3), _MINUTE)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
