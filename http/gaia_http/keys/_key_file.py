"""The key file: JSON, mode 600, replaced as a whole. One salt for the file, so that a request costs one digest.

A salt keeps one table from serving for many files. Inside a file random secrets never meet, so a salt for each key
would protect nothing more.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from gaia_core import ConfigError
from gaia_core.file_lock import lock_until
from gaia_core.nesting import decode_json
from gaia_core.session import new_id
from gaia_http.keys._key import Key, is_digest, new_salt

_LOCK_SECONDS = 10.0
_MOST_BYTES = 10_000_000


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key file says. *version* is that of this form."""

    salt: str
    keys: tuple[Key, ...] = ()
    version: int = 1


def read(path: Path) -> KeyFile:
    """The keys in the file *path*. Raises FileNotFoundError, and ConfigError for what can't be trusted or read."""
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if os.name == "posix" and facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ConfigError(f"the key file {path} can be written by other users; run: chmod 600 {path}")
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"the key file {path} can't be read: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"the key file {path} has more than {_MOST_BYTES} bytes")
    try:
        found = decode_json(data, KeyFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the key file {path} is not valid: {error}") from None
    _check(found, path)
    return found


def _check(found: KeyFile, path: Path) -> None:
    if found.version != 1:
        raise ConfigError(f"the key file {path} has version {found.version}; this program reads version 1")
    try:
        salted = len(bytes.fromhex(found.salt)) >= 16
    except ValueError:
        salted = False
    if not salted:
        raise ConfigError(f"the key file {path} has no salt of 16 bytes in hex")
    for key in found.keys:
        if not key.id or not is_digest(key.digest):
            raise ConfigError(f"the key file {path}: the key {key.id!r} has no id, or no digest that begins with h1:")
    if len({key.id for key in found.keys}) < len(found.keys):
        raise ConfigError(f"the key file {path} has two keys with the same id")


def change(path: Path, changed: Callable[[KeyFile], KeyFile]) -> KeyFile:
    """Replace what the file says; made when it isn't there. One change at a time, over all processes."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            try:
                before = read(path)
            except FileNotFoundError:
                before = KeyFile(new_salt())
            after = changed(before)
            _write(path, msgspec.json.format(msgspec.json.encode(after), indent=1) + b"\n")
    except OSError as error:
        raise ConfigError(f"the key file {path} can't be written: {error.strerror}") from None
    return after


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file beside *path*, so that of two changes none is lost. Raises ConfigError after some seconds."""
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not lock_until(descriptor, time.monotonic() + _LOCK_SECONDS):
            raise ConfigError(f"the key file {path} is being changed by another process; try again when it has ended")
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{new_id()[:8]}")
    try:
        opened = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(opened, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
