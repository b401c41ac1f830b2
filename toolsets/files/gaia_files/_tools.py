"""The tools of a workspace. Few parameters, plain names, a default wherever one makes sense.

Sync functions, which the runtime runs on worker threads: file systems block. Those that change something are
exclusive, so that the calls of one step happen in a clear order.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from gaia_core import ConfigError, Context, ToolError, Toolset, doc, resource, tool
from gaia_files._path_resolution import PathRefused
from gaia_files._read import Encoding
from gaia_files._workspace import Workspace

_INSTRUCTIONS = """
Paths are relative to the workspace folder, with forward slashes; "." is the folder itself.
Use {list_files} first when you don't know which files there are.
Use {find_files} when you know a part of a file's name.
Use {search_files} when you know a text that a file contains.
Use {read_file} before you answer about a file or change it; when it says that more lines follow, set start_line.
Use {edit_file} to change a part of a file: copy old_text exactly, with its spaces, and without the rest of the file.
Use {write_file} for a new file, or to replace a file's whole content.
Use {delete_file} only when the user asked for it: nothing brings a file back.
"""

_SECONDS = 30.0
"""Longer than a workspace's own limit, which ends a call with what was found until then."""

Folder = Annotated[str, doc("Folder, relative to the workspace")]
File = Annotated[str, doc("File, relative to the workspace")]


def _root_fault(root: Path) -> str:
    try:
        with Workspace(root):
            return ""
    except PathRefused as refusal:
        return f"files: {refusal}"


@resource(scope="session", check=_root_fault)
def workspace(root: Path) -> Iterator[Workspace]:
    """The recipe of the workspace *root*. Opening it raises ToolError when *root* isn't a folder that can be read."""
    with _told():
        opened = Workspace(root)
    with opened:
        yield opened


@tool(effects="read", timeout=_SECONDS, idempotent=True)
def list_files(
    ctx: Context[Workspace],
    path: Folder = ".",
    glob: Annotated[str, doc("Only what fits, such as *.py or src/**/*.md; empty for all")] = "",
    recursive: Annotated[bool, doc("Also what is in the folders below")] = False,
) -> str:
    """List the files and folders in a folder. Folders end with a slash."""
    with _told():
        return ctx.resource.list(path, glob, recursive=recursive, cancelled=lambda: ctx.cancelled)


@tool(effects="read", timeout=_SECONDS, idempotent=True)
def find_files(
    ctx: Context[Workspace],
    name: Annotated[str, doc("Part of a file's name, or a glob such as *.py")],
    path: Folder = ".",
) -> str:
    """Find files and folders by name, in a folder and all folders below it."""
    with _told():
        return ctx.resource.find(name, path, cancelled=lambda: ctx.cancelled)


@tool(effects="read", timeout=_SECONDS, idempotent=True)
def search_files(
    ctx: Context[Workspace],
    text: Annotated[str, doc("The text to find, as it is written in the files; not a regular expression")],
    path: Annotated[str, doc("Folder or file to search, relative to the workspace")] = ".",
    glob: Annotated[str, doc("Only files that fit, such as *.py; empty for all")] = "",
    case_sensitive: Annotated[bool, doc("Tell capital letters from small ones")] = False,
) -> str:
    """Find the lines that contain a text, in all files of a folder. Shows path, line number and line."""
    with _told():
        return ctx.resource.search(text, path, glob, case_sensitive=case_sensitive, cancelled=lambda: ctx.cancelled)


@tool(effects="read", timeout=_SECONDS, idempotent=True)
def read_file(
    ctx: Context[Workspace],
    path: File,
    start_line: Annotated[int, doc("First line to read", ge=1)] = 1,
    limit: Annotated[int, doc("Lines to read", ge=1, le=10_000)] = 2_000,
    encoding: Annotated[Encoding, doc("Only when auto shows wrong characters")] = "auto",
    start_column: Annotated[
        int, doc("Only for the rest of a line that was cut: its first character to read", ge=1)
    ] = 1,
) -> str:
    """Read a text file."""
    with _told():
        return ctx.resource.read(path, start_line, limit, encoding, start_column, cancelled=lambda: ctx.cancelled)


@tool(effects="read", timeout=_SECONDS, idempotent=True)
def file_info(ctx: Context[Workspace], path: Annotated[str, doc("File or folder, relative to the workspace")]) -> str:
    """Show the size, time of change, kind and number of lines of a file, or the number of entries of a folder."""
    with _told():
        return ctx.resource.info(path)


@tool(effects="write", timeout=_SECONDS, exclusive=True, idempotent=True)
def write_file(
    ctx: Context[Workspace],
    path: File,
    content: Annotated[str, doc("The whole new content")],
) -> str:
    """Write a text file: create it, or replace everything in it."""
    with _told():
        return ctx.resource.write(path, content)


@tool(effects="write", timeout=_SECONDS, exclusive=True)
def edit_file(
    ctx: Context[Workspace],
    path: File,
    old_text: Annotated[str, doc("The exact text to replace; must occur once")],
    new_text: Annotated[str, doc("The text to put in its place")],
    replace_all: Annotated[bool, doc("Replace every occurrence")] = False,
) -> str:
    """Replace a text in a file by another."""
    with _told():
        return ctx.resource.edit(path, old_text, new_text, replace_all=replace_all)


@tool(effects="write", timeout=_SECONDS, exclusive=True)
def move_file(
    ctx: Context[Workspace],
    path: Annotated[str, doc("File or folder to move, relative to the workspace")],
    new_path: Annotated[str, doc("Its new path, or the folder to move it into")],
) -> str:
    """Move or rename a file or folder. Overwrites nothing."""
    with _told():
        return ctx.resource.move(path, new_path)


@tool(effects="write", timeout=_SECONDS, exclusive=True)
def delete_file(
    ctx: Context[Workspace], path: Annotated[str, doc("File or empty folder, relative to the workspace")]
) -> str:
    """Delete a file or an empty folder."""
    with _told():
        return ctx.resource.delete(path)


@tool(effects="write", timeout=_SECONDS, exclusive=True, idempotent=True)
def make_folder(ctx: Context[Workspace], path: Folder) -> str:
    """Create a folder. Writing a file creates its folders already."""
    with _told():
        return ctx.resource.make_folder(path)


_TOOLS = (
    list_files,
    find_files,
    search_files,
    read_file,
    file_info,
    write_file,
    edit_file,
    move_file,
    delete_file,
    make_folder,
)


def files(root: Path = Path(), *, write: bool = False) -> Toolset:
    """Files below *root*: list, find, search, read and info; with *write* also write, edit, move, delete.

    *root* is made absolute now and opened at the first call; a call says so when it doesn't exist then. Raises
    ConfigError when *root* exists and isn't a folder.
    """
    toolset = Toolset("files", _TOOLS, instructions=_INSTRUCTIONS, resource=workspace(_absolute(Path(root))))
    return toolset if write else toolset.where(lambda t: t.effects <= {"read"})


def _absolute(root: Path) -> Path:
    try:
        absolute = root.resolve() if ".." in root.parts else root.absolute()
        no_folder = absolute.exists() and not absolute.is_dir()
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"files: root '{root}' can't be read: {error}; name a folder") from None
    if no_folder:
        raise ConfigError(f"files: root '{root}' is not a folder; give the folder that holds the files")
    return absolute


@contextmanager
def _told() -> Iterator[None]:
    """Tell the model why the workspace refused."""
    try:
        yield
    except PathRefused as refusal:
        raise ToolError(str(refusal)) from None
