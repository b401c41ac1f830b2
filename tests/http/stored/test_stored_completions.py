"""Stored chat completions: kept in the journal, listed, changed and erased by the official SDK; per owner; for good."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import msgspec
import openai
import pytest

from gaia_core import Agent, Context, ScriptedModel, Toolset, call, tool
from gaia_core.errors import JournalError
from gaia_core.journal import Journal, MemoryJournal
from gaia_core.journal.postgres import PostgresJournal
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.models import ModelError
from gaia_http.keys import Keyring
from gaia_http.keys._key import Key, digest_of, new_id, new_secret
from gaia_http.keys._key_file import change


def key(path, name: str) -> str:
    """The secret of a new key."""
    secret = new_secret()

    def add(file):
        return msgspec.structs.replace(
            file, keys=(*file.keys, Key(new_id(), name, digest_of(file.salt, secret.encode()), 0))
        )

    change(path, add)
    return secret


@pytest.fixture(params=["sqlite", "postgres"])
async def new_journal(request, tmp_path) -> AsyncIterator[Callable[[], Journal]]:
    """A journal on the test's one place, as each of its processes has: a file, or a database."""
    if request.param == "sqlite":
        yield lambda: SQLiteJournal(tmp_path / "j.db")
        return
    server = request.getfixturevalue("postgres").dsn
    schema = f"completions_{next(request.getfixturevalue('numbers'))}"
    database = await asyncpg.connect(server)
    try:
        await database.execute(f"CREATE SCHEMA {schema}")
        yield lambda: PostgresJournal(f"{server}?search_path={schema}")
        await database.execute(f"DROP SCHEMA {schema} CASCADE")
    finally:
        await database.close()


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


def ask(say: str = "Hi", **fields: object) -> dict:
    return {"model": "a", "messages": [{"role": "user", "content": say}], "store": True, **fields}


async def test_one_is_kept_as_it_was_sent(serve):
    server = await serve("Hello Ann", journal=MemoryJournal())

    async with server.sdk() as client:
        made = await client.chat.completions.create(**ask("I am Ann", metadata={"topic": "names"}))
        found = await client.chat.completions.retrieve(made.id)
        messages = [message async for message in client.chat.completions.messages.list(made.id)]

    assert found.metadata == {"topic": "names"}
    assert found.model_dump(exclude={"metadata"}) == made.model_dump(exclude={"metadata"})
    assert [(message.id, message.role, message.content) for message in messages] == [
        (f"{made.id}-0", "user", "I am Ann")
    ]


async def test_a_streamed_one_is_kept_whole_before_its_end_is_told(serve):
    server = await serve(call("secret"), "It is 42", agents=(Agent("a", tools=Toolset("tools", (secret,))),))

    async with server.sdk() as client:
        async for chunk in await client.chat.completions.create(**ask(), stream=True):
            if chunk.choices[0].finish_reason:
                found = await client.chat.completions.retrieve(chunk.id)

    assert found.choices[0].message.content == "It is 42"
    assert found.choices[0].finish_reason == "stop"
    assert found.usage.total_tokens > 0


async def test_only_what_is_to_be_stored_is(serve, body):
    server = await serve("one", "two", "three")

    async with server.sdk() as client:
        made = await client.chat.completions.create(**body())
        other = await client.chat.completions.create(**body(store=False))
        listed = await client.chat.completions.list()
        for each in (made, other):
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.retrieve(each.id)

    assert listed.data == []


async def test_a_failure_is_not_stored(serve):
    def fail(request):
        raise ModelError("bad_request", "no")

    server = await serve(ScriptedModel(fail))

    async with server.sdk() as client:
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(**ask())
        assert (await client.chat.completions.list()).data == []


async def test_they_are_listed_by_page_order_model_and_metadata(serve):
    server = await serve(*"abcde", agents=(Agent("a"), Agent("b")))

    async with server.sdk() as client:
        made = [
            (
                await client.chat.completions.create(
                    **ask(metadata={"n": str(n), "odd": str(n % 2)}, model="ab"[n == 3])
                )
            ).id
            for n in range(5)
        ]
        find = client.chat.completions.list
        first = await find(limit=2)
        everything = [completion.id async for completion in find(limit=2)]
        newest = [completion.id async for completion in find(limit=2, order="desc")]
        odd = [completion.id async for completion in find(metadata={"odd": "1"})]
        of_b = [completion.id async for completion in find(model="b")]
        neither = [completion.id async for completion in find(model="b", metadata={"odd": "0"})]

    assert (len(first.data), first.has_more) == (2, True)
    assert everything == made
    assert newest == made[::-1]
    assert odd == [made[1], made[3]]
    assert (of_b, neither) == ([made[3]], [])


