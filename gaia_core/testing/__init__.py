"""For authors of toolsets: what their tests need. No test framework is needed to import it; pytest shows its errors.

    async with opened(files(tmp_path)) as tools:            # the resource is open, as in a session
        result = await tools.call("read_file", '{"path": "a.txt"}')
        assert result.content == "…"                        # what a model reads

    check_schemas(files(), Path(__file__).with_name("files.json"))    # what a model is told, as a snapshot
    check_toolset(files, lambda folder: {"root": folder}, calls={"read_file": {"path": "a.txt"}})

    async with quirky_endpoint("cut_off_stop", call("read_file", path="a.txt"), "Done") as server:
        model = Endpoint(EndpointConfig(url=server.url))    # an agent with a server that bends the protocol

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
| `_quirks` | the shapes in which model servers bend the protocol, by name |
| `_quirky_endpoint` | a model server on this machine that has one of them |
| `_leaks` | what was opened and not closed |
"""

from gaia_core.testing._conformance import PROMISES, Checked, ConformanceError, Fault, check_toolset
from gaia_core.testing._immutability import mutable
from gaia_core.testing._open_toolset import OpenToolset, Result, opened
from gaia_core.testing._quirks import QUIRKS, Quirk, Reply
from gaia_core.testing._quirky_endpoint import QuirkyEndpoint, quirky_endpoint
from gaia_core.testing._schema_snapshots import UPDATE, SnapshotError, check_schemas

__all__ = [
    "PROMISES",
    "QUIRKS",
    "UPDATE",
    "Checked",
    "ConformanceError",
    "Fault",
    "OpenToolset",
    "Quirk",
    "QuirkyEndpoint",
    "Reply",
    "Result",
    "SnapshotError",
    "check_schemas",
    "check_toolset",
    "mutable",
    "opened",
    "quirky_endpoint",
]
