"""What type checkers know of the public API: test_pyright.py checks this file. It is not run.

Each `pyright: ignore` names an error that has to be there: one that is no longer reported is an error itself.
"""

from typing import assert_type

from msgspec import Struct

from gaia_core import Agent, Context, Runtime, Session, Tool, Toolset, run, scripted, tool


class City(Struct):
    name: str


@tool(effects="read")
def double(ctx: Context[int], number: int, *, times: int = 1) -> int:
    """Double a number."""
    assert_type(ctx.resource, int)
    ctx.resource.upper()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    return number * 2 * times


@tool
async def name_of(city: City) -> str:
    """Name a city."""
    return city.name


async def a_tool_keeps_its_signature(ctx: Context[int], other: Context[str]) -> None:
    assert_type(double(ctx, 3, times=2), int)
    assert_type(await name_of(City("Ulm")), str)
    double(ctx, "3")  # pyright: ignore[reportArgumentType]
    double(ctx)  # pyright: ignore[reportCallIssue]
    double(other, 3)  # pyright: ignore[reportArgumentType]
    double(ctx, 3, time=2)  # pyright: ignore[reportCallIssue]


def a_tool_is_a_tool() -> Tool:
    Toolset("t", (double, name_of))
    Toolset("t", (double, len))  # pyright: ignore[reportArgumentType]
    return double


async def an_answer_has_the_type_asked_for(runtime: Runtime, session: Session) -> None:
    agent, model = Agent("a"), scripted("{}")
    assert_type(await run(agent, "?", model=model), str)
    assert_type(await run(agent, "?", answer=City, model=model), City)
    assert_type(await runtime.run(session, "?"), str)
    assert_type(await runtime.run(session, "?", answer=City), City)
    wrong: str = await run(agent, "?", answer=City)  # pyright: ignore[reportAssignmentType]
    del wrong
