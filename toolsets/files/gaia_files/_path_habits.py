"""Paths as models write them: `.\\src\\a.py`, `/src/a.py` for `src/a.py`, and names in the other Unicode form.

Each is taken where exactly one meaning exists below the root; else the refusal names the nearest path, in full. What
comes out is opened like any other path (`_path_resolution`), so nothing here can lead outside.
"""

import os
import stat
from collections import deque

from gaia_files._path_resolution import (
    DEPTH,
    Parts,
    PathRefused,
    absolute,
    addressable,
    composed,
    folder,
    joined,
    near_names,
    parts_of,
    quoted,
    status_of,
)

_NAMES = 10_000
"""Entries of a folder, or of a tree, that are looked at for a name that isn't there."""
_HINTS = 3


def located(root: int, path: str, top: str, *, new: bool = False) -> Parts:
    """The components of *path* below *root*, whose own path is *top*. Raises PathRefused.

    *new*: the path may name what is not there yet. Else a path that isn't there is refused, with the nearest names.
    """
    given = path
    try:
        parts = parts_of(path, top)
    except PathRefused as refusal:
        if refusal.rule != "absolute-path":
            raise
        return _taken_as_relative(root, path, refusal)
    if "\\" in path and not _exists(root, parts):
        path = path.replace("\\", "/")
        parts = parts_of(path, top)
        found = as_spelled(root, parts)
        if not _exists(root, found) and (not new or not _exists(root, found[:-1])):
            raise _not_there(root, found, given)
        return found
    found = as_spelled(root, parts)
    if not new and found and not _exists(root, found):
        raise _not_there(root, found, given)
    return found


def as_spelled(root: int, parts: Parts) -> Parts:
    """*parts* with each name that isn't there replaced by the only one that differs in its Unicode form alone."""
    if all(name.isascii() for name in parts):
        return parts
    found: Parts = ()
    for index, name in enumerate(parts):
        if not name.isascii() and (other := _other_form(root, found, name)) is not None:
            found = (*found, other)
        else:
            found = (*found, parts[index])
    return found


def _other_form(root: int, above: Parts, name: str) -> str | None:
    try:
        with folder(root, above) as descriptor:
            if status_of(descriptor, name) is not None:
                return None
            wanted, same = composed(name), list[str]()
            with os.scandir(descriptor) as entries:
                for number, entry in enumerate(entries):
                    if number == _NAMES:
                        return None
                    if composed(entry.name) == wanted:
                        same.append(entry.name)
    except (PathRefused, OSError):
        return None
    return same[0] if len(same) == 1 else None


def _taken_as_relative(root: int, path: str, refusal: PathRefused) -> Parts:
    """An absolute path outside of the root: what it is relative to the root, when that is there."""
    parts = tuple(name for name in path.split("/") if name not in ("", "."))
    whole = as_spelled(root, parts) if len(parts) <= DEPTH else parts
    if _exists(root, whole):
        return whole
    for start in range(1, min(len(parts), DEPTH)):
        if _exists(root, parts[start:]):
            raise absolute(path, parts[start:]) from None
    raise refusal


def _exists(root: int, parts: Parts) -> bool:
    """Whether there is something at *parts* that can be reached without following a link; a link itself counts."""
    if not parts:
        return True
    try:
        with folder(root, parts[:-1]) as descriptor:
            return status_of(descriptor, parts[-1]) is not None
    except (PathRefused, OSError):
        return False


def _not_there(root: int, parts: Parts, given: str) -> PathRefused:
    """The refusal of a path that isn't there: the nearest paths, each with all of its folders."""
    depth = next((level for level in range(len(parts)) if not _exists(root, parts[: level + 1])), None)
    if depth is None:
        return PathRefused("busy", f"{quoted('/'.join(parts))} changed while it was opened.", "Try again.")
    try:
        with folder(root, parts[:depth]) as descriptor:
            near = [(*parts[:depth], name) for name in near_names(descriptor, parts[depth])]
    except PathRefused as refusal:  # a link, or a file where a folder has to be
        return refusal
    rest = parts[depth + 1 :]
    paths = [(*each, *rest) for each in near if _exists(root, (*each, *rest))]
    if not paths:
        paths = _of_that_name(root, parts[-1])
    if not paths and near:
        paths = near
    what = f"There is no {quoted(given if chr(92) in given else '/'.join(parts))}."
    if paths:
        words = " or ".join(quoted("/".join(each)) for each in paths[:_HINTS])
        return PathRefused("not-found", what, f"Did you mean {words}?")
    if "\\" in given:
        return PathRefused("not-found", what, "Write the path with forward slashes.")
    return PathRefused("not-found", what, f"List {quoted(joined(parts[:depth]))} to see what is there.")


def _of_that_name(root: int, name: str) -> list[Parts]:
    """Paths below the root that end with *name* in any letter case, the highest first."""
    wanted, found, seen = composed(name).casefold(), list[Parts](), 0
    waiting: deque[Parts] = deque([()])
    while waiting and len(found) < _HINTS and seen < _NAMES:
        parts = waiting.popleft()
        try:
            with folder(root, parts) as descriptor, os.scandir(descriptor) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _NAMES:
                        break
                    if not addressable(entry.name):
                        continue
                    if composed(entry.name).casefold() == wanted:
                        found.append((*parts, entry.name))
                    if len(parts) < DEPTH - 1 and _is_folder(entry) and not entry.name.startswith("."):
                        waiting.append((*parts, entry.name))
        except (PathRefused, OSError):
            continue
    return sorted(found, key=lambda parts: (len(parts), parts))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return False
