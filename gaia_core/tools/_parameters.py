"""Parameters: from a function's signature to the one type that is described, decoded and validated (law 5).

The type is a `msgspec.Struct` made from the signature. A call's JSON is decoded in one go (under half a microsecond);
only when that fails, `_argument_errors` looks field by field for everything that is wrong.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Annotated, Any, Union, get_args, get_origin

import attrs
import msgspec
from msgspec import Meta

from gaia_core.errors import ArgumentsError, NestingError, ToolDeclarationError
from gaia_core.frozen_types import made_once, typed_as
from gaia_core.nesting import check_nesting
from gaia_core.tools._argument_errors import passed_unseen, problems_of
from gaia_core.tools._argument_repair import repaired
from gaia_core.tools._context import Context
from gaia_core.tools._json_schema import json_form, object_schema, shapes_below
from gaia_core.tools._signature import annotations_of, signature_of
from gaia_core.tools._type_shape import Field, Object, Row, Scalar, annotation_text, split_annotated, union_members

UNTOLD = (TypeError, ValueError, NameError, AttributeError, SyntaxError, NotImplementedError, RecursionError)
"""What looking at a type that has no JSON form may raise."""


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
    """A parameter's description for models, and its bounds; for use in `Annotated`.

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


@attrs.frozen(field_transformer=typed_as(ToolDeclarationError))
class Parameters:
    """What a tool takes: its JSON schema (encoded), and the decoder of a call's arguments.

    Equal schemas make equal values. Without a *decoder* (schemas that come from elsewhere, such as MCP) the arguments
    are a JSON object, and *check* lists everything that is wrong with it; without *check*, the schema's source
    validates the arguments. Arguments that fail are tried once more with their texts as the values that they hold.
    """

    __attrs_pre_init__ = made_once

    schema: bytes
    decoder: "msgspec.json.Decoder[Any] | None" = attrs.field(default=None, eq=False, repr=False)
    fields: tuple[Field, ...] = attrs.field(default=(), eq=False, repr=False)
    walked: bool = attrs.field(default=False, eq=False, repr=False)
    """True when msgspec may take what the schema forbids, so that what it took is looked at again."""
    context: str | None = attrs.field(default=None, eq=False, repr=False)
    """The name of the parameter that takes the `Context`."""
    resource: Any = attrs.field(default=Any, eq=False, repr=False)
    """The `R` of its `Context[R]`; Any where it says nothing."""
    check: Callable[[dict[str, Any]], tuple[str, ...]] | None = attrs.field(default=None, eq=False, repr=False)

    def decode(self, tool: str, arguments: str | bytes) -> Any:
        """The arguments as a Struct (a dict without a decoder).

        Raises ArgumentsError, which lists everything that is wrong, in words that a model can act on.
        """
        try:
            check_nesting(arguments)
        except NestingError as error:
            raise ArgumentsError(tool, (f"arguments: {error}; make them flatter",)) from None
        if self.decoder is None:
            return self._any_object(tool, arguments)
        arguments = arguments or b"{}"
        try:
            decoded = self.decoder.decode(arguments)
        except Exception:  # noqa: BLE001  # besides msgspec's errors, whatever a class of the tool's author raises
            return self._forgiving(tool, arguments, self.decoder.type)
        if self.walked:
            _refuse_unless_fit(tool, arguments, lambda value: passed_unseen(value, self.fields, decode_custom))
        return decoded

    def _forgiving(self, tool: str, arguments: str | bytes, kind: Any) -> Any:
        """Take `"3"` for a number, or list everything that is wrong."""
        try:
            decoded = msgspec.json.decode(arguments, type=kind, dec_hook=decode_custom, strict=False)
        except Exception as error:
            if (again := self._repaired(arguments)) is not None:
                return again
            words = str(error)
            _refuse_unless_fit(
                tool, arguments, lambda value: problems_of(value, self.fields, decode_custom) or (words,)
            )
            raise
        _refuse_unless_fit(tool, arguments, lambda value: passed_unseen(value, self.fields, decode_custom))
        return decoded

    def _repaired(self, arguments: str | bytes) -> Any:
        """The arguments with arrays and objects taken that were sent as texts; None when they don't fit then either."""
        assert self.decoder is not None
        try:
            given = msgspec.json.decode(arguments, type=dict[str, Any])
            again = repaired(msgspec.json.decode(self.schema), given)
            if again is None or passed_unseen(again, self.fields, decode_custom):
                return None
            return msgspec.convert(again, self.decoder.type, dec_hook=decode_custom, strict=False, str_keys=True)
        except Exception:  # noqa: BLE001  # besides msgspec's errors, whatever a class of the tool's author raises
            return None

    def _any_object(self, tool: str, arguments: str | bytes) -> dict[str, Any]:
        try:
            given = msgspec.json.decode(arguments or b"{}", type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError) as malformed:
            raise ArgumentsError(tool, (f"not a valid JSON object: {malformed}",)) from None
        if self.check is not None and (problems := self.check(given)):
            again = repaired(msgspec.json.decode(self.schema), given)
            if again is None or self.check(again):
                raise ArgumentsError(tool, problems)
            return again
        return given


