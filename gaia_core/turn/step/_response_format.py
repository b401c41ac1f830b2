"""The form of a final text: what a caller's `ResponseFormat` asks for, and whether a text has it.

The schema is a stranger's, and so is the text. Nothing is fetched (a `$ref` leads within the schema), patterns match
in linear time (no lookaround, no backreferences), and how much work a check would be is counted before it is done: a
schema of a few lines can ask for 2^60 steps (source: JSON Schema 2020-12, whose applicators are what `_SchemaCheck`
walks). The validator recurses on the native stack without a limit of its own, so its depth is counted too: a schema
that makes it overflow would end the process.
"""

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from gaia_core.errors import NestingError, SchemaError
from gaia_core.models import ResponseFormat
from gaia_core.nesting import MAX_NESTING, decode_json

if TYPE_CHECKING:
    import jsonschema_rs

_MAX_PATTERNS = 100
_MAX_PATTERN_BYTES = 200_000  # compiled; about as many states as one character of a text may have to be held against
_MAX_DFA_BYTES = 1_000_000
_MAX_WORK = 10_000_000  # of 35 ns
_MAX_EXPLAINED = 10_000  # of up to 15 µs: an error of `anyOf` and its like holds the errors of all their branches
_MAX_PAIRS = 100_000
_PATTERN_WORK = 500  # a character
_MAX_HOPS = 1_000  # from subschema to subschema; the validator uses up to 1 KB of stack for each
_MAX_PATHS = (
    10_000  # of 10 µs: for unevaluatedProperties and -Items the validator compiles each path through allOf etc.
)
_PROBLEMS, _PROBLEM_CHARS = 8, 300

_FENCED = re.compile(r"\A```(?:json|JSON)?[ \t]*\n(.*?)\n?[ \t]*```\Z", re.DOTALL)

_IN_PLACE = ("not", "if", "then", "else")
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_OF_MEMBERS = ("additionalProperties", "unevaluatedProperties")
_OF_ITEMS = ("items", "additionalItems", "unevaluatedItems", "contains")
_NAMED = ("$defs", "definitions", "properties", "patternProperties", "dependentSchemas")
_UNEVALUATED = frozenset(("unevaluatedProperties", "unevaluatedItems"))
_IN_PROGRESS, _UNCOUNTED = (0, 0), (0, 0, 0)
_FOREIGN = ("$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor")


class ResponseFormatCheck:
    """What the final text must be. Raises SchemaError for a schema that can't be checked."""

    __slots__ = ("_schema", "_validator")

    def __init__(self, wanted: ResponseFormat) -> None:
        self._schema: Any = {"type": "object"}
        if wanted.type == "json_schema":
            self._schema = _decoded(wanted.schema)
            _look_through(self._schema)
        self._validator = _compiled(self._schema)

    def problems(self, text: str) -> tuple[str, ...]:
        """Why *text* isn't of this form, in words for a model; empty when it is. Raises SchemaError when finding that
        out would take too long."""
        try:
            value = decode_json(text.encode())
        except UnicodeEncodeError:
            return ("it holds half of a surrogate pair",)
        except NestingError as error:
            return (f"it is {error}",)
        except (msgspec.DecodeError, ValueError) as error:
            words = str(error).removeprefix("JSON is malformed: ")
            return (f"it is not JSON ({words})",)
        visits = _SchemaCheck(self._schema).check(value)
        if self._validator.is_valid(value):
            return ()
        if visits > _MAX_EXPLAINED:
            return ("$: the value does not match the schema",)
        return tuple(_first(_words(error) for error in self._validator.iter_errors(value)))


def check_format(wanted: ResponseFormat) -> None:
    """Raise SchemaError when *wanted* asks for what no text can be checked against."""
    ResponseFormatCheck(wanted)


def unfenced(text: str) -> str:
    """*text* without white space and the Markdown fence that models like to put around JSON."""
    stripped = text.strip()
    found = _FENCED.match(stripped)
    return found[1].strip() if found else stripped


def told(wanted: ResponseFormat) -> str:
    """The system text about the response format: a grammar alone doesn't say what the members are for."""
    words = "Your final answer must be {} and nothing else: no Markdown, no words before or after it."
    if wanted.type == "json_object":
        return words.format("one JSON object")
    return f"{words.format('JSON that fits the following JSON schema')}\n\n{wanted.schema.decode()}"


