"""Tool: a frozen value made from a function. Making one registers nothing anywhere (law 1)."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar, cast, overload

import attrs
import msgspec

from gaia_core.errors import NestingError, ToolDeclarationError
from gaia_core.frozen_types import Check, check_of, made_once, must_be, refusal, shown
from gaia_core.nesting import check_nesting
from gaia_core.tools._parameters import Parameters, parameters_of
from gaia_core.tools._suggestion import nearest

P = ParamSpec("P")
R = TypeVar("R")

Effect: TypeAlias = Literal["read", "write", "network", "execute"]

EFFECTS: tuple[Effect, ...] = ("read", "write", "network", "execute")
_ALL = frozenset(EFFECTS)
_OPTIONS = ("name", "description", "effects", "timeout", "exclusive", "idempotent", "approval")
_is_number = check_of(float)
_CHECKS: tuple[tuple[str, Any, Check], ...] = tuple(
    (name, kind, check_of(kind))
    for name, kind in (
        ("parameters", Parameters),
        ("handler", Callable[..., Any]),
        ("effects", frozenset[Effect]),
        ("exclusive", bool),
        ("idempotent", bool),
    )
)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_LAMBDA = "<lambda>"  # which has no place for a docstring
_SECTIONS = re.compile(r"^\s*(Args|Arguments|Parameters|Params|:param|@param|Returns|Raises)\b", re.MULTILINE)


class ToolDefinition(msgspec.Struct, frozen=True, gc=False):
    """A tool as a model sees it; *parameters* is its JSON schema, encoded."""

    name: str
    description: str
    parameters: bytes
    encoded: bytes
    """The whole definition on the chat wire: `{"type":"function","function":{…}}`."""
    reads: bool = False
    """Whether a call is known to change nothing (its only effect is `read`). Not sent to models."""

    def __post_init__(self) -> None:
        if not (
            type(self.name) is type(self.description) is str
            and type(self.parameters) is type(self.encoded) is bytes
            and type(self.reads) is bool
        ):
            raise refusal(self)


def define(name: str, description: str, parameters: bytes, *, reads: bool = False) -> ToolDefinition:
    """A definition with its encoded form; *reads*: see `ToolDefinition`."""
    function = {"name": name, "description": description, "parameters": msgspec.Raw(parameters)}
    return ToolDefinition(
        name, description, parameters, msgspec.json.encode({"type": "function", "function": function}), reads
    )


def check_name(name: object, owner: str) -> str:
    """*name*, if model endpoints accept it: 1 to 64 letters, digits, `_` and `-`. ToolDeclarationError otherwise."""
    if type(name) is not str or not _NAME.match(name):
        raise ToolDeclarationError(f"{owner}: the name {name!r} must be 1 to 64 letters, digits, '_' or '-'")
    return name


def check_text(text: object, owner: str, error: type[Exception] = ToolDeclarationError) -> str:
    """*text*, if it is a str that can be sent to a model; *error* otherwise."""
    if type(text) is not str:
        raise error(f"{owner} must be a str, not {shown(text)}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise error(f"{owner} must be Unicode, without half a surrogate pair, not {shown(text)}") from None
    return text


def effects_of(effects: str | Iterable[str] | None, owner: str) -> frozenset[Effect]:
    """*effects* as a set; None means all of them, because what is not declared must be assumed."""
    if effects is None:
        return _ALL
    if not isinstance(effects, Iterable):
        raise ToolDeclarationError(f"{owner}: effects must be some of {', '.join(EFFECTS)}, not {shown(effects)}")
    given = (effects,) if isinstance(effects, str) else tuple(effects)
    for effect in given:
        if effect not in EFFECTS:
            raise ToolDeclarationError(
                f"{owner}: unknown effect {effect!r}.{nearest(str(effect), EFFECTS)} Effects are {', '.join(EFFECTS)}"
            )
    return frozenset(cast("tuple[Effect, ...]", given))


@attrs.frozen
class Tool:
    """A named function with its definition for models and what a runtime must know of it.

    | field | meaning |
    |---|---|
    | name | what the model calls |
    | description | what it does, for the model |
    | parameters | the schema and decoder made from the signature |
    | handler | the function; sync ones run on a worker thread |
    | effects | any of `read`, `write`, `network`, `execute`; undeclared means all |
    | timeout | seconds; None: the agent's `Limits.tool_seconds` |
    | exclusive | runs alone among the calls of its step |
    | idempotent | running it twice with one key is running it once |
    | approval | True: needs approval whatever the agent's policy says; None: the policy decides |

    Calling a Tool calls its handler, so that tests may call it as the function that it was. Raises
    ToolDeclarationError for a field of another type.
    """

    __attrs_pre_init__ = made_once

    name: str
    description: str
    parameters: Parameters
    handler: Callable[..., Any] = attrs.field(repr=False)
    effects: frozenset[Effect] = _ALL
    timeout: float | None = None
    exclusive: bool = False
    idempotent: bool = False
    approval: Literal[True] | None = None
    definition: ToolDefinition = attrs.field(init=False, eq=False, repr=False)
    is_async: bool = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        owner = f"tool {self.name!r}"
        check_name(self.name, owner)
        check_text(self.description, f"{owner}: the description")
        if self.timeout is not None and not (_is_number(self.timeout) and self.timeout > 0):
            raise ToolDeclarationError(f"{owner}: timeout {self.timeout!r} must be a positive number of seconds")
        approval: object = self.approval
        if approval is not None and approval is not True:
            raise ToolDeclarationError(f"{owner}: approval must be True or None; only an agent's policy can waive it")
        for name, kind, fits in _CHECKS:
            if not fits(value := getattr(self, name)):
                raise ToolDeclarationError(f"{owner}: {name} {must_be(kind, value)}")
        try:
            hash(self.handler)
        except TypeError:
            raise ToolDeclarationError(
                f"{owner}: the handler {shown(self.handler)} is not hashable; give a function or a frozen object"
            ) from None
        try:
            check_nesting(self.parameters.schema)
        except NestingError as error:
            raise ToolDeclarationError(f"{owner}: its parameters' schema is {error}") from None
        object.__setattr__(
            self,
            "definition",
            define(self.name, self.description, self.parameters.schema, reads=self.effects == {"read"}),
        )
        object.__setattr__(self, "is_async", _is_async(self.handler))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The handler's own result."""
        return self.handler(*args, **kwargs)


