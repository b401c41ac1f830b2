"""Reloading: the configuration is read again, and its catalog is swapped in. A broken one changes nothing.

One at a time; a request that comes meanwhile is another one after it, because the file may have changed again.
"""

import logging
from collections.abc import Awaitable, Callable

from gaia_core import Catalog, GaiaError, Runtime
from gaia_core.background_tasks import BackgroundTasks

_log = logging.getLogger(__name__)


class Reloader:
    """Belongs to one server. *load* reads the configuration; *told* hears how each reload ended."""

    def __init__(
        self, runtime: Runtime, load: Callable[[], Awaitable[Catalog]], told: Callable[[bool, str], None]
    ) -> None:
        self._runtime = runtime
        self._load = load
        self._told = told
        self._wanted = self._reloading = False
        self._background = BackgroundTasks()

    def ask(self) -> None:
        """Reload soon. Called on the event loop."""
        self._wanted = True
        if not self._reloading:
            self._reloading = True
            self._background.run("gaia reload", self._run())

    async def close(self) -> None:
        """Stop; what is being read is dropped."""
        await self._background.aclose()

    async def _run(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                ok, said = await self._once()
                self._told(ok, said)
        finally:
            self._reloading = False

    async def _once(self) -> tuple[bool, str]:
        try:
            catalog = await self._runtime.reload(await self._load())
        except GaiaError as error:
            return False, f"the old configuration stays: {error}"
        except Exception as error:  # noqa: BLE001  # a fault of a plugin, say, is no end of the server
            _log.exception("the configuration could not be reloaded")
            return False, f"the old configuration stays: {type(error).__name__}: {error}"
        problems = "".join(f"\n  problem: {each.source}: {each.message}" for each in catalog.problems)
        return True, f"agents: {', '.join(agent.name for agent in catalog.agents)}{problems}"
