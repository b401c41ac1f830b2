"""Answer types: a Python type as the form of a model's final text, and as what reads that text.

An object type is the whole text. Other types (`list[str]`, `int`, `Literal[…]`) become the member `answer` of an
object, because endpoints take only objects as a form (source: OpenAI, structured outputs: the root is an object).
pydantic is used where a type is pydantic's, and never imported otherwise.
"""

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar, get_args

import attrs
import msgspec

from gaia_core.errors import ArgumentsError, ConfigError
from gaia_core.frozen_types import made_once
from gaia_core.tools._json_schema import object_schema
from gaia_core.tools._parameters import UNTOLD, Parameters, decode_custom, must_be_walked
from gaia_core.tools._type_shape import Field, Object, annotation_text, shape_of

T = TypeVar("T")

_MEMBER = "answer"
_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@attrs.frozen
class AnswerType(Generic[T]):
    """A type as a model is sent it: *name* and JSON *schema* (encoded). *read* makes the value of a text.

    Made by `answer_type`.
    """

    __attrs_pre_init__ = made_once

    name: str
    schema: bytes
    _read: Callable[[str], T]

    def read(self, text: str) -> T:
        """The value in the JSON *text*. Raises ArgumentsError, which lists everything that is wrong."""
        return self._read(text)

    def problems(self, text: str) -> tuple[str, ...]:
        """What is wrong with *text*, in words for a model; empty when `read` takes it."""
        try:
            self._read(text)
        except ArgumentsError as error:
            return error.problems
        return ()


def answer_type(kind: type[T]) -> AnswerType[T]:
    """*kind* (a Struct, attrs class, dataclass, TypedDict, pydantic model, or what tools take as a parameter) as the
    type of an answer. Raises ConfigError for a type that has no JSON form."""
    words = annotation_text(kind)
    name = _NAME.sub("_", words)[:64].strip("_") or _MEMBER
    if _is_of_pydantic(kind):
        return _by_pydantic(kind, name)
    try:
        shape = shape_of(kind)
        wrapped = not isinstance(shape, Object)
        fields = (Field(_MEMBER, kind, required=True),) if not isinstance(shape, Object) else shape.fields
        schema = object_schema(dict if wrapped else kind, fields)
        whole: Any = msgspec.defstruct("Answer", [(_MEMBER, kind)], frozen=True) if wrapped else kind
        decoder = msgspec.json.Decoder(whole, dec_hook=decode_custom)
    except UNTOLD as error:
        raise ConfigError(
            f"the answer's type {words} can't be described to a model: {error}. Use a class with typed fields "
            "(msgspec.Struct, attrs, dataclass, TypedDict, pydantic) or a JSON type such as list[str]"
        ) from None
    if not wrapped and (described := _own_words(kind)):
        schema["description"] = described
    reader = Parameters(msgspec.json.encode(schema), decoder, fields, must_be_walked(fields))

    def read(text: str) -> T:
        value = reader.decode(name, text)
        made: T = getattr(value, _MEMBER) if wrapped else value
        return made

    return AnswerType(name, reader.schema, read)


def _own_words(kind: Any) -> str:
    """The docstring of *kind*, unless a decorator has written it."""
    words = " ".join((getattr(kind, "__doc__", None) or "").split())
    return "" if words.startswith(f"{kind.__name__}(") else words


def _is_of_pydantic(kind: Any) -> bool:
    return hasattr(kind, "__pydantic_core_schema__") or any(_is_of_pydantic(argument) for argument in get_args(kind))


def _by_pydantic(kind: Any, name: str) -> AnswerType[Any]:
    import pydantic  # noqa: PLC0415  # it is installed: *kind* was made by it

    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(kind)
    schema = adapter.json_schema()
    wrapped = schema.get("type") != "object" or "properties" not in schema
    if wrapped:
        adapter = pydantic.TypeAdapter(pydantic.create_model("Answer", answer=(kind, ...)))
        schema = adapter.json_schema()

    def read(text: str) -> Any:
        try:
            value = adapter.validate_json(text)
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise ArgumentsError(
                name, tuple(f"{'.'.join(map(str, each['loc'])) or '$'}: {each['msg']}" for each in found)
            ) from None
        return getattr(value, _MEMBER) if wrapped else value

    return AnswerType(name, msgspec.json.encode(schema), read)
