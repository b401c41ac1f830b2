"""Anthropic's official Python SDK: sync and async, streams, the tool runner, parsed output, tokens, errors, models."""

from collections.abc import Iterator

import anthropic
import pytest
from anthropic import beta_tool
from pydantic import BaseModel

TOLD = "I was told: the secret number is 42."
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class City(BaseModel):
    city: str
    degrees: int


@pytest.fixture
def client(server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key="unused", max_retries=0, timeout=60) as client:
        yield client


def ask(content: str, **more: object) -> dict:
    return {"model": "a", "max_tokens": 100, "messages": [{"role": "user", "content": content}], **more}


def test_the_agents_own_tool_runs_unseen(client):
    answer = client.messages.create(**ask("Tell me the secret"))

    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": TOLD}]
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 40, 10)


async def test_the_agents_own_tool_runs_unseen_in_an_asynchronous_stream(server):
    async with (
        anthropic.AsyncAnthropic(base_url=server.url, api_key="unused", max_retries=0) as client,
        client.messages.stream(**ask("Tell me the secret")) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()

    assert text == TOLD
    assert message.usage.output_tokens == 10


def test_the_tool_runner_runs_a_clients_tool(client):
    @beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"21 degrees in {city}"

    final = client.beta.messages.tool_runner(**ask("The weather?", tools=[get_weather])).until_done()

    assert final.content[-1].text == "I was told: 21 degrees in Paris."


def test_a_tools_error_and_several_blocks_come_back(client):
    first = client.messages.create(**ask("The weather?", tools=[WEATHER]))
    use = first.content[0]
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "no data", "is_error": True}
    history = [
        {"role": "user", "content": "The weather?"},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]

    last = client.messages.create(model="a", max_tokens=100, messages=history, tools=[WEATHER])

    assert (first.stop_reason, use.input) == ("tool_use", {"city": "Paris"})
    assert last.content[0].text == "I was told: no data."


def test_a_form_is_parsed(client):
    parsed = client.messages.parse(**ask("As JSON"), output_format=City)

    assert parsed.parsed_output == City(city="Paris", degrees=21)


def test_tokens_are_counted(client):
    assert client.messages.count_tokens(model="a", messages=ask("Hi")["messages"]).input_tokens > 0


def test_errors_are_the_sdks_own(client):
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(**ask("Hi") | {"model": "nobody"})
    with pytest.raises(anthropic.BadRequestError, match="the model broke"):
        client.messages.create(**ask("Please break"))

    assert (unknown.value.type, unknown.value.error_code) == ("not_found_error", "model_not_found")
    assert unknown.value.request_id.startswith("req_")


def test_a_stream_that_is_left_is_cancelled(client, server):
    with client.messages.stream(**ask("Talk forever")) as stream:
        next(iter(stream.text_stream))

    assert server.becomes_idle()


def test_the_agents_are_listed_as_models(client):
    assert [model.id for model in client.models.list()] == ["a", "gpt-6-astra"]
    assert client.models.retrieve("a").id == "a"
