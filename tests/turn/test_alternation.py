"""What is sent is a history that strict templates take: roles alternate, and each call has its result."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core import Agent, Catalog, Runtime, ScriptedModel, Toolset, call, scripted, tool
from gaia_core.events import TextDelta
from gaia_core.facts import Edit
from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    FunctionMessage,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from gaia_core.testing import template_refusal
from gaia_core.turn import TurnRequest
from gaia_core.turn.context._context_window import messages_for
from gaia_core.turn.context._transcript import Transcript

AGENT = Agent("a", instructions="Be kind.")
CALLED = AssistantMessage(None, (ToolCall("c1", FunctionCall("read", "{}")),))


def sent(*messages: Message) -> list[dict]:
    _, encoded = messages_for(AGENT, Transcript(messages))
    return [json.loads(each) for each in encoded]


def roles(*messages: Message) -> list[str]:
    return [message["role"] for message in sent(*messages)]


def test_a_later_system_text_is_in_the_next_user_message():
    shown = sent(UserMessage("1"), AssistantMessage("2"), SystemMessage("Be brief."), UserMessage("3"))

    assert [message["content"] for message in shown] == [
        "Be kind.",
        "1",
        "2",
        "<system>\nBe brief.\n</system>\n\n3",
    ]


def test_leading_system_texts_are_one_message_at_the_front():
    shown = sent(SystemMessage("Be brief."), DeveloperMessage("Say please."), UserMessage("1"))

    assert shown == [
        {"role": "system", "content": "Be kind.\n\nBe brief.\n\nSay please."},
        {"role": "user", "content": "1"},
    ]


def test_a_developer_text_at_the_end_is_a_users_message():
    assert roles(UserMessage("1"), AssistantMessage("2"), DeveloperMessage("3")) == [
        "system",
        "user",
        "assistant",
        "user",
    ]


def test_two_user_messages_in_a_row_are_one_with_all_their_parts():
    shown = sent(UserMessage((TextPart("context"),)), UserMessage("question"))

    assert shown[1:] == [
        {"role": "user", "content": [{"type": "text", "text": "context"}, {"type": "text", "text": "question"}]}
    ]


def test_an_assistants_message_stands_between_results_and_a_user():
    assert roles(UserMessage("1"), CALLED, ToolMessage("r", "c1"), UserMessage("2")) == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]


def test_a_call_whose_result_was_deleted_has_one_again():
    there = Transcript((UserMessage("1"), CALLED, ToolMessage("r", "c1"), AssistantMessage("2"), UserMessage("3")))
    result = there.entries[2]
    _, encoded = messages_for(AGENT, there.edited((Edit(result.seq, result.digest, 0, None),)))
    shown = [json.loads(each) for each in encoded]

    assert template_refusal(shown) is None
    assert shown[3]["content"].startswith("The call was interrupted")


@pytest.mark.parametrize(
    "messages",
    [
        (AssistantMessage("Welcome"), UserMessage("Hi")),
        (UserMessage("Hi"), AssistantMessage("1"), AssistantMessage("2")),
        (UserMessage("Hi"), AssistantMessage("")),
        (UserMessage("Hi"), ToolMessage("of no call", "c9")),
        (UserMessage("Hi"), CALLED, UserMessage("2"), ToolMessage("late", "c1")),
        (UserMessage("Hi"), FunctionMessage("r", "read")),
        (SystemMessage("Only that."),),
    ],
)
def test_what_is_odd_is_sent_in_a_form_that_is_taken(messages):
    assert template_refusal(sent(*messages)) is None


_MESSAGES = st.lists(
    st.sampled_from(
        (
            UserMessage("u"),
            SystemMessage("s"),
            DeveloperMessage("d"),
            AssistantMessage("a"),
            AssistantMessage(None),
            CALLED,
            AssistantMessage("b", (*CALLED.tool_calls, ToolCall("c2", FunctionCall("read", "path=a.txt")))),
            ToolMessage("r1", "c1"),
            ToolMessage("r2", "c2"),
            FunctionMessage(None, "f"),
        )
    ),
    max_size=12,
)


@given(_MESSAGES)
def test_any_history_is_sent_in_a_form_that_is_taken(messages):
    assert template_refusal(sent(*messages)) is None


@given(_MESSAGES, _MESSAGES)
def test_what_was_answered_is_sent_again_as_it_was(before, after):
    asked = sent(UserMessage("0"), *before)
    longer = sent(UserMessage("0"), *before, AssistantMessage("the answer"), *after)

    if asked[-1]["role"] == "assistant":  # an assistant's message at the end goes on in the next one
        asked = asked[:-1]
    assert longer[: len(asked)] == asked


def _agent(model: ScriptedModel) -> Catalog:
    @tool(effects="read")
    async def look() -> str:
        """Look."""
        return "nothing"

    return Catalog.of(Agent("a", tools=Toolset("t", (look,))), models={"local": model})


async def test_a_partial_answer_is_part_of_the_next_request_and_marked():
    model = scripted("It was a dark and stormy night.", "Yes.")
    async with Runtime(_agent(model)) as runtime:
        session = await runtime.open("a")
        turn = await runtime.start(session, "Tell me a story.")
        shown = ""
        async for event in turn.events():
            if isinstance(event, TextDelta) and not shown:
                shown = event.text
                await turn.cancel()
        await (await runtime.start(session, "Was it dark?")).result()

    messages = model.requests[1].messages
    assert [type(message).__name__ for message in messages] == ["UserMessage", "AssistantMessage", "UserMessage"]
    assert shown
    assert messages[1].content.startswith(shown)
    assert messages[1].content.endswith("\n\n[This answer was interrupted here.]")


async def test_a_failed_turn_leaves_a_note_and_the_next_request_begins_with_its_bytes():
    model = scripted(call("look"), object(), "Now.")  # the second answer is none: the turn fails
    async with Runtime(_agent(model)) as runtime:
        session = await runtime.open("a")
        turn = await runtime.start(session, "Look.")
        events = [event async for event in turn.events()]
        await (await runtime.start(session, TurnRequest("Again."))).result()

    assert events[-1].status == "failed"
    last, now = model.requests[-2].encoded, model.requests[-1].encoded
    assert now[: len(last)] == last
    assert [json.loads(each)["content"] for each in now[len(last) :]] == ["[No answer: the turn failed.]", "Again."]
