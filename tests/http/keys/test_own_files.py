"""Files, kept answers and the hidden steps of turns are their key's: to another key they do not exist."""

import pytest

from gaia_core import Agent, Context, Toolset, call, tool


@tool(effects="read")
async def look(ctx: Context[None]) -> str:
    """Look."""
    return "the secret is 42"


async def test_anothers_file_does_not_exist(serve, room, bearer, body):
    ann, bob = bearer(room.make("ann")), bearer(room.make("bob"))
    server = await serve("ok", "ok", keyring=room.ring())
    async with server.sdk() as client:
        mine = client.with_options(default_headers=ann, api_key=ann["authorization"].removeprefix("Bearer "))
        made = await mine.files.create(file=("a.txt", b"secret"), purpose="user_data")

    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        async with server.http.request(method, f"/v1/files/{made.id}{path}", headers=bob) as response:
            assert response.status == 404
            assert "secret" not in await response.text()
    part = {"type": "file", "file": {"file_id": made.id}}
    asked = body(messages=[{"role": "user", "content": [part]}])
    status, _, answer = await server.post(asked, headers=bob)
    assert (status, answer["error"]["code"]) == (404, "file_not_found")
    async with server.http.get("/v1/files", headers=bob) as response:
        assert (await response.json())["data"] == []
    assert (await server.post(asked, headers=ann))[0] == 200


async def test_an_idempotency_key_is_its_callers(serve, room, bearer, body):
    ann, bob = bearer(room.make("ann")), bearer(room.make("bob"))
    server = await serve("to ann", "to bob", keyring=room.ring())
    key = {"Idempotency-Key": "one"}

    answers = [await server.post(body(), headers=who | key) for who in (ann, bob, ann)]

    assert [answer[2]["choices"][0]["message"]["content"] for answer in answers] == ["to ann", "to bob", "to ann"]


async def test_a_session_of_the_same_name_is_another_one(serve, room, bearer, body, upstream):
    import asyncio

    from gaia_core.events import TextDelta

    ann, bob = bearer(room.make("ann")), bearer(room.make("bob"))
    model = upstream(TextDelta("ok"))
    server = await serve(model=model, keyring=room.ring())
    first = asyncio.create_task(server.post(body(), headers=ann | {"X-Session-Id": "same"}))
    await model.began.wait()
    second = asyncio.create_task(server.post(body(), headers=bob | {"X-Session-Id": "same"}))
    model.go.set()

    assert (await second)[0] == 200  # and not a 409
    assert (await first)[0] == 200


@pytest.mark.parametrize("streamed", [False, True])
async def test_hidden_steps_that_wait_for_a_clients_tool_are_their_keys(serve, room, streamed):
    """A call's id that got about, in a log or a shared history, opens nothing with another key."""
    ann, bob = room.make("ann"), room.make("bob")
    script = (call("look"), call("weather", city="Ulm"), "to bob", "to ann")
    server = await serve(*script, agents=(Agent("a", tools=Toolset("t", (look,))),), keyring=room.ring())
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    user = {"role": "user", "content": "Hi"}

    async with server.sdk() as client:
        mine, others = client.with_options(api_key=ann), client.with_options(api_key=bob)
        asked = {"model": "a", "messages": [user], "tools": tools}
        if streamed:
            async with mine.chat.completions.stream(**asked) as stream:
                message = (await stream.get_final_completion()).choices[0].message
        else:
            message = (await mine.chat.completions.create(**asked)).choices[0].message
        (made,) = message.tool_calls
        sent = {"id": made.id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        said = {"role": "tool", "tool_call_id": made.id, "content": "rain"}
        history = [user, {"role": "assistant", "tool_calls": [sent]}, said]
        answers = [await who.chat.completions.create(model="a", messages=history) for who in (others, mine)]

    assert [answer.choices[0].message.content for answer in answers] == ["to bob", "to ann"]
    to_bob, to_ann = (request.messages for request in server.model.requests[2:])
    assert [message.content for message in to_bob] == ["Hi", None, "rain"]  # as he sent it
    assert [message.content for message in to_ann] == ["Hi", None, "the secret is 42", None, "rain"]


async def test_anothers_file_in_a_response_does_not_exist(serve, room, bearer):
    ann, bob = room.make("ann"), room.make("bob")
    server = await serve("to ann", keyring=room.ring())
    async with server.sdk() as client:
        made = await client.with_options(api_key=ann).files.create(file=("a.txt", b"secret"), purpose="user_data")

    answers = []
    for file_id, who in ((made.id, bob), ("file-nowhere", bob), (made.id, ann)):
        part = {"type": "input_file", "file_id": file_id}
        asked = {"model": "a", "input": [{"role": "user", "content": [part]}]}
        async with server.http.post("/v1/responses", json=asked, headers=bearer(who)) as response:
            answers.append((response.status, await response.json()))

    (status, anothers), (_, unknown), (mine, _) = answers
    assert (status, anothers["error"]["code"], mine) == (404, "file_not_found", 200)
    told = anothers["error"]["message"].replace(made.id, "ID")
    assert told == unknown["error"]["message"].replace("file-nowhere", "ID")  # as one that never was
    assert len(server.model.requests) == 1
    assert "secret" in str(server.model.requests[0].messages)
