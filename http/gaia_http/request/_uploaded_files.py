"""Uploaded files, each its owner's: another owner's file does not exist. Kept in the data folder, or in memory only.

On disk a file is two: `ID` with the content and `ID.json` with what is known of it, which is written last. Bounded by
the size of a file, and by number and bytes of an owner's files together (in memory: 64 MB): by its storage limits, if
it has some.
"""

import asyncio
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import attrs
import msgspec

from gaia_core.catalog import UNLIMITED, StorageLimits
from gaia_core.nesting import decode_json
from gaia_core.open_in_thread import opened_in_thread
from gaia_core.private_files import private_folder, write_private

MAX_FILES = 1_000
MAX_OWNER_BYTES = 1_000_000_000
_MEMORY_BYTES = 64_000_000
_SPOOLED_BYTES = 256 * 1024

_ID = re.compile(r"file-[0-9a-f]{24}\Z")
_NAME_CHARS = 255


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """What is known of a file. *created_at* and *expires_at* are Unix seconds."""

    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    expires_at: int | None = None


class FullError(Exception):
    """The owner has no room for another file; says which bound is reached."""


@attrs.frozen
class _Kept:
    known: StoredFile
    data: bytes


def _no_limits(_owner: str) -> StorageLimits:
    return UNLIMITED


class UploadedFiles:
    """Belongs to one application. *folder*: None keeps files in memory. *limits*: what an owner may keep."""

    def __init__(
        self,
        folder: Path | None,
        *,
        most: int = MAX_FILES,
        most_bytes: int = MAX_OWNER_BYTES,
        limits: Callable[[str], StorageLimits] = _no_limits,
    ) -> None:
        self._limits = limits
        self._folder = folder / "files" if folder is not None else None
        self._most = most
        self._most_bytes = most_bytes if folder is not None else min(most_bytes, _MEMORY_BYTES)
        self._memory: dict[str, dict[str, _Kept]] = {}
        self._lock = asyncio.Lock()

    def spool(self) -> BinaryIO:
        """A nameless file for content that arrives: on disk where files are kept there, from `_SPOOLED_BYTES` on."""
        if self._folder is None:
            return BytesIO()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cast("BinaryIO", SpooledTemporaryFile(_SPOOLED_BYTES, dir=str(self._folder)))

    async def add(
        self, owner: str, filename: str, purpose: str, content: bytes | BinaryIO, seconds: int | None = None
    ) -> StoredFile:
        """Keep *content*, for *seconds* or until it is deleted. Raises FullError."""
        now = int(time.time())
        file = BytesIO(content) if isinstance(content, bytes) else content
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        name = filename.rpartition("/")[2].rpartition("\\")[2][:_NAME_CHARS] or "file"
        known = StoredFile(
            f"file-{os.urandom(12).hex()}", name, purpose, size, now, None if seconds is None else now + seconds
        )
        limits = self._limits(owner)
        most, most_bytes = _least(self._most, limits.objects), _least(self._most_bytes, limits.bytes)
        async with self._lock:
            there = await self.list(owner)
            if len(there) >= most:
                raise FullError(
                    f"there are {len(there)} files already, which is the most; delete some (DELETE /v1/files/ID)"
                )
            used = sum(file.bytes for file in there)
            if used + size > most_bytes:
                raise FullError(
                    f"all files together may have {most_bytes} bytes, and {used} are used; "
                    "delete some (DELETE /v1/files/ID)"
                )
            if self._folder is None:
                self._memory.setdefault(owner, {})[known.id] = _Kept(known, file.read())
            else:
                await asyncio.to_thread(_write, self._place(owner), known, file)
        return known

    async def list(self, owner: str) -> tuple[StoredFile, ...]:
        """The owner's files, oldest first; those that have expired are gone."""
        if self._folder is None:
            found = [kept.known for kept in self._memory.get(owner, {}).values()]
        else:
            found = await asyncio.to_thread(_read_all, self._place(owner))
        present = [known for known in found if not _is_over(known)]
        for known in found:
            if _is_over(known):
                await self._drop(owner, known.id)
        return tuple(sorted(present, key=lambda known: (known.created_at, known.id)))

    async def get(self, owner: str, id: str) -> StoredFile | None:
        """What is known of the file, or None when the owner has none of that id."""
        if _ID.match(id) is None:
            return None
        if self._folder is None:
            kept = self._memory.get(owner, {}).get(id)
            known = kept.known if kept is not None else None
        else:
            known = await asyncio.to_thread(_read, self._place(owner) / f"{id}.json")
        return known if known is not None and not _is_over(known) else None

    async def content(self, owner: str, id: str) -> bytes | None:
        """The file's content, or None."""
        if await self.get(owner, id) is None:
            return None
        if self._folder is None:
            return self._memory[owner][id].data
        try:
            return await asyncio.to_thread((self._place(owner) / id).read_bytes)
        except FileNotFoundError:
            return None

    async def open(self, owner: str, id: str) -> BinaryIO | None:
        """The file's content, to be read piece by piece and closed; or None."""
        if await self.get(owner, id) is None:
            return None
        if self._folder is None:
            return BytesIO(self._memory[owner][id].data)
        place = self._place(owner) / id
        try:
            return await opened_in_thread(lambda: place.open("rb"), lambda file: file.close())
        except FileNotFoundError:
            return None

    async def delete(self, owner: str, id: str) -> bool:
        """Delete the file; False when there is none."""
        if await self.get(owner, id) is None:
            return False
        await self._drop(owner, id)
        return True

    async def _drop(self, owner: str, id: str) -> None:
        if self._folder is None:
            self._memory.get(owner, {}).pop(id, None)
        else:
            await asyncio.to_thread(_remove, self._place(owner), id)

    def _place(self, owner: str) -> Path:
        assert self._folder is not None
        return self._folder / hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _least(most: int, limit: int | None) -> int:
    return most if limit is None else min(most, limit)


def _is_over(known: StoredFile) -> bool:
    return known.expires_at is not None and time.time() >= known.expires_at


def _write(place: Path, known: StoredFile, data: BinaryIO) -> None:
    private_folder(place)
    content = place / known.id
    try:
        with os.fdopen(os.open(content, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            shutil.copyfileobj(data, file)
        write_private(place / f"{known.id}.json", msgspec.json.encode(known))
    except BaseException:
        with suppress(OSError):
            content.unlink()
        raise


def _read(path: Path) -> StoredFile | None:
    try:
        return decode_json(path.read_bytes(), StoredFile)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _read_all(place: Path) -> list[StoredFile]:
    if not place.is_dir():
        return []
    found = (_read(path) for path in place.glob("file-*.json"))
    return [known for known in found if known is not None]


def _remove(place: Path, id: str) -> None:
    for name in (f"{id}.json", id):
        with suppress(FileNotFoundError):
            (place / name).unlink()
