"""Mending: what was meant by a path that isn't there, when exactly one thing can be meant. For reading only.

What `_path_habits` takes is taken before, without a note. Then, in this order: quotes, dots and spaces around it
(`.data`, `'notes.txt'`); other letter case
(`readme.md`); a name that one file or folder below the root has, or that is its name without the ending (`config`).
"""

from collections.abc import Callable

from gaia_files._call_limits import CallLimits, Effort
from gaia_files._folder_walk import Walk
from gaia_files._path_resolution import Parts, PathRefused, addressable, folder, parts_of, status_of

_QUOTES = "'\"`“”‘’ \t\n"
_MENDING_ENTRIES = 20_000


def is_there(root: int, parts: Parts) -> bool:
    """Whether something is at *parts*; a link, or what can't be reached, counts too: its refusal says more."""
    if not parts:
        return True
    try:
        with folder(root, parts[:-1]) as parent:
            return status_of(parent, parts[-1]) is not None
    except PathRefused as refusal:
        return refusal.rule != "not-found"


def meant(root: int, path: str, root_path: str, limits: CallLimits, cancelled: Callable[[], bool]) -> Parts | None:
    """The only thing that *path*, which isn't there, can mean; None: there is none, or there are several."""
    plain = path.replace("\\", "/")
    bare = plain.strip(_QUOTES).rstrip(_QUOTES + ".,:;")
    for spelled in dict.fromkeys((plain, bare)):
        try:
            parts = parts_of(spelled or ".", root_path)
        except PathRefused:
            continue
        if is_there(root, parts):
            return parts
    wanted = tuple(part.casefold() for part in bare.split("/") if part not in ("", "."))
    if not wanted:
        return None
    return _only(root, wanted, limits, cancelled)


def _only(root: int, wanted: tuple[str, ...], limits: CallLimits, cancelled: Callable[[], bool]) -> Parts | None:
    """The one path in any letter case; else the one that ends so; else the one that ends so but for its ending."""
    effort = Effort(limits, cancelled)
    whole: list[Parts] = []
    ending: list[Parts] = []
    without: list[Parts] = []
    for number, entry in enumerate(Walk(root, (), effort)):
        if effort.stopped or number >= _MENDING_ENTRIES:
            return None  # what was not seen may be meant too
        folded = tuple(part.casefold() for part in entry.parts)
        if entry.kind not in ("file", "folder") or not all(map(addressable, entry.parts)):
            continue
        if folded == wanted:
            whole.append(entry.parts)
        elif folded[-len(wanted) :] == wanted:
            ending.append(entry.parts)
        elif (*folded[:-1], folded[-1].rpartition(".")[0])[-len(wanted) :] == wanted:
            without.append(entry.parts)
    found = whole or ending or without
    return found[0] if len(found) == 1 else None
