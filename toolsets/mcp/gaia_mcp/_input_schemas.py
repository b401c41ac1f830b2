"""Schemas as a server gives them: unchanged to the model; checked here so that a bad one harms only its own tool.

Arguments are validated before anybody is asked to approve a call (law 6). What a stranger's schema may cost is bounded:
its size and depth; `pattern` is left to the server, because a regular expression may run for ever; and a `$ref` is
followed inside the schema only.
"""

from typing import Any

import attrs
import jsonschema_rs
import msgspec
from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from referencing import Registry

from gaia_core import NestingError
from gaia_core.nesting import encode_json

_MOST_PROBLEMS = 10
_WORDS = 300
_LEFT_TO_THE_SERVER = ("pattern", "patternProperties", "format", "uniqueItems")


class BadSchemaError(Exception):
    """A schema that can't be given to a model, and why."""


def encoded(schema: dict[str, Any], most: int) -> bytes:
    """*schema* as JSON, its keys in the order of the server. Raises BadSchemaError."""
    try:
        data = encode_json(schema)
    except NestingError as error:
        raise BadSchemaError(f"its schema is {error}") from None
    if len(data) > most:
        raise BadSchemaError(f"its schema has {len(data)} bytes; at most {most} are taken")
    if schema.get("type") != "object":
        raise BadSchemaError(f"its schema must be of the type 'object', not {str(schema.get('type'))[:40]!r}")
    try:
        # As 2020-12, whatever `$schema` says. Not by `jsonschema`, which uses eight of Python's 1,000 frames per level.
        jsonschema_rs.meta.validate({name: value for name, value in schema.items() if name != "$schema"})
    except jsonschema_rs.ValidationError as error:
        place = "/".join(str(part) for part in error.instance_path) or "its root"
        raise BadSchemaError(f"its schema is no JSON schema: {error.message[:_WORDS]} (at {place})") from None
    return data


def _pass(*_given: object) -> None:
    return None


_Validator = extend(Draft202012Validator, dict.fromkeys(_LEFT_TO_THE_SERVER, _pass))


@attrs.frozen
class SchemaValidator:
    """What says everything that is wrong with arguments for *schema*. A value: the validator, which can be changed, is
    made for each call, in some 20 µs."""

    schema: bytes

    def __call__(self, arguments: dict[str, Any]) -> tuple[str, ...]:
        validator = _Validator(msgspec.json.decode(self.schema), registry=Registry())
        problems: list[str] = []
        try:
            for error in validator.iter_errors(arguments):
                place = ".".join(str(part) for part in error.absolute_path) or "arguments"
                problems.append(f"{place}: {error.message[:_WORDS]}")
                if len(problems) == _MOST_PROBLEMS:
                    break
        except Exception:  # noqa: BLE001  # a reference that leads nowhere, a schema that nests without end
            return ()  # the server will say
        return tuple(problems)
