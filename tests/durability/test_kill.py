"""kill -9 at every point of a turn: the next process ends it, once, and whoever watched it has what is recorded."""

import asyncio

import pytest

APPENDS = 4
"""Of a turn that calls two tools, after the claim that begins it: answered; done; done; answered and ended."""

UNPROMISED = "before:claim:1"
"""The message is not in the record yet, and nobody was told that it is."""

LAST = f"after:append:{APPENDS}"

POINTS = (
    UNPROMISED,
    "after:claim:1",
    *(f"{side}:append:{n}" for n in range(1, APPENDS + 1) for side in ("before", "after")),
    "say:1:6",
    "in:once",
    "in:again",
    "say:2:6",
)


async def cut_off(house, reader, point: str):
    """A client whose server died at *point* of the turn; it has what it was told before."""
    await house.start(point)
    client = reader(house, await house.session())
    sending = asyncio.create_task(client.send("both"))
    if point.startswith("say:"):  # what is lost there should be something that a client has
        await house.until(lambda: ("looks" if point.startswith("say:1") else "done") in client.text)
        house.open_gate("seen")
    await house.killed()
    await sending
    assert not client.done
    return client


@pytest.mark.parametrize("point", POINTS)
async def test_a_turn_ends_once_whenever_its_server_is_killed(house, reader, point):
    client = await cut_off(house, reader, point)
    before = len(client.frames)
    await house.start(hold=True)
    page = reader(house, client.session)  # was loaded anew, and has nothing
    attached = (asyncio.Event(), asyncio.Event())
    reading = [asyncio.create_task(each.attach(attached=at)) for each, at in zip((client, page), attached, strict=True)]
    for each in attached:
        await each.wait()
    house.open_gate("go")
    statuses = [await task for task in reading]

    if point == UNPROMISED:
        assert client.frames == page.frames == []
        assert statuses == [404, 404]
        assert await house.messages(client.session) == []
        assert await client.send("both") == 200
    messages = await house.full_messages(client.session)
    said = [(message["role"], message["content"]) for message in messages]
    assert [role for role, _ in said] == ["user", "assistant"]
    client.check(said[1][1])
    assert client.frames[-1][1]["message_id"] == messages[1]["id"]
    if point == LAST:
        assert statuses == [200, 404]  # nothing runs any more, and a page reads the messages
    elif point != UNPROMISED:
        assert statuses == [200, 200]
        page.check(said[1][1])
        assert client.types.count("resumed") == page.types.count("resumed") == 1
    for upto in range(1, before + 1):
        late = client.copy(upto)
        assert await late.attach() == 200
        late.check(said[1][1])

    await house.stop()
    await house.check_record(client.session)
    check_effects(house, client)


def check_effects(house, client) -> None:
    """`once` ran once at most, and the model was told the truth about it; `again` has one key."""
    outcomes = {data["title"]: data["success"] for _, data in client.frames if data["type"] == "tool_result"}
    assert len(house.lines("once")) <= 1
    assert len(house.lines("once")) == 1 or not outcomes["once"]
    assert outcomes["again"]
    assert 1 <= len(house.lines("again")) <= 2
    assert len(set(house.lines("again"))) == 1


async def test_the_points_are_all_that_there_are(house, reader):
    await house.start(f"before:append:{APPENDS + 1}")
    client = reader(house, await house.session())
    await client.send("both")

    text = "The 1. process looks at all that there is to do.\n\nAll is done now, says the 1. process, in several words."
    client.check(text)
    assert await house.messages(client.session) == [("user", "both"), ("assistant", text)]
    assert house.lines("appends") == [str(n + 1) for n in range(APPENDS)]
    await house.stop()
    await house.check_record(client.session)
    check_effects(house, client)


async def test_a_takeover_may_be_killed_as_well(house, reader):
    client = await cut_off(house, reader, "say:1:6")
    for point in ("after:append:1", "in:once"):
        await house.start(point)
        await client.attach()
        await house.killed()
    await house.start(hold=True)
    attached = asyncio.Event()
    reading = asyncio.create_task(client.attach(attached=attached))
    await attached.wait()
    house.open_gate("go")
    await reading

    client.check((await house.messages(client.session))[1][1])
    assert "The 3. process looks" in client.text
    assert "says the 4. process" in client.text
    await house.stop()
    await house.check_record(client.session)
    check_effects(house, client)


async def test_a_turn_that_kills_every_process_is_given_up(house, reader):
    client = await cut_off(house, reader, "before:append:1")
    for _ in range(3):
        await house.start("before:append:1")
        await house.killed()
    await house.start(hold=True)
    attached = asyncio.Event()
    reading = asyncio.create_task(client.attach(attached=attached))
    await attached.wait()
    house.open_gate("go")
    await reading

    assert client.types[-2:] == ["error", "done"]
    assert client.types.count("done") == 1
    assert "given up" in client.first("error")["content"]
    assert await reader(house, client.session).send("both") == 200  # the session itself goes on
    await house.stop()
    await house.check_record(client.session, turns=2)
