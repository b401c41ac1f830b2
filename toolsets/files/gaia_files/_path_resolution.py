"""Paths: from a path in words to an open descriptor that is certainly below the root.

No path is ever handed to the system as a whole. It is split here, `..` and NUL refused, and then opened one component
at a time relative to the descriptor of the folder before it, with O_NOFOLLOW: whatever is renamed or swapped for a
link meanwhile, a step either stays below the root or fails. Regular files and folders only; nothing blocks.
"""

import difflib
import errno
import itertools
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

Parts: TypeAlias = tuple[str, ...]

NAME_BYTES = 255
PATH_BYTES = 4_096
DEPTH = 64

# Windows lacks some of these; `require_descriptors` refuses to work there, so a 0 is never used.
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NOFOLLOW
_FILE = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_NEEDED = ("open", "stat", "mkdir", "rename", "unlink", "rmdir", "readlink")

# Line breaks, control characters, undecodable bytes, and characters that turn the reading direction.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_QUOTED_CHARS = 200
_HINT_NAMES = 500

_OS_WORDS = (
    ((errno.EACCES, errno.EPERM), "permission", "The server has no permission for it. Choose another path."),
    ((errno.ENAMETOOLONG,), "name-length", f"Keep each name below {NAME_BYTES} bytes."),
    ((errno.EROFS,), "read-only", "It is on a read-only file system, so it can't be changed."),
    ((errno.ENOSPC, errno.EDQUOT), "disk-full", "The disk is full; nothing was changed."),
    ((errno.EMFILE, errno.ENFILE), "busy", "The server has too many files open. Try again later."),
    ((errno.ENOTEMPTY,), "not-empty", "The folder isn't empty. Delete or move what is in it first."),
    ((errno.EXDEV,), "other-device", "It is on another disk. Write a new file there instead of moving this one."),
    ((errno.EBUSY, errno.EAGAIN), "busy", "Something else uses it. Try again later."),
    ((errno.ESTALE,), "busy", "It changed while it was opened. Try again."),
)


class PathRefused(Exception):  # noqa: N818  # a refusal is an answer, not a failure of this program
    """A call was refused. *rule* is the rule's short name; the text says what to do and ends with the rule.

    raise Refused("parent-folder", "'../a': '..' is not allowed.", "Write the path from the top.")
    """

    def __init__(self, rule: str, what: str, advice: str = "") -> None:
        self.rule = rule
        super().__init__(" ".join(filter(None, (what, advice, f"[rule: {rule}]"))))


def require_descriptors() -> None:
    """Raise Refused on a system that can't open relative to a folder's descriptor (Windows)."""
    able = (
        all(getattr(os, name) in os.supports_dir_fd for name in _NEEDED)
        and os.scandir in os.supports_fd
        and all(hasattr(os, flag) for flag in ("O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK"))
    )
    if not able:
        raise PathRefused(
            "platform",
            "This system can't open files relative to a folder's descriptor, so paths can't be kept inside it.",
            "Run the server on Linux, macOS or WSL.",
        )


def shown(text: str) -> str:
    """*text* (a name or a path) with line breaks, control characters and undecodable bytes escaped."""
    return _UNSHOWN.sub(_escaped, text)


def joined(parts: Parts) -> str:
    """The path as a model sees it: relative, forward slashes, `.` for the root."""
    return shown("/".join(parts)) or "."


def quoted(text: str) -> str:
    """*text* in quotes for a message, cut when it is very long."""
    short = text if len(text) <= _QUOTED_CHARS else text[:_QUOTED_CHARS] + "…"
    return f"'{shown(short)}'"


def composed(text: str) -> str:
    """*text* with composed characters (NFC): macOS keeps `é` as two characters, models write it as one."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def addressable(name: str) -> bool:
    """Whether a path with *name* in it can be passed back: it is valid UTF-8."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


