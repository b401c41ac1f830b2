"""JSON from outside is checked for its nesting before it is decoded: by `gaia_core.nesting`, in the function that
decodes it. Every other place is listed here, with the reason."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

CHECKS = ("check_nesting", "nesting_depth")
DECODERS = ("msgspec.json.decode", "json.loads", "json.load", "json_repair.loads", "tomllib.loads", "tomllib.load")

WRITTEN_HERE = """
    gaia_core.facts: decode_fact
    gaia_core.journal.postgres._replicas: beat, replicas
    gaia_core.journal.sqlite._replicas: beat, replicas
    gaia_core.runtime.sessions._session_configuration: configured
    gaia_core.runtime.sessions._history: audience_of, recorded_request
    gaia_core.runtime._journal_signals: apply_signal
    gaia_core.runtime.sessions.export: metadata_of
    gaia_core.testing._open_toolset: _answer
    gaia_core.testing._quirky_endpoint: _tagged
    gaia_core.turn.calls._approval_grant: __str__, decode_grant
    gaia_http.door._idempotency: _begin
    gaia_http.transcript._suspended_turns: restored
    gaia_http.openai.chat._stored_completions: _metadata, _noted
    gaia_http.openai.responses.stored._conversations: _shape
    gaia_http.openai.responses.stored._request_note: decode_note, input_items, kept_of, merged
    gaia_http.openai.responses.output._response_object: response_object
"""

THE_SCHEMA_OF_A_TOOL = """
    gaia_core.catalog._lock_file: of
    gaia_core.cli.tools: _told, _of_lock
    gaia_core.models._prompted_form: _embedded, _described_arguments, _offered_schema
    gaia_core.testing._sample_arguments: sample
    gaia_core.tools._diff: _change
    gaia_core.tools._tool_index: _document
    gaia_http.mcp._server: _told
    gaia_mcp._input_schemas: __call__
"""

ARGUMENTS_THAT_WERE_VALIDATED = """
    gaia_core.cli.terminal._conversation: _call_text
    gaia_core.tools._parameters: _forgiving, _repaired, _any_object, _refuse_unless_fit
    gaia_core.turn.calls._approval_grant: _object
"""

A_PART_OF_WHAT_WAS_CHECKED = """
    gaia_core.models.endpoint._request_body: request_body
    gaia_core.models.endpoint._chunk_wire: _tolerant
    gaia_http.openai._embeddings: _items
    gaia_http.request._decoding: decode_field, _shown
    gaia_http.openai.responses._create_response: _resolved
    gaia_http.openai.responses.input._input_items: _call_result
    gaia_http.openai.responses.input._options: _custom_description
    gaia_http.openai.responses.websocket._steering: _wrong, _raw_items
"""

NO_NESTING = """
    gaia_core.models.endpoint._chunk_fast_path: _text
    gaia_http.mcp._nesting_limit: _id_in
"""
"""The decoder's type is a text, or a list of texts."""

BOUNDED_OTHERWISE = """
    gaia_core.models._call_arguments: mended
"""
"""json-repair is given what is no JSON, whose brackets are counted there."""

NO_JSON = """
    gaia_files._read: read_lines, _content_facts
"""

TABLES = (
    WRITTEN_HERE,
    THE_SCHEMA_OF_A_TOOL,
    ARGUMENTS_THAT_WERE_VALIDATED,
    A_PART_OF_WHAT_WAS_CHECKED,
    NO_NESTING,
    BOUNDED_OTHERWISE,
    NO_JSON,
)


def listed() -> set[tuple[str, str]]:
    lines = [line.split(": ") for table in TABLES for line in table.split("\n") if line.strip()]
    return {(module.strip(), function) for module, functions in lines for function in functions.split(", ")}


def unchecked(packages: Mapping[str, Path]) -> set[tuple[str, str]]:
    """The functions that decode JSON without a check, each with its module."""
    found = set()
    for package, folder in packages.items():
        for path in sorted(folder.rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            decoders = frozenset(decoders_of(tree))
            module = ".".join((package, *path.relative_to(folder).with_suffix("").parts))
            for function in functions_in(tree):
                called = {dotted(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
                decodes = any(name in DECODERS or is_decoder(name, decoders) for name in called)
                if decodes and not called & set(CHECKS):
                    found.add((module, function.name))
    return found


def functions_in(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def decoders_of(tree: ast.Module) -> Iterator[str]:
    """The decoders that a module makes, by name."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        if dotted(node.value.func) == "msgspec.json.Decoder":
            yield dotted(node.targets[0] if isinstance(node, ast.Assign) else node.target)


def is_decoder(name: str, decoders: frozenset[str]) -> bool:
    owner, _, method = name.rpartition(".")
    return method == "decode" and (owner in decoders or owner in ("decoder", "self.decoder"))


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_whatever_decodes_json_checks_it_or_is_listed(packages):
    assert unchecked(packages) == listed()


def test_a_new_place_is_seen(tmp_path):
    (tmp_path / "_new.py").write_text(
        "import msgspec\n_of_x = msgspec.json.Decoder(int)\n"
        "def a(x):\n    return msgspec.json.decode(x)\ndef b(x):\n    return _of_x.decode(x)\n"
        "def c(x):\n    check_nesting(x)\n    return _of_x.decode(x)\ndef d(x):\n    return x.decode()\n"
    )

    assert unchecked({"planted": tmp_path}) == {("planted._new", "a"), ("planted._new", "b")}