async def test_metadata_is_changed_and_what_was_erased_is_gone(serve):
    server = await serve("one", "two")

    async with server.sdk() as client:
        made = await client.chat.completions.create(**ask(metadata={"a": "1"}))
        changed = await client.chat.completions.update(made.id, metadata={"b": "2"})
        found = await client.chat.completions.retrieve(made.id)
        deleted = await client.chat.completions.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.delete(made.id)
        listed = await client.chat.completions.list()

    assert (changed.metadata, found.metadata) == ({"b": "2"}, {"b": "2"})
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "chat.completion.deleted")
    assert listed.data == []


async def test_messages_have_their_parts_and_pages(serve):
    url = "data:image/png;base64,iVBORw0KGgo="
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    sent = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    server = await serve("ok", inputs=("image",))

    async with server.sdk() as client:
        made = await client.chat.completions.create(model="a", messages=sent, store=True)
        find = client.chat.completions.messages.list
        found = [message.to_dict() async for message in find(made.id, limit=1)]
        newest = await find(made.id, order="desc", limit=1)

    assert [message["role"] for message in found] == ["user", "assistant", "tool"]
    assert (found[0]["content"], found[0]["content_parts"]) == ("Look", parts)
    assert found[1]["tool_calls"] == calls
    assert (found[2]["tool_call_id"], found[2]["content"], found[2]["content_parts"]) == ("c1", "x", None)
    assert newest.data[0].id == f"{made.id}-2"


async def test_they_outlive_the_process(serve, new_journal):
    first = await serve("Hello", journal=new_journal())
    async with first.sdk() as client:
        made = await client.chat.completions.create(**ask(metadata={"a": "1"}))
    await first.stop()
    second = await serve("unused", journal=new_journal())

    async with second.sdk() as client:
        found = await client.chat.completions.retrieve(made.id)
        listed = [completion.id async for completion in client.chat.completions.list(metadata={"a": "1"})]
        messages = [message.content async for message in client.chat.completions.messages.list(made.id)]
        await client.chat.completions.delete(made.id)
        left = await client.chat.completions.list()

    assert found.choices[0].message.content == "Hello"
    assert (listed, messages, left.data) == ([made.id], ["Hi"], [])


async def test_another_owners_do_not_exist(serve, tmp_path):
    place = tmp_path / "keys.json"
    ann, bob = key(place, "ann"), key(place, "bob")
    server = await serve("Hello", keyring=Keyring(place))

    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=ann, max_retries=0) as client:
        made = await client.chat.completions.create(**ask())
        assert (await client.chat.completions.retrieve(made.id)).id == made.id
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=bob, max_retries=0) as stranger:
        with pytest.raises(openai.NotFoundError):
            await stranger.chat.completions.retrieve(made.id)
        with pytest.raises(openai.NotFoundError):
            await stranger.chat.completions.update(made.id, metadata={})
        with pytest.raises(openai.NotFoundError):
            await stranger.chat.completions.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await stranger.chat.completions.messages.list(made.id)
        assert (await stranger.chat.completions.list()).data == []


async def test_a_session_of_another_surface_is_no_completion(serve):
    server = await serve("Hello")
    async with server.sdk() as client:
        response = await client.responses.create(model="a", input="Hi")
        sessions, _ = await server.runtime.sessions.list("")

        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.delete(sessions[0].id)
        assert (await client.responses.retrieve(response.id)).output_text == "Hello"


async def read(answer: object) -> None:
    if isinstance(answer, openai.AsyncStream):
        async for _ in answer:
            pass


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cant_be_stored_is_never_told_as_complete(serve, stream):
    class Full(MemoryJournal):
        async def create(self, new):
            raise JournalError("the disk is full")

    server = await serve("Hello", journal=Full())

    async with server.sdk() as client:
        with pytest.raises(openai.APIError, match="the disk is full"):
            await read(await client.chat.completions.create(**ask(), stream=stream))


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "order=up", "after=nothing"])
async def test_a_wrong_page_is_an_error(serve, query):
    server = await serve()

    async with server.http.get(f"/v1/chat/completions?{query}") as response:
        answer = await response.json()

    assert response.status == 400
    assert answer["error"]["param"] == query.split("=")[0]


async def test_metadata_that_is_too_long_is_refused(serve):
    server = await serve("Hello")

    async with server.sdk() as client:
        made = await client.chat.completions.create(**ask())
        with pytest.raises(openai.BadRequestError, match="too long"):
            await client.chat.completions.update(made.id, metadata={"k": "x" * 513})