def parts_of(path: str, root: str) -> Parts:
    """The components of *path* below *root* (an absolute path); empty for the root itself.

    `.`, doubled and trailing slashes are dropped. An absolute path is taken when its first components are those of
    *root*, since the rest is opened below the root's descriptor like any other; `/` alone means the root.
    """
    if "\0" in path:
        raise PathRefused("null-byte", f"{quoted(path)} contains a NUL character.", "Write the path without it.")
    if not addressable(path):
        raise PathRefused("encoding", f"{quoted(path)} is not valid text.", "Write the path in plain Unicode.")
    if len(path.encode()) > PATH_BYTES:
        raise PathRefused("path-length", f"{quoted(path)} is too long.", f"Keep a path below {PATH_BYTES:,} bytes.")
    parts = _components(path)
    if ".." in parts:
        raise PathRefused(
            "parent-folder", f"{quoted(path)}: '..' is not allowed.", "Write the path from the top of the workspace."
        )
    if path.startswith("/"):
        parts = _below(path, parts, _components(root))
    if len(parts) > DEPTH:
        raise PathRefused("depth", f"{quoted(path)} has {len(parts)} levels.", f"At most {DEPTH} are possible.")
    for name in parts:
        if len(name.encode()) > NAME_BYTES:
            raise PathRefused("name-length", f"The name {quoted(name)} is too long.", f"At most {NAME_BYTES} bytes.")
    return parts


def open_folder(root: int, parts: Parts, *, make: bool = False) -> int:
    """A descriptor of the folder *parts* below *root*, which the caller closes; *make* creates what is missing."""
    current = os.open(".", _FOLDER, dir_fd=root)
    try:
        for index, name in enumerate(parts):
            below = _enter(current, parts[: index + 1], name, make=make)
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


@contextmanager
def folder(root: int, parts: Parts, *, make: bool = False) -> Iterator[int]:
    """`open_folder`, closed at the end."""
    descriptor = open_folder(root, parts, make=make)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def regular_file(parent: int, parts: Parts) -> Iterator[tuple[int, os.stat_result]]:
    """The last of *parts* in the folder *parent*, open for reading, and its status; never blocks on a pipe or device.

    System errors while it is used become refusals too.
    """
    descriptor = _open_regular(parent, parts)
    try:
        status = os.fstat(descriptor)
        require_regular(status, parts)
        yield descriptor, status
    except OSError as error:
        raise refusal_of(error, parts) from None
    finally:
        os.close(descriptor)


def require_name(parts: Parts) -> None:
    """Raise Refused for the root itself."""
    if not parts:
        raise PathRefused("folder", "'.' is the workspace folder itself.", "Give the path of something in it.")


