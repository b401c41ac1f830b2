"""POST /v1/responses: the object and the events, what the input may be, and what is refused."""

import asyncio
import json

import pytest
from pydantic import BaseModel

from gaia_core import Agent, Context, ScriptedModel, Toolset, call, tool
from gaia_core.events import TextDelta
from gaia_core.messages import AssistantMessage, FunctionCall, SystemMessage, ToolCall, ToolMessage, UserMessage
from gaia_core.models import Finished, ModelError
from gaia_http import Settings


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


@tool(effects="read")
async def broken(ctx: Context[None]) -> str:
    """Fail."""
    raise ValueError("no")


@tool(effects="write", approval=True)
async def erase(ctx: Context[None]) -> str:
    """Erase it."""
    return "erased"


OWN = Agent("a", instructions="Be brief.", tools=Toolset("tools", (secret, broken)))


def failing(error: Exception, *first: object) -> ScriptedModel:
    """A model that says *first* and then fails."""

    async def answer(request):
        for delta in first:
            yield delta
        raise error

    return ScriptedModel(answer)


# The object and the events.


async def test_a_response_has_every_key_of_the_api(serve, ask, whole, normal, snapshot):
    server = await serve(AssistantMessage("Hello, friend", reasoning_content="Let me think"))

    status, response = await ask(server, user="u", metadata={"k": "v"}, instructions="Rhyme.")

    assert status == 200
    assert normal(whole(response)) == snapshot


async def test_a_stream_tells_each_item_from_added_to_done(serve, stream, whole, normal, snapshot):
    server = await serve(
        AssistantMessage("I look.", (call("secret"), call("broken")), reasoning_content="Where is it?"),
        "It is 42.",
        agents=(OWN,),
    )

    events = await stream(server)

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert normal(events) == snapshot
    whole(events[-1]["response"])


async def test_the_stream_ends_with_what_the_plain_answer_is(serve, ask, stream, normal):
    server = await serve(call("secret"), "It is 42.", call("secret"), "It is 42.", agents=(OWN,))

    _, plain = await ask(server)
    events = await stream(server)

    assert normal(events[-1]["response"]) == normal(plain)


async def test_own_tools_can_be_told_as_reasoning_or_not_at_all(serve, ask):
    for settings, kinds in (
        (Settings(response_tools="reasoning"), ["reasoning", "message"]),
        (Settings(show_activity="off"), ["message"]),
    ):
        server = await serve(call("secret"), "It is 42.", agents=(OWN,), settings=settings)

        _, response = await ask(server)

        assert [item["type"] for item in response["output"]] == kinds


async def test_text_streams_by_words_however_it_comes(serve, stream):
    def deltas(*texts):
        return (*(TextDelta(text) for text in texts), Finished("stop"))

    server = await serve(deltas("Hel", "lo wor", "ld, ", "how"), deltas("Hello world, how"))

    first, second = await stream(server), await stream(server)

    said = [[e["delta"] for e in events if e["type"] == "response.output_text.delta"] for events in (first, second)]
    assert said == [["Hello ", "world, ", "how"]] * 2


async def test_an_answer_cut_by_its_limit_is_incomplete(serve, stream):
    server = await serve((TextDelta("Once upon"), Finished("length")))

    events = await stream(server, max_output_tokens=2)

    response = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete"
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["output"][0]["status"] == "incomplete"
    assert server.model.requests[0].sampling.max_tokens == 2


async def test_a_failure_before_anything_was_said_is_a_status(serve, ask):
    for stream, kind, expected in ((False, "rate_limited", 429), (True, "server", 502)):
        server = await serve(failing(ModelError(kind, "not now")))

        status, answer = await ask(server, stream=stream)

        assert (status, set(answer["error"])) == (expected, {"message", "type", "param", "code"})


