"""The workspace: one folder, held by its descriptor, and what can be done below it.

    with Workspace(Path("/home/me/notes")) as workspace:
        workspace.list()
        workspace.read("todo.txt", start_line=1, limit=100)

Every method takes paths in words, returns text for a model, raises Refused, and may be called from several threads at
once: each call works on a descriptor of its own, so closing the workspace while a call still runs can't point that
call at another folder.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from gaia_files._call_limits import CallLimits, Effort, counted, never
from gaia_files._edit import edit_text
from gaia_files._folder_walk import find_names, list_folder
from gaia_files._path_habits import located
from gaia_files._path_mending import meant
from gaia_files._path_resolution import (
    Parts,
    PathRefused,
    folder,
    joined,
    kind_of,
    open_folder,
    quoted,
    refusal_of,
    require_descriptors,
    status_of,
)
from gaia_files._read import Encoding, describe, read_lines
from gaia_files._search import search
from gaia_files._write import delete, make_folder, move, write_text

_DEFAULT_LIMITS = CallLimits()
_LINES = 2_000
_NAME_CHARS = 255


class Workspace:
    """The files below *root*. Opens it at once; raises Refused when it isn't a folder or can't be opened.

    *root* itself is trusted and may lead through links; nothing below it may. Close it, or use it as a context manager.
    """

    def __init__(self, root: Path, limits: CallLimits = _DEFAULT_LIMITS) -> None:
        require_descriptors()
        self.root = str(root.absolute())
        self.limits = limits
        self._lock = threading.Lock()
        self._descriptor: int | None = _open_root(self.root)

    def __repr__(self) -> str:
        return f"Workspace({self.root!r}{', closed' if self._descriptor is None else ''})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the root's descriptor; calls that still run end undisturbed. Closing twice does nothing."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def list(
        self, path: str = ".", glob: str = "", *, recursive: bool = False, cancelled: Callable[[], bool] = never
    ) -> str:
        """What is in the folder *path*, sorted, folders with a trailing slash; a *glob* with `/` or `**` recurses."""
        with self._call(path) as root:
            parts, note = self._meant(root, path, cancelled)
            if _kind(root, parts) == "file":
                text = read_lines(root, parts, 1, _LINES, "auto", Effort(self.limits, cancelled))
                lines = text.count("\n") + 1
                # A note behind the text says whether more lines follow; then they are not counted here.
                of = "" if text.rpartition("\n")[2].startswith("[") else f" of {counted(lines, 'line')}"
                return f"{text}\n[{quoted(joined(parts))} is a file{of}; this is its text]{note}"
            effort = Effort(self.limits, cancelled)
            return list_folder(root, parts, glob, recursive=recursive, effort=effort) + note

    def find(self, name: str, path: str = ".", *, cancelled: Callable[[], bool] = never) -> str:
        """Files and folders anywhere below *path* by a part of their name or a glob, in any letter case."""
        with self._call(path) as root:
            return find_names(root, located(root, path, self.root), name, Effort(self.limits, cancelled))

    def search(
        self,
        text: str,
        path: str = ".",
        glob: str = "",
        *,
        case_sensitive: bool = False,
        cancelled: Callable[[], bool] = never,
    ) -> str:
        """Lines that contain *text*, in the files below *path* that fit *glob*, as `path:line: text`."""
        with self._call(path) as root:
            start, note = self._meant(root, path, cancelled)
            effort = Effort(self.limits, cancelled)
            found = search(root, start, text, glob, case_sensitive=case_sensitive, effort=effort)
            if found.startswith("[Nothing contains") and (named := self._named(root, text, cancelled)):
                found += f"\n[{named}; read it to see what is in it]"
            return found + note

    def read(
        self,
        path: str,
        start_line: int = 1,
        limit: int = _LINES,
        encoding: Encoding = "auto",
        start_column: int = 1,
        *,
        cancelled: Callable[[], bool] = never,
    ) -> str:
        """*limit* lines of a text file from *start_line* (counted from 1), and how to continue when there are more.

        With a *start_column* above 1: the rest of that one line, from this character on.
        """
        with self._call(path) as root:
            parts, note = self._meant(root, path, cancelled)
            effort = Effort(self.limits, cancelled)
            if _kind(root, parts) == "folder":
                note = f"\n[{quoted(joined(parts))} is a folder; this is in it]"
                return list_folder(root, parts, "", recursive=False, effort=effort) + note
            return read_lines(root, parts, start_line, limit, encoding, effort, column=start_column) + note

    def info(self, path: str = ".") -> str:
        """Kind, size, time of change, and for text its encoding and number of lines, as `name: value` lines."""
        with self._call(path) as root:
            return describe(root, located(root, path, self.root), self.limits)

    def write(self, path: str, content: str) -> str:
        """Create a file, and the folders above it, or replace its whole content."""
        with self._call(path) as root:
            _require_file_path(path)
            return write_text(root, located(root, path, self.root, new=True), content, self.limits)

    def edit(self, path: str, old: str, new: str, *, replace_all: bool = False) -> str:
        """Replace the text *old* by *new* in a file; *old* occurs exactly once unless *replace_all*."""
        with self._call(path) as root:
            return edit_text(root, located(root, path, self.root), old, new, self.limits, replace_all=replace_all)

    def move(self, path: str, to: str) -> str:
        """Move or rename a file or folder; into *to* when that is a folder or ends with a slash."""
        with self._call(path) as root:
            into = to.endswith(("/", "\\"))
            return move(
                root, located(root, path, self.root), located(root, to, self.root, new=True), self.limits, into=into
            )

    def delete(self, path: str) -> str:
        """Delete a file, an empty folder, or a link itself."""
        with self._call(path) as root:
            return delete(root, located(root, path, self.root), self.limits)

    def make_folder(self, path: str) -> str:
        """Create a folder, and those above it."""
        with self._call(path) as root:
            return make_folder(root, located(root, path, self.root, new=True))

    @contextmanager
    def _call(self, path: str) -> Iterator[int]:
        """A descriptor of the root for one call; what the system says and nobody explained becomes a refusal."""
        with self._lock:
            if self._descriptor is None:
                raise PathRefused("closed", "The workspace is closed.", "Start a new session.")
            root = self._opened(self._descriptor)
        try:
            yield root
        except OSError as error:
            raise refusal_of(error, (path.replace("\0", ""),)) from None
        finally:
            os.close(root)

    def _meant(self, root: int, path: str, cancelled: Callable[[], bool]) -> tuple[Parts, str]:
        """What *path* names, or the one thing that it can mean, and then a note that says so."""
        try:
            return located(root, path, self.root), ""
        except PathRefused as refusal:
            if refusal.rule not in ("absolute-path", "not-found"):
                raise
            if (found := meant(root, path, self.root, self.limits, cancelled)) is None:
                raise  # it names the nearest
            return found, f"\n[There is no {quoted(path)}; this is {quoted(joined(found))}]"

    def _named(self, root: int, text: str, cancelled: Callable[[], bool]) -> str:
        """That there is a file or folder called *text*, when there is one."""
        if "\n" in text or len(text) > _NAME_CHARS:
            return ""
        found = meant(root, text, self.root, self.limits, cancelled)
        return f"There is a {_kind(root, found)} of that name, {quoted(joined(found))}" if found else ""

    def _opened(self, descriptor: int) -> int:
        try:
            if os.fstat(descriptor).st_nlink:
                return open_folder(descriptor, ())
        except FileNotFoundError:
            pass
        except OSError as error:
            raise refusal_of(error, ()) from None
        raise PathRefused(
            "root-removed",
            f"The workspace folder {quoted(self.root)} was removed.",
            "Tell the user; nothing can be done.",
        )


def _kind(root: int, parts: Parts) -> str:
    """`file`, `folder`, or what else is there; "" when nothing is."""
    if not parts:
        return "folder"
    try:
        with folder(root, parts[:-1]) as parent:
            status = status_of(parent, parts[-1])
    except PathRefused:
        return ""
    return kind_of(status.st_mode) if status is not None else ""


def _open_root(root: str) -> int:
    try:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise PathRefused("root", f"The workspace folder {quoted(root)} does not exist.", "Create it first.") from None
    except NotADirectoryError:
        raise PathRefused("root", f"{quoted(root)} is not a folder.", "Configure a folder as the root.") from None
    except OSError as error:
        raise refusal_of(error, (root,)) from None
    except ValueError:
        raise PathRefused("root", f"{quoted(root)} is not a path.", "Configure a folder as the root.") from None


def _require_file_path(path: str) -> None:
    if path.endswith(("/", "\\")):
        raise PathRefused("folder", f"{quoted(path)} ends with a slash, so it names a folder.", "Add the file's name.")
