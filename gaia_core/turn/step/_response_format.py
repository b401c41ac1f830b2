"""The form of a final text: what a caller's `ResponseFormat` asks for, and whether a text has it.

The schema is a stranger's, and so is the text. Nothing is fetched (a `$ref` leads within the schema), patterns match
in linear time (no lookaround, no backreferences), and how much work a check would be is counted before it is done: a
schema of a few lines can ask for 2^60 steps (source: JSON Schema 2020-12, whose
applicators are what `_SchemaCheck` walks).
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from gaia_core.errors import SchemaError
from gaia_core.models import ResponseFormat

if TYPE_CHECKING:
    import jsonschema_rs

MAX_SCHEMA_DEPTH = 64
_MAX_PATTERNS = 100
_MAX_PATTERN_BYTES = 200_000  # compiled; about as many states as one character of a text may have to be held against
_MAX_DFA_BYTES = 1_000_000
_MAX_WORK = 10_000_000  # of 35 ns
_MAX_PAIRS = 100_000
_PATTERN_WORK = 500  # a character
_PROBLEMS, _PROBLEM_CHARS = 8, 300

_FENCED = re.compile(r"\A```(?:json|JSON)?[ \t]*\n(.*?)\n?[ \t]*```\Z", re.DOTALL)

_IN_PLACE = ("not", "if", "then", "else")
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_OF_MEMBERS = ("additionalProperties", "unevaluatedProperties")
_OF_ITEMS = ("items", "additionalItems", "unevaluatedItems", "contains")
_NAMED = ("$defs", "definitions", "properties", "patternProperties", "dependentSchemas")
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
            value = msgspec.json.decode(text.encode())
        except UnicodeEncodeError:
            return ("it holds half of a surrogate pair",)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            words = str(error).removeprefix("JSON is malformed: ")
            return (f"it is not JSON ({words})",)
        try:
            _SchemaCheck(self._schema).count(value)
            return tuple(_first(_words(error) for error in self._validator.iter_errors(value)))
        except SchemaError:
            raise
        except (ValueError, RecursionError):  # the validator's own bound of depth
            return ("it is nested too deeply",)


def check_format(wanted: ResponseFormat) -> None:
    """Raise SchemaError when *wanted* asks for what no text can be checked against."""
    ResponseFormatCheck(wanted)


def unfenced(text: str) -> str:
    """*text* without white space and the Markdown fence that models like to put around JSON."""
    stripped = text.strip()
    found = _FENCED.match(stripped)
    return found[1].strip() if found else stripped


def told(wanted: ResponseFormat) -> str:
    """What a model is told of the form: a grammar alone doesn't say what the members are for."""
    words = "Your final answer must be {} and nothing else: no Markdown, no words before or after it."
    if wanted.type == "json_object":
        return words.format("one JSON object")
    return f"{words.format('JSON that fits the following JSON schema')}\n\n{wanted.schema.decode()}"