async def test_parallel_calls_some_to_be_approved_and_one_for_the_client(serve, stream):
    agent = Agent("a", tools=Toolset("tools", (secret, broken, erase)))
    calls = (call("secret"), call("erase"), call("look"), call("broken"), call("secret"))
    server = await serve(calls, "Done", agents=(agent,))
    tools = [{"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}]

    first = (await stream(server, tools=tools))[-1]["response"]
    (wanted,) = [item for item in first["output"] if item["type"] == "mcp_approval_request"]
    denial = {"type": "mcp_approval_response", "approval_request_id": wanted["id"], "approve": False, "reason": "no"}
    second = (await stream(server, [denial], previous_response_id=first["id"], tools=tools))[-1]["response"]
    result = {"type": "function_call_output", "call_id": second["output"][-1]["call_id"], "output": "seen"}
    third = (await stream(server, [result], previous_response_id=second["id"], tools=tools))[-1]["response"]

    kinds = [[item["type"] for item in response["output"]] for response in (first, second, third)]
    assert sorted(kinds[0]) == ["mcp_approval_request", "mcp_call", "mcp_call", "mcp_call"]
    assert kinds[1:] == [["mcp_call", "function_call"], ["message"]]
    told = [message.content for message in server.model.requests[1].messages[2:]]
    assert [words.partition(":")[0] for words in sorted(told)] == ["Denied", "Error", "seen", *["the secret is 42"] * 2]


async def test_a_failure_in_mid_stream_is_response_failed_and_an_error(serve, stream):
    server = await serve(failing(ModelError("broken_stream", "the line broke"), TextDelta("Half an ")))

    events = await stream(server)

    failed, error = events[-2:]
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": "the line broke"}
    assert error["type"] == "error"
    assert (error["code"], error["message"]) == ("model_broken_stream", "the line broke")
    assert error["error"]["message"] == "the line broke"


async def test_a_conversation_that_is_too_long_says_so_in_the_words_that_clients_act_on(serve, ask):
    server = await serve(failing(ModelError("context_length", "too long")))

    status, answer = await ask(server)
    _, begun = await ask(server, background=True)
    async with server.sdk() as client, asyncio.timeout(20):
        while (again := await client.responses.retrieve(begun["id"])).status != "failed":
            await asyncio.sleep(0.01)

    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, "input", "context_length_exceeded")
    assert (again.error.code, again.error.message) == ("context_length_exceeded", "too long")


async def test_calls_beyond_what_the_client_allows_are_not_made_and_the_answer_comes(serve, stream):
    for most, kinds in ((0, ["message"]), (1, ["mcp_call", "message"])):
        server = await serve(*([call("secret")] if most else []), "It is 42.", agents=(OWN,))

        events = await stream(server, max_tool_calls=most)

        response = events[-1]["response"]
        assert (response["status"], [item["type"] for item in response["output"]]) == ("completed", kinds)
        assert server.model.requests[-1].tools == ()


# What the model gets.


async def test_instructions_hold_for_one_response(serve, ask):
    server = await serve("Hi", "Ho", agents=(OWN,))

    _, first = await ask(server, instructions="Rhyme.")
    await ask(server, "Again", previous_response_id=first["id"])

    assert server.model.requests[0].messages[0] == SystemMessage("Be brief.\n\nRhyme.")
    assert server.model.requests[1].messages == (
        SystemMessage("Be brief."),
        UserMessage("Hi"),
        AssistantMessage("Hi"),
        UserMessage("Again"),
    )


async def test_items_become_messages_and_nothing_is_lost(serve, ask):
    server = await serve("ok", inputs=("image",))

    status, answer = await ask(
        server,
        [
            {"role": "developer", "content": "Speak German."},
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Ulm"}'},
            {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "+ line"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "done"}]},
            {"type": "mcp_call", "id": "m1", "name": "secret", "arguments": "{}", "server_label": "a", "output": "42"},
            {"type": "mcp_call", "id": "m2", "name": "secret", "arguments": "{}", "server_label": "a", "error": "gone"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It rains."}]},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "And this?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
                ],
            },
        ],
    )

    assert status == 200, answer
    system, user, calls, *results, rains, last = server.model.requests[0].messages
    assert (system, user) == (SystemMessage("Speak German."), UserMessage("Weather?"))
    assert [(each.id, each.name, each.arguments) for each in calls.tool_calls] == [
        ("c1", "weather", '{"city":"Ulm"}'),
        ("c2", "patch", '{"input":"+ line"}'),
    ]
    assert results == [  # a call behind a result is of a later step
        ToolMessage("rain", "c1"),
        ToolMessage("done", "c2"),
        AssistantMessage(None, (ToolCall("m1", FunctionCall("secret", "{}")),)),
        ToolMessage("42", "m1"),
        AssistantMessage(None, (ToolCall("m2", FunctionCall("secret", "{}")),)),
        ToolMessage('Error: "gone"', "m2", "error"),
    ]
    assert rains == AssistantMessage("It rains.")
    assert last.content[1].image_url.detail == "low"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
        ({"input": [{"role": "assistant", "content": []}, {"role": "user", "content": "x"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "hologram"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"input": [{"type": "function_call_output", "call_id": "c9", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c1", "arguments": "{}"}]}, "input[0].name"),
        ({"input": [{"type": "teleport"}]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "msg_nowhere"}]}, "input[0].id"),
        ({"input": [{"type": "compaction", "encrypted_content": "?"}]}, "input[0].encrypted_content"),
        (
            {"input": [{"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}]},
            "input[0].approval_request_id",
        ),
        ({"model": None}, "model"),
        ({"model": "nobody"}, "model"),
        ({"previous_response_id": "resp_nowhere"}, "previous_response_id"),
        ({"conversation": "conv_nowhere"}, "conversation"),
        ({"tools": [{"type": "function", "name": "no good"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools[0].parameters"),
        ({"tools": [{"type": "web_search"}, {"type": "function"}]}, "tools[1]"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        (
            {"tool_choice": {"type": "allowed_tools", "tools": [{"type": "mcp"}, {"type": "function", "name": "f"}]}},
            "tool_choice.tools[1].name",
        ),
        ({"tool_choice": {"type": "allowed_tools", "mode": "maybe", "tools": []}}, "tool_choice.mode"),
        ({"text": {"format": {"type": "poem"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": [1]}}}, "text.format.schema"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]}, "include"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"truncation": "middle"}, "truncation"),
        ({"background": True, "store": False}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
    ],
)
async def test_bad_input_is_refused_by_its_path(serve, ask, fields, param):
    server = await serve("ok")

    status, answer = await ask(server, **{"input": "Hi", **fields})

    unknown = any(word in json.dumps(fields) for word in ("nowhere", "nobody", "mcpr_"))
    assert (status, answer["error"]["param"]) == (404 if unknown else 400, param), answer
    assert not server.model.requests
    assert (await ask(server))[0] == 200


# Client tools.


async def test_a_clients_function_ends_the_response_and_its_result_goes_on(serve, ask, stream, normal, snapshot):
    server = await serve((call("secret"), call("weather", city="Ulm")), "It rains", agents=(OWN,))
    tools = [
        {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False},
        {"type": "web_search"},
    ]

    events = await stream(server, tools=tools)
    first = events[-1]["response"]
    wanted = next(item for item in first["output"] if item["type"] == "function_call")
    result = {"type": "function_call_output", "call_id": wanted["call_id"], "output": "rain"}
    status, second = await ask(server, [result], previous_response_id=first["id"], tools=tools)

    assert normal(events) == snapshot
    assert [definition.name for definition in server.model.requests[0].tools] == ["broken", "secret", "weather"]
    assert status == 200, second
    assert server.model.requests[1].messages[-2:] == (
        ToolMessage("the secret is 42", "call_1", "ok"),
        ToolMessage("rain", "call_2"),
    )
    assert second["output"][0]["content"][0]["text"] == "It rains"


async def test_a_custom_tool_takes_free_text(serve, stream):
    server = await serve(call("patch", input="+ line"))

    events = await stream(server, tools=[{"type": "custom", "name": "patch", "description": "Patch."}])

    item = events[-1]["response"]["output"][0]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "patch", "+ line")
    assert "response.custom_tool_call_input.done" in [event["type"] for event in events]


async def test_a_result_of_an_unknown_call_is_refused_after_a_stored_response_too(serve, ask):
    server = await serve("Hi")
    _, first = await ask(server)

    result = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
    status, answer = await ask(server, [result], previous_response_id=first["id"])

    assert (status, answer["error"]["param"]) == (400, "input[0].call_id")


# The official SDK.


class Capital(BaseModel):
    name: str


async def test_the_sdk_parses_a_form_and_follows_a_stream(serve):
    server = await serve('{"name": "Paris"}', '{"name": "Rome"}', "Hello there")
    async with server.sdk() as client:
        parsed = await client.responses.parse(model="a", input="Capital?", text_format=Capital)
        async with client.responses.stream(model="a", input="Capital?", text_format=Capital) as stream:
            events = [event async for event in stream]
        raw = await client.responses.with_raw_response.create(model="a", input="Hi")

    assert parsed.output_parsed == Capital(name="Paris")
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_parsed == Capital(name="Rome")
    assert raw.parse().output_text == "Hello there"
    assert raw.headers["x-request-id"]


def _called(call_id: str, **fields: str) -> dict:
    return {"type": "function_call", "call_id": call_id, "name": "look", "arguments": "{}", **fields}


def _gave(call_id: str) -> dict:
    return {"type": "function_call_output", "call_id": call_id, "output": call_id}


async def test_calls_are_grouped_by_the_steps_in_which_they_were_made(serve, ask):
    """Codex sends `call, output, call, output`; two calls with ids of one response are of one step."""
    server = await serve("ok")
    reply = f"resp_{'0' * 35}".removeprefix("resp_")
    same = [_called("c4", id=f"fc_{reply}_0"), _gave("c4"), _called("c5", id=f"fc_{reply}_1"), _gave("c5")]

    await ask(
        server,
        [
            {"role": "user", "content": "1"},
            _called("c1"),
            _gave("c1"),
            _called("c2"),
            _called("c3"),
            *map(_gave, ("c2", "c3")),
            *same,
        ],
        store=False,
    )

    steps = [
        message.tool_calls for message in server.model.requests[0].messages if isinstance(message, AssistantMessage)
    ]
    assert [[call.id for call in calls] for calls in steps] == [["c1"], ["c2", "c3"], ["c4", "c5"]]


async def test_reasoning_items_are_the_reasoning_of_their_step(serve, ask):
    server = await serve("ok")
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me see."}]}
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}

    await ask(
        server,
        [{"role": "user", "content": "1"}, thought, _called("c1"), _gave("c1"), sealed, _called("c2"), _gave("c2")],
        store=False,
    )

    said = [message for message in server.model.requests[0].messages if isinstance(message, AssistantMessage)]
    assert [message.reasoning_content for message in said] == ["Let me see.", None]
    assert b'"reasoning_content":"Let me see."' in server.model.requests[0].encoded[1]


async def test_reasoning_before_a_users_message_is_of_no_later_step(serve, ask):
    server = await serve("ok")
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me see."}]}

    await ask(server, [thought, {"role": "user", "content": "1"}, _called("c1"), _gave("c1")], store=False)

    said = [message for message in server.model.requests[0].messages if isinstance(message, AssistantMessage)]
    assert [message.reasoning_content for message in said] == [None]
