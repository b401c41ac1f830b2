"""A damaged record over HTTP: the error names session and record, and what is beside it is answered."""

import sqlite3
from contextlib import closing

import pytest

from gaia_core import ScriptedModel
from gaia_core.journal.sqlite import SQLiteJournal


@pytest.fixture
def damage(tmp_path):
    """Damage a record of a session whose name ends so."""

    def damage(session, seq):
        with closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as db:
            done = db.execute(
                "UPDATE record SET body = CAST('{' AS BLOB) WHERE key = "
                "(SELECT number << 32 | ? FROM session WHERE id LIKE '%' || ?)",
                (seq, session),
            )
            assert done.rowcount == 1

    return damage


@pytest.fixture
async def server(serve, tmp_path):
    return await serve(ScriptedModel(lambda _request: "Hello."), journal=SQLiteJournal(tmp_path / "j.db"))


async def get(server, path):
    async with server.http.get(path) as response:
        return response.status, await response.json()


async def test_a_session_of_the_ui(server, damage):
    async with server.http.post("/api/sessions", json={}) as response:
        session = (await response.json())["id"]
    for _ in range(2):
        body = {"session_id": session, "message": "Hi"}
        async with server.http.post("/api/chat/send", json=body) as response:
            assert response.status == 200, await response.text()
            await response.read()
    damage(session, 5)

    status, listed = await get(server, "/api/sessions")
    assert (status, [row["id"] for row in listed["sessions"]]) == (200, [session])
    status, found = await get(server, f"/api/sessions/{session}/messages")
    assert status == 200
    assert [message["content"] for message in found["messages"][:2]] == ["Hi", "Hello."]
    assert "(Record 5 of this conversation, 'answered', is damaged" in found["messages"][3]["content"]
    assert (await get(server, f"/api/sessions/{session}/export?format=json"))[0] == 200
    await server.runtime.forget("", session)  # the conversation in memory is whole
    async with server.http.post("/api/chat/send", json={"session_id": session, "message": "Hi"}) as response:
        told = await response.text()
    assert f"session '{session}': record 5 (answered) is damaged" in told


async def test_a_stored_response_and_completion(server, damage):
    made = []
    for _ in range(2):
        async with server.http.post("/v1/responses", json={"model": "a", "input": "Hi"}) as response:
            made.append((await response.json())["id"])
    async with server.http.post(
        "/v1/chat/completions", json={"model": "a", "messages": [{"role": "user", "content": "Hi"}], "store": True}
    ) as response:
        completion = (await response.json())["id"]
    row = next(row for row in (await server.runtime.sessions.list("", surface="responses"))[0] if row.id in made[0])
    damage(row.id, 2)
    damage(completion, 1)

    status, error = await get(server, f"/v1/responses/{made[0]}")
    assert (status, error["error"]["code"]) == (500, "record_damaged")
    assert f"session '{row.id}': record 2 (answered) is damaged" in error["error"]["message"]
    assert (await get(server, f"/v1/responses/{made[1]}"))[0] == 200

    status, error = await get(server, f"/v1/chat/completions/{completion}")
    assert (status, error["error"]["code"]) == (500, "record_damaged")
    assert f"session '{completion}': record 1 (began) is damaged" in error["error"]["message"]
    assert (await get(server, "/v1/chat/completions"))[1]["data"] == []
