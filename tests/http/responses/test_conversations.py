"""Conversations: responses go on in them, their items are listed; and conversations in short."""

import pytest
from openai import NotFoundError
from openai.types.responses import CompactedResponse

from gaia_core import Agent, Context, Toolset, call, tool
from gaia_core.journal.sqlite import SQLiteJournal


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


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


async def test_a_conversation_is_changed_and_erased(serve, tmp_path):
    server = await serve("One", journal=SQLiteJournal(tmp_path / "j.db"))
    async with server.sdk() as client:
        conversation = await client.conversations.create()
        changed = await client.conversations.update(conversation.id, metadata={"a": "b"})
        assert (await client.conversations.retrieve(conversation.id)).metadata == changed.metadata == {"a": "b"}
        response = await client.responses.create(model="a", input="1", conversation=conversation.id)
        deleted = await client.conversations.delete(conversation.id)
        with pytest.raises(NotFoundError):
            await client.conversations.retrieve(conversation.id)
        with pytest.raises(NotFoundError):
            await client.responses.retrieve(response.id)

    assert deleted.deleted is True
    assert (await server.runtime.sessions.totals()).sessions == 0


async def test_a_conversation_and_a_previous_response_exclude_each_other(serve, ask):
    server = await serve("One")
    _, first = await ask(server)

    status, answer = await ask(server, conversation="conv_x", previous_response_id=first["id"])

    assert (status, answer["error"]["param"]) == (400, "conversation")


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
        "/v1/responses/compact", json={"model": "a", "previous_response_id": first["id"], "input": "And now?"}
    ) as reply:
        compacted = await reply.json()
    status, response = await ask(server, [*compacted["output"], {"role": "user", "content": "Sure?"}])

    CompactedResponse.model_validate(compacted)
    assert [item["type"] for item in compacted["output"]] == ["compaction"]
    assert server.model.requests[2].tools == ()
    assert "the secret is 42" in server.model.requests[2].messages[-1].content
    assert status == 200, response
    assert "The secret is 42." in server.model.requests[3].messages[0].content
    assert server.model.requests[3].messages[-1].content == "Sure?"
