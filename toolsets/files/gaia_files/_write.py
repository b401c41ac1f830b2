"""Writing: files appear whole or not at all, and changes in one folder wait for each other.

A file is written under a temporary name in its own folder, synced, and renamed over the old one by descriptor: no
reader sees half of it, a link that was put in its place is replaced rather than followed, and other hard links of the
old file keep the old content. Changes hold an advisory lock (flock) on the folder, so that two sessions that edit one
file at the same moment both get their edit. Extended attributes and ACLs of a replaced file are not kept.
"""

import codecs
import os
import secrets
import stat
from contextlib import ExitStack, suppress

from gaia_files._call_limits import CallLimits, counted, plain_size
from gaia_files._folder_lock import locked
from gaia_files._path_resolution import (
    DEPTH,
    Parts,
    PathRefused,
    folder,
    joined,
    kind_of,
    missing,
    open_folder,
    quoted,
    refusal_of,
    regular_file,
    require_name,
    require_regular,
    status_of,
)

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_LOOKED_AT = 64 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NEW_MODE, _MODE_BITS = 0o666, 0o777
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def write_text(root: int, parts: Parts, content: str, limits: CallLimits) -> str:
    """Create the file, with the folders above it, or replace its whole content, as UTF-8.

    A file that is replaced keeps its byte order mark, with the encoding that it names, and its CRLF line ends.
    """
    require_name(parts)
    data = encoded(content, "utf-8")
    require_size(len(data), parts, limits)
    kept: tuple[str, ...] = ()
    with folder(root, parts[:-1], make=True) as parent, locked((parent,), parts, limits):
        old = replaceable(parent, parts)
        if old is not None:
            data, kept = _as_before(parent, parts, content)
            require_size(len(data), parts, limits)
        replace(parent, parts, data, old)
    lines = content.count("\n") + bool(content and not content.endswith("\n"))
    written = f"{counted(lines, 'line')}, {plain_size(len(data))}"
    if old is None:
        return f"Created {joined(parts)} ({written})."
    also = f" Kept its {' and its '.join(kept)}." if kept else ""
    return f"Replaced {joined(parts)} ({written}; it had {plain_size(old.st_size)}).{also}{other_links(old)}"


def _as_before(parent: int, parts: Parts, content: str) -> tuple[bytes, tuple[str, ...]]:
    """*content* in the encoding and with the line ends of the file that it replaces, and what was kept of it."""
    kept: list[str] = []
    try:
        with regular_file(parent, parts) as (descriptor, _):
            start = os.read(descriptor, _LOOKED_AT)
    except PathRefused:  # it may be written, and not read
        return encoded(content, "utf-8"), ()
    mark, codec = next(((mark, codec) for mark, codec in _MARKS if start.startswith(mark)), (b"", "utf-8"))
    text = start.removeprefix(mark).decode(codec, "replace")
    ends = text.count("\n")
    if "\0" not in text and ends and text.count("\r\n") == ends:
        content = content.replace("\r\n", "\n").replace("\n", "\r\n")
        kept.append("CRLF line ends")
    if mark:
        content = content.removeprefix("\ufeff")
        kept.append(f"byte order mark ({codec.upper().removesuffix('-LE').removesuffix('-BE')})")
    return mark + encoded(content, codec), tuple(kept)


def move(root: int, source: Parts, target: Parts, limits: CallLimits, *, into: bool = False) -> str:
    """Rename a file or folder; into *target* when that is a folder or *into*. Nothing is overwritten.

    (The system has no portable rename that fails when the target exists. Calls of this program exclude each other by
    the folder's lock; against another program the check has a gap of some microseconds.)
    """
    require_name(source)
    if into or _is_folder(root, target):
        target = (*target, source[-1])
    if target[: len(source)] == source:
        same = target == source
        what = "is there already" if same else "can't be moved into itself"
        raise PathRefused(
            "no-change" if same else "into-itself", f"{quoted(joined(source))} {what}.", "Give another path."
        )
    if len(target) > DEPTH:
        raise PathRefused(
            "depth", f"{quoted(joined(target))} has {len(target)} levels.", f"At most {DEPTH} are possible."
        )
    with ExitStack() as stack:
        source_folder = stack.enter_context(folder(root, source[:-1]))
        status = _movable(source_folder, source)
        target_folder = stack.enter_context(folder(root, target[:-1], make=True))
        stack.enter_context(locked((source_folder, target_folder), source, limits))
        try:
            if status_of(target_folder, target[-1]) is not None:
                raise PathRefused(
                    "exists", f"{quoted(joined(target))} exists already.", "Give another path, or delete it."
                )
            os.rename(source[-1], target[-1], src_dir_fd=source_folder, dst_dir_fd=target_folder)
        except FileNotFoundError:
            raise missing(source_folder, source) from None
        except OSError as error:
            raise refusal_of(error, source) from None
        _sync(target_folder)
        _sync(source_folder)
    return f"Moved {kind_of(status.st_mode)} {joined(source)} to {joined(target)}."


