"""Steps: a client that keeps the conversation itself (`store: false`, as Codex) sends back calls and results in the
order of the steps, and the model is sent each step as it was before, byte for byte."""

import json
from itertools import pairwise

import pytest

from gaia_core import Agent, ToolError, Toolset, call, tool
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
            [given("a"), {"type": "reasoning", "summary": []}, given("b"), result("a"), result("b")],
            [("a",), "a", ("b",), "b"],
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


async def own_calls(serve, *answers, turns: int = 1) -> list[bytes]:
    """What a model was sent in turns of a client that keeps the conversation, in which the agent calls its own."""

    @tool(effects="read")
    async def fetch(n: int = 0) -> str:
        """Fetch."""
        if n < 0:
            raise ToolError(f"there is no {n}")
        return f"fetched {n}"

    server = await serve(*answers, agents=(Agent("a", tools=Toolset("tools", (fetch,))),))
    items: list[object] = [{"role": "user", "content": "Fetch it"}]
    async with server.sdk() as client:
        for n in range(turns):
            response = await client.responses.create(model="a", input=items, tools=[LOOK], store=False)
            items += [item.model_dump(exclude_none=True) for item in response.output]
            items += [result(item.call_id) for item in response.output if item.type == "function_call"]
            items += [{"role": "user", "content": f"And {n}?"}] * (response.output[-1].type == "message")
    return [b",".join(request.encoded) for request in server.model.requests]


@pytest.mark.parametrize(
    "steps",
    [
        (call("fetch", n=1), call("fetch", n=2)),
        (AssistantMessage("I fetch.", (call("fetch", n=1), call("fetch", n=2))), call("fetch", n=3)),
        (call("fetch", n=-1), AssistantMessage(None, (call("fetch", n=3), call("fetch", n=-2), call("nothing")))),
        (AssistantMessage("Both.", (call("fetch", n=1),)), AssistantMessage("Again.", (call("fetch", n=1),))),
        (call("fetch", n="no"), call("fetch", n=1)),
    ],
    ids=["steps", "parallel", "failures", "texts", "invalid"],
)
async def test_the_agents_own_calls_are_sent_again_as_they_were(serve, steps):
    sent = await own_calls(serve, *steps, "done", *steps, "done", "bye", turns=3)

    assert len(sent) == 2 * len(steps) + 3
    assert all(later.startswith(earlier + b",") for earlier, later in pairwise(sent))


async def test_calls_of_both_in_one_step_are_one_message_again(serve):
    """The results of the agent's own stand first: they were there before the client's."""
    both = AssistantMessage(None, (call("look"), call("fetch", n=1), call("look"), call("fetch", n=2)))
    sent = await own_calls(serve, both, call("look"), "done", turns=3)

    assert all(later.startswith(earlier + b",") for earlier, later in pairwise(sent))
    roles = [message["role"] for message in json.loads(b"[%b]" % sent[1])]
    assert roles == ["user", "assistant", "tool", "tool", "tool", "tool"]
    names = [each["function"]["name"] for each in json.loads(b"[%b]" % sent[1])[1]["tool_calls"]]
    assert names == ["look", "fetch", "look", "fetch"]
