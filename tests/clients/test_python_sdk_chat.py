"""The official Python SDK on chat completions: sync and async, streams and their helpers, raw, parsed, errors."""

import json
from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from pydantic import BaseModel

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class City(BaseModel):
    city: str
    degrees: int


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="unused", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
async def aclient(server) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="unused", max_retries=0, timeout=60) as client:
        yield client


def say(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


# The agent's own tool.


def test_the_agents_own_tool_runs_unseen(client):
    answer = client.chat.completions.create(model="a", messages=say("Tell me the secret"))

    assert answer.choices[0].message.content == "I was told: the secret number is 42."
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 50


async def test_the_agents_own_tool_runs_unseen_asynchronously(aclient):
    answer = await aclient.chat.completions.create(model="a", messages=say("Tell me the secret"))

    assert answer.choices[0].message.content == "I was told: the secret number is 42."


def test_the_agents_own_tool_runs_unseen_in_a_stream(client):
    chunks = list(
        client.chat.completions.create(
            model="a", messages=say("Tell me the secret"), stream=True, stream_options={"include_usage": True}
        )
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == "I was told: the secret number is 42."
    assert all(not chunk.choices[0].delta.tool_calls for chunk in chunks[:-1])
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]].count("stop") == 1
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 50)


async def test_an_asynchronous_stream_is_read_to_its_end(aclient):
    stream = await aclient.chat.completions.create(model="a", messages=say("Tell me the secret"), stream=True)

    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == "I was told: the secret number is 42."


# The helpers for streams.


def test_the_stream_helper_puts_the_answer_together(client):
    with client.chat.completions.stream(model="a", messages=say("Tell me the secret")) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()

    assert kinds[-1] == "content.done"
    assert kinds.count("content.delta") > 1
    assert answer.choices[0].message.content == "I was told: the secret number is 42."


async def test_the_asynchronous_stream_helper_puts_a_client_tools_call_together(aclient):
    async with aclient.chat.completions.stream(model="a", messages=say("The weather?"), tools=[TOOL]) as stream:
        kinds = [event.type async for event in stream]
        answer = await stream.get_final_completion()

    assert "tool_calls.function.arguments.done" in kinds
    made = answer.choices[0].message.tool_calls[0]
    assert (made.function.name, made.function.parsed_arguments) == ("get_weather", {"city": "Paris"})


def test_the_stream_helper_parses_a_form(client):
    with client.chat.completions.stream(model="a", messages=say("As JSON"), response_format=City) as stream:
        stream.until_done()
        answer = stream.get_final_completion()

    assert answer.choices[0].message.parsed == City(city="Paris", degrees=21)


# A client's tool.


def test_a_client_tool_is_called_and_its_result_goes_back(client):
    conversation = say("What is the weather?")
    asked = client.chat.completions.create(model="a", messages=conversation, tools=[TOOL])
    made = asked.choices[0].message.tool_calls[0]

    assert asked.choices[0].finish_reason == "tool_calls"
    assert asked.choices[0].message.content is None
    assert (made.function.name, json.loads(made.function.arguments)) == ("get_weather", {"city": "Paris"})

    conversation.append(asked.choices[0].message)
    conversation.append({"role": "tool", "tool_call_id": made.id, "content": "21 degrees"})
    answer = client.chat.completions.create(model="a", messages=conversation, tools=[TOOL])

    assert answer.choices[0].message.content == "I was told: 21 degrees."


async def test_a_client_tool_is_called_in_a_stream(aclient):
    stream = await aclient.chat.completions.create(model="a", messages=say("Weather?"), tools=[TOOL], stream=True)
    chunks = [chunk async for chunk in stream]

    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert calls[0].id
    assert calls[0].function.name == "get_weather"
    assert json.loads("".join(call.function.arguments or "" for call in calls)) == {"city": "Paris"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


# Forms.


def test_a_form_is_parsed(client):
    answer = client.chat.completions.parse(model="a", messages=say("As JSON"), response_format=City)

    assert answer.choices[0].message.parsed == City(city="Paris", degrees=21)


async def test_a_form_is_parsed_asynchronously(aclient):
    answer = await aclient.chat.completions.parse(model="a", messages=say("As JSON"), response_format=City)

    assert answer.choices[0].message.parsed == City(city="Paris", degrees=21)


# Raw.


def test_a_raw_response_has_the_request_id_and_parses(client):
    raw = client.chat.completions.with_raw_response.create(model="a", messages=say("Hi"))

    assert raw.status_code == 200
    assert raw.request_id.startswith("req_")
    assert raw.parse().choices[0].message.content == "Hello from the model."


def test_a_streaming_response_gives_lines(client):
    with client.chat.completions.with_streaming_response.create(model="a", messages=say("Hi"), stream=True) as response:
        lines = [line for line in response.iter_lines() if line]

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert lines[-1] == "data: [DONE]"


async def test_an_asynchronous_streaming_response_is_read_at_once(aclient):
    async with aclient.chat.completions.with_streaming_response.create(model="a", messages=say("Hi")) as response:
        answer = await response.parse()

    assert answer.choices[0].message.content == "Hello from the model."


# Errors.


def test_an_unknown_model_is_the_sdks_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=say("Hi"))

    assert (caught.value.code, caught.value.type) == ("model_not_found", "invalid_request_error")
    assert "nobody" in caught.value.message


def test_a_bad_request_names_the_place(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="a", messages=[{"role": "user", "content": 5}])

    assert caught.value.param == "messages[0].content"


def test_a_broken_model_is_the_sdks_error(client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="a", messages=say("Please break"))

    assert caught.value.code == "model_bad_request"


async def test_a_model_that_breaks_in_a_stream_raises_there(aclient):
    with pytest.raises(openai.APIError, match="the model broke, as it was asked"):
        async for _ in await aclient.chat.completions.create(model="a", messages=say("Please break"), stream=True):
            pass


# Cancelling.


def test_closing_a_stream_cancels_its_turn(client, server):
    with client.chat.completions.create(model="a", messages=say("Talk forever"), stream=True) as stream:
        assert any(chunk.choices[0].delta.content for chunk in stream)
        assert server.running_turns() == 1

    assert server.becomes_idle()


async def test_leaving_an_asynchronous_stream_helper_cancels_its_turn(aclient, server):
    async with aclient.chat.completions.stream(model="a", messages=say("Talk forever")) as stream:
        async for event in stream:
            if event.type == "content.delta":
                break
        assert server.running_turns() == 1

    assert server.becomes_idle()


def test_a_client_that_gives_up_waiting_cancels_its_turn(client, server):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model="a", messages=say("Talk forever"))

    assert server.becomes_idle()


# The list of models.


def test_the_agents_are_listed_as_models(client):
    assert [model.id for model in client.models.list()] == ["a", "gpt-6-astra"]
    assert client.models.retrieve("a").id == "a"
