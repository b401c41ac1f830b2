"""gaia_files: the files below one folder, as tools that can't leave it.

    from gaia_files import files

    files(Path("."))                    list, find, search, read
    files(Path("."), write=True)        and write, edit, move, delete

`Workspace` does the work, and can be used and tested without a model.
"""

from gaia_files._call_limits import CallLimits
from gaia_files._path_resolution import PathRefused
from gaia_files._tools import files, workspace
from gaia_files._workspace import Workspace

__all__ = ["CallLimits", "PathRefused", "Workspace", "files", "workspace"]
