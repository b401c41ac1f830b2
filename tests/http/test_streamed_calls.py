"""A client's calls on the wire, as the official SDKs read them: streamed, refused, resumed."""

import json

import anthropic
import openai
import pytest

from gaia_core import Agent, Context, Toolset, tool
from gaia_core.events import TextDelta
from gaia_core.models import Finished, ToolCallDelta

TEXT = '{"path": "a.txt", "content": "one two three, and \\u00e9 \\ud83d\\ude00"}'
PIECES = [TEXT[at : at + 7] for at in range(0, len(TEXT), 7)]
CALL = (ToolCallDelta(0, "c1", "write", ""), *(ToolCallDelta(0, "", "", piece) for piece in PIECES))
SECOND = (ToolCallDelta(1, "c2", "write", '{"path": '), ToolCallDelta(1, "", "", '"b.txt"}'))
DONE = Finished("tool_calls")
CUT = (*CALL[:-2], DONE)

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}, "content": {"type": "string"}}}
CHAT_TOOL = {"type": "function", "function": {"name": "write", "parameters": SCHEMA}}
RESPONSES_TOOL = {"type": "function", "name": "write", "parameters": SCHEMA, "strict": False}
CUSTOM_TOOL = {"type": "custom", "name": "write"}
ANTHROPIC_TOOL = {"name": "write", "input_schema": SCHEMA}
USER = [{"role": "user", "content": "Write it."}]


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


OWN = Agent("a", tools=Toolset("tools", (secret,)))


class Gated:
    """A model that sends a call but for its end, and that when the test lets it."""

    def __init__(self, upstream) -> None:
        self._inner = upstream(*CALL[:-1])
        self.go = self._inner.go

    async def stream(self, request):
        async for batch in self._inner.stream(request):
            if type(batch[0]) is Finished:
                yield (CALL[-1],)
                yield (DONE,)
            else:
                yield batch


# Chat completions.


async def test_chat_arguments_arrive_before_the_model_has_ended(serve, upstream):
    model = Gated(upstream)
    server = await serve(model=model)
    seen = ""
    async with server.sdk() as client:
        stream = await client.chat.completions.create(model="a", messages=USER, tools=[CHAT_TOOL], stream=True)
        async for chunk in stream:
            for call in chunk.choices[0].delta.tool_calls or ():
                seen += call.function.arguments
            if seen and not model.go.is_set():
                assert TEXT.startswith(seen)
                assert len(seen) > 20
                model.go.set()
    assert seen == TEXT


