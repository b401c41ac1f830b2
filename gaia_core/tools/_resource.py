"""Resources: what a toolset's tools work on, as a frozen recipe that says how to open it and for how long it lives.

    @resource(scope="session")
    async def database(url: str) -> AsyncIterator[Connection]:
        async with connect(url) as connection:
            yield connection

    Toolset("db", (query,), resource=database("postgres://…"))     # doesn't open it yet

Equal recipes (the same factory, equal arguments, the same scope) share one instance in a scope; others never do.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from operator import itemgetter
from typing import Any, Literal, ParamSpec, TypeAlias, cast, get_args, get_type_hints

import attrs

from gaia_core.canonical import NoTextError, canonical_text
from gaia_core.errors import ToolDeclarationError
from gaia_core.frozen_types import made_once, typed_as
from gaia_core.tools._signature import signature_of

P = ParamSpec("P")

Scope: TypeAlias = Literal["session", "process"]
Opened: TypeAlias = "Iterator[Any] | AsyncIterator[Any]"
Check: TypeAlias = Callable[..., str]
"""What is wrong with a recipe's arguments now, in words; "": nothing. Opens nothing; takes the recipe's arguments."""


@attrs.frozen(field_transformer=typed_as(ToolDeclarationError))
class Recipe:
    """How a resource is opened: a generator function that yields it once and closes it afterwards.

    *arguments* are bound to the factory's parameters and sorted by name, so that equal calls are equal recipes. Raises
    ToolDeclarationError, naming the argument, for one that can be changed or doesn't equal itself.
    """

    __attrs_pre_init__ = made_once

    factory: Callable[..., Opened]
    arguments: tuple[tuple[str, Any], ...]
    scope: Scope
    check: Check | None = attrs.field(default=None, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for name, value in self.arguments:
            _check_argument(f"resource {self.name}: argument '{name}'", value)
        object.__setattr__(self, "arguments", tuple(sorted(self.arguments, key=itemgetter(0))))

    @property
    def name(self) -> str:
        """The factory's name, for messages."""
        return str(getattr(self.factory, "__name__", type(self.factory).__name__))

    @property
    def yields(self) -> Any:
        """The type of the resource, as the factory's annotation says; Any where it says nothing."""
        try:
            returned = get_type_hints(inspect.unwrap(self.factory)).get("return", Any)
        except (NameError, TypeError, AttributeError, SyntaxError):  # names that only a type checker knows
            return Any
        return (*get_args(returned), Any)[0]

    def open(self) -> Opened:
        """A new generator; nothing has run yet."""
        return self.factory(**dict(self.arguments))

    def fault(self) -> str:
        """Why opening it would fail now, as far as that can be seen without opening it; "": nothing is known."""
        return self.check(**dict(self.arguments)) if self.check is not None else ""


def resource(
    *bare: object, scope: Scope = "session", check: Check | None = None
) -> Callable[[Callable[P, Opened]], Callable[P, Recipe]]:
    """Turn a generator function into a factory of recipes. See the module's text.

    *scope*: `session` (one instance a session, closed when it is idle for 10 minutes or ends) or `process` (one for
    all sessions, closed with the runtime). *check* takes the same arguments and says in words what is wrong with them
    now (a missing folder, say), or ""; a server asks it when it starts, and now and then. Arguments must be hashable;
    the recipe raises ToolDeclarationError, which names the argument, when one is not.
    """
    if bare:
        raise ToolDeclarationError(
            f'write @resource() or @resource(scope="process"), with parentheses, above '
            f"{getattr(bare[0], '__name__', bare[0])!s}"
        )
    if scope not in ("session", "process"):
        raise ToolDeclarationError(f"resource scope {scope!r}: use 'session' or 'process'")

    def decorate(function: Callable[P, Opened]) -> Callable[P, Recipe]:
        if not inspect.isgeneratorfunction(function) and not inspect.isasyncgenfunction(function):
            raise ToolDeclarationError(
                f"resource {function.__name__}: must be a function that yields the resource once"
            )
        signature = signature_of(function)
        for name, parameter in signature.parameters.items():
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ToolDeclarationError(
                    f"resource {function.__name__}: parameter '{name}' is {parameter.kind.description}; "
                    "a recipe's arguments have names"
                )

        def recipe(*args: P.args, **kwargs: P.kwargs) -> Recipe:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                known = ", ".join(signature.parameters) or "none"
                raise ToolDeclarationError(
                    f"resource {function.__name__}: {error}; its parameters are {known}"
                ) from None
            bound.apply_defaults()
            return Recipe(cast("Callable[..., Opened]", function), tuple(bound.arguments.items()), scope, check)

        recipe.__name__ = function.__name__
        recipe.__doc__ = function.__doc__
        return recipe

    return decorate


def _check_argument(owner: str, value: object) -> None:
    """Raise ToolDeclarationError unless *value* has a hash and a canonical text: recipes are compared by it."""
    try:
        hash(value)
    except TypeError:
        raise ToolDeclarationError(
            f"{owner} ({type(value).__name__}) is not hashable; use a frozen value or a tuple"
        ) from None
    try:
        canonical_text(value)
    except NoTextError as error:
        raise ToolDeclarationError(f"{owner}: {error}") from None
