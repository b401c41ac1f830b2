"""`response_format` as clients see it: only JSON of that form reaches them, streamed or not, or a named error."""

import openai
import pydantic
import pytest

from gaia_core import Agent, Toolset, call, tool
from gaia_core.events import TextDelta
from gaia_core.messages import AssistantMessage
from gaia_core.models import Finished
from gaia_http import Settings


class City(pydantic.BaseModel):
    city: str
    people: int


ULM = '{"city": "Ulm", "people": 126000}'
USER = [{"role": "user", "content": "Ulm?"}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "City", "schema": City.model_json_schema()}}


@tool(effects="read")
async def look() -> str:
    """Look."""
    return "126000 people"


WITH_TOOLS = (Agent("a", tools=Toolset("t", (look,))),)


async def test_the_sdk_parses_the_answer_of_an_agent_with_tools(serve):
    server = await serve(AssistantMessage("I look.", (call("look"),)), "About 126000.", ULM, agents=WITH_TOOLS)

    async with server.sdk() as client:
        completion = await client.chat.completions.parse(model="a", messages=USER, response_format=City)

    message = completion.choices[0].message
    assert message.parsed == City(city="Ulm", people=126000)
    assert message.content == ULM  # and nothing of what was said on the way
    assert completion.usage.total_tokens > 0


async def test_the_sdk_streams_and_parses_it(serve):
    server = await serve(AssistantMessage("I look.", (call("look"),)), "About 126000.", ULM, agents=WITH_TOOLS)

    async with (
        server.sdk() as client,
        client.chat.completions.stream(model="a", messages=USER, response_format=City) as stream,
    ):
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        completion = await stream.get_final_completion()

    assert completion.choices[0].message.parsed == City(city="Ulm", people=126000)
    assert "".join(deltas) == ULM


async def test_an_answer_that_stays_wrong_is_an_error_that_is_not_retried(serve, body):
    server = await serve("wrong", "still wrong")

    status, headers, answer = await server.post(body(response_format=SCHEMA))

    assert (status, answer["error"]["code"]) == (424, "response_format_failed")
    assert headers["x-should-retry"] == "false"
    assert "is not JSON" in answer["error"]["message"]
    assert len(server.model.requests) == 2


async def test_it_is_an_error_in_a_stream_that_has_begun(serve):
    agents = (Agent("a", tools=Toolset("t", (look,))),)
    server = await serve(call("look"), "wrong", "still wrong", agents=agents)

    async with server.sdk() as client:
        chunks = await client.chat.completions.create(model="a", messages=USER, response_format=SCHEMA, stream=True)
        told = []
        with pytest.raises(openai.APIError, match="requested format"):
            told += [chunk async for chunk in chunks]

    assert not any(chunk.choices[0].delta.content for chunk in told)


async def test_a_stream_that_holds_its_text_back_says_that_it_lives(serve, upstream):
    """The form is checked when the text is whole; it can't be streamed and then be mended."""
    model = upstream(TextDelta(ULM))
    server = await serve(model=model, settings=Settings(heartbeat_seconds=0.01))

    request = {"model": "a", "messages": USER, "response_format": SCHEMA, "stream": True}
    async with server.http.post("/v1/chat/completions", json=request) as response:
        assert response.status == 200
        first = await response.content.readline()
        model.go.set()
        rest = await response.text()

    assert first == b": still here\n"
    assert '"content":"{\\"city\\": \\"Ulm\\"' in rest
    assert rest.endswith("data: [DONE]\n\n")


async def test_what_max_tokens_cut_is_given_with_its_finish_reason(serve):
    server = await serve((TextDelta('{"city": '), Finished("length")))

    async with server.sdk() as client:
        with pytest.raises(openai.LengthFinishReasonError):
            await client.chat.completions.parse(model="a", messages=USER, response_format=City, max_tokens=5)


async def test_a_limit_gives_the_same_text_streamed_or_not(serve, body):
    from gaia_core import Limits

    agents = (Agent("a", limits=Limits(steps=1)),)
    server = await serve("wrong", "wrong", agents=agents)

    _, _, answer = await server.post(body(response_format=SCHEMA))
    streamed = await server.stream(response_format=SCHEMA)

    assert (answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]) == ("wrong", "length")
    assert '"content":"wrong"' in streamed
    assert '"finish_reason":"length"' in streamed
