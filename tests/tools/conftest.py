"""Tools with one parameter `x` of a given type: what a model is told of it, and what becomes of a model's arguments."""

import inspect
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gaia_core import ArgumentsError, Tool, tool


def one_parameter(annotation: Any, default: Any = inspect.Parameter.empty) -> Tool:
    """A tool `f` whose only parameter is `x`."""

    def f(x) -> str:
        """Do something."""

    f.__annotations__ = {"x": annotation, "return": str}
    f.__defaults__ = None if default is inspect.Parameter.empty else (default,)
    return tool(f)


@pytest.fixture
def made() -> Callable[..., Tool]:
    return one_parameter


@pytest.fixture
def schema() -> Callable[..., dict[str, Any]]:
    """The schema of the parameter `x`, as a model is told."""
    return lambda *x: msgspec.json.decode(one_parameter(*x).parameters.schema)["properties"]["x"]


@pytest.fixture
def decoded() -> Callable[[Any, str], Any]:
    """What the handler gets for `x` when a model sends this JSON for it."""
    return lambda annotation, x: one_parameter(annotation).parameters.decode("f", f'{{"x":{x}}}').x


@pytest.fixture
def problems() -> Callable[[Any, str], tuple[str, ...]]:
    """What a model is told is wrong when it sends this JSON for `x`."""

    def problems(annotation: Any, x: str) -> tuple[str, ...]:
        with pytest.raises(ArgumentsError) as raised:
            one_parameter(annotation).parameters.decode("f", f'{{"x":{x}}}')
        return raised.value.problems

    return problems
