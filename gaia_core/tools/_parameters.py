"""Parameters: from a function's signature to the one type that is described, decoded and validated (law 5).

The type is a `msgspec.Struct` made from the signature. A call's JSON is decoded in one go (under half a microsecond);
only when that fails, `_problems` looks field by field for everything that is wrong.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Annotated, Any, Union, get_origin

import attrs
import msgspec
from msgspec import Meta

from gaia_core.errors import ArgumentsError, ToolDeclarationError
from gaia_core.tools._context import Context
from gaia_core.tools._problems import problems_of, unknown_names
from gaia_core.tools._schema import children, object_schema
from gaia_core.tools._shape import Field, Object, shape_of, split_annotated, union_members

_MUTABLE = (list, dict, set, bytearray)


def doc(
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    multiple_of: float | None = None,
    pattern: str | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    examples: tuple[Any, ...] | None = None,
) -> Meta:
    """What a model is told of a parameter, and its bounds; for use in `Annotated`.

        limit: Annotated[int, doc("Lines to read", ge=1, le=10_000)] = 2_000

    Bounds on a union (`int | None`) concern the members that they fit. It is a `msgspec.Meta`, which may be used in
    its place.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt, "multiple_of": multiple_of, "pattern": pattern}
    sizes = {"min_length": min_length, "max_length": max_length}
    given: dict[str, Any] = {name: value for name, value in {**bounds, **sizes}.items() if value is not None}
    if examples is not None:
        given["examples"] = list(examples)
    return Meta(description=description, **given)


def decode_custom(kind: type[Any], value: Any) -> Any:
    """msgspec's hook for types that it doesn't know: paths, from strings without NUL."""
    if issubclass(kind, PurePath):
        if not isinstance(value, str):
            raise TypeError(f"Expected `str`, got `{type(value).__name__}`")
        if "\0" in value:
            raise ValueError("a path holds no NUL")
        return kind(value)
    raise NotImplementedError


@attrs.frozen
class Parameters:
    """What a tool takes: its JSON schema (encoded), and the decoder of a call's arguments.

    Equal schemas make equal values. Without a *decoder* (schemas that come from elsewhere, such as MCP) any JSON
    object is taken as it is: whoever gave the schema validates.
    """

    schema: bytes
    decoder: "msgspec.json.Decoder[Any] | None" = attrs.field(default=None, eq=False, repr=False)
    fields: tuple[Field, ...] = attrs.field(default=(), eq=False, repr=False)
    nested: bool = attrs.field(default=False, eq=False, repr=False)
    context: str | None = attrs.field(default=None, eq=False, repr=False)

    def decode(self, tool: str, arguments: str | bytes) -> Any:
        """The arguments as a Struct (a dict without a decoder).

        Raises ArgumentsError, which lists everything that is wrong, in words that a model can act on.
        """
        if self.decoder is None:
            return self._any_object(tool, arguments)
        try:
            decoded = self.decoder.decode(arguments or b"{}")
            if not self.nested:
                return decoded
            found = unknown_names(msgspec.json.decode(arguments or b"{}"), self.fields)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            found = self._problems(arguments, error)
        if found:
            raise ArgumentsError(tool, found)
        return decoded

    def _problems(self, arguments: str | bytes, error: Exception) -> tuple[str, ...]:
        try:
            value = msgspec.json.decode(arguments)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as malformed:
            return (f"not valid JSON: {malformed}",)
        return problems_of(value, self.fields, decode_custom) or (str(error),)

    def _any_object(self, tool: str, arguments: str | bytes) -> dict[str, Any]:
        try:
            return msgspec.json.decode(arguments or b"{}", type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError) as malformed:
            raise ArgumentsError(tool, (f"not a valid JSON object: {malformed}",)) from None


