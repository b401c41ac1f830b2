"""What a key may keep: everything that leaves something behind counts, on every API, and the error says what to delete.

A key at its limit of requests makes nothing by any route; a key at its storage quota keeps what it has, reads it, and
has room again once it deletes.
"""

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest

import gaia_core
import gaia_http
from gaia_core import Runtime, StorageFullError
from gaia_core.catalog import LIMITED, UNLIMITED, StorageLimits, StorageQuota
from gaia_core.journal import MemoryJournal, NewSession
from gaia_core.runtime._quota import NoQuota
from gaia_core.runtime._storage import COUNTED_SECONDS, Storage
from gaia_http.keys import Allowances, KeyLimits

EXPORT = {"session": {"title": "Taken along"}, "messages": [{"role": "user", "content": "x" * 50_000}]}


@pytest.fixture
def ask(serve, room, bearer):
    """A server, and how a key with these limits asks it."""

    async def ask(*answers: str, **limits: int):
        headers = bearer(room.make("limited", limits=KeyLimits(**limits)))
        server = await serve(*answers, keyring=room.ring())

        async def ask(method: str, path: str, body: object = None, **options: object) -> tuple[int, dict]:
            async with server.http.request(method, path, json=body, headers=headers, **options) as response:
                text = await response.text()
                return response.status, json.loads(text) if text.startswith(("{", "[")) else {"text": text}

        ask.server, ask.headers = server, headers
        return ask

    return ask


async def uploaded(ask, size: int = 10) -> tuple[int, dict]:
    form = aiohttp.FormData()
    form.add_field("purpose", "user_data")
    form.add_field("file", b"x" * size, filename="x.txt")
    async with ask.server.http.post("/v1/files", data=form, headers=ask.headers) as response:
        return response.status, await response.json()


# At the limit of requests.

MAKES = {
    "session": ("POST", "/api/sessions", {}),
    "import": ("POST", "/api/sessions/import", EXPORT),
    "fork": ("POST", "/api/sessions/{id}/fork", {}),
    "change": ("PUT", "/api/sessions/{id}", {"system_prompt": "x" * 50_000}),
    "private": ("PATCH", "/api/sessions/{id}/private", {"private": True}),
    "send": ("POST", "/api/chat/send", {"session_id": "{id}", "message": "Hi", "stream": False}),
    "response": ("POST", "/v1/responses", {"model": "a", "input": "Hi"}),
    "conversation": ("POST", "/v1/conversations", {}),
    "completion": ("POST", "/v1/chat/completions", {"model": "a", "store": True, "messages": []}),
}


@pytest.mark.parametrize("what", MAKES)
async def test_a_key_at_its_limit_of_requests_leaves_nothing_behind(ask, what):
    asks = await ask("Hello", requests_per_minute=1)
    _, made = await asks("POST", "/api/sessions", {})
    method, path, body = MAKES[what]
    sent = json.loads(json.dumps(body).replace("{id}", made["id"]))

    status, refused = await asks(method, path.replace("{id}", made["id"]), sent)
    listed = await asks("GET", "/api/sessions?responses=true")

    assert status == 429, refused
    assert listed[1]["total"] == 1
    assert (await asks("DELETE", f"/api/sessions/{made['id']}"))[0] == 200, "deleting is always possible"


async def test_a_response_that_may_not_begin_leaves_no_session_behind(serve, room, bearer, upstream):
    headers = bearer(room.make("limited", limits=KeyLimits(running_turns=1, stored_bytes=10_000)))
    model = upstream()
    server = await serve(model=model, keyring=room.ring())

    async def ask(input: str = "Hi", **more: object) -> int:
        body = {"model": "a", "input": input, **more}
        async with server.http.post("/v1/responses", json=body, headers=headers) as response:
            return response.status

    async def there() -> int:
        async with server.http.get("/api/sessions?responses=true", headers=headers) as response:
            return (await response.json())["total"]

    assert await ask("x" * 20_000) == 403
    assert await there() == 0
    running = asyncio.create_task(ask())
    await model.began.wait()
    refused = [await ask(), await ask(background=True)]
    left = await there()
    model.go.set()

    assert await running == 200
    assert refused == [429, 429]
    assert left == 1


