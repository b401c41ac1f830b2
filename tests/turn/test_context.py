"""What a model is sent of a long conversation: whole exchanges, the same bytes as before, or a summary."""

import itertools

import pytest

from gaia_core import Agent, Catalog, ModelSpec, Runtime, ScriptedModel, Toolset, call, tool
from gaia_core.agent import ContextPolicy
from gaia_core.events import ContextCompacted
from gaia_core.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage, text_of, wire_bytes
from gaia_core.models import ModelError


@tool(effects="read")
async def look(number: int) -> str:
    """Look something up."""
    return f"{number} is seen. " * 5


AGENT = Agent("a", instructions="Be brief.", tools=Toolset("t", (look,)))


# The scripted model counts words for tokens; one is some ten characters of an encoded message.
WORDS = 600


def talker(request):
    """Looks once for each question, then answers; sums up when it is asked to."""
    last = request.messages[-1]
    if "Summarize the conversation" in text_of(request.messages[0].content):
        return "They talked about numbers."
    if isinstance(last, ToolMessage):
        return f"Answer to {len(request.messages)} messages."
    return call("look", number=len(request.messages))


async def talk(agent: Agent, turns: int, model=None, **spec) -> tuple[ScriptedModel, Runtime, list]:
    model = model or ScriptedModel(talker)
    events = []
    catalog = Catalog.of(agent, models={"local": ModelSpec("local", open=lambda: model, **spec)})
    async with Runtime(catalog) as runtime:
        session = await runtime.open(agent)
        for n in range(turns):
            turn = await runtime.start(session, f"Question {n}, of some length, about a number.")
            events += [event async for event in turn.events()]
            assert turn.ended.status == "completed", turn.ended
        history = await runtime.history(session)
    return model, history, events


def words_of(request) -> int:
    return sum(len(text_of(message.content).split()) for message in request.messages)


def check_pairs(messages) -> None:
    """Every result follows its call, every call has its result."""
    waiting: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id == waiting.pop(0)
        else:
            assert not waiting
            if isinstance(message, AssistantMessage):
                waiting = [made.id for made in message.tool_calls]
    assert not waiting


async def test_the_prefix_is_the_same_bytes_from_turn_to_turn():
    model, _, _ = await talk(AGENT, 12)

    for before, after in zip(model.requests, model.requests[1:], strict=False):
        assert after.encoded[: len(before.encoded)] == before.encoded
        assert after.tools == before.tools
        assert list(after.encoded) == [wire_bytes(message) for message in after.messages]


async def test_a_conversation_that_is_too_long_is_summed_up_and_goes_on():
    agent = Agent("a", instructions="Be brief.", tools=AGENT.tools, context=ContextPolicy(tokens=WORDS))
    model, history, events = await talk(agent, 40)

    compacted = [event for event in events if isinstance(event, ContextCompacted)]
    assert 1 <= len(compacted) <= len([request for request in model.requests if request.tools]) / 5
    assert all(event.tokens_before > WORDS for event in compacted)
    asked = [request for request in model.requests if request.tools]
    for request in asked:
        check_pairs(request.messages)
        assert words_of(request) < WORDS * 1.2
    assert "They talked about numbers." in text_of(asked[-1].messages[1].content)
    assert isinstance(asked[-1].messages[0], SystemMessage)
    assert len(history) < 120  # what the next turn sees; the record has everything


async def test_between_two_summaries_the_prefix_stays_the_same_bytes():
    agent = Agent("a", tools=AGENT.tools, context=ContextPolicy(tokens=WORDS))
    model, _, events = await talk(agent, 40)
    compacted = [event for event in events if isinstance(event, ContextCompacted)]

    asked = [request for request in model.requests if request.tools]
    kept = sum(after.encoded[: len(before.encoded)] == before.encoded for before, after in itertools.pairwise(asked))
    assert kept == len(asked) - 1 - len(compacted)


async def test_without_compaction_the_newest_that_fit_are_sent():
    agent = Agent("a", tools=AGENT.tools, context=ContextPolicy(tokens=WORDS, compact=False))
    model, history, events = await talk(agent, 40)

    assert not any(isinstance(event, ContextCompacted) for event in events)
    assert len(history) == 160
    for request in model.requests:
        check_pairs(request.messages)
        assert isinstance(request.messages[0], UserMessage)
    assert text_of(model.requests[-1].messages[0].content) != "Question 0, of some length, about a number."


async def test_a_models_own_window_counts_too():
    _, _, events = await talk(AGENT, 40, window=WORDS)

    assert any(isinstance(event, ContextCompacted) for event in events)


async def test_when_no_summary_can_be_had_older_messages_are_left_out(caplog):
    def model(request):
        if not request.tools:
            raise ModelError("server", "no")
        return talker(request)

    agent = Agent("a", tools=AGENT.tools, context=ContextPolicy(tokens=WORDS))
    made, _, events = await talk(agent, 40, ScriptedModel(model))

    assert not any(isinstance(event, ContextCompacted) for event in events)
    assert "no summary could be had" in caplog.text
    assert words_of(made.requests[-1]) < WORDS * 1.2


@pytest.mark.parametrize("tokens", [None, 1_500])
async def test_what_is_sent_of_500_messages_with_tools(tokens, snapshot):
    agent = Agent("a", instructions="Be brief.", tools=AGENT.tools, context=ContextPolicy(tokens=tokens))
    model, history, _ = await talk(agent, 125)

    sent = model.requests[-1].messages
    assert (len(history) >= 500) == (tokens is None)
    check_pairs(sent)
    assert [wire_bytes(message).decode() for message in (*sent[:6], *sent[-6:])] == snapshot
