"""A model's reasoning is sent back with the calls that it led to, within the turn, under the field in which it came."""

import pytest

from gaia_core import Agent, Catalog, ModelSpec, Runtime, Toolset, call, tool
from gaia_core.facts import Answered, Began, Done
from gaia_core.messages import AssistantMessage, ToolMessage, Usage, UserMessage, wire_bytes
from gaia_core.models import Endpoint, EndpointConfig
from gaia_core.testing import QuirkyEndpoint
from gaia_core.turn import Transcript, TurnRequest, size
from gaia_core.turn.context._context_window import messages_for

THOUGHT = AssistantMessage("I look.", (call("look"),), reasoning_content="Let me see.")


class Opened:
    def __init__(self, url: str, send: str) -> None:
        self.config = EndpointConfig(url=url, model="m", retries=0, send_reasoning=send)

    def __call__(self) -> Endpoint:
        return Endpoint(self.config)


@tool(effects="read")
async def look() -> str:
    """Look."""
    return "seen"


async def bodies(quirk: str, send: str, *requests: TurnRequest, answers: tuple) -> list[list[dict]]:
    """The messages of each request, of turns one after another."""
    agent = Agent("a", tools=Toolset("t", (look,)))
    async with QuirkyEndpoint(quirk, *answers) as server:
        catalog = Catalog.of(agent, models={"local": ModelSpec("local", open=Opened(server.url, send))})
        async with Runtime(catalog) as runtime:
            session = await runtime.open("a")
            for request in requests:
                await (await runtime.start(session, request)).result()
        return [body["messages"] for body in server.requests]


def thoughts(messages: list[dict]) -> list[dict]:
    return [
        {key: value for key, value in message.items() if key.startswith("reasoning")}
        for message in messages
        if message["role"] == "assistant"
    ]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_it_is_sent_back_under_its_field_within_the_turn_and_not_after_it(field):
    quirk = "plain" if field == "reasoning_content" else "reasoning-only"
    answers = (THOUGHT, THOUGHT, "Done.", "Bye.")
    first, second, third, later = await bodies(
        quirk, "as_received", TurnRequest("1"), TurnRequest("2"), answers=answers
    )

    assert thoughts(first) == []
    assert thoughts(second) == [{field: "Let me see."}]
    assert thoughts(third) == [{field: "Let me see."}] * 2
    assert third[: len(second)] == second
    assert thoughts(later) == [{}] * 3


@pytest.mark.parametrize(
    ("send", "expected"), [("off", {}), ("reasoning", {"reasoning": "Let me see."}), ("as_received", None)]
)
async def test_a_model_may_have_it_in_another_field_or_not_at_all(send, expected):
    _, second = await bodies("plain", send, TurnRequest("1"), answers=(THOUGHT, "Done."))

    assert thoughts(second) == [{"reasoning_content": "Let me see."} if expected is None else expected]


async def test_of_a_clients_transcript_that_of_the_last_loop_is_sent():
    old = AssistantMessage(None, (call("look"),), reasoning_content="old")
    new = AssistantMessage(None, (call("look"),), reasoning_content="new", reasoning_field="reasoning")
    transcript = (
        UserMessage("1"),
        old,
        ToolMessage("seen", ""),
        AssistantMessage("Done."),
        UserMessage("2"),
        new,
        ToolMessage("seen", ""),
        UserMessage("Attached to the result"),
    )
    (messages,) = await bodies("plain", "as_received", TurnRequest(transcript=transcript), answers=("Done.",))

    assert thoughts(messages) == [{}, {}, {"reasoning": "new"}, {}]


async def test_what_a_client_sent_as_two_messages_in_a_row_keeps_it_as_one():
    made = AssistantMessage(None, (call("look"),), reasoning_content="why")
    transcript = (UserMessage("1"), AssistantMessage("I look."), made, ToolMessage("seen", ""))
    (messages,) = await bodies("plain", "as_received", TurnRequest(transcript=transcript), answers=("Done.",))

    assert thoughts(messages) == [{"reasoning_content": "why"}]


def test_half_a_surrogate_pair_in_it_is_mended():
    sent = wire_bytes(AssistantMessage("a", reasoning_content="\ud83d"), reasoning=True)

    assert sent.decode() == '{"role":"assistant","content":"a","reasoning_content":"\ufffd"}'


def test_reasoning_that_is_sent_back_counts_in_the_window():
    agent, transcript = Agent("a"), Transcript()
    thought = AssistantMessage(None, (call("look"),), reasoning_content="Hm. " * 1_000)
    for seq, fact in enumerate(
        (Began("a", "", "local", UserMessage("Go on.")), Answered(1, thought, "tool_calls", Usage()))
    ):
        transcript.apply(seq, fact)
    transcript.apply(3, Done(thought.tool_calls[0].id, "look", "ok", "seen"))
    sent = sum(map(len, messages_for(agent, transcript)[1]))

    assert sent > 4_000
    assert size(agent, transcript) == pytest.approx(sent / 4, rel=0.02)
    transcript.apply(4, Answered(2, AssistantMessage("Done."), "stop", Usage()))
    transcript.apply(5, Began("a", "", "local", UserMessage("And now?")))
    assert size(agent, transcript) < 200  # it is not sent in later turns