def status_of(parent: int, name: str) -> os.stat_result | None:
    """The status of *name* in *parent* itself (a link's own, not its target's), or None when there is none."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def kind_of(mode: int) -> str:
    """A file's kind in words: `file`, `folder`, `link`, or the name of a special file."""
    kinds = (
        (stat.S_ISREG, "file"),
        (stat.S_ISDIR, "folder"),
        (stat.S_ISLNK, "link"),
        (stat.S_ISFIFO, "pipe"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
    )
    return next((kind for test, kind in kinds if test(mode)), "special file")


def require_regular(status: os.stat_result, parts: Parts) -> None:
    """Raise Refused unless *status* is a regular file's."""
    kind, path = kind_of(status.st_mode), quoted("/".join(parts))
    if kind == "file":
        return
    if kind == "folder":
        raise PathRefused("folder", f"{path} is a folder, not a file.", "List it, or give the path of a file in it.")
    if kind == "link":
        raise PathRefused("symbolic-link", f"{path} is a symbolic link; links are not followed.", "Use another path.")
    raise PathRefused("special-file", f"{path} is a {kind}; only regular files can be used.", "Use another path.")


def missing(parent: int, parts: Parts) -> PathRefused:
    """The refusal for a path that isn't there, with names that look like it."""
    what = f"There is no {quoted('/'.join(parts))}."
    if near := near_names(parent, parts[-1]):
        paths = (quoted("/".join((*parts[:-1], name))) for name in near)
        return PathRefused("not-found", what, "Did you mean " + " or ".join(paths) + "?")
    if any("\\" in name for name in parts):
        return PathRefused("not-found", what, "Write the path with forward slashes.")
    return PathRefused("not-found", what, f"List {quoted(joined(parts[:-1]))} to see what is there.")


def refusal_of(error: OSError, parts: Parts) -> PathRefused:
    """The refusal for a system error on *parts* that has no better explanation."""
    path = quoted("/".join(parts) or ".")
    for numbers, rule, advice in _OS_WORDS:
        if error.errno in numbers:
            return PathRefused(rule, f"{path} can't be used: {_reason(error)}.", advice)
    return PathRefused("system", f"{path} can't be used: {_reason(error)}.", "Use another path, or tell the user.")


def absolute(path: str, below: Parts) -> PathRefused:
    """The refusal of an absolute path that isn't below the root; *below*: what to write in its place."""
    return PathRefused(
        "absolute-path",
        f"{quoted(path)} is an absolute path outside of the workspace.",
        f"Write it relative to the workspace, such as {quoted('/'.join(below))}.",
    )


def _components(path: str) -> Parts:
    return tuple(name for name in path.split("/") if name not in ("", "."))


def _below(path: str, parts: Parts, root: Parts) -> Parts:
    if not parts:
        return ()
    if parts[: len(root)] == root:
        return parts[len(root) :]
    raise absolute(path, parts)


def _enter(current: int, parts: Parts, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=current)
    except FileNotFoundError:
        if not make:
            raise missing(current, parts) from None
    except OSError as error:
        raise _not_entered(error, current, parts) from None
    try:
        with suppress(FileExistsError):  # made by somebody else meanwhile; opening it shows whether it is a folder
            os.mkdir(name, dir_fd=current)
        return os.open(name, _FOLDER, dir_fd=current)
    except OSError as error:
        raise _not_entered(error, current, parts) from None


def _open_regular(parent: int, parts: Parts) -> int:
    """The file's descriptor. Its kind is looked at first, because opening a device can already do something."""
    name = parts[-1]
    try:
        status = status_of(parent, name)
        if status is None:
            raise missing(parent, parts)
        if stat.S_ISLNK(status.st_mode):
            raise _link(parent, parts)
        require_regular(status, parts)
        return os.open(name, _FILE, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise _link(parent, parts) from None
        if error.errno == errno.ENOENT:
            raise missing(parent, parts) from None
        raise refusal_of(error, parts) from None


def _not_entered(error: OSError, parent: int, parts: Parts) -> PathRefused:
    if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
        return refusal_of(error, parts)
    try:
        status = status_of(parent, parts[-1])
    except OSError as second:
        return refusal_of(second, parts)
    if status is None or stat.S_ISDIR(status.st_mode):
        return PathRefused("busy", f"{quoted('/'.join(parts))} changed while it was opened.", "Try again.")
    if stat.S_ISLNK(status.st_mode):
        return _link(parent, parts)
    return PathRefused(
        "not-a-folder",
        f"{quoted('/'.join(parts))} is a {kind_of(status.st_mode)}, not a folder.",
        "To see what is in a file, read it; here give a folder's path.",
    )


def _link(parent: int, parts: Parts) -> PathRefused:
    """The refusal of a link; names the target when that is a plain path below the root."""
    what = f"{quoted('/'.join(parts))} is a symbolic link; links are not followed."
    try:
        target = os.readlink(parts[-1], dir_fd=parent)
    except OSError:
        target = ""
    if not target or target.startswith("/"):
        return PathRefused("symbolic-link", what, "Use another path.")
    resolved = os.path.normpath("/".join((*parts[:-1], target)))
    if resolved == ".." or resolved.startswith("../"):
        return PathRefused("symbolic-link", what, "Use another path.")
    return PathRefused("symbolic-link", what, f"It points to {quoted(resolved)}: use that path.")


def near_names(parent: int, name: str) -> list[str]:
    """Up to three names in the folder *parent* that look like *name*, the nearest first."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, _HINT_NAMES)]
    except OSError:
        return []
    by_folded = {composed(each).casefold(): each for each in sorted(names, reverse=True) if addressable(each)}
    found = difflib.get_close_matches(composed(name).casefold(), sorted(by_folded), n=3, cutoff=0.6)
    return [by_folded[folded] for folded in found]


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
