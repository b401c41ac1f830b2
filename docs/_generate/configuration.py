"""Every key of gaia.toml: type and default from the code, meaning and example from `docs/reference/gaia.toml`."""

import inspect
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec

from gaia_core import ApprovalPolicy, ContextPolicy, Limits
from gaia_core.catalog._config_tables import AgentTable, Composition, Document, ModelTable
from gaia_files import files
from gaia_mcp import mcp

EXAMPLE = Path(__file__).parents[1] / "reference" / "gaia.toml"

_LINE = re.compile(r"(\w+) = (.+?)(?:  # (.+))?\Z")
_HEADER = re.compile(r"\[+([\w.]+)\]+\Z")
_OPEN = types.MappingProxyType({"models": ModelTable, "agents": AgentTable})
_POLICIES = types.MappingProxyType({"limits": Limits, "approvals": ApprovalPolicy, "context": ContextPolicy})
_TOOLS = "agents.NAME.tools"


@attrs.frozen
class Key:
    """One key of a table, as the code has it."""

    table: str
    name: str
    type: str
    default: str


@attrs.frozen
class Line:
    """One key of the example file: its value, and what it means."""

    value: str
    meaning: str


def keys() -> Iterator[Key]:
    """Every key that a gaia.toml may have, the parameters of this repository's toolsets included."""
    yield from _keys_of(Document, "")
    yield from _keys_of(Composition, _TOOLS)
    for name, factory in (("files", files), ("mcp", mcp)):
        hints = get_type_hints(factory)
        for parameter in inspect.signature(factory).parameters.values():
            yield Key(f"{_TOOLS}:{name}", parameter.name, words_of(hints[parameter.name]), _shown(parameter.default))


def _keys_of(struct: type[msgspec.Struct], table: str) -> Iterator[Key]:
    inner = []
    for field in msgspec.structs.fields(struct):
        place = f"{table}.{field.encode_name}" if table else field.encode_name
        if field.encode_name in _OPEN and not table:
            inner.append((_OPEN[field.encode_name], f"{place}.NAME"))
            continue
        tables = [kind for kind in (field.type, *get_args(field.type)) if _is_struct(kind)]
        inner += [(kind, place) for kind in tables]
        if not tables or place == "agents.NAME.tool_search":
            yield Key(table, field.encode_name, words_of(field.type), _default(field, table))
    for kind, place in inner:
        yield from _keys_of(kind, place)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _default(field: msgspec.structs.FieldInfo, table: str) -> str:
    policy = _POLICIES.get(table.rpartition(".")[2])
    if field.default is None and policy is not None:
        return _shown(attrs.fields_dict(policy)[field.name].default)
    if field.default_factory is not msgspec.NODEFAULT:
        return _shown(field.default_factory())
    return _shown(inspect.Parameter.empty if field.default is msgspec.NODEFAULT else field.default)


def _shown(default: Any) -> str:
    if default is inspect.Parameter.empty:
        return "required"
    if default is None:
        return "–"
    if isinstance(default, Path):
        default = str(default)
    if isinstance(default, str):
        return f'`"{default}"`'
    if isinstance(default, tuple | frozenset):
        default = list(default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def words_of(hint: Any) -> str:
    """The type *hint* in the words of TOML."""
    plain = {str: "text", int: "integer", float: "number", bool: "boolean", Path: "path", Any: "any"}
    if hint in plain:
        return plain[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        metas = (meta for meta in arguments[1:] if isinstance(meta, msgspec.Meta))
        bounds = [f" {sign} {value}" for meta in metas for sign, value in _bounds(meta) if value is not None]
        return words_of(arguments[0]) + ",".join(bounds)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(words_of(each) for each in arguments if each is not type(None))
    if origin in (list, tuple, frozenset):
        return f"list of {words_of(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "table" if arguments[1] is Any else f"table of {words_of(arguments[1])}"
    if _is_struct(hint):
        return "table"
    return str(getattr(hint, "__name__", hint))


def _bounds(meta: msgspec.Meta) -> tuple[tuple[str, Any], ...]:
    return (("≥", meta.ge), (">", meta.gt), ("≤", meta.le), ("<", meta.lt))


def example_lines(text: str) -> dict[tuple[str, str], Line]:
    """The keys of a commented gaia.toml, by table and name. Only lines with a comment count."""
    found: dict[tuple[str, str], Line] = {}
    table, used = "", ""
    ours = {field.encode_name for field in msgspec.structs.fields(Composition)}
    for line in text.splitlines():
        if header := _HEADER.match(line):
            table = re.sub(r"^(models|agents)\.\w+", r"\1.NAME", header[1])
        elif key := _LINE.match(line):
            name, value, meaning = key.groups()
            used = value.strip('"') if name == "use" else used
            place = f"{_TOOLS}:{used}" if table == _TOOLS and name not in ours else table
            if meaning:
                found[place, name] = Line(value, meaning)
    return found


_TITLES = types.MappingProxyType(
    {
        "": "At the top",
        "models.NAME": "`[models.NAME]`",
        "agents.NAME": "`[agents.NAME]`",
        _TOOLS: "Entries of `tools`: keys of every toolset",
        f"{_TOOLS}:files": 'Entries of `tools` with `use = "files"`',
        f"{_TOOLS}:mcp": 'Entries of `tools` with `use = "mcp"`',
    }
)


def page() -> str:
    """A table for each table of the file."""
    lines = example_lines(EXAMPLE.read_text(encoding="utf-8"))
    text: list[str] = []
    table = None
    for key in keys():
        if key.table != table:
            table = key.table
            title = _TITLES.get(table, f"`[{table}]`")
            text += ["", f"## {title}", "", "| key | type | default | example | meaning |", "|---|---|---|---|---|"]
        line = lines[key.table, key.name]
        cells = (f"`{key.name}`", key.type, key.default, f"`{key.name} = {line.value}`", line.meaning)
        text.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(text)