@pytest.mark.parametrize("agent", [Agent("a"), OWN])
async def test_chat_deltas_add_up_to_the_calls(serve, agent):
    server = await serve((TextDelta("Now."), *CALL, *SECOND, DONE), "Written.", agents=(agent,))
    async with server.sdk() as client:
        async with client.chat.completions.stream(model="a", messages=USER, tools=[CHAT_TOOL]) as stream:
            kinds = [event.type async for event in stream]
            answer = (await stream.get_final_completion()).choices[0]
        results = [{"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in answer.message.tool_calls]
        said = [*USER, answer.message.to_dict(), *results]
        last = await client.chat.completions.create(model="a", messages=said, tools=[CHAT_TOOL])

    assert kinds.count("tool_calls.function.arguments.delta") > 5
    assert [call.function.arguments for call in answer.message.tool_calls] == [TEXT, '{"path": "b.txt"}']
    assert (answer.finish_reason, last.choices[0].message.content) == ("tool_calls", "Written.")


async def test_chat_ends_with_an_error_when_a_call_is_cut_off(serve):
    server = await serve(CUT)
    reasons = []

    async def read(client: openai.AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(model="a", messages=USER, tools=[CHAT_TOOL], stream=True)
        async for chunk in stream:
            reasons.append(chunk.choices[0].finish_reason)  # what came before the error counts

    async with server.sdk() as client:
        with pytest.raises(openai.APIError, match="cut off"):
            await read(client)
    assert len(reasons) > 3
    assert set(reasons) == {None}


async def test_an_answer_in_one_piece_still_ends_by_length(serve, body):
    server = await serve((*CALL[:-2], Finished("length")))

    status, _, answer = await server.post(body(tools=[CHAT_TOOL]))

    assert (status, answer["choices"][0]["finish_reason"]) == (200, "length")
    assert "tool_calls" not in answer["choices"][0]["message"]


async def test_the_steps_of_the_agents_own_are_restored_after_a_streamed_call(serve):
    own = (ToolCallDelta(0, "s", "secret", "{}"), DONE)
    server = await serve(own, (*CALL, DONE), "Written.", agents=(OWN,))
    async with server.sdk() as client:
        async with client.chat.completions.stream(model="a", messages=USER, tools=[CHAT_TOOL]) as stream:
            answer = (await stream.get_final_completion()).choices[0].message
        result = {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "ok"}
        await client.chat.completions.create(model="a", messages=[*USER, answer.to_dict(), result], tools=[CHAT_TOOL])

    calls = [each.id for message in server.model.requests[-1].messages for each in getattr(message, "tool_calls", ())]
    assert calls == ["s", "c1"]


# Anthropic Messages.


@pytest.fixture
async def claude(serve):
    clients = []

    async def claude(*answers: object, **options: object) -> anthropic.AsyncAnthropic:
        server = await serve(*answers, **options)
        clients.append(anthropic.AsyncAnthropic(base_url=server.url, api_key="unused", max_retries=0))
        return clients[-1]

    yield claude
    for client in clients:
        await client.close()


MESSAGE = {"model": "a", "max_tokens": 500, "messages": USER, "tools": [ANTHROPIC_TOOL]}


async def test_messages_stream_the_input_of_a_call(claude):
    client = await claude((TextDelta("Now."), *CALL, *SECOND, TextDelta("Then."), DONE))
    async with client.messages.stream(**MESSAGE) as stream:
        events = [event async for event in stream]
        message = await stream.get_final_message()

    partial = [event.partial_json for event in events if event.type == "input_json"]
    assert len(partial) > 5
    assert "".join(partial) == TEXT + '{"path": "b.txt"}'
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use", "text"]
    assert [block.input for block in message.content[1:3]] == [json.loads(TEXT), {"path": "b.txt"}]
    assert (message.content[3].text.strip(), message.stop_reason) == ("Then.", "tool_use")
    open_blocks = 0
    for event in events:
        open_blocks += {"content_block_start": 1, "content_block_stop": -1}.get(event.type, 0)
        assert open_blocks in (0, 1)


async def test_messages_end_with_an_error_when_a_call_is_cut_off(claude):
    client = await claude(CUT)
    seen = []

    async def read() -> None:
        async with client.messages.stream(**MESSAGE) as stream:
            async for event in stream:
                seen.append(event.type)  # what came before the error counts

    with pytest.raises(anthropic.APIStatusError, match="cut off"):
        await read()
    assert "input_json" in seen
    assert not {"content_block_stop", "message_delta", "message_stop"} & set(seen)


# Responses.


async def events_of(server, **fields: object) -> list[dict]:
    body = {"model": "a", "input": "Write it.", "stream": True, **fields}
    async with server.http.post("/v1/responses", json=body) as response:
        return parsed(await response.text())


def parsed(text: str) -> list[dict]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


async def again(server, response_id: str, after: int = -1) -> list[dict]:
    """The same stream from the record, from that event on."""
    query = {"stream": "true"} | ({"starting_after": str(after)} if after >= 0 else {})
    async with server.http.get(f"/v1/responses/{response_id}", params=query) as response:
        return parsed(await response.text())


PATCH = '{"input": "*** Begin \\"Patch\\" \\ud83d\\ude00 one two three four five six seven"}'
CUSTOM = (
    ToolCallDelta(0, "c1", "write", ""),
    *(ToolCallDelta(0, "", "", PATCH[at : at + 5]) for at in range(0, len(PATCH), 5)),
)
OTHER = (ToolCallDelta(1, "s", "secret", "{}"),)


@pytest.mark.parametrize(
    ("answer", "tools", "status"),
    [
        ((TextDelta("Now I write it."), *CALL, *SECOND, DONE), [RESPONSES_TOOL], "completed"),
        ((*CALL, *OTHER, DONE), [RESPONSES_TOOL], "completed"),
        ((TextDelta("Now I write it."), *CUT), [RESPONSES_TOOL], "failed"),
        (CUT, [RESPONSES_TOOL], "failed"),
        ((*CUSTOM, DONE), [CUSTOM_TOOL], "completed"),
        ((*CUSTOM[:-3], DONE), [CUSTOM_TOOL], "failed"),
    ],
    ids=["text and calls", "beside one of the agent's own", "text and cut off", "cut off", "custom", "custom, cut off"],
)
async def test_a_response_is_the_same_live_from_the_record_and_resumed(serve, answer, tools, status):
    server = await serve(answer, agents=(OWN,))

    live = await events_of(server, tools=tools)

    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    response = next(event["response"] for event in live if event["type"] == f"response.{status}")
    replayed = await again(server, response["id"])
    assert replayed == live
    for after in range(0, len(live), 3):
        assert await again(server, response["id"], after) == live[after + 1 :]


def added_up(events: list[dict]) -> dict[int, str]:
    """The deltas of calls by their item."""
    found: dict[int, str] = {}
    for event in events:
        if event["type"].endswith(("function_call_arguments.delta", "custom_tool_call_input.delta")):
            found[event["output_index"]] = found.get(event["output_index"], "") + event["delta"]
    return found


async def test_response_deltas_add_up_to_the_items(serve):
    server = await serve((*CALL, *SECOND, DONE))

    events = await events_of(server, tools=[RESPONSES_TOOL])

    assert added_up(events) == {0: TEXT, 1: '{"path": "b.txt"}'}
    output = events[-1]["response"]["output"]
    assert [item["arguments"] for item in output] == [TEXT, '{"path": "b.txt"}']
    assert [event["arguments"] for event in events if event["type"].endswith("arguments.done")] == [
        TEXT,
        '{"path": "b.txt"}',
    ]


async def test_the_free_text_of_a_custom_tool_streams(serve):
    server = await serve((*CUSTOM, DONE))

    events = await events_of(server, tools=[CUSTOM_TOOL])

    assert added_up(events) == {0: json.loads(PATCH)["input"]}
    assert sum(event["type"] == "response.custom_tool_call_input.delta" for event in events) > 3


async def test_a_refused_call_has_no_end_in_a_response(serve):
    server = await serve(CUT)

    events = await events_of(server, tools=[RESPONSES_TOOL])

    kinds = [event["type"] for event in events]
    assert "response.function_call_arguments.done" not in kinds
    (item,) = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert (item["status"], item["arguments"]) == ("incomplete", added_up(events)[0])
    assert kinds[-2:] == ["response.failed", "error"]


async def test_the_sdk_reads_a_response_whose_arguments_stream(serve, upstream):
    model = Gated(upstream)
    server = await serve(model=model)
    seen = ""
    asked = {"model": "a", "input": "Write it.", "tools": [RESPONSES_TOOL]}
    async with server.sdk() as client, client.responses.stream(**asked) as stream:
        async for event in stream:
            if event.type == "response.function_call_arguments.delta":
                seen += event.delta
                model.go.set()
        response = await stream.get_final_response()
    assert seen == response.output[0].arguments == TEXT


# A response format.

FORM = {"type": "json_schema", "json_schema": {"name": "f", "schema": {"type": "object", "required": ["a"]}}}


def formed(*texts: str) -> tuple:
    return (*map(TextDelta, texts), Finished("stop"))


async def test_a_formed_text_streams_where_the_endpoint_enforces_it(serve, claude):
    answer = formed('{"a": ', '"one ', 'two"', "}")
    server = await serve(answer, answer, formed('{"b": ', "1 }"), enforces_format=True)
    async with server.sdk() as client:
        stream = await client.chat.completions.create(model="a", messages=USER, response_format=FORM, stream=True)
        pieces = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices[0].delta.content]
        text = {"format": {"type": "json_object"}}
        async with client.responses.stream(model="a", input="Hi", text=text) as events:
            deltas = [event.delta async for event in events if event.type == "response.output_text.delta"]
        wrong = await client.chat.completions.create(model="a", messages=USER, response_format=FORM, stream=True)
        with pytest.raises(openai.APIError, match="requested format"):
            [chunk async for chunk in wrong]

    assert (len(pieces) > 2, "".join(pieces)) == (True, '{"a": "one two"}')
    assert "".join(deltas) == '{"a": "one two"}'


async def test_a_formed_message_streams_where_the_endpoint_enforces_it(claude):
    answer = formed('{"a": ', '"one ', 'two"', "}")
    client = await claude(answer, enforces_format=True)
    config = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    fields = {"model": "a", "max_tokens": 500, "messages": USER}
    async with client.messages.stream(**fields, output_config=config) as stream:
        pieces = [text async for text in stream.text_stream]

    assert (len(pieces) > 2, "".join(pieces)) == (True, '{"a": "one two"}')
