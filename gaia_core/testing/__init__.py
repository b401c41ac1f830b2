"""For authors of toolsets and agents: what their tests need. It imports no test framework; pytest shows its errors.

    async with opened(files(tmp_path)) as tools:            # the resource is open, as in a session
        result = await tools.call("read_file", '{"path": "a.txt"}')
        assert result.content == "…"                        # what a model reads

    check_schemas(files(), Path(__file__).with_name("files.json"))    # what a model is told, as a snapshot
    check_toolset(files, lambda folder: {"root": folder}, calls={"read_file": {"path": "a.txt"}})

    async with QuirkyEndpoint("index-0", call("read_file", path="a.txt"), "Done.") as server:   # a model server
        …

| module | what lives there |
|---|---|
| `_open_toolset` | a toolset with its resource open, called as a model calls it |
| `_schema_snapshots` | what a model is told, compared with a file |
| `_conformance` | `check_toolset`: the nine promises of a toolset |
| `_call_checks` | those that show when tools are called |
| `_sample_arguments` | arguments for calls, made from a schema |
| `_immutability` | what below a value can be changed |
| `_module_state` | what the modules of a package keep |
| `_other_process` | a toolset as other processes make it |
| `_leaks` | what was opened and not closed |
| `_loopback_server` | the server of the two endpoints below |
| `_quirky_endpoint` | a model server that bends the protocol as real ones do |
| `_strict_endpoint` | a model server that refuses what strict chat templates refuse |
"""

from gaia_core.testing._conformance import PROMISES, Checked, ConformanceError, Fault, check_toolset
from gaia_core.testing._immutability import mutable
from gaia_core.testing._open_toolset import OpenToolset, Result, opened
from gaia_core.testing._quirky_endpoint import QUIRKS, QuirkyEndpoint
from gaia_core.testing._schema_snapshots import UPDATE, SnapshotError, check_schemas
from gaia_core.testing._strict_endpoint import StrictEndpoint, template_refusal

__all__ = [
    "PROMISES",
    "QUIRKS",
    "UPDATE",
    "Checked",
    "ConformanceError",
    "Fault",
    "OpenToolset",
    "QuirkyEndpoint",
    "Result",
    "SnapshotError",
    "StrictEndpoint",
    "check_schemas",
    "check_toolset",
    "mutable",
    "opened",
    "template_refusal",
]
