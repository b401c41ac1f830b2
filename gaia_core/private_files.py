"""Files and folders for the user's own eyes: 0600 and 0700, whatever the umask says, and also where they exist already.

    private_folder(data)                    # made, or taken from the others who could read it
    missing_folders(path.parent)            # made where they are missing: the folder is the user's choice
    write_private(data / "ui.json", text)   # whole or not at all
    make_private(data)                      # all that is in it: once, when a server starts
    keep_others_from_writing(cache)         # what everybody may read, but nobody else exchange

Every file in the data folder is written by these, or opened with the mode 0600. The workspaces of tools are not: what a
tool writes belongs to the user's project, and has the mode that the user's umask gives it.
"""

import logging
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def missing_folders(folder: Path) -> None:
    """Make *folder*, and what is missing above it, all for this user only. Raises OSError."""
    # pathlib gives its mode to the last folder only, and the umask's to those above.
    for missing in reversed([parent for parent in folder.parents if not parent.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def private_folder(folder: Path) -> None:
    """Make *folder*, as `missing_folders` does; one that exists is taken from other users. Raises OSError."""
    missing_folders(folder)
    _take_from_others(folder)


def write_private(path: Path, data: bytes) -> None:
    """Replace the file *path* as a whole, and have it on the disk. Its folder has to exist. Raises OSError."""
    opened, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(part).unlink()
        raise


def make_private(folder: Path) -> None:
    """Take *folder* and all that is in it from other users. What can't be changed is logged; links are not followed."""
    _take_from_others(folder)  # first: afterwards nobody else can exchange what is in it
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            _take_from_others(Path(parent, name))


def keep_others_from_writing(path: Path) -> None:
    """Take from other users that they may write the file or folder *path*. What can't be changed is logged."""
    _take_from_others(path, _OTHERS_WRITE)


def _take_from_others(path: Path, rights: int = _OTHERS) -> None:
    if os.name != "posix":  # there the user's own folders are nobody else's
        return
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode) or not facts.st_mode & rights:
            return
        if facts.st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(facts.st_mode) & ~rights)
            return
        reason = f"it belongs to the user {facts.st_uid}"
    except FileNotFoundError:  # it has gone meanwhile
        return
    except OSError as error:
        reason = error.strerror or str(error)
    _log.warning("%s is open to other users of this machine, and can't be closed: %s", path, reason)
