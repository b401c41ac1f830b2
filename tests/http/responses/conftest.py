"""What the tests of the Responses API need: events and objects checked against the official SDK's own types."""

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

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
    if events[0]["sequence_number"] == 0:
        check(events)
    return events


def whole(response: dict) -> dict:
    """*response*, once it has every key of the API that may be null and is valid by the SDK's types."""
    missing = set(Response.model_fields) - set(response) - {"user", "prompt_cache_options"}
    assert not missing
    Response.model_validate(response)
    return response


def normal(value: object) -> object:
    """*value* without what differs from run to run."""
    text = json.dumps(value, indent=1)
    text = re.sub(r"_[0-9a-f]{35}(?:[0-9a-f]{32})?(?=[_\"])", "_ID", text)
    text = re.sub(r"(_ID_\d+\.\d+\.\d+\.)[\w-]+", r"\1CALL", text)
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


@pytest.fixture(name="check")
def check_():
    return check


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
def recorded(new_journal, serve):  # in this order: servers end before their journal's place does
    """`serve` with journals that outlive the process: who is started again finds what the first one left."""

    async def recorded(*answers: object, **options: object):
        return await serve(*answers, **{"journal": new_journal(), **options})

    return recorded


# The state machine that every stream of a response keeps to (OpenAI API reference, streaming):
#
#     created → (queued →) in_progress → items → completed | incomplete | failed (→ error)
#     an item: output_item.added → its parts and deltas → output_item.done; nothing of it before or after

_END = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": ("failed", "cancelled"),
}
_TEXTS = {
    "message": ("response.output_text", "response.content_part", "content_index", "content"),
    "reasoning": ("response.reasoning_summary_text", "response.reasoning_summary_part", "summary_index", "summary"),
}
_ARGUMENTS = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
    "mcp_call": ("response.mcp_call_arguments", "arguments"),
}


def check(events: list[dict[str, Any]]) -> None:
    """Fail unless *events*, from the first on, are those of one response."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    reading = _Response(events[0]["response"])
    for event in events:
        reading.take(event)
    assert reading.ended, "the stream has no end"


class _Response:
    def __init__(self, first: dict[str, Any]) -> None:
        self.first = first
        self.head: list[str] = []
        self.items: list[_Item] = []
        self.ended = ""

    def take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "error":
            assert self.ended == "response.failed", "an error comes behind response.failed"
            return
        assert not self.ended, f"{kind} behind {self.ended}"
        if kind in ("response.created", "response.queued", "response.in_progress"):
            self._begin(kind, event["response"])
        elif kind in _END:
            self._end(kind, event["response"])
        else:
            assert self.head[-1] == "response.in_progress", f"{kind} before response.in_progress"
            if kind == "response.output_item.added":
                assert event["output_index"] == len(self.items)
                self.items.append(_Item(event["item"]))
            else:
                self.items[event["output_index"]].take(event)

    def _begin(self, kind: str, response: dict[str, Any]) -> None:
        assert kind not in self.head
        assert not self.items
        self.head.append(kind)
        background = response["background"]
        waits = kind != "response.in_progress" and background
        assert response["status"] == ("queued" if waits else "in_progress")
        assert (response["output"], response["usage"], response["error"]) == ([], None, None)
        self._same(response)

    def _same(self, response: dict[str, Any]) -> None:
        changing = {"status", "output", "usage", "error", "incomplete_details", "completed_at"}
        assert {k: v for k, v in response.items() if k not in changing} == {
            k: v for k, v in self.first.items() if k not in changing
        }

    def _end(self, kind: str, response: dict[str, Any]) -> None:
        middle = ["response.queued"] if response["background"] else []
        assert self.head == ["response.created", *middle, "response.in_progress"]
        self.ended = kind
        self._same(response)
        assert response["status"] in _END[kind]
        assert all(item.done for item in self.items), f"{kind} with an open item"
        assert response["output"] == [item.done for item in self.items]
        usage = response["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert (response["completed_at"] is not None) == (kind == "response.completed")
        assert (response["incomplete_details"] is not None) == (kind == "response.incomplete")
        assert (response["error"] is not None) == (response["status"] == "failed")
        statuses = {item.done.get("status", "completed") for item in self.items}
        if kind == "response.completed":
            assert statuses <= {"completed", "failed"}


class _Item:
    def __init__(self, item: dict[str, Any]) -> None:
        self.added = item
        self.kind = item["type"]
        self.told: list[str] = []
        self.text = ""
        self.done: dict[str, Any] = {}
        if self.kind in _TEXTS:
            assert item["status"] == "in_progress"
            assert item[_TEXTS[self.kind][3]] == []
        if self.kind in _ARGUMENTS:
            assert item["status"] == "in_progress"
            assert item[_ARGUMENTS[self.kind][1]] == ""

    def take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        assert not self.done, f"{kind} behind output_item.done"
        if kind == "response.output_item.done":
            self._end(event["item"])
            return
        assert event["item_id"] == self.added["id"]
        if self.kind in _TEXTS:
            self._text(kind, event)
        else:
            self._arguments(kind, event)
        self.told.append(kind)

    def _text(self, kind: str, event: dict[str, Any]) -> None:
        text, part, index, _ = _TEXTS[self.kind]
        assert event[index] == 0
        before = self.told[-1] if self.told else ""
        if kind == f"{part}.added":
            assert not before
            assert event["part"]["text"] == ""
        elif kind == f"{text}.delta":
            assert before in (f"{part}.added", f"{text}.delta")
            assert event["delta"]
            self.text += event["delta"]
        elif kind == f"{text}.done":
            assert before in (f"{part}.added", f"{text}.delta")
            assert event["text"] == self.text
        else:
            assert (kind, before) == (f"{part}.done", f"{text}.done")
            assert event["part"]["text"] == self.text

    def _arguments(self, kind: str, event: dict[str, Any]) -> None:
        name, field = _ARGUMENTS[self.kind]
        before = self.told[-1] if self.told else ""
        if kind == f"{name}.delta":
            assert before in ("", "response.mcp_call.in_progress", f"{name}.delta")
            self.text += event["delta"]
        elif kind == f"{name}.done":
            assert before in ("", "response.mcp_call.in_progress", f"{name}.delta")
            assert event[field] == self.text
        elif kind == "response.mcp_call.in_progress":
            assert (self.kind, before) == ("mcp_call", "")
        else:
            assert self.kind == "mcp_call"
            assert kind in ("response.mcp_call.completed", "response.mcp_call.failed")
            assert before == f"{name}.done"

    def _end(self, item: dict[str, Any]) -> None:
        self.done = item
        assert (item["id"], item["type"]) == (self.added["id"], self.kind)
        before = self.told[-1] if self.told else ""
        if self.kind in _TEXTS:
            _, part, _, field = _TEXTS[self.kind]
            assert before == f"{part}.done"
            assert [each["text"] for each in item[field]] == [self.text]
            assert item["status"] in ("completed", "incomplete")
        elif self.kind in _ARGUMENTS:
            name, field = _ARGUMENTS[self.kind]
            assert item[field] == self.text
            if self.kind != "mcp_call":  # complete exactly when its arguments are
                assert item["status"] == ("completed" if before == f"{name}.done" else "incomplete")
            elif item["status"] == "completed":
                assert (before, item["error"]) == ("response.mcp_call.completed", None)
            else:
                assert before == "response.mcp_call.failed"
