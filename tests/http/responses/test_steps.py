"""Steps: a client that keeps the conversation itself (`store: false`, as Codex) sends back calls and results in the
order of the steps, and the model is sent each step as it was before, byte for byte."""

from itertools import pairwise

import pytest

from gaia_core import call
from gaia_core.messages import AssistantMessage, ToolMessage

STEPS = 20
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(name="serve")
def serve_(recorded):
    return recorded


def given(call_id: str) -> dict:
    return {"type": "function_call", "call_id": call_id, "name": "look", "arguments": "{}"}


def result(call_id: str) -> dict:
    return {"type": "function_call_output", "call_id": call_id, "output": f"result of {call_id}"}


def shape(request) -> list[object]:
    """Of each message its calls' ids, the id that it answers, or its text."""
    found: list[object] = []
    for message in request.messages:
        if isinstance(message, AssistantMessage) and message.tool_calls:
            found.append(tuple(each.id for each in message.tool_calls))
        else:
            found.append(message.tool_call_id if isinstance(message, ToolMessage) else message.content)
    return found


async def test_each_request_of_a_client_that_keeps_the_conversation_begins_with_the_last_one(serve):
    server = await serve(*[call("look")] * STEPS, "done")
    items: list[object] = [{"role": "user", "content": "Look around"}]
    async with server.sdk() as client:
        for _ in range(STEPS + 1):
            response = await client.responses.create(model="a", input=items, tools=[LOOK], store=False)
            items += [item.model_dump(exclude_none=True) for item in response.output]
            items += [result(item.call_id) for item in response.output if item.type == "function_call"]

    sent = [b",".join(request.encoded) for request in server.model.requests]
    assert len(sent) == STEPS + 1
    assert all(later.startswith(earlier + b",") for earlier, later in pairwise(sent))


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([given("a"), result("a"), given("b"), result("b")], [("a",), "a", ("b",), "b"]),
        ([given("a"), given("b"), result("a"), result("b")], [("a", "b"), "a", "b"]),
        (
            [given("a"), given("b"), result("b"), result("a"), given("c"), result("c")],
            [("a", "b"), "a", "b", ("c",), "c"],
        ),
        (
            [given("a"), result("a"), {"type": "reasoning", "summary": []}, given("b"), result("b")],
            [("a",), "a", ("b",), "b"],
        ),
    ],
)
async def test_calls_up_to_a_result_are_one_step(serve, ask, items, expected):
    server = await serve("done")
    await ask(server, input=[{"role": "user", "content": "Hi"}, *items], tools=[LOOK], store=False)

    assert shape(server.model.requests[0]) == ["Hi", *expected]


async def test_an_id_that_comes_again_in_a_later_step_is_refused(serve, ask):
    server = await serve("done")
    status, answer = await ask(server, input=[given("a"), result("a"), given("a")], tools=[LOOK], store=False)

    assert (status, answer["error"]["param"]) == (400, "input[2]")
