"""The official Python SDK on Responses: sync and async, streams and their helpers, raw, parsed, stored, cancelled."""

from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from pydantic import BaseModel

TOLD = "I was told: the secret number is 42."
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class City(BaseModel):
    city: str
    degrees: int


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=server.base_url, api_key="unused", max_retries=0, timeout=60, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
async def aclient(server) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="unused", max_retries=0, timeout=60) as client:
        yield client


def test_the_agents_own_tool_is_shown_as_a_call_of_its_server(client):
    answer = client.responses.create(model="a", input="Tell me the secret")

    assert [item.type for item in answer.output] == ["mcp_call", "message"]
    assert (answer.output[0].name, answer.output[0].output) == ("secret", "the secret number is 42")
    assert answer.output_text == TOLD
    assert (answer.status, answer.usage.total_tokens) == ("completed", 50)


async def test_a_stream_is_read_to_its_end(aclient):
    stream = await aclient.responses.create(model="a", input="Tell me the secret", stream=True)
    events = [event async for event in stream]

    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TOLD
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"


def test_the_stream_helper_puts_the_answer_together(client):
    with client.responses.stream(model="a", input="Tell me the secret") as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()

    assert kinds.count("response.output_text.done") == 1
    assert answer.output_text == TOLD


async def test_the_asynchronous_stream_helper_parses_a_form(aclient):
    async with aclient.responses.stream(model="a", input="As JSON", text_format=City) as stream:
        answer = await stream.get_final_response()

    assert answer.output_parsed == City(city="Paris", degrees=21)


def test_a_form_is_parsed(client):
    answer = client.responses.parse(model="a", input="As JSON", text_format=City)

    assert answer.output_parsed == City(city="Paris", degrees=21)


def test_a_client_tool_is_called_and_its_result_goes_on_from_the_stored_response(client):
    asked = client.responses.create(model="a", input="How is the weather?", tools=[TOOL])
    (made,) = asked.output

    assert (made.type, made.name, made.arguments) == ("function_call", "get_weather", '{"city":"Paris"}')

    result = {"type": "function_call_output", "call_id": made.call_id, "output": "21 degrees"}
    answer = client.responses.create(model="a", previous_response_id=asked.id, input=[result], tools=[TOOL])

    assert answer.output_text == "I was told: 21 degrees."


def test_a_stored_response_is_retrieved_listed_and_deleted(client):
    made = client.responses.create(model="a", input="Hi")

    assert client.responses.retrieve(made.id) == made
    assert [item.type for item in client.responses.input_items.list(made.id)] == ["message"]

    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_stored_response_is_streamed_again_from_a_place(client):
    made = list(client.responses.create(model="a", input="Tell me the secret", stream=True))

    again = list(client.responses.retrieve(made[0].response.id, stream=True, starting_after=3))

    assert again == made[4:]


def test_a_raw_response_has_the_request_id_and_parses(client):
    raw = client.responses.with_raw_response.create(model="a", input="Hi")

    assert raw.request_id.startswith("req_")
    assert raw.parse().output_text == "Hello from the model."


def test_a_streaming_response_gives_lines(client):
    with client.responses.with_streaming_response.create(model="a", input="Hi", stream=True) as response:
        lines = [line for line in response.iter_lines() if line]

    assert lines[0] == "event: response.created"
    assert lines[-1] == "data: [DONE]"


def test_errors_are_the_sdks_own(client):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.responses.create(model="nobody", input="Hi")
    with pytest.raises(openai.BadRequestError) as bad:
        client.responses.create(model="a", input=5)
    with pytest.raises(openai.NotFoundError) as lost:
        client.responses.create(model="a", input="Hi", previous_response_id="resp_nowhere")

    assert unknown.value.code == "model_not_found"
    assert bad.value.param == "input"
    assert lost.value.code == "previous_response_not_found"


async def test_a_model_that_breaks_in_a_stream_shows_there(aclient):
    with pytest.raises(openai.APIError, match="the model broke, as it was asked"):
        async for _ in await aclient.responses.create(model="a", input="Please break", stream=True):
            pass


def test_leaving_a_stream_cancels_its_turn(client, server):
    with client.responses.create(model="a", input="Talk forever", stream=True) as stream:
        assert any(event.type == "response.output_text.delta" for event in stream)
        assert server.running_turns() == 1

    assert server.becomes_idle()


async def test_a_response_in_the_background_is_cancelled_by_its_id(aclient, server):
    made = await aclient.responses.create(model="a", input="Talk forever", background=True)
    cancelled = await aclient.responses.cancel(made.id)

    assert made.status in ("queued", "in_progress")
    assert cancelled.status == "cancelled"
    assert server.becomes_idle()