def _refuse_unless_fit(tool: str, arguments: str | bytes, problems: Callable[[Any], tuple[str, ...]]) -> None:
    try:
        found = problems(msgspec.json.decode(arguments))
    except (msgspec.DecodeError, UnicodeError) as malformed:
        found = (f"not valid JSON: {malformed}",)
    if found:
        raise ArgumentsError(tool, found)


def parameters_of(function: Callable[..., Any], descriptions: Mapping[str, str]) -> Parameters:
    """The parameters of *function*; *descriptions* are the docstring's, used where `Annotated` says nothing.

    Raises ToolDeclarationError, naming the function and the parameter, for what a model can't be told.
    """
    context: str | None = None
    resource: Any = Any
    fields: list[Field] = []
    hints = _hints(function)
    for name, parameter in _signature(function).parameters.items():
        annotation = hints.get(name, inspect.Parameter.empty)
        if annotation is Context or get_origin(annotation) is Context:
            if context is not None:
                raise _refuse(function, name, "is a second Context; a tool takes one")
            context = name
            resource = (*get_args(annotation), Any)[0]
            continue
        fields.append(_field(function, parameter, annotation, descriptions.get(name)))
    for name in descriptions:
        if name not in hints:
            raise _refuse(function, name, "is described in the docstring and is not a parameter")
    members = tuple(fields)
    decoder = _decoder(function, members)
    schema = msgspec.json.encode(object_schema(dict, members))
    return Parameters(schema, decoder, members, must_be_walked(members), context, resource)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    signature = signature_of(function)
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise _refuse(function, name, f"is {parameter.kind.description}; a model passes arguments by name")
    return signature


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = inspect.unwrap(function if inspect.isroutine(function) else type(function).__call__)
    closure = inspect.getclosurevars(target).nonlocals if isinstance(target, types.FunctionType) else {}
    names = {**getattr(target, "__globals__", {}), **closure}
    hints: dict[str, Any] = {}
    for name, annotation in annotations_of(target).items():
        if name == "return":
            continue
        try:
            alone = types.SimpleNamespace(__annotations__={name: annotation})
            hints |= typing.get_type_hints(alone, names, include_extras=True)
        except (NameError, AttributeError, SyntaxError, TypeError) as error:
            raise _refuse(function, name, f"has an annotation that can't be read: {error}") from None
    return hints


