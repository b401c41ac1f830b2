"""kill -9 at every point of a turn: the next process ends it, once, and whoever watched it has what is recorded."""

import asyncio

import pytest

APPENDS = 6
"""Of a turn that calls two tools: begun; answered; done; done; answered; ended."""

UNPROMISED = ("before:claim:1", "after:claim:1", "before:append:1")
"""The message is not in the record yet, and nobody was told that it is."""

POINTS = (
    *UNPROMISED,
    "after:append:1",
    *(f"{side}:append:{n}" for n in range(2, APPENDS + 1) for side in ("before", "after")),
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

    if point in UNPROMISED:
        assert await house.messages(client.session) == []
        assert client.frames == page.frames == []
        assert statuses == [404, 404]
        client, before = reader(house, client.session), 0
        await house.until(lambda: client.send("both"), 200)  # 409 until the dead process' claim is given up
    messages = await house.full_messages(client.session)
    said = [(message["role"], message["content"]) for message in messages]
    assert [role for role, _ in said] == ["user", "assistant"]
    client.check(said[1][1])
    assert client.frames[-1][1]["message_id"] == messages[1]["id"]
    if point not in UNPROMISED:
        assert statuses[0] == 200
        if point == f"after:append:{APPENDS}":
            assert statuses[1] == 404  # nothing runs, and a page reads the messages
        else:
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
    outcomes = {
        data["title"]: data["success"] for _, data in client.frames if data["type"] == "tool_result"
    }
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
