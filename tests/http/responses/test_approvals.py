"""A call that needs approval ends the response; the answer goes on with the turn, as the next response."""

import json

import pytest

from gaia_core import Agent, ApprovalPolicy, Context, Toolset, call, scripted, tool


@tool(effects="write", approval=True)
async def wipe(ctx: Context[None], what: str) -> str:
    """Wipe it."""
    return f"wiped {what}"


@tool(effects="read")
async def look(ctx: Context[None]) -> str:
    """Look."""
    return "seen"


@tool(effects="read")
async def inquire(ctx: Context[None]) -> str:
    """Ask the user."""
    return await ctx.ask("Which?", ("a", "b"))


@pytest.fixture(name="serve")
def serve_(recorded):
    return recorded


AGENT = Agent("a", tools=Toolset("tools", (wipe, look, inquire)))


def asked(response: dict) -> list[dict]:
    return [item for item in response["output"] if item["type"] == "mcp_approval_request"]


def answer(item: dict, approve: bool = True, **fields: object) -> dict:
    return {"type": "mcp_approval_response", "approval_request_id": item["id"], "approve": approve, **fields}


async def test_a_response_ends_with_the_request_and_the_next_goes_on(serve, stream, normal, whole, snapshot):
    server = await serve((call("wipe", what="x"), call("look")), "All gone", agents=(AGENT,))

    first = await stream(server)
    (item,) = asked(first[-1]["response"])
    second = await stream(server, [answer(item)], previous_response_id=first[-1]["response"]["id"])

    assert first[-1]["type"] == "response.completed"
    assert [(e["type"], e["sequence_number"]) for e in second] == [
        (e["type"], number) for number, e in enumerate(second)
    ]
    assert normal([first, second]) == snapshot
    assert whole(second[-1]["response"])["previous_response_id"] == first[-1]["response"]["id"]


async def test_both_are_told_again_as_they_were(serve, stream, parsed):
    server = await serve((call("wipe", what="x"), call("look")), "All gone", agents=(AGENT,))
    first = await stream(server)
    second = await stream(server, [answer(asked(first[-1]["response"])[0])], metadata={"k": "v"})

    for events in (first, second):
        response = events[-1]["response"]
        async with server.http.get(f"/v1/responses/{response['id']}") as reply:
            assert await reply.json() == response
        async with server.http.get(f"/v1/responses/{response['id']}?stream=true") as reply:
            assert parsed(await reply.text()) == events
    assert second[-1]["response"]["metadata"] == {"k": "v"}


async def test_no_is_told_to_the_model_with_its_reason(serve, ask):
    server = await serve(call("wipe", what="x"), "As you like", agents=(AGENT,))
    _, first = await ask(server)

    status, second = await ask(server, [answer(asked(first)[0], approve=False, reason="too risky")])

    assert status == 200, second
    assert [item["type"] for item in second["output"]] == ["mcp_call", "message"]
    assert second["output"][0]["status"] == "failed"
    assert "too risky" in server.model.requests[1].messages[-1].content


async def test_several_are_answered_together(serve, ask):
    server = await serve((call("wipe", what="x"), call("wipe", what="y")), "Done", agents=(AGENT,))
    _, first = await ask(server)
    one, two = asked(first)

    status, refused = await ask(server, [answer(one)])
    assert (status, refused["error"]["code"]) == (400, "approval_missing")
    assert two["id"] in refused["error"]["message"]

    status, second = await ask(server, [answer(one, approve=False), answer(two)])
    assert status == 200, second
    assert sorted(item["status"] for item in second["output"]) == ["completed", "completed", "failed"]


async def test_one_after_the_other_makes_a_chain_of_responses(serve, ask):
    server = await serve(call("wipe", what="x"), call("wipe", what="y"), "Done", "Bye", agents=(AGENT,))

    _, first = await ask(server)
    _, second = await ask(server, [answer(asked(first)[0])])
    _, third = await ask(server, [answer(asked(second)[0])], previous_response_id=second["id"])
    status, fourth = await ask(server, "Thanks", previous_response_id=third["id"])

    assert [len(asked(each)) for each in (first, second, third)] == [1, 1, 0]
    assert [each["usage"]["output_tokens"] for each in (first, second, third)] == [1, 1, 1]
    assert status == 200, fourth


async def test_an_answer_is_taken_once(serve, ask):
    server = await serve(call("wipe", what="x"), "Done", agents=(AGENT,))
    _, first = await ask(server)
    item = asked(first)[0]
    await ask(server, [answer(item)])

    status, again = await ask(server, [answer(item)])

    assert (status, again["error"]["code"]) == (400, "approval_answered")