def _decoded(schema: bytes) -> Any:
    try:
        value = decode_json(schema)
    except NestingError as error:
        raise SchemaError(f"the schema is {error}; put parts into $defs") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise SchemaError(f"the schema is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SchemaError(f"a JSON schema is an object, not {type(value).__name__}")
    return value


def _look_through(schema: Any) -> None:
    """Raise SchemaError for what this server does not check: too many patterns, references to other documents, long
    chains of references."""
    patterns = 0
    subschemas: list[dict[str, Any]] = []
    todo: list[tuple[Any, bool]] = [(schema, False)]
    while todo:
        value, names = todo.pop()
        if isinstance(value, list):
            todo += [(item, False) for item in value]
        if not isinstance(value, dict):
            continue
        if not names:
            patterns += _patterns_in(value)
            _check_references(value, schema)
            subschemas.append(value)
        todo += [
            (item, not names and name in _NAMED)
            for name, item in value.items()
            if names or name not in ("enum", "const", "default", "examples")
        ]
    if patterns > _MAX_PATTERNS:
        raise SchemaError(f"the schema has {patterns} patterns; at most {_MAX_PATTERNS} are checked")
    _check_chains(schema, subschemas)


def _check_chains(root: Any, subschemas: list[dict[str, Any]]) -> None:
    """Raise SchemaError if subschemas that apply to the same value form a long chain, or too many paths to be
    compiled quickly."""
    known: dict[int, tuple[int, int]] = {}  # by subschema: the longest chain that begins there, and the number of paths
    cycle = False
    todo: list[tuple[dict[str, Any], list[dict[str, Any]] | None]] = [(each, None) for each in subschemas]
    while todo:
        here, inner = todo.pop()
        if inner is None and id(here) not in known:
            known[id(here)] = _IN_PROGRESS  # a cycle ends here, as it does in the validator
            inner = [each for each in _in_place(root, here) if isinstance(each, dict)]
            cycle = cycle or any(known.get(id(each)) is _IN_PROGRESS for each in inner)
            todo.append((here, inner))
            todo += [(each, None) for each in inner if id(each) not in known]
        elif inner is not None:
            found = [known[id(each)] for each in inner]
            longest = 1 + max((length for length, _ in found), default=0)
            known[id(here)] = (longest, min(1 + sum(paths for _, paths in found), _MAX_PATHS + 1))
            if longest > MAX_NESTING:
                raise SchemaError(
                    f"the schema has a chain of more than {MAX_NESTING} subschemas for the same value ($ref, allOf, …)"
                )
    paths = [known[id(each)][1] for each in subschemas if _UNEVALUATED & each.keys()]
    if sum(paths) > _MAX_PATHS or (cycle and paths):
        raise SchemaError(
            "the schema combines unevaluatedProperties or unevaluatedItems with a cycle of references, or with too "
            "many paths through $ref, allOf, anyOf and oneOf; use additionalProperties or items instead"
        )


def _in_place(root: Any, schema: dict[str, Any]) -> Iterator[Any]:
    """The subschemas that apply to the same value as *schema* (in-place applicators: JSON Schema, core, 10.2)."""
    if isinstance(reference := schema.get("$ref"), str):
        yield _resolved(root, reference)
    for name in _IN_PLACE:
        if name in schema:
            yield schema[name]
    for name in _IN_PLACE_LISTS:
        if isinstance(listed := schema.get(name), list):
            yield from listed
    for name in ("dependentSchemas", "dependencies"):
        if isinstance(named := schema.get(name), dict):
            yield from named.values()


def _patterns_in(schema: dict[str, Any]) -> int:
    named = schema.get("patternProperties")
    return isinstance(schema.get("pattern"), str) + (len(named) if isinstance(named, dict) else 0)


def _check_references(schema: dict[str, Any], root: Any) -> None:
    for name in _FOREIGN:
        if name in schema:
            raise SchemaError(f"{name} is not supported; refer by $ref to #/$defs/…")
    if schema is not root and isinstance(schema.get("$id"), str):
        raise SchemaError(f"$id {schema['$id'][:80]!r}: only the whole schema may have one")
    reference = schema.get("$ref")
    if isinstance(reference, str) and _resolved(root, reference) is None:
        raise SchemaError(f"$ref {reference[:80]!r} leads nowhere in this schema; nothing is fetched")


def _resolved(root: Any, reference: str) -> Any:
    """The subschema that a JSON pointer of a `$ref` names, or None (source: RFC 6901)."""
    from urllib.parse import unquote  # noqa: PLC0415

    if not reference.startswith("#"):
        return None
    value = root
    for token in unquote(reference[1:]).split("/")[1:] if len(reference) > 1 else ():
        token = token.replace("~1", "/").replace("~0", "~")  # noqa: PLW2901
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token.isascii() and token.isdecimal() and int(token) < len(value):
            value = value[int(token)]
        else:
            return None
    return value if isinstance(value, dict | bool) and (reference == "#" or reference[1] == "/") else None


def _compiled(schema: Any) -> "jsonschema_rs.Validator":
    import jsonschema_rs  # noqa: PLC0415  # 40 ms, and most turns ask for no form

    patterns = jsonschema_rs.RegexOptions(size_limit=_MAX_PATTERN_BYTES, dfa_size_limit=_MAX_DFA_BYTES)
    try:
        return jsonschema_rs.validator_for(
            schema, offline=True, validate_formats=True, ignore_unknown_formats=True, pattern_options=patterns
        )
    except jsonschema_rs.ValidationError as error:
        place = "/".join(map(str, error.instance_path))
        hint = " (no lookaround or backreferences, and not too large)" if '"regex"' in error.message else ""
        raise SchemaError(f"{_cut(error.message)}{hint}{f', at {place[:200]}' if place else ''}") from None
    except (ValueError, OverflowError) as error:
        raise SchemaError(f"the schema can't be used: {_cut(str(error))}") from None


def _words(error: "jsonschema_rs.ValidationError") -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    return f"{_cut('$' + place)}: {_cut(error.message)}"


def _first(words: Iterator[str]) -> Iterator[str]:
    for count, word in enumerate(words):
        if count == _PROBLEMS:
            yield "and more"
            return
        yield word


def _cut(text: str) -> str:
    return text if len(text) <= _PROBLEM_CHARS else f"{text[:_PROBLEM_CHARS]}…"


class _SchemaCheck:
    """Counts, as an upper bound, how many subschemas are applied to how many values, and how deep the validator
    recurses. Each pair is visited once."""

    __slots__ = ("_counted", "_root")

    def __init__(self, root: Any) -> None:
        self._root = root
        self._counted: dict[tuple[int, int], tuple[int, int, int]] = {}

    def check(self, value: Any) -> int:
        """How many pairs of subschema and value are visited for *value*. Raises SchemaError if validating it would take
        too long, or too much of the native stack."""
        counted, inside, met = self._counted, 0, 1
        todo: list[tuple[dict[str, Any], Any, _Below | None]] = [(self._root, value, None)]
        while todo:
            schema, here, below = todo.pop()
            key = (id(schema), id(here))
            if below is None and key not in counted:
                below = self._below(schema, here)
                counted[key] = _UNCOUNTED  # a cycle for the same value ends here, as it does in the validator
                inside += 1
                met += len(below.pairs)  # before they are visited: a long list is refused at its first item
                if met > _MAX_PAIRS or inside > _MAX_HOPS:
                    raise self._too_much()
                todo.append((schema, here, below))
                todo += [(inner, item, None) for inner, item in below.pairs if (id(inner), id(item)) not in counted]
            elif below is not None:
                found = [counted[id(inner), id(item)] for inner, item in below.pairs]
                # With unevaluated…, which branches fit is found out a second time.
                work = (below.work + sum(each for each, _, _ in found)) * (2 if _UNEVALUATED & schema.keys() else 1)
                hops = 1 + max((each for _, each, _ in found), default=0)
                visits = 1 + sum(each for _, _, each in found)
                if work > _MAX_WORK or hops > _MAX_HOPS:
                    raise self._too_much()
                counted[key] = (work, hops, visits)
                inside -= 1
        return counted[id(self._root), id(value)][2]

    def _too_much(self) -> SchemaError:
        return SchemaError("to check the answer against the schema would take too long; make the schema simpler")

    def _below(self, schema: dict[str, Any], value: Any) -> "_Below":
        """The cost of applying *schema* itself to *value*, and the pairs that are applied for it."""
        inner = list(_in_place(self._root, schema))
        work = 1
        if isinstance(value, str):
            work += (1 + len(value)) * _PATTERN_WORK if "pattern" in schema else 0
        elif isinstance(value, dict):
            work += 2 * len(value)
            if isinstance(named := schema.get("patternProperties"), dict):
                work += len(named) * (sum(map(len, value)) + len(value)) * _PATTERN_WORK
        elif isinstance(value, list):
            work += 2 * len(value)
        pairs = chain(((each, value) for each in inner), self._pairs(schema, value))
        subschemas = ((each, item) for each, item in pairs if isinstance(each, dict))
        return _Below(work + len(inner), list(islice(subschemas, _MAX_PAIRS + 1)))

    def _pairs(self, schema: dict[str, Any], value: Any) -> Iterator[tuple[Any, Any]]:
        """The subschemas that apply to children of *value*, each with its child."""
        if isinstance(value, dict):
            if isinstance(named := schema.get("properties"), dict):
                yield from ((named[name], item) for name, item in value.items() if name in named)
            if isinstance(named := schema.get("patternProperties"), dict):
                yield from ((inner, item) for inner in named.values() for item in value.values())
            for keyword in _OF_MEMBERS:
                if isinstance(inner := schema.get(keyword), dict):
                    yield from ((inner, item) for item in value.values())
            if "propertyNames" in schema:
                yield from ((schema["propertyNames"], name) for name in value)
        elif isinstance(value, list):
            for keyword in ("prefixItems", "items"):
                if isinstance(listed := schema.get(keyword), list):
                    yield from zip(listed, value, strict=False)
            for keyword in _OF_ITEMS:
                if isinstance(inner := schema.get(keyword), dict):
                    yield from ((inner, item) for item in value)


@attrs.frozen
class _Below:
    """The *work* of a pair itself, and the *pairs* of subschema and value below it."""

    work: int
    pairs: list[tuple[dict[str, Any], Any]]
