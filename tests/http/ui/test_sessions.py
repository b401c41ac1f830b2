"""Sessions: their life, messages, branches, and carrying them in and out."""

import asyncio
import datetime as dt
import uuid

import pytest

from gaia_core import Agent, Context, ScriptedModel, Toolset, call, tool
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_http import Settings

AGENTS = (Agent("a"), Agent("beta"))


def echo(request) -> str:
    return f"answer to {request.messages[-1].content}"


async def talked(client, *words: str, **fields: object) -> tuple[str, list[int]]:
    """A session with a turn for each word, and the ids of its messages."""
    session = await client.session(**fields)
    for word in words:
        await client.send(session, word)
    return session, await ids(client, session)


async def ids(client, session: str) -> list[int]:
    return [message["id"] for message in (await client.get(f"/api/sessions/{session}/messages"))["messages"]]


# One session.


async def test_a_new_session(ui):
    client = await ui(agents=AGENTS)

    made = await client.post("/api/sessions")

    assert str(uuid.UUID(made["id"])) == made["id"]
    for name in ("created_at", "updated_at"):
        at = dt.datetime.fromisoformat(made[name])
        assert at.utcoffset() == dt.timedelta(0)
        assert "." in made[name]
    assert {name: value for name, value in made.items() if name not in ("id", "created_at", "updated_at")} == {
        "title": "New Chat",
        "title_is_custom": False,
        "model": "local",
        "system_prompt": None,
        "message_count": 0,
        "document_ids": [],
        "private": False,
        "agent_type": "a",
        "device": None,
        "mail_provider": None,
    }
    assert await client.get(f"/api/sessions/{made['id']}") == made


async def test_what_a_session_is_given(ui):
    client = await ui(agents=AGENTS)
    given = {"title": "T", "system_prompt": "P", "document_ids": ["d"], "agent_type": "beta", "device": "cpu"}

    made = await client.post("/api/sessions", given)

    assert {name: made[name] for name in given} == given


async def test_a_session_is_changed(ui):
    client = await ui(agents=AGENTS)
    session = await client.session()

    status, changed, _ = await client.ask(
        "PUT", f"/api/sessions/{session}", {"title": "T", "system_prompt": "P", "agent_type": "beta"}
    )

    assert status == 200
    assert (changed["title"], changed["title_is_custom"]) == ("T", True)
    assert (changed["system_prompt"], changed["agent_type"]) == ("P", "beta")
    assert await client.get(f"/api/sessions/{session}") == changed


