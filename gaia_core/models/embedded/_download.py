"""A file that is known by its content, fetched into a cache: by one process, from the first source that has it.

It is renamed into place only when its hash is right. So whatever is there is right, and the source doesn't matter.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from gaia_core.errors import GaiaError
from gaia_core.file_lock import try_lock
from gaia_core.models.embedded._state import State
from gaia_core.models.embedded._weight_sources import SourceError, WeightSource, in_thread, sha256_of

_log = logging.getLogger(__name__)

_LOCK_POLL_SECONDS = 0.5


class DownloadError(GaiaError):
    """No source brought the file; says why of each."""


@attrs.frozen
class Download:
    """A file called *name* for people: its identity is *sha256*, its *size* is in bytes, it is kept at *path*."""

    name: str
    sha256: str
    size: int
    path: Path

    def is_there(self) -> bool:
        """Whether it is in place, whole."""
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


async def download(file: Download, sources: tuple[WeightSource, ...], told: Callable[[State], None]) -> Path:
    """The path of *file*, fetched from the first of *sources* that brings the right bytes, unless it is in place.

    *told* is called with the progress. A download that was interrupted is resumed. Raises DownloadError.
    """
    if file.is_there():
        return file.path
    failures: list[str] = []
    folder = file.path.parent
    try:
        await in_thread(lambda _: folder.mkdir(parents=True, exist_ok=True))
        async with _locked(file.path.with_suffix(".lock"), lambda: told(State("waiting"))):
            if file.is_there():
                return file.path
            for source in sources:
                try:
                    await _fetch_from(source, file, told)
                except SourceError as error:
                    _log.warning("%s: from %s: %s", file.name, source.label, error)
                    failures.append(f"{source.label}: {error}")
                else:
                    return file.path
    except OSError as error:
        failures.append(f"{folder}: {error.strerror or error}")
    raise DownloadError("; ".join(failures) or "there is none")


@asynccontextmanager
async def _locked(path: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Hold the lock file *path*, so that one process downloads. *waiting* is called while another one has it.

    It waits as long as the other downloads, on the event loop and without a thread: a download takes minutes.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not try_lock(descriptor):
            waiting()
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


async def _fetch_from(source: WeightSource, file: Download, told: Callable[[State], None]) -> None:
    part = file.path.with_suffix(".part")

    def fetching(done: int, total: int) -> None:
        told(State("fetching", done, total, source.label))

    while True:
        resumed = part.exists() and part.stat().st_size > 0
        fetching(0, file.size)
        await source.fetch(part, file.size, fetching)
        told(State("checking", source=source.label))
        found = await in_thread(lambda stop: sha256_of(part, stop))
        if found == file.sha256:
            await in_thread(lambda _: _keep(part, file.path))
            return
        part.unlink()
        if not resumed:
            raise SourceError(f"sent other bytes (sha256 {found[:12]}… instead of {file.sha256[:12]}…)")
        # The half that was there before may have been another source's, or broken: once more from the beginning.


def _keep(part: Path, path: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