async def test_a_transcript_with_an_old_answer_is_a_transcript(serve, ask):
    server = await serve(call("wipe", what="x"), "Done", "Bye", agents=(AGENT,))
    question = {"role": "user", "content": "Wipe x"}
    _, first = await ask(server, [question])
    history = [question, *first["output"], answer(asked(first)[0])]
    _, second = await ask(server, history)

    status, third = await ask(server, [*history, *second["output"], {"role": "user", "content": "Thanks"}])

    assert status == 200, third
    assert [type(each).__name__ for each in server.model.requests[2].messages] == [
        "UserMessage",
        "AssistantMessage",
        "ToolMessage",
        "AssistantMessage",
        "UserMessage",
    ]


async def test_who_goes_on_without_an_answer_leaves_the_call_undone(serve, ask):
    server = await serve(call("wipe", what="x"), "Never mind", agents=(AGENT,))
    _, first = await ask(server)

    status, second = await ask(server, "Forget it", previous_response_id=first["id"])

    assert status == 200, second
    assert "interrupted" in server.model.requests[1].messages[-3].content


@pytest.mark.parametrize("store", [True, False])
async def test_a_tools_question_finds_nobody(serve, ask, store):
    server = await serve(call("inquire"), "ok", agents=(AGENT,))

    status, _ = await ask(server, store=store)

    assert status == 200
    assert "nobody is here to answer" in server.model.requests[1].messages[-1].content


async def test_without_a_store_nobody_can_approve(serve, ask):
    server = await serve(call("wipe", what="x"), "ok", agents=(AGENT,))

    _, response = await ask(server, store=False)

    assert [item["type"] for item in response["output"]] == ["mcp_call", "message"]
    assert "nobody is here to give it" in server.model.requests[1].messages[-1].content


async def test_an_expired_approval_is_refused_by_name(serve, ask):
    agent = Agent("a", tools=AGENT.tools, approvals=ApprovalPolicy(timeout=0.01))
    server = await serve(call("wipe", what="x"), "Nobody came", agents=(agent,))
    _, first = await ask(server)
    session = server.runtime.running_turns
    for _, turn in session:
        await turn.result()

    status, late = await ask(server, [answer(asked(first)[0])])

    assert (status, late["error"]["code"]) == (400, "approval_answered")


async def test_an_approval_outlives_the_process(serve, ask):
    first_server = await serve(call("wipe", what="x"), agents=(AGENT,))
    _, first = await ask(first_server)
    await first_server.stop()

    server = await serve(model=scripted("All gone"), agents=(AGENT,))
    status, second = await ask(server, [answer(asked(first)[0])], previous_response_id=first["id"])

    assert status == 200, second
    assert [item["type"] for item in second["output"]] == ["mcp_call", "message"]
    assert second["output"][0]["output"] == "wiped x"
    async with server.http.get(f"/v1/responses/{first['id']}") as reply:
        assert await reply.json() == first


async def test_an_answer_for_an_agent_that_has_changed_is_asked_again(serve, ask):
    before = await serve(call("wipe", what="x"), agents=(AGENT,))
    _, first = await ask(before)
    await before.stop()

    changed = Agent("a", instructions="Another one.", tools=AGENT.tools)
    server = await serve(model=scripted("All gone"), agents=(changed,))
    status, second = await ask(server, [answer(asked(first)[0])], previous_response_id=first["id"])
    assert status == 200, second
    (again,) = asked(second)
    stale, late = await ask(server, [answer(asked(first)[0])])
    status, third = await ask(server, [answer(again)], previous_response_id=second["id"])

    assert again["id"] != asked(first)[0]["id"]
    assert [item["type"] for item in second["output"]] == ["mcp_approval_request"], "nothing has run"
    assert (stale, late["error"]["code"]) == (400, "approval_answered")
    assert status == 200, third
    assert [item["type"] for item in third["output"]] == ["mcp_call", "message"]


async def test_what_can_not_be_seen_is_written_out_in_the_request_and_runs_as_it_is(serve, ask):
    server = await serve(call("wipe", what="a\u200b\U000e0041\rb"), "Done", agents=(AGENT,))

    _, first = await ask(server)
    item = asked(first)[0]
    _, second = await ask(server, [answer(item)])

    assert item["arguments"] == '{"what":"a\\u200b\\udb40\\udc41\\rb"}'
    assert json.loads(item["arguments"]) == {"what": "a\u200b\U000e0041\rb"}
    assert second["output"][0]["output"] == "wiped a\u200b\U000e0041\rb"
