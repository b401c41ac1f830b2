"""Types to JSON schema: what a model is told of a tool's parameters.

Flat where it can be: `$ref`s only for recursive types (local models follow flat schemas better); enums keep the
order in which they were declared; parameters come in the order of the signature.
"""

from typing import Any

import attrs
import msgspec
from msgspec import Meta

from gaia_core.tools._shape import (
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


def recursive_types(annotations: tuple[Any, ...]) -> frozenset[type]:
    """The classes below *annotations* that contain themselves."""
    found: set[type] = set()

    def visit(annotation: Any, ancestors: tuple[type, ...]) -> None:
        shape = shape_of(annotation)
        if isinstance(shape, Object):
            if shape.owner in ancestors:
                found.add(shape.owner)
                return
            ancestors += (shape.owner,)
        for child in children(shape):
            visit(child, ancestors)

    for annotation in annotations:
        visit(annotation, ())
    return frozenset(found)


def children(shape: Shape) -> tuple[Any, ...]:
    """The annotations directly below *shape*."""
    match shape:
        case Object(_, fields):
            return tuple(field.type for field in fields)
        case Array(item, _):
            return (item,)
        case Row(items, _):
            return items
        case Map(value):
            return (value,)
        case Union_(members):
            return members
        case _:
            return ()


@attrs.define
class _Writer:
    """Writes one schema; collects the definitions of recursive types on the way."""

    recursive: frozenset[type]
    definitions: dict[str, JSON] = attrs.field(factory=dict)

    def schema(self, annotation: Any) -> JSON:
        shape = shape_of(annotation)
        bare = self._ref(shape) if isinstance(shape, Object) and shape.owner in self.recursive else self._bare(shape)
        _, metas = split_annotated(annotation)
        for meta in metas:
            _apply(meta, bare)
        return bare

    def object(self, shape: Object) -> JSON:
        schema: JSON = {"type": "object", "properties": {}}
        for field in shape.fields:
            schema["properties"][field.name] = member = self.schema(field.type)
            if field.default is not msgspec.NODEFAULT and field.default is not None:
                member["default"] = msgspec.to_builtins(field.default, enc_hook=str)
        if required := [field.name for field in shape.fields if field.required]:
            schema["required"] = required
        schema["additionalProperties"] = False
        return schema

    def _bare(self, shape: Shape) -> JSON:
        match shape:
            case Object():
                return self.object(shape)
            case Array(item, unique):
                array: JSON = {"type": "array", "items": self.schema(item)}
                return array | {"uniqueItems": True} if unique else array
            case Row(items, optional):
                return self._row(items, optional)
            case Map(value):
                return {"type": "object", "additionalProperties": self.schema(value)}
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
        return {"type": "array", "prefixItems": schemas, **bounds}

    def _ref(self, shape: Object) -> JSON:
        name = shape.owner.__name__
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.object(shape)
        return {"$ref": f"#/$defs/{name}"}


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
