"""POST /v1/messages: what the client is told, in one piece and streamed, by the official SDK and on the wire."""

import asyncio
import json

import anthropic
import pytest

from gaia_core import Agent, ApprovalPolicy, Context, Limits, ScriptedModel, Toolset, call, tool
from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall, ToolMessage, Usage
from gaia_core.models import Finished, ModelError, ToolCallDelta
from gaia_http import Settings

THINKING = {"type": "enabled", "budget_tokens": 1024}
WEATHER = {"name": "weather", "description": "Tell the weather", "input_schema": {"type": "object"}}
SAY = [{"role": "user", "content": "Hi"}]


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


@tool(effects="write", approval=True)
async def wipe() -> str:
    """Delete everything."""
    return "gone"


OWN = Agent("a", tools=Toolset("tools", (secret,)))


def ask(content: object = "Hi", **fields: object) -> dict:
    return {"model": "a", "max_tokens": 100, "messages": [{"role": "user", "content": content}], **fields}


def events(stream: bytes) -> list[tuple[str, str]]:
    """The events of a raw stream: name and data of each."""
    blocks = [block.split("\n") for block in stream.decode().split("\n\n") if block]
    return [(name.removeprefix("event: "), data.removeprefix("data: ")) for name, data in blocks]


async def streamed(server: object, body: dict) -> list[tuple[str, str]]:
    async with server.http.post("/v1/messages", json={**body, "stream": True}) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return events(await response.read())


def turns(server: object) -> list:
    return server.model.requests


async def test_an_answer_has_the_shape_of_the_api(serve, post, message):
    server = await serve((ReasoningDelta("Hm."), TextDelta("Hello"), Finished("stop", Usage(5, 7, 3, 2))))

    status, headers, answer = await post(server, message())

    assert status == 200
    assert headers["request-id"] == headers["x-request-id"]
    assert answer.pop("id").startswith("msg_")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "a",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 2,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 3,
            "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 2},
        },
    }


