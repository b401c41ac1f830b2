"""An approval that waits holds nothing, outlives its server, and is given once."""

import asyncio

import pytest

WAITING = 30
OTHERS = 8


async def asked(house, reader, message: str, agent: str = "careful"):
    """A client whose turn waits for its approval."""
    client = reader(house, await house.session(agent_type=agent))
    assert await client.send(message, upto="permission_request") == 200
    return client, client.frames[-1][1]["confirm_id"]


async def confirm(house, session: str, prompt: str, *, approved: bool = True) -> int:
    body = {"session_id": session, "approved": approved, "confirm_id": prompt}
    return (await house.ask("POST", "/api/chat/confirm-tool", body))[0]


async def idle(house) -> bool:
    """Whether nobody has a slot of the model, or waits for one."""
    return await house.metric("gaia_model_slots_busy") == await house.metric("gaia_model_queued") == 0


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_it_waits_while_its_server_restarts_and_its_call_runs_once(house, reader, end):
    await house.start(drain_seconds=0.1)
    client, prompt = await asked(house, reader, "save report")
    other, foreign = await asked(house, reader, "save other")
    await getattr(house, end)()
    await house.start()
    reading = [asyncio.create_task(each.attach()) for each in (client, other)]
    await house.until(lambda: "resumed" in client.types and "resumed" in other.types)

    assert await idle(house)
    assert await confirm(house, other.session, prompt) == 404
    assert await confirm(house, client.session, foreign) == 404
    given = await asyncio.gather(*(confirm(house, client.session, prompt) for _ in range(4)))
    denied = await confirm(house, other.session, foreign, approved=False)
    await asyncio.gather(*reading)
    again = await confirm(house, client.session, prompt, approved=False)

    assert sorted(given) == [200, 409, 409, 409]
    assert (denied, again) == (200, 409)
    client.check("saved report")
    other.check((await house.messages(other.session))[1][1])
    assert other.text.startswith("Denied")
    assert house.lines("saves") == ["report"]
    await house.stop()
    await house.check_record(client.session, other.session)


async def test_it_expires_while_no_server_runs(house, reader):
    await house.start("after:append:1")  # what is asked is recorded
    client = reader(house, await house.session(agent_type="hasty"))
    await client.send("save report")
    await house.killed()
    await house.start(hold=True)
    attached = asyncio.Event()
    reading = asyncio.create_task(client.attach(attached=attached))
    await attached.wait()
    house.open_gate("go")
    await reading
    prompt = client.first("permission_request")["confirm_id"]

    assert client.first("tool_confirm_denied")["confirm_id"] == prompt
    assert client.text.startswith("Denied: nobody answered")
    client.check(client.text)
    assert await confirm(house, client.session, prompt) == 409
    assert house.lines("saves") == []


async def test_while_many_wait_others_stream_as_if_they_did_not(house, reader):
    await house.start(slots=OTHERS)
    alone = reader(house, await house.session())
    await alone.send("look tag")
    waiting = await asyncio.gather(*(asked(house, reader, f"save {n}") for n in range(WAITING)))

    assert await idle(house)
    assert await house.metric("gaia_turns_running") == WAITING
    others = [reader(house, await house.session()) for _ in range(OTHERS)]
    await asyncio.gather(*(other.send("look tag") for other in others))
    threads = reader(house, await house.session())
    await threads.send("threads")

    assert {other.story for other in others} == {alone.story}
    assert "queued" not in alone.story
    assert [other.text for other in others] == [alone.text.replace(alone.session, other.session) for other in others]
    assert threads.text == "0"
    assert await idle(house)
    assert await house.metric("gaia_turns_running") == WAITING

    given = await asyncio.gather(*(confirm(house, client.session, prompt) for client, prompt in waiting))
    await asyncio.gather(*(client.attach() for client, _ in waiting))
    assert set(given) == {200}
    for n, (client, _) in enumerate(waiting):
        client.check(f"saved {n}")
    assert sorted(house.lines("saves"), key=int) == [str(n) for n in range(WAITING)]
