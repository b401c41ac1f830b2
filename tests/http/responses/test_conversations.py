"""Conversations: responses go on in them, their items are listed; and conversations in short."""

import pytest
from openai import NotFoundError
from openai.types.responses import CompactedResponse

from gaia_core import Agent, Context, Toolset, call, tool
from gaia_core.messages import AssistantMessage


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


@pytest.fixture(name="serve")
def serve_(recorded):
    return recorded


def texts(request) -> list[str]:
    return [message.content for message in request.messages]


async def test_responses_go_on_in_a_conversation(serve):
    server = await serve("One", "Two")
    async with server.sdk() as client:
        conversation = await client.conversations.create(
            items=[{"role": "user", "content": "Remember 7"}, {"role": "assistant", "content": "I do"}],
            metadata={"topic": "numbers"},
        )
        first = await client.responses.create(model="a", input="1", conversation=conversation.id)
        await client.responses.create(model="a", input="2", conversation={"id": conversation.id})
        items = [item async for item in client.conversations.items.list(conversation.id, order="asc", limit=2)]
        one = await client.conversations.items.retrieve(items[2].id, conversation_id=conversation.id)

    assert conversation.metadata == {"topic": "numbers"}
    assert first.conversation.id == conversation.id
    assert texts(server.model.requests[1]) == ["Remember 7", "I do", "1", "One", "2"]
    assert [item.content[0].text for item in items] == ["Remember 7", "I do", "1", "One", "2", "Two"]
    assert one == items[2]


async def test_items_are_added_and_left_out(serve):
    server = await serve("ok")
    async with server.sdk() as client:
        conversation = await client.conversations.create()
        added = await client.conversations.items.create(conversation.id, items=[{"role": "user", "content": "Hi"}])
        await client.conversations.items.delete(added.data[0].id, conversation_id=conversation.id)
        listed = await client.conversations.items.list(conversation.id)
        with pytest.raises(NotFoundError):
            await client.conversations.items.retrieve(added.data[0].id, conversation_id=conversation.id)

    assert listed.data == []


async def test_a_conversation_is_changed_and_erased(serve):
    server = await serve("One")
    async with server.sdk() as client:
        conversation = await client.conversations.create()
        changed = await client.conversations.update(conversation.id, metadata={"a": "b"})
        assert (await client.conversations.retrieve(conversation.id)).metadata == changed.metadata == {"a": "b"}
        unchanged = await client.conversations.update(conversation.id, metadata=None)
        response = await client.responses.create(model="a", input="1", conversation=conversation.id)
        deleted = await client.conversations.delete(conversation.id)
        with pytest.raises(NotFoundError):
            await client.conversations.retrieve(conversation.id)
        with pytest.raises(NotFoundError):
            await client.responses.retrieve(response.id)

    assert unchanged.metadata == {"a": "b"}
    assert deleted.deleted is True
    assert (await server.runtime.sessions.totals()).sessions == 0


async def test_a_conversation_and_a_previous_response_exclude_each_other(serve, ask):
    server = await serve("One")
    _, first = await ask(server)

    status, answer = await ask(server, conversation="conv_x", previous_response_id=first["id"])

    assert (status, answer["error"]["param"]) == (400, "conversation")


async def test_a_conversation_keeps_its_responses(serve, ask):
    server = await serve("One")
    async with server.sdk() as client:
        conversation = await client.conversations.create()

    status, answer = await ask(server, conversation=conversation.id, store=False)

    assert (status, answer["error"]["param"]) == (400, "store")


async def test_another_session_is_no_conversation(serve, ask):
    server = await serve("One")
    _, first = await ask(server)

    async with server.http.get(f"/v1/conversations/{first['id'][-32:]}") as reply:
        assert reply.status == 404


async def test_a_compaction_is_one_item_that_goes_back_in(serve, ask):
    agent = Agent("a", tools=Toolset("tools", (secret,)))
    server = await serve(call("secret"), "It is 42", "The secret is 42.", "Yes, 42", agents=(agent,))
    _, first = await ask(server, "What is it?")

    async with server.http.post(
        "/v1/responses/compact",
        json={"model": "a", "previous_response_id": first["id"], "input": "And now?", "instructions": "Keep numbers."},
    ) as reply:
        compacted = await reply.json()
    status, response = await ask(server, [*compacted["output"], {"role": "user", "content": "Sure?"}])

    CompactedResponse.model_validate(compacted)
    assert [item["type"] for item in compacted["output"]] == ["compaction"]
    assert server.model.requests[2].tools == ()
    assert "the secret is 42" in server.model.requests[2].messages[-1].content
    assert "Keep numbers." in server.model.requests[2].messages[0].content
    assert status == 200, response
    assert "The secret is 42." in server.model.requests[3].messages[0].content
    assert server.model.requests[3].messages[-1].content.endswith("\n\nSure?")


# Items that were deleted.


async def deleted(server, client, conversation, *chosen) -> list:
    """The conversation's items, after those that *chosen* names by their places were deleted."""
    items = [item async for item in client.conversations.items.list(conversation.id, order="asc")]
    for n in chosen:
        await client.conversations.items.delete(items[n].id, conversation_id=conversation.id)
    return items


BEGINNING = "[The assistant begins.]"


