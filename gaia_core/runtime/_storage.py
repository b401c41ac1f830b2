"""Storage: how much each owner keeps, and whether more is admitted.

Everything that leaves something behind asks first: a new session, a fork, an import, a change of a session's own
fields, a recorded turn. An owner without limits is never counted. For one with limits the journal is asked now and
then, and what was admitted since is added, so that requests that come together can't pass the bound together. A turn
that runs is not stopped by it: what it records is counted with the next look.
"""

import time
from collections.abc import Callable

import attrs

from gaia_core.catalog import StorageLimits, StorageQuota
from gaia_core.errors import StorageFullError
from gaia_core.journal import Journal
from gaia_core.runtime._quota import Quota

COUNTED_SECONDS = 60.0
"""How long a count of the journal is used; then it is made anew."""
RECOUNTED_SECONDS = 2.0
"""How old a count has to be to be made anew before an owner is refused: another process may have deleted something."""


@attrs.define(eq=False)
class _Held:
    """What one owner keeps: as counted at *at*, and what was admitted since."""

    objects: int
    bytes: int
    at: float


class Storage:
    """Belongs to one Runtime. *configured* is what gaia.toml says now."""

    def __init__(
        self,
        quota: Quota,
        configured: Callable[[], StorageQuota],
        journals: tuple[Journal, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quota = quota
        self._configured = configured
        self._journals = journals
        self._clock = clock
        self._held: dict[str, _Held] = {}
        """By owner. Written by `admit` and `_count`, from the tasks of requests; emptied by `freed`."""

    def limits(self, owner: str) -> StorageLimits:
        """What *owner* may keep."""
        return self._quota.storage(owner, self._configured())

    def is_limited(self, owner: str) -> bool:
        """Whether *owner* has a limit, so that it is worth measuring what is to be kept."""
        limits = self.limits(owner)
        return limits.objects is not None or limits.bytes is not None

    async def admit(self, owner: str, *, objects: int = 0, size: int = 0) -> None:
        """Count *objects* and *size* bytes more of *owner*, before they are written. Raises StorageFullError."""
        limits = self.limits(owner)
        if limits.objects is None and limits.bytes is None:
            return
        held = self._held.get(owner)
        if held is None or self._clock() - held.at > COUNTED_SECONDS:
            held = await self._count(owner)
        problem = _problem(held, limits, objects, size)
        if problem and self._clock() - held.at > RECOUNTED_SECONDS:
            held = await self._count(owner)
            problem = _problem(held, limits, objects, size)
        if problem:
            raise StorageFullError(problem)
        # One step with the check: nothing was awaited since.
        held.objects += objects
        held.bytes += size

    def freed(self, owner: str) -> None:
        """Something of *owner* was deleted: count anew."""
        self._held.pop(owner, None)

    async def _count(self, owner: str) -> _Held:
        objects = size = 0
        for journal in self._journals:
            objects += (await journal.totals(owner)).sessions
            size += await journal.stored_bytes(owner)
        # Another task may have counted meanwhile, and admitted something since: then that count is as new.
        held = self._held.get(owner)
        if held is None or self._clock() - held.at > RECOUNTED_SECONDS:
            held = self._held[owner] = _Held(objects, size, self._clock())
        return held


def _problem(held: _Held, limits: StorageLimits, objects: int, size: int) -> str:
    if limits.objects is not None and objects and held.objects + objects > limits.objects:
        what = f"{held.objects} of {limits.objects} sessions, stored responses, conversations and completions are there"
    elif limits.bytes is not None and held.bytes + size > limits.bytes:
        what = f"{held.bytes} of {limits.bytes} bytes are used, and this needs {size} more"
    else:
        return ""
    return (
        f"the storage quota is used up: {what}. Delete sessions, stored responses, conversations or stored completions "
        "that are not needed any more; the operator sets the quota ([storage] in gaia.toml, gaia keys create "
        "--stored-objects --stored-bytes)"
    )
