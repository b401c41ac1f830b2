"""A turn whose request brings more than a user's words: several messages, a client's results, words for this turn."""

import pytest

from gaia_core import Agent, Catalog, Context, Runtime, Toolset, call, scripted, tool
from gaia_core.events import ToolEnded
from gaia_core.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from gaia_core.tools import ToolDefinition
from gaia_core.turn import Audience, TurnOptions, TurnRequest

WEATHER = ToolDefinition("weather", "", b'{"type":"object"}', b'{"type":"function","function":{"name":"weather"}}')


@tool(effects="read")
async def look(ctx: Context[None]) -> str:
    """Look."""
    return "seen"


@tool(effects="read")
async def inquire(ctx: Context[None]) -> str:
    """Ask the user."""
    return await ctx.ask("Which?", ("a", "b"))


async def test_a_clients_results_are_put_behind_their_calls():
    model = scripted((call("weather"), call("weather"), call("look")), "Rain")
    agent = Agent("a", tools=Toolset("tools", (look,)))
    async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
        session = await runtime.open(agent)
        await (await runtime.start(session, TurnRequest("Hi", options=TurnOptions(client_tools=(WEATHER,))))).result()

        turn = await runtime.start(session, TurnRequest("Go on", input=(ToolMessage("rain", "call_2"),), note=b"mine"))
        await turn.result()
        began = next(fact for _, fact in await runtime.sessions.facts_of_turn("", session.id, turn.id))

    messages = model.requests[1].messages[2:]
    assert [(each.tool_call_id, each.content) for each in messages[:1]] == [("call_3", "seen")]
    assert {each.tool_call_id for each in messages[1:3]} == {"call_1", "call_2"}
    assert ToolMessage("rain", "call_2") in messages
    assert messages[-1] == UserMessage("Go on")
    assert began.note == b"mine"


async def test_a_turn_may_begin_with_several_messages_and_words_of_its_own():
    model = scripted("Hi", "Ho")
    agent = Agent("a", instructions="Be brief.")
    more = (UserMessage("One"), AssistantMessage("Two"))
    async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
        session = await runtime.open(agent)
        turn = await runtime.start(
            session, TurnRequest("Three", options=TurnOptions(instructions="Rhyme."), input=more)
        )
        await turn.result()
        await (await runtime.start(session, "Four")).result()
        history = await runtime.sessions.messages_at("", session.id, turn.message_id)

    assert model.requests[0].messages == (SystemMessage("Be brief.\n\nRhyme."), *more, UserMessage("Three"))
    assert model.requests[1].messages[0] == SystemMessage("Be brief.")
    assert history == (*more, UserMessage("Three"), AssistantMessage("Hi"))


async def test_who_only_approves_is_asked_no_questions():
    model = scripted(call("inquire"), "ok")
    agent = Agent("a", tools=Toolset("tools", (inquire,)))
    async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
        turn = await runtime.start(await runtime.open(agent), TurnRequest("Hi", audience=Audience.CLIENT))
        await turn.result()

    assert "nobody is here to answer" in model.requests[1].messages[-1].content


@pytest.mark.parametrize(("most", "made", "offered"), [(0, 0, [0, 0, 0]), (1, 1, [1, 0, 0]), (9, 3, [1, 1, 1])])
async def test_a_request_may_bound_the_calls_and_is_answered(most, made, offered):
    model = scripted((call("look"), call("look")), call("look"), "I saw it")
    agent = Agent("a", tools=Toolset("tools", (look,)))
    async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
        turn = await runtime.once(
            agent, TurnRequest(transcript=(UserMessage("Hi"),), options=TurnOptions(tool_calls=most))
        )
        events = [event async for event in turn.events()]

    outcomes = [event.outcome for event in events if isinstance(event, ToolEnded)]
    assert sorted(outcomes) == ["denied"] * (3 - made) + ["ok"] * made
    assert (events[-1].status, events[-1].text) == ("completed", "I saw it")
    assert [len(request.tools) for request in model.requests] == offered
