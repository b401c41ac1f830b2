"""What models are sent of a toolset, compared with a file that is part of the package's tests.

The file is written on request only (GAIA_SNAPSHOTS=update in the environment), so that a test without one fails.
"""

import difflib
import os
from pathlib import Path

import msgspec

from gaia_core.catalog import Lock, decode_lock, locked_tools
from gaia_core.errors import LockError
from gaia_core.tools import Toolset, diff

UPDATE = "GAIA_SNAPSHOTS"
"""The variable that, set to `update`, has snapshots written anew."""


class SnapshotError(AssertionError):
    """What models are sent differs from the snapshot: shows the difference, and how to accept it."""


def check_schemas(toolset: Toolset, path: Path) -> None:
    """Compare the definitions of *toolset* that models are sent, and its effects, with the file *path*.

    Raises SnapshotError, with the difference and whether it breaks recorded calls, or where there is no such file.
    With GAIA_SNAPSHOTS=update the file is written instead. It is of the form of gaia.lock.
    """
    now = Lock(1, (locked_tools(path.stem, toolset),))
    if os.environ.get(UPDATE) == "update":
        path.write_bytes(now.encode())
        return
    how = f"If it is meant: {UPDATE}=update, run the tests once more, and commit {path.name}."
    try:
        before = decode_lock(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise SnapshotError(f"there is no snapshot {path.name} yet. {how}") from None
    except LockError as error:
        raise SnapshotError(f"{error}. {how}") from None
    if _told(before) == _told(now):
        return
    old = [tool.definition for entry in before.agents for tool in entry.tools]
    lines = difflib.unified_diff(_lines(before), _lines(now), path.name, "now", lineterm="", n=3)
    raise SnapshotError(
        "\n".join((f"what models are sent has changed. {how}", str(diff(old, toolset.definitions)), *lines))
    )


def _told(lock: Lock) -> tuple[object, ...]:
    """What counts: not from which version of which package."""
    return tuple(
        (
            entry.fingerprint,
            entry.instructions,
            tuple(msgspec.structs.replace(tool, package="") for tool in entry.tools),
        )
        for entry in lock.agents
    )


def _lines(lock: Lock) -> list[str]:
    return lock.encode().decode().splitlines()