def told(request) -> list[str]:
    """What a model is told, as a line each; messages in a row that are sent as one are lines of their own."""
    lines = []
    for message in request.messages:
        calls = " ".join(f"{each.name}()" for each in getattr(message, "tool_calls", ()))
        lines += f"{message.content or ''}{calls}".split("\n\n")
    return [line for line in lines if line != BEGINNING]


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ((0,), ["I do", "1", "One", "2", "Two"]),
        ((1,), ["Remember 7", "1", "One", "2", "Two"]),
        ((2, 3), ["Remember 7", "I do", "2", "Two"]),
        ((5,), ["Remember 7", "I do", "1", "One", "2"]),
        (range(6), []),
    ],
)
async def test_a_deleted_item_reaches_no_model(serve, chosen, left):
    server = await serve("One", "Two", "Three", "Four")
    async with server.sdk() as client:
        conversation = await client.conversations.create(
            items=[{"role": "user", "content": "Remember 7"}, {"role": "assistant", "content": "I do"}]
        )
        for say in ("1", "2"):
            await client.responses.create(model="a", input=say, conversation=conversation.id)
        await deleted(server, client, conversation, *chosen)
        count = await client.responses.input_tokens.count(model="a", input="3", conversation=conversation.id)
        for say in ("3", "4"):
            await client.responses.create(model="a", input=say, conversation=conversation.id)
        listed = [item async for item in client.conversations.items.list(conversation.id, order="asc")]

    assert told(server.model.requests[2]) == [*left, "3"]
    assert told(server.model.requests[3]) == [*left, "3", "Three", "4"]
    assert [item.content[0].text for item in listed] == [*left, "3", "Three", "4", "Four"]
    assert count.input_tokens < 70


async def test_of_two_that_say_the_same_the_one_goes(serve):
    server = await serve("ok", "ok")
    async with server.sdk() as client:
        same = [{"role": "user", "content": text} for text in ("Hi", "there", "Hi")]
        conversation = await client.conversations.create(items=same)
        await deleted(server, client, conversation, 0)
        await client.responses.create(model="a", input="1", conversation=conversation.id)
        await deleted(server, client, conversation, 1)
        await client.responses.create(model="a", input="2", conversation=conversation.id)

    assert told(server.model.requests[0]) == ["there", "Hi", "1"]
    assert told(server.model.requests[1]) == ["there", "1", "ok", "2"]


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("mcp_call", ["Look", "I look.", "It is 42"]),
        ("message", ["Look", "secret()", "the secret is 42", "It is 42"]),
    ],
)
async def test_a_call_goes_with_its_result_and_a_text_leaves_the_call(serve, kind, left):
    agent = Agent("a", tools=Toolset("tools", (secret,)))
    server = await serve(AssistantMessage("I look.", (call("secret"),)), "It is 42", "ok", agents=(agent,))
    async with server.sdk() as client:
        conversation = await client.conversations.create()
        first = await client.responses.create(model="a", input="Look", conversation=conversation.id)
        chosen = next(item for item in first.output if item.type == kind)
        await client.conversations.items.delete(chosen.id, conversation_id=conversation.id)
        await client.responses.create(model="a", input="2", conversation=conversation.id)

    assert told(server.model.requests[2]) == [*left, "2"]


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("function_call", ["Look", "2"]),
        ("function_call_output", ["Look", "look()", "This result was removed from the conversation.", "Seen", "2"]),
    ],
)
async def test_a_clients_call_and_its_result(serve, kind, left):
    tools = [{"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}]
    server = await serve(call("look"), "Seen", "ok", "ok")
    async with server.sdk() as client:
        conversation = await client.conversations.create()
        options = {"model": "a", "conversation": conversation.id, "tools": tools}
        first = await client.responses.create(input="Look", **options)
        if kind == "function_call":  # which waits for its result
            await client.conversations.items.delete(first.output[0].id, conversation_id=conversation.id)
        else:
            result = {"type": kind, "call_id": first.output[0].call_id, "output": "a cat"}
            await client.responses.create(input=[result], **options)
            await deleted(server, client, conversation, 2)
        await client.responses.create(input="2", **options)

    assert told(server.model.requests[-1]) == left


async def test_another_item_may_go_while_a_call_waits(serve):
    tools = [{"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}]
    server = await serve(call("look"), "Seen")
    async with server.sdk() as client:
        conversation = await client.conversations.create(items=[{"role": "user", "content": "Remember 7"}])
        options = {"model": "a", "conversation": conversation.id, "tools": tools}
        first = await client.responses.create(input="Look", **options)
        await deleted(server, client, conversation, 0)
        result = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "a cat"}
        await client.responses.create(input=[result], **options)

    assert told(server.model.requests[1]) == ["Look", "look()", "a cat"]


async def test_a_response_that_names_another_is_in_no_conversation(serve):
    server = await serve("One", "Two", "Three")
    async with server.sdk() as client:
        conversation = await client.conversations.create()
        first = await client.responses.create(model="a", input="1", conversation=conversation.id)
        second = await client.responses.create(model="a", input="2", previous_response_id=first.id)
        await client.responses.create(model="a", input="3", conversation=conversation.id)
        items = [item.content[0].text async for item in client.conversations.items.list(conversation.id, order="asc")]

    assert second.conversation is None
    assert told(server.model.requests[1]) == ["1", "One", "2"]
    assert items == ["1", "One", "3", "Three"]