def correction(problems: tuple[str, ...]) -> str:
    """What a model is told when its answer has not the form."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    return f"Your answer does not have the form that was asked for:\n{listed}\nAnswer again, with the JSON only."


def _decoded(schema: bytes) -> Any:
    try:
        value = msgspec.json.decode(schema)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SchemaError(f"the schema is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SchemaError(f"a JSON schema is an object, not {type(value).__name__}")
    return value


def _look_through(schema: Any) -> None:
    """Raise SchemaError for what this server does not check: too deep, too many patterns, references elsewhere."""
    patterns = 0
    todo: list[tuple[Any, int, bool]] = [(schema, 0, False)]
    while todo:
        value, depth, names = todo.pop()
        if depth > MAX_SCHEMA_DEPTH:
            raise SchemaError(f"the schema is nested deeper than {MAX_SCHEMA_DEPTH} levels; put parts into $defs")
        if isinstance(value, list):
            todo += [(item, depth + 1, False) for item in value]
        if not isinstance(value, dict):
            continue
        if not names:
            patterns += _patterns_in(value)
            _check_references(value, schema, depth)
        todo += [
            (item, depth + 1, not names and name in _NAMED)
            for name, item in value.items()
            if names or name not in ("enum", "const", "default", "examples")
        ]
    if patterns > _MAX_PATTERNS:
        raise SchemaError(f"the schema has {patterns} patterns; at most {_MAX_PATTERNS} are checked")


def _patterns_in(schema: dict[str, Any]) -> int:
    named = schema.get("patternProperties")
    return isinstance(schema.get("pattern"), str) + (len(named) if isinstance(named, dict) else 0)


def _check_references(schema: dict[str, Any], root: Any, depth: int) -> None:
    for name in _FOREIGN:
        if name in schema:
            raise SchemaError(f"{name} is not supported; refer by $ref to #/$defs/…")
    if depth and isinstance(schema.get("$id"), str):
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
    except (ValueError, RecursionError, OverflowError) as error:
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
    """Counts, at most, how many subschemas are held against how many values. Each pair is looked at once."""

    __slots__ = ("_counted", "_root")

    def __init__(self, root: Any) -> None:
        self._root = root
        self._counted: dict[tuple[int, int], int] = {}

    def count(self, value: Any) -> int:
        """The work of holding *value* against the schema. Raises SchemaError when that is too much."""
        work = self._of(self._root, value)
        if work > _MAX_WORK:
            raise self._too_much()
        return work

    def _too_much(self) -> SchemaError:
        return SchemaError("to check the answer against the schema would take too long; make the schema simpler")

    def _of(self, schema: Any, value: Any) -> int:
        if not isinstance(schema, dict):
            return 1
        key = (id(schema), id(value))
        known = self._counted.get(key)
        if known is not None:
            return known
        if len(self._counted) >= _MAX_PAIRS:
            raise self._too_much()
        self._counted[key] = 0  # a circle without a step into the value ends here, as it does for the validator
        work = 1 + sum(self._of(inner, value) for inner in self._in_place(schema))
        if isinstance(value, str):
            work += (1 + len(value)) * _PATTERN_WORK if "pattern" in schema else 0
        elif isinstance(value, dict):
            work += self._of_members(schema, value)
        elif isinstance(value, list):
            work += self._of_items(schema, value)
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            work *= 2  # which branches fit is found out a second time
        self._counted[key] = work = min(work, _MAX_WORK + 1)
        return work

    def _in_place(self, schema: dict[str, Any]) -> Iterator[Any]:
        if isinstance(reference := schema.get("$ref"), str):
            yield _resolved(self._root, reference)
        for name in _IN_PLACE:
            if name in schema:
                yield schema[name]
        for name in _IN_PLACE_LISTS:
            if isinstance(listed := schema.get(name), list):
                yield from listed
        for name in ("dependentSchemas", "dependencies"):
            if isinstance(named := schema.get(name), dict):
                yield from named.values()

    def _of_members(self, schema: dict[str, Any], value: dict[str, Any]) -> int:
        work = len(value)
        if isinstance(named := schema.get("properties"), dict):
            work += sum(self._of(named[name], item) for name, item in value.items() if name in named)
        if isinstance(named := schema.get("patternProperties"), dict):
            chars = sum(map(len, value)) + len(value)
            work += len(named) * chars * _PATTERN_WORK
            work += sum(self._of(inner, item) for inner in named.values() for item in value.values())
        for keyword in _OF_MEMBERS:
            if keyword in schema:
                work += sum(self._of(schema[keyword], item) for item in value.values())
        if "propertyNames" in schema:
            work += sum(self._of(schema["propertyNames"], name) for name in value)
        return work

    def _of_items(self, schema: dict[str, Any], value: list[Any]) -> int:
        work = len(value)
        for keyword in ("prefixItems", "items"):
            if isinstance(listed := schema.get(keyword), list):
                work += sum(self._of(inner, item) for inner, item in zip(listed, value, strict=False))
        for keyword in _OF_ITEMS:
            if keyword in schema and not isinstance(schema[keyword], list):
                work += sum(self._of(schema[keyword], item) for item in value)
        return work
