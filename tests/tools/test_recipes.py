"""Recipes: how a resource is opened, as a value. Opening is the runtime's; its tests are in tests/turn."""

import attrs
import pytest

from gaia_core import Recipe, ToolDeclarationError, Toolset, resource, tool


@resource(scope="process")
def database(url: str, *, size: int = 3):
    """A database."""
    yield f"{url}:{size}"


@resource()
async def connection(url: str):
    yield url


@tool
def query(text: str) -> str:
    """Ask."""
    return text


def test_a_recipe_is_a_value_and_opens_nothing():
    opened = []

    @resource(scope="session")
    def counted(name: str):
        opened.append(name)
        yield name

    toolset = Toolset("db", (query,), resource=counted("a"))

    assert toolset.get("query").resource == counted("a")
    assert opened == []
    assert list(counted("a").open()) == ["a"]
    assert opened == ["a"]


def test_equal_calls_are_equal_recipes():
    recipes = (database("a"), database(url="a"), database("a", size=3), database(size=3, url="a"))

    assert len(set(recipes)) == 1
    assert recipes[0].arguments == (("size", 3), ("url", "a"))
    assert (recipes[0].name, recipes[0].scope) == ("database", "process")


def test_other_arguments_factories_and_scopes_are_other_recipes():
    def one(url: str):
        yield url

    def other(url: str):
        yield url

    made = {
        resource(scope="session")(one)("a"),
        resource(scope="process")(one)("a"),
        resource(scope="session")(one)("b"),
        resource(scope="session")(other)("a"),
    }

    assert len(made) == 4


def test_a_recipe_is_frozen_and_keeps_its_words():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        database("a").scope = "session"
    assert isinstance(database("a"), Recipe)
    assert (database.__name__, database.__doc__) == ("database", "A database.")


async def test_an_async_recipe_opens_an_async_generator():
    assert [opened async for opened in connection("a").open()] == ["a"]
    assert connection("a").scope == "session"


def test_an_argument_that_is_not_hashable_is_refused_by_name():
    with pytest.raises(ToolDeclarationError) as raised:
        database(["a"])

    assert str(raised.value) == (
        "resource database: argument 'url' (list) is not hashable; use a frozen value or a tuple"
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (database, "missing a required argument: 'url'"),
        (lambda: database("a", sise=1), "got an unexpected keyword argument 'sise'"),
        (lambda: database("a", 1), "too many positional arguments"),
    ],
)
def test_arguments_that_the_factory_does_not_take_are_refused(call, words):
    with pytest.raises(ToolDeclarationError) as raised:
        call()

    assert str(raised.value) == f"resource database: {words}; its parameters are url, size"


def test_only_a_function_that_yields_is_a_resource():
    with pytest.raises(ToolDeclarationError, match="resource f: must be a function that yields the resource once"):

        @resource()
        def f() -> str:
            return "x"


def test_an_unknown_scope_is_refused():
    with pytest.raises(ToolDeclarationError, match="resource scope 'turn': use 'session' or 'process'"):
        resource(scope="turn")


def rest(*urls: str):
    yield urls


def named(**urls: str):
    yield urls


def positional(urls: str, /):
    yield urls


@pytest.mark.parametrize("factory", [rest, named, positional])
def test_a_factory_without_named_parameters_is_refused(factory):
    with pytest.raises(
        ToolDeclarationError, match=f"resource {factory.__name__}: parameter 'urls' is .*arguments have"
    ):
        resource()(factory)
