"""Schemas as a server gives them: unchanged to the model; checked here so that a bad one harms only its own tool.

Arguments are validated before anybody is asked to approve a call (law 6), by the validator of response formats
(`ResponseFormatCheck`), which bounds what a stranger's schema may cost: a schema that it can't check, or not in time,
is left to the server. A `$ref` is followed inside the schema only.
"""

from typing import Any

import attrs
import jsonschema_rs
import msgspec

from gaia_core import NestingError
from gaia_core.errors import SchemaError
from gaia_core.models import ResponseFormat
from gaia_core.nesting import encode_json
from gaia_core.turn import ResponseFormatCheck

_WORDS = 300


class BadSchemaError(Exception):
    """A schema that can't be given to a model, and why."""


def usable(given: object) -> dict[str, Any]:
    """A listed schema as an object's: left out, null and empty mean any object. Raises BadSchemaError."""
    if given is None or given == {}:
        return {"type": "object", "properties": {}}
    if not isinstance(given, dict):
        raise BadSchemaError(f"its schema must be an object, not {type(given).__name__}")
    kind = given.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise BadSchemaError(f"its schema must be of the type 'object', not {str(kind)[:40]!r}")
    if not isinstance(given.get("properties", {}), dict) or not isinstance(given.get("required", []), list):
        raise BadSchemaError("its schema is no JSON schema: properties must be an object, and required an array")
    return given if given.get("type") == "object" else {**given, "type": "object"}


def encoded(schema: dict[str, Any], most: int) -> bytes:
    """*schema* as JSON, its keys in the order of the server. Raises BadSchemaError."""
    schema = usable(schema)
    try:
        data = encode_json(schema)
    except NestingError as error:
        raise BadSchemaError(f"its schema is {error}") from None
    if len(data) > most:
        raise BadSchemaError(f"its schema has {len(data)} bytes; at most {most} are taken")
    try:
        # As 2020-12, whatever `$schema` says.
        jsonschema_rs.meta.validate({name: value for name, value in schema.items() if name != "$schema"})
    except jsonschema_rs.ValidationError as error:
        place = "/".join(str(part) for part in error.instance_path) or "its root"
        raise BadSchemaError(f"its schema is no JSON schema: {error.message[:_WORDS]} (at {place})") from None
    return data


@attrs.frozen
class SchemaValidator:
    """What says everything that is wrong with arguments for *schema*. A value: the validator is made for each call."""

    schema: bytes

    def __call__(self, arguments: dict[str, Any]) -> tuple[str, ...]:
        # As 2020-12, whatever `$schema` says.
        schema = {name: value for name, value in msgspec.json.decode(self.schema).items() if name != "$schema"}
        try:
            check = ResponseFormatCheck(ResponseFormat("json_schema", msgspec.json.encode(schema)))
            problems = check.problems(encode_json(arguments).decode())
        except (SchemaError, NestingError):
            return ()  # the server will say
        return tuple(_placed(problem) for problem in problems)


def _placed(problem: str) -> str:
    """`$.a[0]: words` → `a[0]: words`; `arguments` stands for the whole."""
    place, colon, words = problem.partition(": ")
    return f"{place.removeprefix('$').removeprefix('.') or 'arguments'}{colon}{words[:_WORDS]}" if colon else problem
