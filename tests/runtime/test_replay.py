"""A recorded conversation against its agent as it is now: where they part, and what is no difference."""

from typing import Annotated

import attrs
import pytest

from gaia_core import (
    Agent,
    ApprovalPolicy,
    Catalog,
    Limits,
    NotFoundError,
    Runtime,
    Toolset,
    call,
    doc,
    scripted,
    tool,
)
from gaia_core.events import ApprovalRequested
from gaia_core.runtime import replay
from gaia_core.turn import Audience, TurnRequest


@tool(effects="read")
async def look(path: str) -> str:
    """Look."""
    return f"content of {path}"


@tool(effects="write")
async def erase(path: str) -> str:
    """Erase."""
    return f"{path} is gone"


@tool(effects="read", name="look")
async def look_near(path: Annotated[str, doc("A short path", max_length=3)]) -> str:
    """Look."""
    raise AssertionError("a replay runs no tool")


@tool(effects="read", name="look")
async def look_more(path: str, lines: int = 10) -> str:
    """Look, and see more."""
    raise AssertionError("a replay runs no tool")


AGENT = Agent("a", instructions="You look.", tools=Toolset("t", (look, erase)))
CAREFUL = attrs.evolve(AGENT, approvals=ApprovalPolicy(effects={"write"}))


def with_look(other) -> Agent:
    return attrs.evolve(AGENT, tools=Toolset("t", (other, erase)))


@pytest.fixture
def recorded():
    """The facts of a session in which *agent* was asked these things, and the model gave these answers.

    *scope*: approvals are given so; None: nobody is there.
    """

    async def recorded(*answers, agent: Agent = AGENT, says: tuple[str, ...] = ("Go.",), scope: str | None = None):
        async with Runtime(Catalog.of(agent, models={"local": scripted(*answers)})) as runtime:
            session = await runtime.open("a", "s")
            for message in says:
                turn = await runtime.start(
                    session,
                    TurnRequest(message, audience=Audience.INTERACTIVE if scope is not None else Audience.NOBODY),
                )
                async for event in turn.events():
                    if isinstance(event, ApprovalRequested):
                        await turn.decide(event.approval_id, True, scope=scope)
            return await runtime.sessions.facts("", "s")

    return recorded


def parted(facts, agent: Agent, turn: int | None = None):
    """The turn, step, thing and both sides of each divergence."""
    found = replay(facts, lambda began: agent, turn=turn).divergences
    return [(one.turn, one.step, one.what, one.recorded, one.now) for one in found]


async def test_the_same_agent_does_the_same(recorded):
    facts = await recorded(
        "Hello.", call("look", path="a"), (call("nothing"), call("look")), "Done.", says=("Hi", "Look.")
    )
    replayed = replay(facts, lambda began: AGENT)

    assert (replayed.turns, replayed.requests, replayed.calls) == (2, 4, 3)
    assert replayed.divergences == ()
    assert not replayed.changed


async def test_what_no_model_is_told_is_no_divergence(recorded):
    facts = await recorded(call("look", path="a"), "Done.")
    replayed = replay(facts, lambda began: attrs.evolve(AGENT, limits=Limits(steps=3)))

    assert replayed.divergences == ()
    assert replayed.changed


async def test_another_system_text(recorded):
    facts = await recorded("Hello.", "Again.", says=("Hi", "Hi"))
    other = attrs.evolve(AGENT, instructions="You sing.")

    assert parted(facts, other) == [(1, 1, "the system text", AGENT.system_hash, other.system_hash)]


async def test_tools_that_take_what_they_took_are_told_otherwise_and_nothing_more(recorded):
    facts = await recorded(call("look", path="a"), "Done.")
    other = with_look(look_more)

    assert parted(facts, other) == [(1, 1, "the tools", AGENT.tools.fingerprint, other.tools.fingerprint)]


async def test_a_call_that_is_not_valid_any_more(recorded):
    facts = await recorded(call("look", path="a"), call("look", path="long"), "Done.")
    told, call_parted = parted(facts, with_look(look_near))

    assert told[:3] == (1, 1, "the tools")
    assert call_parted[:4] == (1, 3, 'message 6, the result of look(path="long")', "content of long")
    assert "path" in call_parted[4]
    assert call_parted[4].startswith("The arguments of look are not valid:")


async def test_a_call_that_has_become_valid(recorded):
    facts = await recorded(call("look", path="long"), "Done.", agent=with_look(look_near))
    *_, (turn, step, what, old, now) = parted(facts, AGENT)

    assert (turn, step, what, now) == (1, 1, 'the call look(path="long")', "runs")
    assert old.startswith("The arguments of look are not valid:")


async def test_a_tool_that_is_gone(recorded):
    facts = await recorded(call("look", path="a"), "Done.")
    *_, last = parted(facts, attrs.evolve(AGENT, tools=Toolset("t", (erase,))))

    gone = "There is no tool 'look'. Tools: erase"
    assert last == (1, 2, 'message 4, the result of look(path="a")', "content of a", gone)


