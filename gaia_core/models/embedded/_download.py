"""A file that is known by its content, fetched into a cache: by one process, from the first source that has it.

It is renamed into place only when its hash is right. So the source doesn't matter. A user who can write the cache
can replace it later: a file that is not the one that was checked, by its size, times and inode, is checked by its hash
again before it is used, and one that is not right is removed and fetched again. Those of the last check are kept beside
the file, and are believed only when they are this user's own.
"""

import asyncio
import logging
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import msgspec

from gaia_core.errors import GaiaError
from gaia_core.file_lock import try_lock
from gaia_core.models.embedded._state import State
from gaia_core.models.embedded._weight_sources import SourceError, WeightSource, in_thread, sha256_of
from gaia_core.nesting import decode_json
from gaia_core.private_files import keep_others_from_writing, write_private

_log = logging.getLogger(__name__)

_LOCK_POLL_SECONDS = 0.5
_NOTE_BYTES = 10_000


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
        """Whether a file of its size is in place. Whether it is this one: `in_place`."""
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


class _CheckedFile(msgspec.Struct, frozen=True, gc=False):
    """A file whose hash was right. Nobody but root can set *changed*, its ctime."""

    sha256: str
    size: int
    modified: int
    changed: int
    inode: int


async def in_place(file: Download, told: Callable[[State], None] = lambda _: None) -> bool:
    """Whether *file* is in place, byte for byte. What is in its place and is not right is removed, and logged.

    *told* is called when its hash has to be computed, which takes a second or two for a gigabyte. Raises OSError.
    """
    if not file.is_there():
        return False
    for path in (file.path.parent, file.path):
        keep_others_from_writing(path)
    if await in_thread(lambda _: _is_as_checked(file)):
        return True
    told(State("checking"))
    return await in_thread(lambda stop: _check(file, stop))


def _is_as_checked(file: Download) -> bool:
    try:
        with _note(file).open("rb") as note:
            facts = os.fstat(note.fileno())
            if os.name == "posix" and (facts.st_uid != os.geteuid() or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
                return False
            return decode_json(note.read(_NOTE_BYTES), _CheckedFile) == _as_it_is(file)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False


def _check(file: Download, stop: threading.Event) -> bool:
    before = _as_it_is(file)
    found = sha256_of(file.path, stop)
    if found == file.sha256:
        if _as_it_is(file) == before:
            with suppress(OSError):  # a cache that is read only: it is computed again next time
                write_private(_note(file), msgspec.json.encode(before))
        return True
    if stop.is_set():  # it was read in part
        return False
    _log.error(
        "%s is not the file that was downloaded: it has sha256 %s instead of %s. It was replaced or damaged; it is "
        "removed, and downloaded again. Find out who can write %s",
        *(file.path, found, file.sha256, file.path.parent),
    )
    file.path.unlink(missing_ok=True)
    return False


def _as_it_is(file: Download) -> _CheckedFile:
    facts = file.path.stat()
    return _CheckedFile(file.sha256, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


def _note(file: Download) -> Path:
    return file.path.with_suffix(".checked")


async def download(file: Download, sources: tuple[WeightSource, ...], told: Callable[[State], None]) -> Path:
    """The path of *file*, fetched from the first of *sources* that brings the right bytes, unless it is in place.

    *told* is called with the progress. A download that was interrupted is resumed. Raises DownloadError.
    """
    failures: list[str] = []
    folder = file.path.parent
    try:
        if await in_place(file, told):
            return file.path
        await in_thread(lambda _: _own_folder(folder))
        async with _locked(file.path.with_suffix(".lock"), lambda: told(State("waiting"))):
            if await in_place(file, told):
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
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
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
        await in_thread(lambda _: _part_file(part))
        fetching(0, file.size)
        await source.fetch(part, file.size, fetching)
        told(State("checking", source=source.label))
        found = await in_thread(lambda stop: sha256_of(part, stop))
        if found == file.sha256:
            await in_thread(lambda _: _keep(part, file))
            return
        part.unlink()
        if not resumed:
            raise SourceError(f"sent other bytes (sha256 {found[:12]}… instead of {file.sha256[:12]}…)")
        # The half that was there before may have been another source's, or broken: once more from the beginning.


def _own_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    keep_others_from_writing(folder)


def _part_file(part: Path) -> None:
    part.touch()
    keep_others_from_writing(part)


def _keep(part: Path, file: Download) -> None:
    with part.open("rb+") as written:
        os.fsync(written.fileno())
    part.replace(file.path)
    with suppress(OSError):
        write_private(_note(file), msgspec.json.encode(_as_it_is(file)))
