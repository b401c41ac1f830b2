"""Sending: busy sessions, clients that go, cancelling, agents and prompts of a session, many at once."""

import asyncio

import pytest

from gaia_core import Agent, Context, ScriptedModel, Toolset, call, tool
from gaia_core.messages import ToolMessage
from gaia_http import Settings


def types(frames) -> list[str]:
    return [data["type"] for _, data in frames]


# A busy session.


async def test_a_busy_session_says_when_to_come_back(ui, gate):
    model = gate("Hello")
    client = await ui(model=model)
    session = await client.session()
    await client.start(session)

    status, answer, headers = await client.ask("POST", "/api/chat/send", {"session_id": session, "message": "again"})
    model.go.set()

    assert status == 409
    assert int(headers["retry-after"]) >= 1
    assert "runs a turn already" in answer["detail"]


async def test_a_message_that_waits_is_told_its_place_at_once_and_comes_in_its_order(ui, text_of):
    go = asyncio.Event()

    async def answer(request):
        await go.wait()
        return f"answer to {request.messages[-1].content}"

    client = await ui(ScriptedModel(answer))
    session = await client.session()
    await client.start(session, "1")

    async with client.sending(session, "2", when_busy="queue") as second:
        assert (await anext(second))[1] == {"type": "queued", "position": 1}
        async with client.sending(session, "3", when_busy="queue") as third:
            assert (await anext(third))[1] == {"type": "queued", "position": 2}
            go.set()
            answers = await asyncio.gather(*(_rest(each) for each in (second, third)))

    assert [text_of(frames) for frames in answers] == ["answer to 2", "answer to 3"]
    assert (await anext_queued(answers[1])) == {"type": "queued", "position": 1}
    said = [content for role, content in await client.messages(session) if role == "user"]
    assert said == ["1", "2", "3"]


async def _rest(frames) -> list:
    return [frame async for frame in frames]


async def anext_queued(frames) -> dict:
    return next(data for _, data in frames if data["type"] == "queued")


async def test_a_waiting_message_is_answered_even_when_its_client_has_gone(ui, gate):
    model = gate("one", "two")
    client = await ui(ScriptedModel(lambda request: _held(model.go, request)))
    session = await client.session()
    await client.start(session, "1")
    async with client.sending(session, "2", when_busy="queue") as frames:
        await anext(frames)

    model.go.set()
    async with asyncio.timeout(60):
        while len(await client.messages(session)) < 4:
            await asyncio.sleep(0.01)

    assert await client.messages(session) == [("user", "1"), ("assistant", "ok"), ("user", "2"), ("assistant", "ok")]


async def _held(go: asyncio.Event, request) -> str:
    await go.wait()
    return "ok"


async def test_interrupting_ends_the_running_turn_first(ui, text_of):
    never = asyncio.Event()

    async def answer(request):
        if request.messages[-1].content == "1":
            await never.wait()
        return "two"

    client = await ui(ScriptedModel(answer))
    session = await client.session()
    async with client.sending(session, "1") as first:
        await anext(first)

        second = await client.send(session, "2", when_busy="interrupt")

        assert types(await _rest(first))[-2:] == ["status", "done"]
    assert text_of(second) == "two"


async def test_too_many_that_wait_are_no_capacity(ui, gate):
    model = gate("Hello")
    client = await ui(model=model)
    session = await client.session()
    await client.start(session)
    body = {"session_id": session, "message": "x", "when_busy": "queue", "stream": False}
    waiting = [asyncio.create_task(client.ask("POST", "/api/chat/send", body)) for _ in range(17)]

    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    status, _, headers = done.pop().result()

    assert status == 429
    assert "retry-after" in headers
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await client.server.runtime.aclose()


async def test_a_model_without_room_is_no_capacity(ui, gate):
    model = gate("Hello")
    client = await ui(model=model, slots=1, queue=0)
    first, second = await client.session(), await client.session()
    await client.start(first)
    await model.waiting.wait()

    status, answer, headers = await client.ask("POST", "/api/chat/send", {"session_id": second, "message": "x"})
    model.go.set()

    assert status == 429
    assert int(headers["retry-after"]) >= 1
    assert "slots in use" in answer["detail"]
    assert await client.messages(second) == []


async def test_the_place_in_a_models_queue_is_told(ui, gate):
    model = gate("Hello", "Hello")
    go = asyncio.Event()

    async def answer(request):
        await go.wait()
        return "ok"

    client = await ui(ScriptedModel(answer), slots=1)
    first, second = await client.session(), await client.session()
    await client.start(first)
    async with client.sending(second) as frames:
        async for _, data in frames:
            if data["type"] == "queued":
                assert data["position"] == 1
                go.set()
            last = data
    assert last["type"] == "done"
    assert not model.asked


# Clients that go.


async def test_a_turn_goes_on_when_its_client_leaves(ui, gate):
    model = gate("Hello there")
    client = await ui(model=model)
    session = await client.session()
    async with client.sending(session) as frames:
        async for _, data in frames:
            if data["type"] == "chunk":
                break
    assert (await client.get("/api/chat/active"))["session_ids"] == [session]

    async with client.attaching(session) as frames:
        model.go.set()
        assert types(await _rest(frames))[-1] == "done"

    assert await client.messages(session) == [("user", "Hi"), ("assistant", "Hello there")]


# Cancelling.