def parameters_of(function: Callable[..., Any], descriptions: Mapping[str, str]) -> Parameters:
    """The parameters of *function*; *descriptions* are the docstring's, used where `Annotated` says nothing.

    Raises ToolDeclarationError, naming the function and the parameter, for what a model can't be told.
    """
    context: str | None = None
    fields: list[Field] = []
    hints = _hints(function)
    for name, parameter in _signature(function).parameters.items():
        annotation = hints.get(name, inspect.Parameter.empty)
        if annotation is Context or get_origin(annotation) is Context:
            if context is not None:
                raise _refuse(function, name, "is a second Context; a tool takes one")
            context = name
            continue
        fields.append(_field(function, parameter, annotation, descriptions.get(name)))
    for name in descriptions:
        if name not in hints:
            raise _refuse(function, name, "is described in the docstring and is not a parameter")
    members = tuple(fields)
    decoder = _decoder(function, members)
    schema = msgspec.json.encode(object_schema(dict, members))
    nested = any(_holds_object(field.type) for field in members)
    return Parameters(schema, decoder, members, nested, context)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(function)
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise _refuse(function, name, f"is {parameter.kind.description}; a model passes arguments by name")
    return signature


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    closure = inspect.getclosurevars(target).nonlocals if isinstance(target, types.FunctionType) else {}
    try:
        return typing.get_type_hints(target, localns=dict(closure) or None, include_extras=True)
    except NameError as error:
        raise ToolDeclarationError(f"{_name(function)}: an annotation names something unknown: {error}") from None


def _field(
    function: Callable[..., Any], parameter: inspect.Parameter, annotation: Any, description: str | None
) -> Field:
    name = parameter.name
    if annotation is inspect.Parameter.empty:
        raise _refuse(function, name, "has no type; a model has to be told one")
    if isinstance(parameter.default, _MUTABLE):
        raise _refuse(function, name, f"has the mutable default {parameter.default!r}; use a tuple or None")
    try:
        annotation = _pushed_down(annotation)
    except TypeError as error:
        raise _refuse(function, name, f"can't be told to a model: {error}") from None
    if description and not any(meta.description for meta in split_annotated(annotation)[1]):
        annotation = Annotated[annotation, Meta(description=description)]
    required = parameter.default is inspect.Parameter.empty
    return Field(name, annotation, required, msgspec.NODEFAULT if required else parameter.default)


def _pushed_down(annotation: Any) -> Any:
    """Move bounds on a union to the members that they fit, because msgspec takes them only there."""
    bare, metas = split_annotated(annotation)
    members = union_members(bare)
    if not members or not metas:
        return annotation
    for meta in metas:
        bounded = tuple(_bounded(member, meta) for member in members)
        if bounded == members and any(getattr(meta, name) is not None for name in (*_NUMERIC, *_SIZED)):
            raise TypeError(f"bounds on {bare} fit none of its members")
        members = bounded
    description = next((meta.description for meta in reversed(metas) if meta.description), None)
    joined: Any = Union.__getitem__(members)  # members are known at run time only
    return Annotated[joined, Meta(description=description)] if description else joined


_NUMERIC = ("ge", "gt", "le", "lt", "multiple_of")
_SIZED = ("pattern", "min_length", "max_length")


def _bounded(member: Any, meta: Meta) -> Any:
    bare, _ = split_annotated(member)
    kind = get_origin(bare) or bare
    if kind in (int, float):
        bounds = {name: value for name in _NUMERIC if (value := getattr(meta, name)) is not None}
    elif kind is str:
        bounds = {name: value for name in _SIZED if (value := getattr(meta, name)) is not None}
    elif kind in (list, tuple, set, frozenset, dict):
        bounds = {name: value for name in _SIZED[1:] if (value := getattr(meta, name)) is not None}
    else:
        bounds = {}
    return Annotated[member, Meta(**bounds)] if bounds else member


def _decoder(function: Callable[..., Any], fields: tuple[Field, ...]) -> "msgspec.json.Decoder[Any]":
    for field in fields:
        try:
            shape_of(field.type)
            msgspec.json.Decoder(field.type, dec_hook=decode_custom, strict=False)
        except (TypeError, NameError, re.error, ValueError) as error:
            raise _refuse(function, field.name, f"can't be told to a model: {error}") from None
    members = [
        (field.name, field.type) if field.required else (field.name, field.type, field.default) for field in fields
    ]
    struct = msgspec.defstruct(
        _name(function), members, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True
    )
    return msgspec.json.Decoder(struct, dec_hook=decode_custom, strict=False)


def _holds_object(annotation: Any) -> bool:
    shape = shape_of(annotation)
    return isinstance(shape, Object) or any(_holds_object(child) for child in children(shape))


def _refuse(function: Callable[..., Any], parameter: str, why: str) -> ToolDeclarationError:
    return ToolDeclarationError(f"tool {_name(function)}: parameter '{parameter}' {why}")


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