async def test_it_stops_at_the_first_difference_of_the_conversation(recorded):
    facts = await recorded(call("look", path="a"), call("look", path="b"), "Done.")
    replayed = replay(facts, lambda began: Agent("a", "You look."))

    assert [one.what for one in replayed.divergences] == ["the tools", 'message 4, the result of look(path="a")']
    assert (replayed.requests, replayed.calls) == (2, 1)


async def test_a_call_that_nobody_was_asked_for_and_would_be(recorded):
    facts = await recorded(call("erase", path="a"), "Done.", scope="once")

    assert parted(facts, CAREFUL) == [
        (1, 1, 'the call erase(path="a")', "runs without approval", "waits for approval: erase may write")
    ]


async def test_a_call_that_was_asked_for_and_would_not_be(recorded):
    facts = await recorded(call("erase", path="a"), "Done.", agent=CAREFUL, scope="once")

    assert parted(facts, CAREFUL) == []
    assert parted(facts, AGENT) == [
        (1, 1, 'the call erase(path="a")', "waits for approval: erase may write", "runs without approval")
    ]


async def test_a_grant_covers_the_same_calls_again(recorded):
    facts = await recorded(
        call("erase", path="a"),
        "Done.",
        call("erase", path="a"),
        "Done.",
        agent=CAREFUL,
        says=("1", "2"),
        scope="session",
    )

    assert parted(facts, CAREFUL) == []
    assert parted(facts, CAREFUL, turn=2) == []
    assert parted(facts, AGENT, turn=2) == [], "nobody was asked, and nobody would be"


async def test_denials_where_nobody_is_there(recorded):
    facts = await recorded(call("erase", path="a"), "Done.", agent=CAREFUL)
    ran = await recorded(call("erase", path="a"), "Done.")

    assert parted(facts, CAREFUL) == []
    ((*_, what, old, now),) = parted(facts, AGENT)
    assert what == 'the call erase(path="a")'
    assert old.startswith("Denied: erase may write, and nobody is here")
    assert now == "runs without approval"
    ((_, step, _, old, now),) = parted(ran, CAREFUL)
    assert (step, old) == (2, "a is gone")
    assert now.startswith("Denied: erase may write, and nobody is here")


async def test_a_result_that_a_model_would_see_otherwise(recorded):
    facts = await recorded(call("look", path="x" * 100), "Done.")
    ((turn, step, what, old, now),) = parted(facts, attrs.evolve(AGENT, limits=Limits(result_chars=50)))

    assert (turn, step) == (1, 2)
    assert what.startswith("message 4, the result of look")
    assert old == "content of " + "x" * 100
    assert now.startswith(old[:50] + "\n… 61 more characters were left out;")


async def test_a_shortened_result_is_the_same_under_the_same_limit(recorded):
    short = attrs.evolve(AGENT, limits=Limits(result_chars=50))
    reading = call("read_result", call_id="call_1", offset=50)
    facts = await recorded(call("look", path="x" * 100), reading, "Done.", agent=short)

    assert parted(facts, short) == []
    ((_, _, _, _, now),) = parted(facts, AGENT)
    assert now == "content of " + "x" * 100


async def test_a_turn_that_a_limit_ended_has_its_last_results_compared(recorded):
    agent = attrs.evolve(AGENT, limits=Limits(steps=1))
    facts = await recorded(call("look", path="a"), agent=agent)

    ((turn, step, what, old, now),) = parted(facts, Agent("a", "You look."))[1:]
    assert (turn, step, what, old) == (1, 1, 'message 4, the result of look(path="a")', "content of a")
    assert now.startswith("There is no tool 'look'.")


async def test_one_turn_alone(recorded):
    facts = await recorded(call("look", path="long"), "Seen.", call("look", path="a"), "Seen.", says=("1", "2"))
    near = with_look(look_near)

    assert [what for _, _, what, _, _ in parted(facts, near)] == [
        "the tools",
        'message 4, the result of look(path="long")',
    ]
    assert parted(facts, near, turn=2) == [(2, 1, "the tools", AGENT.tools.fingerprint, near.tools.fingerprint)]
    replayed = replay(facts, lambda began: near, turn=2)
    assert (replayed.turns, replayed.requests, replayed.calls) == (1, 2, 1)


@pytest.mark.parametrize("number", [0, 3])
async def test_no_such_turn(recorded, number):
    facts = await recorded("Hello.", "Hello.", says=("1", "2"))

    with pytest.raises(NotFoundError, match=f"no turn {number}: the conversation has 2"):
        replay(facts, lambda began: AGENT, turn=number)


async def test_an_empty_conversation():
    replayed = replay((), lambda began: AGENT)

    assert (replayed.turns, replayed.divergences) == (0, ())
