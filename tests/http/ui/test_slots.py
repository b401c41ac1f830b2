"""Ten answers through a model with two slots: a fair order, nobody starves, and who can't wait is told when to come."""

import asyncio

import pytest

from gaia_core.events import TextDelta
from gaia_core.messages import UserMessage
from gaia_core.models import Finished
from gaia_core.turn import Audience, TurnRequest


class Desk:
    """A model that answers each request when the test says so; *served* are the messages, in their slots' order."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self._ready: dict[str, asyncio.Event] = {}

    async def stream(self, request):
        said = request.messages[-1].content
        self.served.append(said)
        ready = self._ready[said] = asyncio.Event()
        yield (TextDelta("answer "),)
        await ready.wait()
        yield (TextDelta(f"to {said}"), Finished("stop"))

    def finish(self, said: str) -> None:
        self._ready.pop(said).set()

    async def until(self, served: int) -> None:
        async with asyncio.timeout(60):
            while len(self.served) < served:
                await asyncio.sleep(0.001)

    async def finish_all(self, total: int) -> None:
        """Finish one after the other, in the order in which they came, until *total* are served and finished."""
        for n in range(total):
            await self.until(n + 1)
            if self.served[n] in self._ready:
                self.finish(self.served[n])


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def waiting(client, count: int) -> None:
    """Until so many requests wait for a slot."""
    async with asyncio.timeout(60):
        while [load.queued for load in client.server.runtime.stats().models] != [count]:
            await asyncio.sleep(0.001)


async def sent(client, desk, *messages: str) -> list[asyncio.Task]:
    """Messages, each in a session of its own, that came one after the other."""
    tasks = []
    for message in messages:
        load = client.server.runtime.stats().models
        came = sum(each.busy + each.queued for each in load) + 1
        tasks.append(asyncio.create_task(client.send(await client.session(), message)))
        async with asyncio.timeout(60):
            while sum(each.busy + each.queued for each in client.server.runtime.stats().models) < came:
                await asyncio.sleep(0.001)
    return tasks


async def test_ten_sessions_are_served_in_the_order_in_which_they_came(ui, desk, text_of):
    client = await ui(model=desk, slots=2)
    names = [f"m{n}" for n in range(10)]
    tasks = await sent(client, desk, *names)

    assert desk.served == names[:2]
    await waiting(client, 8)
    await desk.finish_all(10)
    told = [await task for task in tasks]

    assert desk.served == names
    assert [text_of(frames) for frames in told] == [f"answer to {name}" for name in names]
    for n, frames in enumerate(told):
        places = [data["position"] for _, data in frames if data["type"] == "queued"]
        assert places == list(range(n - 1, 0, -1))  # it sees the queue shrink to its turn


async def test_keys_take_turns_however_much_one_of_them_asks(ui, desk):
    client = await ui(model=desk, slots=2)
    runtime = client.server.runtime
    tasks = await sent(client, desk, "m0", "m1")
    for n in range(4):
        await runtime.once("a", TurnRequest(transcript=(UserMessage(f"greedy{n}"),)), key="greedy")
        await waiting(client, n + 1)
    tasks += await sent(client, desk, "m2", "m3")
    await runtime.once("a", TurnRequest(transcript=(UserMessage("modest0"),)), key="modest")
    await waiting(client, 7)
    tasks += await sent(client, desk, "m4")

    await desk.finish_all(10)
    await asyncio.gather(*tasks)

    assert desk.served[2:] == ["greedy0", "m2", "modest0", "greedy1", "m3", "greedy2", "m4", "greedy3"]


async def test_who_can_not_wait_is_told_when_to_come_back(ui, desk):
    client = await ui(model=desk, slots=2, queue=3)
    tasks = await sent(client, desk, *(f"m{n}" for n in range(5)))
    session = await client.session()

    for body in ({"stream": True}, {"stream": False}):
        body |= {"session_id": session, "message": "m5"}
        status, answer, headers = await client.ask("POST", "/api/chat/send", body)
        assert status == 429
        assert int(headers["retry-after"]) >= 1
        assert "2 slots in use and 3 requests waiting" in answer["detail"]
    assert await client.messages(session) == []
    other, headers, _ = await client.server.post({"model": "a", "messages": [{"role": "user", "content": "m6"}]})
    assert other == 429
    assert int(headers["retry-after"]) >= 1

    desk.finish("m0")
    await desk.until(3)
    tasks += await sent(client, desk, "m7")  # there is room again
    await desk.finish_all(6)
    await asyncio.gather(*tasks)
    assert desk.served == ["m0", "m1", "m2", "m3", "m4", "m7"]


async def test_a_message_passes_background_work_even_when_that_fills_the_queue(ui, desk):
    client = await ui(model=desk, slots=2, queue=3)
    runtime = client.server.runtime
    for n in range(5):
        await runtime.once("a", TurnRequest(transcript=(UserMessage(f"work{n}"),), audience=Audience.UNATTENDED))
    await waiting(client, 3)

    tasks = await sent(client, desk, "m0", "m1")
    await desk.finish_all(7)
    await asyncio.gather(*tasks)

    assert desk.served == ["work0", "work1", "m0", "m1", "work2", "work3", "work4"]


async def test_background_work_does_not_starve(ui, desk):
    client = await ui(model=desk, slots=2)
    tasks = await sent(client, desk, "m0", "m1")
    await client.server.runtime.once("a", TurnRequest(transcript=(UserMessage("work"),), audience=Audience.UNATTENDED))
    await waiting(client, 1)
    tasks += await sent(client, desk, *(f"m{n}" for n in range(2, 12)))

    await desk.finish_all(13)
    await asyncio.gather(*tasks)

    assert "work" in desk.served[2:10]