# At the quota.


@pytest.mark.parametrize("what", ["session", "import", "fork", "response", "conversation", "completion"])
async def test_at_the_quota_of_objects_nothing_more_is_made(ask, what):
    asks = await ask("Hello", stored_objects=1)
    _, made = await asks("POST", "/api/sessions", {})
    method, path, body = MAKES[what]
    if what == "completion":
        body = body | {"messages": [{"role": "user", "content": "Hi"}]}

    status, refused = await asks(method, path.replace("{id}", made["id"]), body)
    listed = await asks("GET", "/api/sessions?responses=true")
    await asks("DELETE", f"/api/sessions/{made['id']}")
    after = await asks(*(MAKES["session"] if what == "fork" else (method, path, body)))

    assert status == 403
    words = refused["detail"] if path.startswith("/api") else refused["error"]["message"]
    assert "1 of 1 sessions" in words
    assert "Delete sessions, stored responses" in words
    if path.startswith("/v1"):
        assert refused["error"]["code"] == "storage_quota_exceeded"
    assert listed[1]["total"] == 1
    assert not asks.server.model.requests or what in ("response", "completion")
    assert after[0] == 200, after


@pytest.mark.parametrize("what", ["import", "change", "send", "response", "conversation"])
async def test_at_the_quota_of_bytes_nothing_large_is_kept(ask, what):
    asks = await ask("Hello", stored_bytes=20_000)
    _, made = await asks("POST", "/api/sessions", {})
    method, path, body = MAKES[what]
    large = {
        "send": {"message": "x" * 50_000},
        "response": {"input": "x" * 50_000},
        "conversation": {"items": [{"type": "message", "role": "user", "content": "x" * 50_000}]},
    }
    sent = json.loads(json.dumps(body | large.get(what, {})).replace("{id}", made["id"]))

    status, refused = await asks(method, path.replace("{id}", made["id"]), sent)

    assert status == 403, refused
    assert "of 20000 bytes are used" in json.dumps(refused)
    assert asks.server.model.requests == []
    assert await asks.server.runtime.journal.stored_bytes(owner_of(asks)) < 20_000
    assert (await asks("GET", "/api/sessions?responses=true"))[1]["total"] == 1


def owner_of(asks) -> str:
    return asks.server.runtime.quota.keyring.keys[0].id


async def test_imports_that_come_together_do_not_pass_it_together(ask):
    asks = await ask("Hello", stored_bytes=120_000)

    given = await asyncio.gather(*(asks(*MAKES["import"]) for _ in range(10)))

    assert sorted(status for status, _ in given) == [200] * 2 + [403] * 8
    assert await asks.server.runtime.journal.stored_bytes(owner_of(asks)) <= 120_000


async def test_what_a_full_key_has_it_can_read_continue_unrecorded_and_delete(ask, body):
    asks = await ask("Hello", "Hello", stored_objects=2)
    _, made = await asks("POST", "/api/sessions", {})
    _, stored = await asks("POST", "/v1/responses", {"model": "a", "input": "Hi"})
    assert (await asks("POST", "/api/sessions", {}))[0] == 403

    assert (await asks("GET", f"/api/sessions/{made['id']}"))[0] == 200
    assert (await asks("POST", "/v1/chat/completions", body()))[0] == 200
    assert (await asks("DELETE", f"/v1/responses/{stored['id']}"))[0] == 200
    assert (await asks("POST", "/api/sessions", {}))[0] == 200


async def test_uploads_have_the_same_bounds_of_their_own(ask):
    asks = await ask("Hello", stored_objects=2, stored_bytes=1_000)
    first = await uploaded(asks)
    large = await uploaded(asks, 995)
    await uploaded(asks)
    third = await uploaded(asks)
    await asks("DELETE", f"/v1/files/{first[1]['id']}")
    again = await uploaded(asks)

    assert (first[0], again[0]) == (200, 200)
    assert (large[0], third[0]) == (400, 400)
    assert "may have 1000 bytes" in large[1]["error"]["message"]
    assert "DELETE /v1/files" in third[1]["error"]["message"]


