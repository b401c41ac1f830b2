"""POST /v1/responses/input_tokens: a count of what a response would be asked, without asking."""

import pytest
from openai import BadRequestError, NotFoundError

from gaia_core import Agent, Context, ScriptedModel, Toolset, tool
from gaia_core.messages import AssistantMessage, text_of
from gaia_core.models import ModelError


class Counting(ScriptedModel):
    """Says Hello, and counts words."""

    def __init__(self) -> None:
        super().__init__(lambda _request: AssistantMessage("Hello"))

    async def count(self, request):
        return sum(len(text_of(message.content).split()) for message in request.messages)


class Starting(Counting):
    async def count(self, request):
        raise ModelError("not_ready", "the model starts", retry_after=2)


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "42"


async def test_all_that_the_model_would_see_is_counted(serve):
    server = await serve(model=Counting(), agents=(Agent("a", instructions="Be brief."),))
    async with server.sdk() as client:
        first = await client.responses.create(model="a", input="One two")
        count = await client.responses.input_tokens.count(
            model="a", input="three", previous_response_id=first.id, instructions="Rhyme."
        )

    assert (count.object, count.input_tokens) == (
        "response.input_tokens",
        7,
    )
    assert count.model_extra == {}
    assert len(server.model.requests) == 1


async def test_a_conversation_is_counted_and_not_gone_on_with(serve):
    server = await serve(model=Counting())
    async with server.sdk() as client:
        conversation = await client.conversations.create(items=[{"role": "user", "content": "Remember 7"}])
        count = await client.responses.input_tokens.count(model="a", input="now", conversation=conversation.id)
        items = await client.conversations.items.list(conversation.id)

    assert count.input_tokens == 3
    assert len(items.data) == 1


async def test_an_estimate_says_that_it_is_one_and_counts_tools(serve):
    agents = Agent("a"), Agent("b", tools=Toolset("own", (secret,)))
    server = await serve("never", agents=agents)
    async with server.sdk() as client:
        plain, own = [await client.responses.input_tokens.count(model=name, input="Hi") for name in ("a", "b")]
        theirs = await client.responses.input_tokens.count(
            model="a", input="Hi", tools=[{"type": "function", "name": "f", "parameters": {}, "strict": False}]
        )

    assert plain.model_extra == {"x_gaia": {"estimated": True}}
    assert plain.input_tokens < min(own.input_tokens, theirs.input_tokens)


async def test_what_can_not_be_counted_is_said_in_the_envelope(serve):
    server = await serve(model=Starting())
    async with server.sdk() as client:
        with pytest.raises(NotFoundError, match="no response 'resp_x'"):
            await client.responses.input_tokens.count(model="a", input="x", previous_response_id="resp_x")
        with pytest.raises(BadRequestError, match="input is missing"):
            await client.responses.input_tokens.count(model="a")
    async with server.http.post("/v1/responses/input_tokens", json={"model": "a", "input": "x"}) as reply:
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
        assert (await reply.json())["error"]["code"] == "model_not_ready"