async def test_a_stream_has_the_events_of_the_api(serve, message):
    server = await serve(
        (ReasoningDelta("Hm"), ReasoningDelta("."), TextDelta("Hel"), TextDelta("lo"), Finished("stop", Usage(5, 7)))
    )

    sent = await streamed(server, message(thinking=THINKING))

    assert [name for name, _ in sent if name != "content_block_delta"] == [
        "message_start",
        "ping",
        *["content_block_start", "content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]
    deltas = [json.loads(data) for name, data in sent if name == "content_block_delta"]
    thought = [each["delta"].get("thinking", "") for each in deltas if each["index"] == 0]
    assert "".join(thought) == "Hm."
    assert deltas[len(thought) - 1]["delta"] == {"type": "signature_delta", "signature": "gaia:reasoning"}
    assert "".join(each["delta"]["text"] for each in deltas if each["index"] == 1) == "Hello"
    assert all(json.loads(data)["type"] == name for name, data in sent)
    assert json.loads(sent[-2][1])["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert json.loads(sent[-2][1])["usage"]["output_tokens"] == 7


async def test_the_official_sdk_gets_the_same_streamed_and_whole(serve, sdk):
    answer = (ReasoningDelta("Hm."), TextDelta("Hello "), TextDelta("Ann"), Finished("stop", Usage(5, 7)))
    server = await serve(answer, answer)
    client = sdk(server)

    whole = await client.messages.create(model="a", max_tokens=9, messages=SAY, thinking=THINKING)
    async with client.messages.stream(model="a", max_tokens=9, messages=SAY, thinking=THINKING) as stream:
        texts = [text async for text in stream.text_stream]
        streamed = await stream.get_final_message()

    assert "".join(texts) == "Hello Ann"
    assert [block.model_dump(exclude_none=True) for block in whole.content] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "gaia:reasoning"},
        {"type": "text", "text": "Hello Ann"},
    ]
    left_out = {"id": True, "content": {"__all__": {"parsed_output"}}}
    assert streamed.model_dump(exclude=left_out) == whole.model_dump(exclude=left_out)


async def test_the_synchronous_sdk_takes_it(serve):
    server = await serve("Hello")

    def create() -> str:
        with anthropic.Anthropic(base_url=server.url, api_key="unused", max_retries=0) as client:
            return client.messages.create(model="a", max_tokens=9, messages=SAY).content[0].text

    assert await asyncio.to_thread(create) == "Hello"


@pytest.mark.parametrize(
    ("reason", "told"), [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal")]
)
async def test_the_stop_reason_is_the_apis(serve, post, message, reason, told):
    server = await serve((TextDelta("x"), Finished(reason)))

    _, _, answer = await post(server, message())

    assert answer["stop_reason"] == told


@pytest.mark.parametrize(("met", "told"), [("END", "stop_sequence"), ("<|im_end|>", "end_turn"), (None, "end_turn")])
async def test_a_stop_sequence_is_named_where_the_endpoint_says_which(serve, post, message, met, told):
    answer = (TextDelta("x"), Finished("stop", None, met))
    server = await serve(answer, answer)

    _, _, whole = await post(server, message(stop_sequences=["STOP", "END"]))
    sent = await streamed(server, message(stop_sequences=["STOP", "END"]))

    wanted = {"stop_reason": told, "stop_sequence": met if told == "stop_sequence" else None}
    assert {name: whole[name] for name in wanted} == wanted
    assert json.loads(sent[-2][1])["delta"] == wanted


# The client's tools.


async def test_a_client_tool_is_called_with_streamed_input_and_goes_on_with_its_result(serve, sdk):
    calls = (
        ToolCallDelta(0, "c0", "weather", '{"city": '),
        ToolCallDelta(0, "", "", '"Paris"}'),
        ToolCallDelta(1, "c1", "weather", '{"city": "Rome"}'),
        Finished("tool_calls"),
    )
    server = await serve((TextDelta("I look."), *calls), "Sunny in both")
    client = sdk(server)

    async with client.messages.stream(model="a", max_tokens=9, messages=SAY, tools=[WEATHER]) as stream:
        pieces = [event async for event in stream if event.type == "input_json"]
        first = await stream.get_final_message()
    uses = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": f"sun in {use.input['city']}"} for use in uses]
    history = [*SAY, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    last = await client.messages.create(model="a", max_tokens=9, messages=history, tools=[WEATHER])

    assert first.stop_reason == "tool_use"
    assert [block.type for block in first.content] == ["text", "tool_use", "tool_use"]
    assert [use.input for use in uses] == [{"city": "Paris"}, {"city": "Rome"}]
    assert len(pieces) >= 2
    assert len({use.id for use in uses}) == 2
    assert last.content[0].text == "Sunny in both"
    assert turns(server)[1].messages[1:] == (
        AssistantMessage(
            "I look.",
            tuple(
                ToolCall(use.id, FunctionCall("weather", json.dumps(use.input, separators=(",", ":")))) for use in uses
            ),
        ),
        ToolMessage("sun in Paris", uses[0].id),
        ToolMessage("sun in Rome", uses[1].id),
    )


async def test_call_ids_are_never_used_twice(serve, post, message):
    """Clients keep calls by their id over a whole conversation; small models call each `call_0`."""
    server = await serve(call("weather", city="Paris"), call("weather", city="Paris"))

    first = (await post(server, message(tools=[WEATHER])))[2]
    second = (await post(server, message(tools=[WEATHER])))[2]

    assert first["content"][0]["id"] != second["content"][0]["id"]


# The agent's own tools.


async def test_the_agents_own_tools_are_never_tool_use(serve, post, message):
    server = await serve(call("secret"), "It is 42", agents=(OWN,))

    _, _, answer = await post(server, message())

    assert answer["content"] == [{"type": "text", "text": "It is 42"}]
    assert answer["stop_reason"] == "end_turn"


async def test_the_agents_own_tools_are_shown_as_thinking_where_the_client_asked_for_that(serve, sdk):
    server = await serve(call("secret"), "It is 42", "Indeed", agents=(OWN,))
    client = sdk(server)

    answer = await client.messages.create(model="a", max_tokens=9, messages=SAY, thinking=THINKING)
    history = [*SAY, {"role": "assistant", "content": answer.content}, {"role": "user", "content": "Sure?"}]
    await client.messages.create(model="a", max_tokens=9, messages=history, thinking=THINKING)

    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].thinking == "→ secret()\n← the secret is 42\n"
    assert turns(server)[-1].messages[1] == AssistantMessage(
        "It is 42"
    )  # what the agent did is no thought of the model


async def test_what_is_hidden_of_a_turn_comes_back_with_the_clients_result(serve, post, message):
    server = await serve(call("secret"), call("weather"), "Sunny, 42", agents=(OWN,))

    _, _, first = await post(server, message(tools=[WEATHER]))
    (use,) = first["content"]
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "sun"}
    body = message(tools=[WEATHER])
    body["messages"] += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": [result]}]
    _, _, last = await post(server, body)

    assert (use["type"], use["name"]) == ("tool_use", "weather")
    assert last["content"] == [{"type": "text", "text": "Sunny, 42"}]
    told = turns(server)[-1].messages
    assert [type(each).__name__ for each in told[1:]] == [
        "AssistantMessage",
        "ToolMessage",
        "AssistantMessage",
        "ToolMessage",
    ]
    assert told[2].content == "the secret is 42"


async def test_a_call_that_needs_approval_is_denied(serve, post, message):
    agent = Agent("a", tools=Toolset("tools", (wipe,)), approvals=ApprovalPolicy())
    server = await serve(call("wipe"), "I may not", agents=(agent,))

    _, _, answer = await post(server, message(thinking=THINKING))

    assert "Denied" in answer["content"][0]["thinking"]
    assert answer["content"][1] == {"type": "text", "text": "I may not"}


async def test_text_of_several_steps_is_paragraphs_of_one_block(serve, post, message):
    steps = ((TextDelta("I look."), ToolCallDelta(0, "c", "secret", "{}"), Finished("tool_calls")), "It is 42")
    server = await serve(*steps, *steps, agents=(OWN,))

    _, _, whole = await post(server, message())
    sent = await streamed(server, message())

    assert whole["content"] == [{"type": "text", "text": "I look.\n\nIt is 42"}]
    deltas = [json.loads(data) for name, data in sent if name == "content_block_delta"]
    assert "".join(each["delta"]["text"] for each in deltas) == "I look.\n\nIt is 42"
    assert {each["index"] for each in deltas} == {0}


async def test_a_form_is_the_whole_answer(serve, sdk):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    server = await serve(call("secret"), '{"n": 42}', agents=(OWN,))

    answer = await sdk(server).messages.create(
        model="a",
        max_tokens=9,
        messages=SAY,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )

    assert [block.text for block in answer.content] == ['{"n": 42}']


# Failures, and clients that leave.


async def test_a_failure_before_the_first_token_has_its_status_and_type(serve, sdk):
    def fail(request):
        raise ModelError("overloaded", "too much")

    server = await serve(ScriptedModel(fail))

    with pytest.raises(anthropic.APIStatusError) as failed:
        await sdk(server).messages.create(model="a", max_tokens=9, messages=SAY)

    assert failed.value.status_code == 503
    assert failed.value.type == "overloaded_error"
    assert failed.value.request_id == failed.value.body["request_id"]


async def test_a_failure_in_a_stream_is_an_error_event_and_nothing_follows(serve, sdk, message):
    class Breaks:
        async def stream(self, request):
            yield (TextDelta("par"),)
            await asyncio.wait_for(told.wait(), 10)
            raise ModelError("broken_stream", "the line broke")
            yield

    told = asyncio.Event()
    server = await serve(model=Breaks())

    async def read() -> None:
        async with sdk(server).messages.stream(model="a", max_tokens=9, messages=SAY) as stream:
            async for event in stream:
                if event.type == "text":
                    told.set()

    with pytest.raises(anthropic.APIStatusError, match="the line broke"):
        await read()
    told.clear()
    async with server.http.post("/v1/messages", json=message(stream=True)) as response:
        begin = await response.content.readuntil(b"par")
        told.set()
        sent = events(begin + await response.content.read())

    assert sent[-1][0] == "error"
    error = json.loads(sent[-1][1])
    assert error["type"] == "error"
    assert error["error"]["type"] == "api_error"
    assert error["request_id"].startswith("req_")
    assert "message_stop" not in [name for name, _ in sent]


async def test_a_silent_stream_is_kept_open_by_pings(serve, upstream):
    model = upstream(None)
    server = await serve(model=model, settings=Settings(heartbeat_seconds=0.01))

    body = ask(stream=True)
    async with server.http.post("/v1/messages", json=body) as response:
        read = await response.content.readuntil(b"\n\n")
        model.go.set()
        rest = await response.content.read()

    assert read == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert b"event: message_stop" in rest


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_its_turn(serve, upstream, stream):
    model = upstream()
    server = await serve(model=model)

    asked = asyncio.create_task(server.http.post("/v1/messages", json=ask(stream=stream)).__aenter__())
    await model.began.wait()
    if stream:
        (await asked).close()
    else:
        asked.cancel()
        await asyncio.wait((asked,))

    await asyncio.wait_for(model.closed.wait(), 10)
    assert model.connected == 0


async def test_time_that_is_up_before_anything_was_said_is_a_failure(serve, upstream, post, message):
    server = await serve(model=upstream(None), agents=(Agent("a", limits=Limits(seconds=0.01)),))

    status, _, answer = await post(server, message())

    assert (status, answer["error"]["type"]) == (504, "timeout_error")


async def test_an_idempotency_key_gives_the_same_answer_again(serve, post, message):
    server = await serve("first", "second")

    first = await post(server, message(), **{"idempotency-key": "k"})
    again = await post(server, message(), **{"idempotency-key": "k"})

    assert first[2] == again[2]
    assert len(turns(server)) == 1
