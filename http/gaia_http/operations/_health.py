"""Health: what of the catalog can't work now, looked at when the server starts and every 15 seconds.

A fault is no reason not to be ready: a server that refused all requests because a model is away could not even say so.
It is said at start, named in `/ready`, and logged once when it begins and once when it is over.
"""

import asyncio
import logging

from gaia_core import Runtime
from gaia_core.catalog import CatalogFault, faults_of

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 15.0
_START_SECONDS = 2.0


class CatalogHealth:
    """Belongs to one server process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._faults: tuple[CatalogFault, ...] = ()  # written by look, which one task calls at a time

    @property
    def faults(self) -> tuple[CatalogFault, ...]:
        """What the last look found."""
        return self._faults

    async def look(self) -> tuple[CatalogFault, ...]:
        """Look now, two seconds long at most; what is wrong."""
        self._faults = await faults_of(self._runtime.catalog, _START_SECONDS)
        return self._faults

    async def watch(self, seconds: float = _EVERY_SECONDS) -> None:
        """Look again and again, and log what changes."""
        while True:
            await asyncio.sleep(seconds)
            before = {(fault.source, fault.brief): fault for fault in self._faults}
            now = {(fault.source, fault.brief): fault for fault in await self.look()}
            for key in now.keys() - before.keys():
                _log.warning("%s: %s", now[key].source, now[key].message)
            for source, brief in before.keys() - now.keys():
                _log.warning("%s: no longer: %s", source, brief)
