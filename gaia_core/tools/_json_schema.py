"""Types to JSON schema: the parameters of a tool, as models are sent them.

Flat where it can be: `$ref`s only for recursive types (local models follow flat schemas better); enums keep the
order in which they were declared; parameters come in the order of the signature.
"""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import attrs
import msgspec
from msgspec import Meta

from gaia_core.tools._type_shape import (
    Array,
    Field,
    Map,
    Object,
    Row,
    Scalar,
    Shape,
    Union_,
    Values,
    shape_of,
    split_annotated,
)

JSON = dict[str, Any]

# From a Meta's attribute to the schema keyword, by the JSON type it belongs to.
_BOUNDS = (("ge", "minimum"), ("le", "maximum"), ("gt", "exclusiveMinimum"), ("lt", "exclusiveMaximum"))
_LENGTHS = (
    ("string", "minLength", "maxLength"),
    ("array", "minItems", "maxItems"),
    ("object", "minProperties", "maxProperties"),
)


def object_schema(owner: type, fields: tuple[Field, ...]) -> JSON:
    """The schema of an object that takes *fields* and no others; `$defs` holds recursive types only."""
    writer = _Writer(recursive_types(tuple(field.type for field in fields)))
    schema = writer.object(Object(owner, fields))
    if writer.definitions:
        schema["$defs"] = dict(sorted(writer.definitions.items()))
    return schema


def encode_custom(value: Any) -> Any:
    """msgspec's hook for the values that it doesn't know: paths, as strings."""
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def json_form(default: Any) -> Any:
    """*default* as JSON's own types, equal in every process. Raises TypeError or NotImplementedError."""
    return msgspec.to_builtins(default, enc_hook=encode_custom, str_keys=True, order="deterministic")


def shapes_below(annotations: tuple[Any, ...]) -> Iterator[Shape]:
    """Every shape of *annotations* and below them; a class once."""
    seen: set[type] = set()
    waiting = list(annotations)
    while waiting:
        shape = shape_of(waiting.pop())
        owner = _owner(shape)
        if owner in seen:
            continue
        if owner is not None:
            seen.add(owner)
        yield shape
        waiting.extend(children(shape))


def recursive_types(annotations: tuple[Any, ...]) -> frozenset[type]:
    """The classes below *annotations* that contain themselves."""
    found: set[type] = set()

    def visit(annotation: Any, ancestors: tuple[type, ...]) -> None:
        shape = shape_of(annotation)
        owner = _owner(shape)
        if owner is not None:
            if owner in ancestors:
                found.add(owner)
                return
            ancestors += (owner,)
        for child in children(shape):
            visit(child, ancestors)

    for annotation in annotations:
        visit(annotation, ())
    return frozenset(found)


def children(shape: Shape) -> tuple[Any, ...]:
    """The annotations directly below *shape*."""
    match shape:
        case Object(fields=fields):
            return tuple(field.type for field in fields)
        case Array(item=item):
            return (item,)
        case Row(items=items):
            return items
        case Map(value=value):
            return (value,)
        case Union_(members):
            return members
        case _:
            return ()


def _owner(shape: Shape) -> type | None:
    return shape.owner if isinstance(shape, Object | Row) else None


@attrs.define
class _Writer:
    """Writes one schema; collects the definitions of recursive types on the way."""

    recursive: frozenset[type]
    definitions: dict[str, JSON] = attrs.field(factory=dict)
    names: dict[type, str] = attrs.field(factory=dict)

    def schema(self, annotation: Any) -> JSON:
        shape = shape_of(annotation)
        owner = _owner(shape)
        bare = self._ref(owner, shape) if owner is not None and owner in self.recursive else self._bare(shape)
        _, metas = split_annotated(annotation)
        for meta in metas:
            _apply(meta, bare)
        return bare

    def object(self, shape: Object) -> JSON:
        schema: JSON = {"type": "object", "properties": {}}
        for field in shape.fields:
            schema["properties"][field.name] = member = self.schema(field.type)
            if field.default is not msgspec.NODEFAULT and field.default is not None:
                member["default"] = json_form(field.default)
        if required := [field.name for field in shape.fields if field.required]:
            schema["required"] = required
        schema["additionalProperties"] = False
        return schema

    def _bare(self, shape: Shape) -> JSON:
        match shape:
            case Object():
                return self.object(shape)
            case Array(item=item, unique=unique):
                array: JSON = {"type": "array", "items": self.schema(item)}
                return array | {"uniqueItems": True} if unique else array
            case Row(items=items, optional=optional):
                return self._row(items, optional)
            case Map(value=value, key=key):
                return {"type": "object", **self._names_of(key), "additionalProperties": self.schema(value)}
            case Union_(members):
                return {"anyOf": [self.schema(member) for member in members]}
            case Values(values):
                return _enum(values)
            case Scalar(pairs):
                return dict(pairs)

    def _row(self, items: tuple[Any, ...], optional: int) -> JSON:
        schemas = [self.schema(item) for item in items]
        bounds: JSON = {"minItems": len(items) - optional, "maxItems": len(items)}
        if schemas and all(schema == schemas[0] for schema in schemas):
            return {"type": "array", "items": schemas[0], **bounds}
        return {"type": "array", "prefixItems": schemas, **bounds} if schemas else {"type": "array", **bounds}

    def _names_of(self, key: Any) -> JSON:
        """What the names of a map must be, when not every text will do."""
        schema = self.schema(key)
        if schema.get("type") != "integer":
            return {} if schema in ({}, {"type": "string"}) else {"propertyNames": schema}
        if "enum" in schema:
            return {"propertyNames": {"type": "string", "enum": [str(value) for value in schema["enum"]]}}
        return {"propertyNames": {"type": "string", "pattern": "^-?[0-9]+$"}}

    def _ref(self, owner: type, shape: Shape) -> JSON:
        if owner not in self.names:
            same = sum(other.__name__ == owner.__name__ for other in self.names)
            self.names[owner] = name = f"{owner.__name__}_{same + 1}" if same else owner.__name__
            self.definitions[name] = self._bare(shape)
        return {"$ref": f"#/$defs/{self.names[owner]}"}


def _enum(values: tuple[str | int | None, ...]) -> JSON:
    kinds = {type(value) for value in values}
    if kinds == {str}:
        return {"type": "string", "enum": list(values)}
    if kinds == {int}:
        return {"type": "integer", "enum": list(values)}
    return {"enum": list(values)}


def _apply(meta: Meta, schema: JSON) -> None:
    """Write what *meta* says into *schema*; bounds go to the members of a union that they concern."""
    if meta.description is not None:
        schema["description"] = meta.description
    if meta.title is not None:
        schema["title"] = meta.title
    if meta.examples is not None:
        schema["examples"] = list(meta.examples)
    if meta.extra_json_schema is not None:
        schema.update(meta.extra_json_schema)
    _constrain(meta, schema)


def _constrain(meta: Meta, schema: JSON) -> None:
    for member in schema.get("anyOf", ()):
        _constrain(meta, member)
    kind = schema.get("type")
    if kind in ("integer", "number"):
        for attribute, keyword in _BOUNDS:
            if (value := getattr(meta, attribute)) is not None:
                schema[keyword] = value
        if meta.multiple_of is not None:
            schema["multipleOf"] = meta.multiple_of
    if kind == "string" and meta.pattern is not None:
        schema["pattern"] = meta.pattern
    for of, least, most in _LENGTHS:
        if kind == of:
            if meta.min_length is not None:
                schema[least] = meta.min_length
            if meta.max_length is not None:
                schema[most] = meta.max_length