if TYPE_CHECKING:

    class ToolOf(Tool, Generic[P, R]):
        """A Tool for type checkers: calling it takes and returns what its function does. At run time it is a Tool."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
            """See `Tool`."""
            ...


def _is_async(handler: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


@overload
def tool(function: Callable[P, R], /) -> "ToolOf[P, R]": ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effects: str | Iterable[str] | None = None,
    timeout: float | None = None,
    exclusive: bool = False,
    idempotent: bool = False,
    approval: Literal[True] | None = None,
) -> "Callable[[Callable[P, R]], ToolOf[P, R]]": ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    effects: str | Iterable[str] | None = None,
    timeout: float | None = None,
    exclusive: bool = False,
    idempotent: bool = False,
    approval: Literal[True] | None = None,
    **unknown: object,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a Tool of a function, sync or async. Returns the frozen value and registers nothing. Type checkers see
    the function's own signature.

        @tool
        def add(a: int, b: int) -> int:
            "Add two numbers."

        @tool(effects="read", timeout=10)
        async def read_file(ctx: Context[Workspace], path: Annotated[str, doc("Relative path")]) -> str: ...

    *name* defaults to the function's, *description* to its docstring without the parameters' part; there must be one.
    A parameter's text comes from `doc` or `msgspec.Meta` in `Annotated`, else from the docstring. Raises
    ToolDeclarationError, naming function and parameter, for a signature that a model can't be told and for unknown
    options.
    """
    for option in unknown:
        raise ToolDeclarationError(
            f"@tool: unknown option {option!r}.{nearest(option, _OPTIONS)} Options are {', '.join(_OPTIONS)}"
        )

    def make(function: Callable[..., Any]) -> Tool:
        tool_name = name if name is not None else _function_name(function)
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise ToolDeclarationError(
                f"tool {tool_name}: a generator has no result for the model; replace `yield` by one `return` of the "
                "whole (a list, say), and report progress by ctx.progress(…)"
            )
        text, parameter_texts = _docstring(function)
        if description is None and not text and getattr(function, "__name__", "") != _LAMBDA:
            raise ToolDeclarationError(
                f"tool {tool_name}: has no docstring, by which a model knows what it does; write one as the first "
                'line of the function, or @tool(description="…")'
            )
        return Tool(
            tool_name,
            description if description is not None else text,
            parameters_of(function, parameter_texts),
            function,
            effects_of(effects, f"tool {tool_name!r}"),
            timeout,
            exclusive,
            idempotent,
            approval,
        )

    if function is None:
        return make
    if not callable(function):
        raise ToolDeclarationError(
            f"@tool: expected a function, got {function!r}; write @tool above `def`, and options as @tool(name=…)"
        )
    return make(function)


def _function_name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", None)
    if name is None:
        raise ToolDeclarationError(f"@tool: {function!r} has no name; give name=")
    return str(name)


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The description, and the texts of the parameters."""
    text = inspect.getdoc(function) or ("" if inspect.isroutine(function) else inspect.getdoc(type(function).__call__))
    text = text or ""
    if not _SECTIONS.search(text):
        return text, {}
    import docstring_parser  # noqa: PLC0415  # only for docstrings with sections: it takes 15 ms to import

    parsed = docstring_parser.parse(text)
    between = "\n\n" if parsed.blank_after_short_description else "\n"
    described = between.join(part for part in (parsed.short_description, parsed.long_description) if part)
    return described, {item.arg_name: " ".join((item.description or "").split()) for item in parsed.params}