def _field(
    function: Callable[..., Any], parameter: inspect.Parameter, annotation: Any, description: str | None
) -> Field:
    name = parameter.name
    if annotation is inspect.Parameter.empty:
        if name == "self":
            raise _refuse(
                function,
                name,
                "has no type: a tool is a function, not a method; move it out of the class, and give the object to "
                "the toolset as its resource, which the tool has as ctx.resource (ctx: Context[…])",
            )
        raise _refuse(function, name, f"has no type, and a model must know one; write {name}: str, for example")
    try:
        annotation = _pushed_down(annotation)
    except TypeError as error:
        raise _refuse(function, name, f"can't be told to a model: {error}") from None
    if description and not any(meta.description for meta in split_annotated(annotation)[1]):
        annotation = Annotated[annotation, Meta(description=description)]
    if parameter.default is inspect.Parameter.empty:
        return Field(name, annotation, required=True)
    _check_default(function, name, annotation, parameter.default)
    return Field(name, annotation, required=False, default=parameter.default)


def _check_default(function: Callable[..., Any], name: str, annotation: Any, default: Any) -> None:
    try:
        hash(default)
    except TypeError:
        raise _refuse(
            function,
            name,
            f"has the mutable default {default!r}; write {name}: tuple[…, …] = () or {name}: … | None = None",
        ) from None
    if isinstance(default, float) and not math.isfinite(default):
        raise _refuse(function, name, f"has the default {default!r}, which JSON does not know; use None")
    try:
        msgspec.convert(json_form(default), annotation, dec_hook=decode_custom, str_keys=True)
    except UNTOLD as error:
        # Of a type that can't be told either, `_decoder` speaks.
        if _can_be_told(annotation):
            raise _refuse(
                function, name, f"has the default {default!r}, which its type does not take: {error}"
            ) from None


def _can_be_told(annotation: Any) -> bool:
    try:
        msgspec.json.Decoder(annotation, dec_hook=decode_custom)
    except UNTOLD:
        return False
    return True


def _pushed_down(annotation: Any) -> Any:
    """Move bounds on a union to the members that they fit, because msgspec takes them only there."""
    bare, metas = split_annotated(annotation)
    members = union_members(bare)
    if not members or not metas:
        return annotation
    for meta in metas:
        bounded = tuple(_bounded(member, meta) for member in members)
        if bounded == members and any(getattr(meta, name) is not None for name in (*_NUMERIC, *_SIZED)):
            raise TypeError(f"bounds on {annotation_text(bare)} fit none of its members")
        members = bounded
    joined: Any = _UNION[members]
    for meta in metas:
        words = {name: value for name in _WORDS if (value := getattr(meta, name)) is not None}
        joined = Annotated[joined, Meta(**words)] if words else joined
    return joined


_UNION: Any = Union  # for members that are known at run time only
_WORDS = ("title", "description", "examples", "extra_json_schema")
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
            object_schema(dict, (field,))
            msgspec.json.Decoder(field.type, dec_hook=decode_custom)
        except RecursionError:
            raise _refuse(function, field.name, "can't be told to a model: its type nests without end") from None
        except UNTOLD as error:
            raise _refuse(function, field.name, f"can't be told to a model: {error}") from None
    members = [
        (field.name, field.type) if field.required else (field.name, field.type, field.default) for field in fields
    ]
    struct = msgspec.defstruct(
        _name(function), members, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True
    )
    return msgspec.json.Decoder(struct, dec_hook=decode_custom)


def must_be_walked(fields: tuple[Field, ...]) -> bool:
    """Whether msgspec takes for *fields* what their schema forbids: unknown names in classes, items after a class's
    last, decimals that are no number."""
    shapes = shapes_below(tuple(field.type for field in fields))
    return any(
        isinstance(shape, Object)
        or (isinstance(shape, Row) and shape.owner is not None)
        or (isinstance(shape, Scalar) and ("format", "decimal") in shape.schema)
        for shape in shapes
    )


def _refuse(function: Callable[..., Any], parameter: str, why: str) -> ToolDeclarationError:
    return ToolDeclarationError(f"tool {_name(function)}: parameter '{parameter}' {why}")


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
