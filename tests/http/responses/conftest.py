"""What the tests of the Responses API need: events and objects checked against the official SDK's own types."""

import json
import re
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gaia_core.journal import Journal
from gaia_core.journal.postgres import PostgresJournal
from gaia_core.journal.sqlite import SQLiteJournal

_EVENT = TypeAdapter(ResponseStreamEvent)


def parsed(text: str) -> list[dict]:
    """The events of a raw stream, each valid by the SDK's types and framed as the API frames it."""
    frames = text.split("\n\n")
    assert frames[-1] == ""
    assert frames[-2] == "data: [DONE]"
    events = []
    for frame in frames[:-2]:
        if frame == ": still here":
            continue
        head, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert head == f"event: {event['type']}"
        _EVENT.validate_python(event, strict=False)
        events.append(event)
    return events


def whole(response: dict) -> dict:
    """*response*, once it has every key of the API and is valid by the SDK's types."""
    missing = set(Response.model_fields) - set(response) - {"user"}
    assert not missing
    Response.model_validate(response)
    return response


def normal(value: object) -> object:
    """*value* without what differs from run to run."""
    text = json.dumps(value, indent=1)
    text = re.sub(r"_[0-9a-f]{35}(?:[0-9a-f]{32})?(?=[_\"])", "_ID", text)
    text = re.sub(r"(mcpr_ID_)[0-9a-f]{32}", r"\1APPROVAL", text)
    text = re.sub(r'"(created_at|completed_at)": \d+', r'"\1": 0', text)
    return json.loads(text)


@pytest.fixture
def ask():
    """POST a response; its status and its JSON."""

    async def ask(server, input: object = "Hi", *, headers: dict | None = None, **fields: object):
        body = {"model": "a", "input": input, **fields}
        async with server.http.post("/v1/responses", json=body, headers=headers) as response:
            return response.status, await response.json()

    return ask


@pytest.fixture
def stream():
    """POST a streamed response; its events."""

    async def stream(server, input: object = "Hi", *, headers: dict | None = None, **fields: object) -> list[dict]:
        body = {"model": "a", "input": input, "stream": True, **fields}
        async with server.http.post("/v1/responses", json=body, headers=headers) as response:
            text = await response.text()
            assert response.status == 200, text
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return parsed(text)

    return stream


@pytest.fixture(name="parsed")
def parsed_():
    return parsed


@pytest.fixture(name="whole")
def whole_():
    return whole


@pytest.fixture(name="normal")
def normal_():
    return normal


@pytest.fixture(params=["sqlite", "postgres"])
async def new_journal(request, tmp_path) -> AsyncIterator[Callable[[], Journal]]:
    """A journal on the test's one place, as each of its processes has: a file, or a database."""
    if request.param == "sqlite":
        yield lambda: SQLiteJournal(tmp_path / "j.db")
        return
    server = request.getfixturevalue("postgres").dsn
    schema = f"responses_{next(request.getfixturevalue('numbers'))}"
    database = await asyncpg.connect(server)
    try:
        await database.execute(f"CREATE SCHEMA {schema}")
        yield lambda: PostgresJournal(f"{server}?search_path={schema}")
        await database.execute(f"DROP SCHEMA {schema} CASCADE")
    finally:
        await database.close()


@pytest.fixture
def recorded(serve, new_journal):
    """`serve` with journals that outlive the process: who is started again finds what the first one left."""

    async def recorded(*answers: object, **options: object):
        return await serve(*answers, **{"journal": new_journal(), **options})

    return recorded
