"""For authors of toolsets: what their tests need. No test framework is needed to import it; pytest shows its errors.

    async with opened(files(tmp_path)) as tools:            # the resource is open, as in a session
        result = await tools.call("read_file", '{"path": "a.txt"}')
        assert result.content == "…"                        # what a model reads

    check_schemas(files(), Path(__file__).with_name("files.json"))    # what a model is told, as a snapshot
    check_toolset(files, lambda folder: {"root": folder}, calls={"read_file": {"path": "a.txt"}})

| module | what lives there |
|---|---|
| `_opened` | a toolset with its resource open, called as a model calls it |
| `_schemas` | what a model is told, compared with a file |
| `_conformance` | `check_toolset`: the nine promises of a toolset |
| `_behaviour` | those that show when tools are called |
| `_samples` | arguments for calls, made from a schema |
| `_frozen` | what below a value can be changed |
| `_modules` | what the modules of a package keep |
| `_elsewhere` | a toolset as other processes make it |
| `_leaks` | what was opened and not closed |
"""

from gaia_core.testing._conformance import PROMISES, Checked, ConformanceError, Fault, check_toolset
from gaia_core.testing._immutability import mutable
from gaia_core.testing._open_toolset import OpenToolset, Result, opened
from gaia_core.testing._schema_snapshots import UPDATE, SnapshotError, check_schemas

__all__ = [
    "PROMISES",
    "UPDATE",
    "Checked",
    "ConformanceError",
    "Fault",
    "OpenToolset",
    "Result",
    "SnapshotError",
    "check_schemas",
    "check_toolset",
    "mutable",
    "opened",
]