async def test_cancel_answers_when_the_turn_has_ended(ui, gate):
    model = gate("Hello there")
    client = await ui(model=model)
    session = await client.session()
    async with client.sending(session) as frames:
        async for _, data in frames:
            if data["type"] == "chunk":
                break

        answer = await client.post("/api/chat/cancel", {"session_id": session})
        assert (await client.get("/api/chat/active"))["session_ids"] == []
        rest = await _rest(frames)

    assert answer == {"status": "ok", "cancelled": True}
    assert [data["type"] for _, data in rest] == ["status", "done"]
    assert rest[-1][1]["content"] == "Hello "
    assert (await client.messages(session))[1] == ("assistant", "Hello ")


async def test_cancel_where_nothing_runs(ui):
    client = await ui()
    session = await client.session()

    assert await client.post("/api/chat/cancel", {"session_id": session}) == {"status": "ok", "cancelled": False}


# What a session is.


async def test_the_system_prompt_joins_the_agents_instructions(ui):
    client = await ui("one", "two", agents=(Agent("a", instructions="You are a."),))
    session = await client.session(system_prompt="Answer in French.")
    await client.send(session)
    await client.ask("PUT", f"/api/sessions/{session}", {"system_prompt": "Answer in German."})
    await client.send(session)

    first, second = (request.messages[0].content for request in client.server.model.requests)

    assert first == "You are a.\n\nAnswer in French."
    assert second == "You are a.\n\nAnswer in German."


async def test_a_message_may_change_the_agent(ui):
    agents = (Agent("a", instructions="You are a."), Agent("b", instructions="You are b."))
    client = await ui("one", agents=agents)
    session = await client.session()

    await client.send(session, agent_type="b")

    assert client.server.model.requests[0].messages[0].content == "You are b."
    assert (await client.get(f"/api/sessions/{session}"))["agent_type"] == "b"


async def test_a_message_may_follow_an_earlier_one(ui):
    client = await ui("one", "two", "three")
    session = await client.session()
    await client.send(session, "1")
    first = (await client.get(f"/api/sessions/{session}/messages"))["messages"][-1]["id"]
    await client.send(session, "2")

    await client.send(session, "2, better", parent_id=first)

    said = [("user", "1"), ("assistant", "one"), ("user", "2, better"), ("assistant", "three")]
    assert await client.messages(session) == said
    assert [message.content for message in client.server.model.requests[-1].messages] == ["1", "one", "2, better"]


# Many at once.


async def test_fifty_sessions_at_once_hear_only_their_own(ui, text_of):
    @tool(effects="read")
    async def look(ctx: Context[None], tag: str) -> str:
        """Say the tag and the session."""
        await asyncio.sleep(0)
        return f"{tag}/{ctx.session_id}"

    def answer(request):
        last = request.messages[-1]
        if isinstance(last, ToolMessage):
            return f"saw {last.content} in some words"
        return call("look", tag=last.content)

    client = await ui(ScriptedModel(answer), agents=(Agent("a", tools=Toolset("t", (look,))),))
    sessions = [await client.session() for _ in range(50)]

    streams = await asyncio.gather(*(client.send(session, f"tag{n}") for n, session in enumerate(sessions)))

    for n, (session, frames) in enumerate(zip(sessions, streams, strict=True)):
        expected = f"saw tag{n}/{session} in some words"
        assert text_of(frames) == expected
        assert await client.messages(session) == [("user", f"tag{n}"), ("assistant", expected)]


# What is refused.


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"session_id": "nope"}, 404, "no session"),
        ({"session_id": "\u0000"}, 404, "no session"),
        ({"message": ""}, 422, "message"),
        ({"message": "x" * 100_001}, 422, "message"),
        ({"message": 5}, 422, "message"),
        ({"when_busy": "wait"}, 422, "when_busy"),
        ({"agent_type": "aa"}, 400, "'a'"),
        ({"parent_id": 99}, 404, "no message 99"),
    ],
)
async def test_a_message_that_can_not_be_sent(ui, fields, status, words):
    client = await ui()
    body = {"session_id": await client.session(), "message": "Hi"} | fields

    code, answer, _ = await client.ask("POST", "/api/chat/send", body)

    assert (code, list(answer)) == (status, ["detail"])
    assert words in answer["detail"]


async def test_a_server_that_drains_takes_no_message(ui):
    client = await ui()
    session = await client.session()
    await client.server.runtime.drain(0)

    status, answer, headers = await client.ask("POST", "/api/chat/send", {"session_id": session, "message": "Hi"})

    assert status == 503
    assert "retry-after" in headers
    assert list(answer) == ["detail"]


async def test_an_idle_stream_gets_comments(ui, gate):
    model = gate("Hello")
    client = await ui(model=model, settings=Settings(heartbeat_seconds=0.02))
    session = await client.session()
    body = {"session_id": session, "message": "x"}
    async with client.server.http.post("/api/chat/send", json=body) as response:
        while not (await response.content.readuntil(b"\n\n")).startswith(b": "):
            pass
        model.go.set()
        assert b'"type":"done"' in await response.read()


# Once, by its Idempotency-Key.


@pytest.mark.parametrize("stream", [True, False])
async def test_a_message_that_is_sent_again_by_its_key_is_there_once(ui, stream):
    client = await ui("Hello", "Hello again")
    session = await client.session()
    body = {"session_id": session, "message": "Hi", "stream": stream}

    answers = []
    for _ in range(2):
        headers = {"Idempotency-Key": "one"}
        async with client.server.http.post("/api/chat/send", json=body, headers=headers) as response:
            assert response.status == 200
            answers.append(await response.text())
    status, answer, _ = await client.ask(
        "POST", "/api/chat/send", body | {"message": "Ho"}, headers={"Idempotency-Key": "one"}
    )

    assert answers[0] == answers[1]
    assert await client.messages(session) == [("user", "Hi"), ("assistant", "Hello")]
    assert status == 409
    assert "another body" in answer["detail"]
