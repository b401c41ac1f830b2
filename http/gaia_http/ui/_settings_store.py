"""The store: the page's settings and whether its first steps were taken, which are the application's, not a session's.

They are kept in `ui.json` in the data folder where `Settings.data` names one, else in memory only.
"""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import msgspec

from gaia_core.nesting import decode_json
from gaia_core.session import new_id

_log = logging.getLogger(__name__)


class StoredSettings(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is kept. *completed_at* is in Unix seconds; None: the first steps were not taken."""

    custom_model: str | None = None
    context_size: int | None = None
    agent_mode: str | None = None
    dynamic_tools: bool | None = None
    completed_at: float | None = None
    skipped: bool = False


class SettingsStore:
    """Belongs to one application."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "ui.json" if folder is not None else None
        self._kept: StoredSettings | None = None
        self._lock = asyncio.Lock()

    async def settings(self) -> StoredSettings:
        """What is kept now."""
        if self._kept is None:
            read = await asyncio.to_thread(self._read) if self._path is not None else StoredSettings()
            if self._kept is None:
                self._kept = read
        return self._kept

    async def change(self, **fields: object) -> StoredSettings:
        """Change *fields*; returns when that is kept."""
        async with self._lock:
            changed = msgspec.structs.replace(await self.settings(), **fields)
            if self._path is not None:
                await asyncio.to_thread(self._write, self._path, msgspec.json.encode(changed))
            self._kept = changed
            return changed

    def _read(self) -> StoredSettings:
        assert self._path is not None
        try:
            return decode_json(self._path.read_bytes(), StoredSettings)
        except FileNotFoundError:
            return StoredSettings()
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("the page's settings in %s can't be read and are not used: %s", self._path, error)
            return StoredSettings()

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{new_id()[:8]}")
        try:
            part.write_bytes(data)
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