def delete(root: int, parts: Parts, limits: CallLimits) -> str:
    """Delete a file, an empty folder, or a link (never its target)."""
    require_name(parts)
    with folder(root, parts[:-1]) as parent, locked((parent,), parts, limits):
        status = _existing(parent, parts)
        kind = kind_of(status.st_mode)
        if kind not in ("file", "folder", "link"):
            require_regular(status, parts)
        try:
            if kind == "folder":
                os.rmdir(parts[-1], dir_fd=parent)
            else:
                os.unlink(parts[-1], dir_fd=parent)
        except OSError as error:
            raise refusal_of(error, parts) from None
        _sync(parent)
    return f"Deleted {kind} {joined(parts)}." + (" Its target is as it was." if kind == "link" else "")


def make_folder(root: int, parts: Parts) -> str:
    """Create a folder and those above it."""
    require_name(parts)
    if _is_folder(root, parts):
        return f"The folder {joined(parts)} exists already."
    with folder(root, parts, make=True):
        return f"Created folder {joined(parts)}."


def encoded(text: str, codec: str) -> bytes:
    """*text* in *codec*; Refused for lone surrogates, which no file can hold."""
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        bad = error.object[error.start]
        raise PathRefused(
            "encoding", f"The text can't be written: it contains {quoted(bad)}.", "Write it in plain Unicode."
        ) from None


def require_size(size: int, parts: Parts, limits: CallLimits) -> None:
    """Raise Refused when a file would become too large."""
    if size > limits.write_bytes:
        raise PathRefused(
            "too-large",
            f"{quoted(joined(parts))} would have {plain_size(size)}; at most {plain_size(limits.write_bytes)}.",
            "Write several smaller files.",
        )


def replaceable(parent: int, parts: Parts) -> os.stat_result | None:
    """The status of a file that may be replaced, None when there is none yet."""
    try:
        status = status_of(parent, parts[-1])
    except OSError as error:
        raise refusal_of(error, parts) from None
    if status is None:
        return None
    require_regular(status, parts)
    if not status.st_mode & _WRITABLE:
        raise PathRefused("read-only", f"{quoted(joined(parts))} is marked read only.", "Write another file.")
    return status


def replace(parent: int, parts: Parts, data: bytes, old: os.stat_result | None) -> None:
    """Put *data* in place of the file in one step; it keeps the mode and, if allowed, the owner of the *old* one."""
    mode = _NEW_MODE if old is None else old.st_mode & _MODE_BITS
    temporary = f".{secrets.token_hex(8)}.gaia-new"
    try:
        descriptor = os.open(temporary, _CREATE, mode, dir_fd=parent)
    except OSError as error:
        raise refusal_of(error, parts) from None
    try:
        try:
            _write_all(descriptor, data)
            if old is not None:
                _keep_owner(descriptor, old, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, parts[-1], src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        if isinstance(error, OSError):
            raise refusal_of(error, parts) from None
        raise
    _sync(parent)


def other_links(old: os.stat_result) -> str:
    """A sentence on the other hard links of a replaced file, if there were any."""
    if old.st_nlink < 2:
        return ""
    return f" It had {counted(old.st_nlink - 1, 'other hard link')}, which keep the old content."


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _keep_owner(descriptor: int, old: os.stat_result, mode: int) -> None:
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        with suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, mode)


def _sync(parent: int) -> None:
    """Make a rename durable; some file systems can't sync a folder, and then it is as durable as they make it."""
    with suppress(OSError):
        os.fsync(parent)


def _existing(parent: int, parts: Parts) -> os.stat_result:
    try:
        status = status_of(parent, parts[-1])
    except OSError as error:
        raise refusal_of(error, parts) from None
    if status is None:
        raise missing(parent, parts)
    return status


def _movable(parent: int, parts: Parts) -> os.stat_result:
    status = _existing(parent, parts)
    if not stat.S_ISDIR(status.st_mode):
        require_regular(status, parts)
    return status


def _is_folder(root: int, parts: Parts) -> bool:
    try:
        os.close(open_folder(root, parts))
    except PathRefused as refusal:
        if refusal.rule in ("not-found", "not-a-folder"):
            return False
        raise
    return True