async def test_the_first_answer_gives_the_title_unless_a_person_did(ui):
    client = await ui(ScriptedModel(lambda request: "**Budget** of the year\nand more"))
    plain = await client.session()
    named = await client.session()
    await client.ask("PUT", f"/api/sessions/{named}", {"title": "Mine"})

    for session in (plain, named):
        await client.send(session)
    async with asyncio.timeout(60):
        while (title := (await client.get(f"/api/sessions/{plain}"))["title"]) == "New Chat":
            await asyncio.sleep(0.01)

    assert title == "Budget of the year"
    assert (await client.get(f"/api/sessions/{named}"))["title"] == "Mine"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("PATCH", "/private"),
        ("GET", "/messages"),
        ("DELETE", "/messages/1"),
        ("DELETE", "/messages/1/and-below"),
        ("POST", "/head"),
        ("POST", "/fork"),
        ("GET", "/export"),
        ("POST", "/activate"),
    ],
)
@pytest.mark.parametrize("session", ["00000000-0000-4000-8000-000000000000", "not-an-id", "%00", "%ED%A0%80"])
async def test_an_unknown_session_is_404_everywhere(ui, method, path, session):
    client = await ui()
    body = {"message_id": 1} if path == "/head" else {} if method in ("PUT", "PATCH", "POST") else None

    status, answer, _ = await client.ask(method, f"/api/sessions/{session}{path}", body)

    assert status == 404
    assert list(answer) == ["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_unknown_agent_is_answered_with_the_nearest(ui, method):
    client = await ui(agents=AGENTS)
    path = "/api/sessions" if method == "POST" else f"/api/sessions/{await client.session()}"

    status, answer, _ = await client.ask(method, path, {"agent_type": "betta"})

    assert status == 400
    assert "'beta'" in answer["detail"]


@pytest.mark.parametrize("body", [{"title": 5}, {"title": "x" * 501}, {"document_ids": "d"}, {"private": "yes"}])
async def test_a_field_that_does_not_fit_is_named(ui, body):
    client = await ui()

    status, answer, _ = await client.ask("POST", "/api/sessions", body)

    assert status == 422
    assert next(iter(body)) in answer["detail"]


async def test_a_body_that_is_no_json(ui):
    client = await ui()

    status, answer, _ = await client.ask(
        "POST", "/api/sessions", data=b"{", headers={"content-type": "application/json"}
    )

    assert (status, list(answer)) == (400, ["detail"])


# Many sessions.


async def test_sessions_come_last_updated_first_and_are_paged(ui):
    client = await ui(ScriptedModel(echo))
    made = [await client.session() for _ in range(5)]
    await client.send(made[1])

    whole = await client.get("/api/sessions")
    page = await client.get("/api/sessions?limit=2&offset=1")

    order = [session["id"] for session in whole["sessions"]]
    assert order == [made[1], made[4], made[3], made[2], made[0]]
    assert ([session["id"] for session in page["sessions"]], page["total"]) == (order[1:3], 5)


async def test_sessions_are_searched_by_title_and_words(ui):
    client = await ui(ScriptedModel(echo))
    by_title = await client.session(title="The Budget")
    by_words, _ = await talked(client, "where is the budget?")
    await talked(client, "something else")

    found = await client.get("/api/sessions?q=BUDGET")

    assert {session["id"] for session in found["sessions"]} == {by_title, by_words}
    assert found["total"] == 2


@pytest.mark.parametrize("query", ["limit=201", "limit=x", "offset=-1"])
async def test_a_page_that_can_not_be(ui, query):
    client = await ui()

    status, answer, _ = await client.ask("GET", f"/api/sessions?{query}")

    assert status == 422
    assert query.partition("=")[0] in answer["detail"]


# Deleting.


async def test_deleting_waits_for_the_running_turn(ui):
    ended = []

    @tool(effects="read")
    async def work(ctx: Context[None]) -> str:
        """Work."""
        try:
            ctx.progress("working")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ended.append(1)

    client = await ui(call("work"), agents=(Agent("a", tools=Toolset("t", (work,))),))
    session = await client.session()
    async with client.sending(session) as frames:
        async for _, data in frames:
            if data.get("message") == "working":
                break

        status, answer, _ = await client.ask("DELETE", f"/api/sessions/{session}")

        assert (status, answer, ended) == (200, {"deleted": True}, [1])
        assert [data["type"] async for _, data in frames][-1] == "done"
    assert (await client.ask("GET", f"/api/sessions/{session}"))[0] == 404
    assert (await client.get("/api/sessions"))["total"] == 0


# Messages.


async def test_messages_come_oldest_first_and_nothing_is_cut_off(ui):
    client = await ui(ScriptedModel(echo))
    session, known = await talked(client, *"abcde")
    path = f"/api/sessions/{session}/messages"

    async def page(query: str) -> list[int]:
        answer = await client.get(f"{path}?{query}")
        assert answer["total"] == 10
        return [message["id"] for message in answer["messages"]]

    assert known == sorted(known)
    assert await page("limit=3") == known[:3]
    assert await page("limit=3&offset=8") == known[8:]
    assert await page(f"limit=3&before={known[7]}") == known[4:7]
    assert await page(f"limit=3&before={known[1]}") == known[:1]
    assert await page("limit=0") == []
    assert (await client.get(f"/api/sessions/{session}"))["message_count"] == 10


async def test_more_messages_than_a_page_has(ui):
    client = await ui()
    messages = [{"role": role, "content": f"{n}"} for n in range(150) for role in ("user", "assistant")]
    session = (await client.post("/api/sessions/import", {"session": {}, "messages": messages}))["id"]

    first = await client.get(f"/api/sessions/{session}/messages")
    all_of_them = await client.get(f"/api/sessions/{session}/messages?limit=10000")

    assert (len(first["messages"]), first["total"]) == (100, 300)
    assert [{"role": each["role"], "content": each["content"]} for each in all_of_them["messages"]] == messages


async def test_what_an_answer_took_stands_with_it(ui):
    @tool(effects="read")
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    agent = Agent("a", tools=Toolset("t", (add,)))
    client = await ui((call("add", a=1, b=2), call("add", a="x", b=2)), "It is 3", agents=(agent,))
    session, _ = await talked(client, "1+2?")

    answer = (await client.get(f"/api/sessions/{session}/messages"))["messages"][1]
    good, bad = answer["agent_steps"]

    assert (good["type"], good["tool"], good["label"]) == ("tool", "add", "add(a=1, b=2)")
    assert (good["result"], good["success"], good["active"]) == ("3", True, False)
    assert good["latencyMs"] >= 0
    assert bad["success"] is False
    assert answer["stats"]["output_tokens"] > 0


@pytest.mark.parametrize("suffix", ["", "/and-below"])
@pytest.mark.parametrize("index", [2, 3])
async def test_deleting_a_message_goes_back_to_before_its_turn_and_keeps_the_branch(ui, suffix, index):
    client = await ui(ScriptedModel(echo))
    session, known = await talked(client, "1", "2", "3")

    status, answer, _ = await client.ask("DELETE", f"/api/sessions/{session}/messages/{known[index]}{suffix}")

    assert (status, answer) == (200, {"deleted": True, "count": 4})
    assert await ids(client, session) == known[:2]
    await client.send(session, "other")
    assert [content for _, content in await client.messages(session)][2:] == ["other", "answer to other"]
    back = await client.post(f"/api/sessions/{session}/head", {"message_id": known[5]})
    assert back["message_count"] == 6
    assert await ids(client, session) == known


async def test_the_conversation_may_begin_anew(ui):
    client = await ui(ScriptedModel(echo))
    session, _ = await talked(client, "1")

    assert (await client.post(f"/api/sessions/{session}/head", {"message_id": 0}))["message_count"] == 0
    assert await client.messages(session) == []


@pytest.mark.parametrize("message", ["99", "2", "x", "-1", "1e3"])
async def test_a_message_that_is_not_there(ui, message):
    client = await ui(ScriptedModel(echo))
    session, known = await talked(client, "1")
    assert known == [1, 3]

    assert (await client.ask("DELETE", f"/api/sessions/{session}/messages/{message}"))[0] == 404


async def test_the_head_does_not_move_while_a_turn_runs(ui, gate):
    model = gate("one", "two")
    client = await ui(model=model)
    session, known = await talked(client, "1")
    await client.start(session, "2")

    status, _, headers = await client.ask("POST", f"/api/sessions/{session}/head", {"message_id": known[0]})
    deleting = await client.ask("DELETE", f"/api/sessions/{session}/messages/{known[0]}")
    model.go.set()

    assert (status, deleting[0]) == (409, 409)
    assert "retry-after" in headers


# Branches.


async def test_a_fork_shares_the_past_and_nothing_after(ui):
    client = await ui(ScriptedModel(echo))
    session, known = await talked(client, "1", "2", title="Budget")

    whole = (await client.post(f"/api/sessions/{session}/fork"))["id"]
    part = (await client.post(f"/api/sessions/{session}/fork", {"message_id": known[0]}))["id"]
    await client.send(part, "mine")

    assert str(uuid.UUID(whole)) == whole
    assert await ids(client, whole) == known
    said = [content for _, content in await client.messages(part)]
    assert said == ["1", "answer to 1", "mine", "answer to mine"]
    assert await ids(client, session) == known


async def test_a_fork_of_a_running_session_ends_with_its_last_answer(ui, gate):
    model = gate("one", "two")
    client = await ui(model=model)
    session, known = await talked(client, "1")
    await client.start(session, "2")

    fork = (await client.post(f"/api/sessions/{session}/fork"))["id"]
    model.go.set()

    assert await ids(client, fork) == known


# Carrying.


async def test_what_is_exported_can_be_imported(ui):
    client = await ui(ScriptedModel(echo), agents=AGENTS)
    session, _ = await talked(client, "1", "2", title="Budget", system_prompt="Be brief.", agent_type="beta")
    exported = await client.get(f"/api/sessions/{session}/export?format=json")

    new = await client.post("/api/sessions/import", exported)

    assert exported["format"] == "json"
    assert new["id"] != session
    for name in ("title", "system_prompt", "agent_type", "message_count"):
        assert new[name] == exported["session"][name]
    assert await client.messages(new["id"]) == await client.messages(session)
    await client.send(new["id"], "3")
    assert [message.content for message in client.server.model.requests[-1].messages[1:]] == [
        "1",
        "answer to 1",
        "2",
        "answer to 2",
        "3",
    ]


async def test_a_message_of_an_imported_conversation_is_deleted_with_its_turn_only(ui):
    client = await ui()
    messages = [{"role": role, "content": f"{n}"} for n in range(3) for role in ("user", "assistant")]
    session = (await client.post("/api/sessions/import", {"session": {}, "messages": messages}))["id"]
    known = await ids(client, session)

    await client.ask("DELETE", f"/api/sessions/{session}/messages/{known[2]}")

    assert await ids(client, session) == known[:2]


async def test_markdown(ui):
    client = await ui(ScriptedModel(echo))
    session, _ = await talked(client, "1", title="Budget")

    exported = await client.get(f"/api/sessions/{session}/export?format=markdown")

    assert exported["format"] == "markdown"
    assert exported["content"].startswith("# Budget\n\n## User (")
    assert "\n\nanswer to 1\n" in exported["content"]


async def test_another_format(ui):
    client = await ui()

    assert (await client.ask("GET", f"/api/sessions/{await client.session()}/export?format=pdf"))[0] == 400


# Private.


async def test_a_private_session_leaves_nothing_on_disk(ui, tmp_path):
    client = await ui(ScriptedModel(echo), journal=SQLiteJournal(tmp_path / "j.db"), settings=Settings())
    kept, _ = await talked(client, "the word is fourteen")
    hidden, _ = await talked(client, "the word is xylophone", private=True)

    listed = await client.get("/api/sessions")
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert {session["id"]: session["private"] for session in listed["sessions"]} == {kept: False, hidden: True}
    assert b"fourteen" in on_disk
    assert b"xylophone" not in on_disk


async def test_turning_private_on_moves_the_session_and_off_brings_it_back(ui, tmp_path):
    client = await ui(ScriptedModel(echo), journal=SQLiteJournal(tmp_path / "j.db"))
    session, known = await talked(client, "the word is xylophone")
    path = f"/api/sessions/{session}/private"

    _, on, _ = await client.ask("PATCH", path, {"private": True})
    on_disk = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    hidden = await ids(client, session)
    _, off, _ = await client.ask("PATCH", path)

    assert (on["private"], off["private"]) == (True, False)
    assert b"xylophone" not in on_disk
    assert hidden == await ids(client, session) == known


async def test_private_is_refused_during_a_turn_and_while_a_fork_shares_the_past(ui, gate):
    model = gate("one", "two")
    client = await ui(model=model)
    session, _ = await talked(client, "1")
    fork = (await client.post(f"/api/sessions/{session}/fork"))["id"]
    shared = await client.ask("PATCH", f"/api/sessions/{session}/private", {"private": True})
    await client.ask("DELETE", f"/api/sessions/{fork}")
    await client.start(session, "2")
    busy = await client.ask("PATCH", f"/api/sessions/{session}/private", {"private": True})
    model.go.set()

    assert (shared[0], busy[0]) == (409, 409)