async def test_another_key_and_the_local_user_are_not_held_up(serve, room, bearer):
    full = bearer(room.make("full", limits=KeyLimits(stored_objects=1)))
    free = bearer(room.make("free"))
    server = await serve("Hello", keyring=room.ring())

    async def makes(headers: dict) -> int:
        async with server.http.post("/api/sessions", json={}, headers=headers) as response:
            return response.status

    assert [await makes(full) for _ in range(2)] == [200, 403]
    assert [await makes(free) for _ in range(2)] == [200, 200]


# Which limits a key has.


def test_a_limited_key_has_limits_of_storage_and_another_has_none(room):
    room.make("limited", limits=KeyLimits(requests_per_minute=5))
    room.make("plain")
    room.make("own", limits=KeyLimits(stored_bytes=7))
    allowances = Allowances(room.ring(plain="0123456789abcdef"))
    nothing, said = StorageQuota(), StorageQuota(StorageLimits(5, 50), StorageLimits(9, 90))

    def limits(name: str, configured: StorageQuota) -> StorageLimits:
        return allowances.storage(room.id_of(name), configured)

    assert limits("limited", nothing) == LIMITED
    assert limits("plain", nothing) == UNLIMITED
    assert limits("own", nothing) == StorageLimits(LIMITED.objects, 7)
    assert limits("limited", said) == limits("plain", said) == StorageLimits(5, 50)
    assert limits("own", said) == StorageLimits(5, 7)
    assert allowances.storage("", nothing) == UNLIMITED
    assert allowances.storage("", said) == StorageLimits(9, 90)
    assert allowances.storage("key_that_was_revoked", nothing) == LIMITED


# Counting.


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_count_is_used_for_a_while_and_made_anew_before_anybody_is_refused():
    journal, clock = MemoryJournal(), Clock()
    quota = StorageQuota(local=StorageLimits(objects=1))
    storage = Storage(NoQuota(), lambda: quota, (journal,), clock)

    await storage.admit("", objects=1)
    await journal.create(NewSession("a", "", "x", "f"))
    with pytest.raises(StorageFullError):
        await storage.admit("", objects=1)
    await journal.delete("", "a")  # by another process: nobody says so here
    with pytest.raises(StorageFullError):
        await storage.admit("", objects=1)
    clock.now += 3
    await storage.admit("", objects=1)
    clock.now += COUNTED_SECONDS + 1
    await storage.admit("", objects=1)  # what was admitted was never written


async def test_the_files_own_table_says_it(tmp_path):
    from gaia_core import load_catalog

    path = tmp_path / "gaia.toml"
    path.write_text("[storage.keys]\nobjects = 3\n[storage.local]\nbytes = 1000\n")
    catalog = load_catalog(path, environ={}, cwd=tmp_path)

    assert catalog.storage.keys == StorageLimits(3, LIMITED.bytes)
    assert catalog.storage.local == StorageLimits(None, 1_000)
    async with Runtime(catalog) as runtime:
        with pytest.raises(StorageFullError, match="of 1000 bytes"):
            await runtime.open(catalog.default_agent, metadata=b'"' + b"x" * 2_000 + b'"')


# A new writer asks, too.

ADMITTING = {
    "gaia_core/runtime/_runtime.py",
    "gaia_core/runtime/_turn_runner.py",
    "gaia_core/runtime/sessions/_sessions.py",
    "gaia_core/runtime/sessions/_transfer.py",
    "gaia_http/openai/chat/_stored_completions.py",
    "gaia_http/openai/responses/stored/_conversations.py",
}
"""What writes into a journal by itself. Each asks `Storage.admit` first, or is called by who has asked."""


def test_whoever_writes_into_a_journal_by_itself_is_known():
    writes = re.compile(r"(?:journal|target|_durable|_private)\.(?:create|claim|fork)\(")
    found = set()
    for package in (gaia_core, gaia_http):
        root = Path(package.__file__).parent
        for path in root.rglob("*.py"):
            name = path.relative_to(root.parent).as_posix()
            if not name.startswith("gaia_core/journal/") and writes.search(path.read_text(encoding="utf-8")):
                found.add(name)

    assert found <= ADMITTING, "call runtime.storage.admit before it writes, and add it here"
