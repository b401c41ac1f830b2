"""Retention: what clients have stored goes by age and by bytes, per owner, and is kept up with."""

import asyncio
import math

import attrs
import pytest

from gaia_core.catalog import Retention
from gaia_core.errors import JournalError, NotFoundError
from gaia_core.journal import MemoryJournal
from gaia_http.door._keyed_turn import KEYED
from gaia_http.operations import _retention
from gaia_http.operations._retention import RetentionSweeper

DAY = 86_400.0


@pytest.fixture
def now():
    return [1_000_000.0]


@pytest.fixture
def serving(serve, now):
    async def serving(**retention):
        server = await serve(*["Hello."] * 200, journal=MemoryJournal(clock=lambda: now[0]))
        await keep(server, **retention)
        return server

    return serving


async def keep(server, **retention):
    await server.runtime.reload(attrs.evolve(server.runtime.catalog, retention=Retention(**retention)))


async def respond(server, **fields):
    async with server.http.post("/v1/responses", json={"model": "a", "input": "Hi", **fields}) as response:
        assert response.status == 200, await response.text()
        return (await response.json())["id"]


async def complete(server, headers=None):
    body = {"model": "a", "messages": [{"role": "user", "content": "Hi"}], "store": True}
    return (await server.post(body, headers=headers))[2]["id"]


async def status(server, path):
    async with server.http.get(path) as response:
        return response.status


async def test_responses_and_completions_expire_after_their_last_use_and_conversations_do_not(serving, now):
    """They were kept for ever."""
    server = await serving(stored_days=1.0)
    async with server.http.post("/v1/conversations", json={}) as response:
        conversation = (await response.json())["id"]
    said = await respond(server, conversation=conversation)
    old, completion = await respond(server), await complete(server)
    async with server.http.post("/api/sessions", json={}) as response:
        session = (await response.json())["id"]
    now[0] += DAY / 2
    used = await respond(server)
    now[0] += DAY / 2
    following = await respond(server, previous_response_id=used)
    sweeper = RetentionSweeper(server.runtime)

    await sweeper.sweep()

    gone = (f"/v1/responses/{old}", f"/v1/chat/completions/{completion}")
    assert [await status(server, path) for path in gone] == [404, 404]
    kept = (f"/v1/responses/{used}", f"/v1/responses/{following}", f"/v1/responses/{said}")
    assert [await status(server, path) for path in kept] == [200, 200, 200]
    now[0] += 30 * DAY
    await sweeper.sweep()
    assert await status(server, f"/v1/responses/{used}") == 404
    assert await status(server, f"/v1/conversations/{conversation}") == 200
    assert await status(server, f"/api/sessions/{session}") == 200


async def test_a_turn_of_an_idempotent_request_that_nobody_came_back_for_expires(serving, now):
    server = await serving(answer_hours=24.0)
    session = await server.runtime.open("a", "kept", surface=KEYED)
    await (await server.runtime.start(session, "Hi")).result()
    now[0] += DAY / 2
    sweeper = RetentionSweeper(server.runtime)
    await sweeper.sweep()
    assert (await server.runtime.sessions.get("", "kept")).seq
    now[0] += DAY / 2

    await sweeper.sweep()

    with pytest.raises(NotFoundError):
        await server.runtime.sessions.get("", "kept")


async def test_the_oldest_go_when_an_owner_has_too_much(serving, now):
    server = await serving(stored_bytes=4_000)
    made = []
    for _ in range(30):
        made.append(await respond(server))
        now[0] += 1

    await RetentionSweeper(server.runtime).sweep()

    found = [await status(server, f"/v1/responses/{id}") for id in made]  # noqa: A001
    assert found == sorted(found, reverse=True)
    assert 1 <= found.count(200) < 30


async def test_it_keeps_up_with_more_than_a_batch(serving, now):
    server = await serving()
    for _ in range(120):
        await complete(server, headers={"Idempotency-Key": f"k{now[0]}"})
        now[0] += 1
    now[0] += 31 * DAY

    await RetentionSweeper(server.runtime).sweep()

    assert (await server.runtime.sessions.list(""))[1] == 0
    assert await server.runtime.journal.answer_sweep(max_age=0.0, keep=0, max_bytes=0) == 0


async def test_of_more_answers_than_a_batch_the_newest_stay_when_an_owner_has_too_much(serving, now):
    server = await serving(answer_bytes=10_000)
    journal = server.runtime.journal
    for n in range(500):
        attempt = await journal.answer_begin(f"n{n}", "f", "r", max_age=DAY)
        await journal.answer_put(attempt.number, b"x" * 1_000)
        now[0] += 1

    await RetentionSweeper(server.runtime).sweep()

    assert await journal.answer_sweep(max_age=0.0, keep=0, max_bytes=0, limit=500) == 10


async def test_it_deletes_soon_when_much_was_recorded(serving, now, monkeypatch):
    monkeypatch.setattr(_retention, "_SWEEP_SECONDS", math.inf)  # else it is the next regular one that deletes
    server = await serving(stored_bytes=2_000, answer_bytes=2_000)
    task = asyncio.create_task(RetentionSweeper(server.runtime).run(look_seconds=0.0))
    try:
        first = await complete(server)
        for _ in range(20):
            now[0] += 1
            await complete(server, headers={"Idempotency-Key": f"k{now[0]}"})
        async with asyncio.timeout(60):
            while await status(server, f"/v1/chat/completions/{first}") != 404:
                await asyncio.sleep(0)
            while (await server.runtime.journal.totals()).sessions > 10:
                await asyncio.sleep(0)
    finally:
        task.cancel()


async def test_it_runs_once_in_a_runtime_and_survives_a_journal_that_fails(serve, serving, caplog):
    server = await serving()
    await serve(beside=server)
    assert [task.name for task in server.runtime.background.tasks].count("gaia retention") == 1

    failed = asyncio.Event()

    async def fail(*_given, **_more):
        failed.set()
        raise JournalError("the disk is full")

    server.runtime.journal.expire = fail
    task = asyncio.create_task(RetentionSweeper(server.runtime).run(look_seconds=0.0))
    await failed.wait()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    said = [each.getMessage() for each in caplog.records if "can't be deleted" in each.getMessage()]
    assert said == ["old stored responses and answers can't be deleted: the disk is full"]
