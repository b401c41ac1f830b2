"""A hundred sessions at once whose clients come and go: each gets its own answer, whole and once. SIGTERM too."""

import asyncio
import random
import signal

SESSIONS = 100


def answer(tag: str, session: str) -> str:
    return (
        f"Let me look after {tag} for a while, it may be somewhere.\n\n"
        f"After all I saw {tag}/{session} and nothing else, neither here nor there, and {tag} is all that I need."
    )


async def wander(house, reader, client, seed: int, *, message: str | None = None, down: asyncio.Event | None = None):
    """A client that hangs up and comes back until it knows how its turn ended; it tells how often it came.

    Now and then its page is loaded anew: it has nothing, and if the turn has ended, it reads the messages. While the
    server is *down* (not set: it is) it waits.
    """
    chance = random.Random(seed)
    came = 0
    while not client.done:
        if down is not None:
            await down.wait()
        came += 1
        most = chance.choice((1, 2, 3, 5, 8, 13, None))
        if message is not None:
            assert await client.send(message, most) == 200
            message = None
        else:
            status = await client.attach(most)
            if status == 404:  # it has nothing yet, and nothing runs any more
                assert client.last is None
                return client, came
            assert status in (0, 200, 503)
        if chance.random() < 0.1 and not client.done:
            client = reader(house, client.session)
        await asyncio.sleep(chance.random() * 0.05)
    return client, came


async def check(house, client, tag: str) -> None:
    expected = answer(tag, client.session)
    assert await house.messages(client.session) == [("user", f"{tag_verb(tag)} {tag}"), ("assistant", expected)]
    if client.done:
        client.check(expected)


def tag_verb(tag: str) -> str:
    return "hold" if tag.startswith("held") else "look"


async def test_clients_that_come_and_go_lose_nothing(house, reader):
    await house.start(slots=SESSIONS, word_seconds=0.02)
    clients = [reader(house, await house.session()) for _ in range(SESSIONS)]

    wandered = await asyncio.gather(
        *(wander(house, reader, client, n, message=f"look tag{n}") for n, client in enumerate(clients))
    )

    for n, (client, _) in enumerate(wandered):
        await check(house, client, f"tag{n}")
    assert sum(client.done for client, _ in wandered) > SESSIONS / 4
    assert sum(came for _, came in wandered) > 2 * SESSIONS
    assert sorted(house.lines("looks")) == sorted(f"{client.session} tag{n}" for n, client in enumerate(clients))
    await house.stop()
    await house.check_record(*(client.session for client in clients))


async def test_sigterm_in_the_middle_lets_turns_end_and_leaves_those_that_do_not_for_the_next_start(house, reader):
    await house.start(slots=SESSIONS, drain_seconds=60, word_seconds=0.01)
    idle = await house.session()
    tags = [f"held{n}" if n % 2 else f"tag{n}" for n in range(SESSIONS)]
    clients = [reader(house, await house.session()) for _ in tags]
    up = asyncio.Event()
    up.set()
    wandering = [
        asyncio.create_task(wander(house, reader, client, n, message=f"{tag_verb(tag)} {tag}", down=up))
        for n, (client, tag) in enumerate(zip(clients, tags, strict=True))
    ]
    await house.until(lambda: len(house.lines("claims")), SESSIONS)  # all have begun

    house.signal(signal.SIGTERM)
    await house.until(lambda: house.ask("GET", "/ready"), (503, {"status": "draining"}))
    assert await reader(house, idle).send("look more") == 503
    await house.until(lambda: house.metric("gaia_turns_running"), SESSIONS / 2)  # the others are held
    up.clear()
    house.signal(signal.SIGTERM)  # at once
    code, said = await house.ended()
    house.open_gate("go")
    await house.start(slots=SESSIONS)
    up.set()
    wandered = await asyncio.gather(*wandering)

    assert code == 0
    assert said[0].startswith("stopping: ")
    assert said[1:] == [f"{SESSIONS // 2} turns are left for the next start", "stopped"]
    for (client, _), tag in zip(wandered, tags, strict=True):
        await check(house, client, tag)
    assert sorted(house.lines("looks")) == sorted(f"{c.session} {tag}" for c, tag in zip(clients, tags, strict=True))
    await house.stop()
    await house.check_record(*(client.session for client in clients))
