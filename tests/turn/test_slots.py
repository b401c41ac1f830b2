"""A model's slots: bounded, fair over sessions, and never lost."""

import asyncio

import pytest

from gaia_core import QueueFullError
from gaia_core.models._slots import SlotPool


def unheard(_position: int) -> None:
    return None


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_free_slot_is_taken_at_once():
    pool = SlotPool("m", slots=2, queue=2)

    await pool.acquire("a", unheard)

    assert (pool.busy, pool.queued, pool.slots) == (1, 0, 2)


async def test_sessions_take_turns_however_many_requests_one_has():
    pool = SlotPool("m", slots=1, queue=10)
    taken = await pool.acquire("busy", unheard)
    served: list[str] = []

    async def request(session: str) -> None:
        mine = await pool.acquire(session, unheard)
        served.append(session)
        pool.release(mine)

    tasks = []
    for session in ("greedy", "greedy", "greedy", "modest", "other"):
        tasks.append(asyncio.create_task(request(session)))
        await settle()
    pool.release(taken)
    await asyncio.gather(*tasks)

    assert served == ["greedy", "modest", "other", "greedy", "greedy"]
    assert (pool.busy, pool.queued) == (0, 0)


async def test_those_who_wait_are_told_their_place_and_when_it_changes():
    pool = SlotPool("m", slots=1, queue=10)
    taken = await pool.acquire("first", unheard)
    places: dict[str, list[int]] = {"a": [], "b": []}
    tasks = [asyncio.create_task(pool.acquire(session, places[session].append)) for session in places]
    await settle()

    pool.release(taken)
    pool.release(await tasks[0])
    await tasks[1]

    assert places == {"a": [1], "b": [2, 1]}


async def test_a_full_queue_says_when_to_come_back():
    pool = SlotPool("local", slots=1, queue=1)
    await pool.acquire("a", unheard)
    waiting = asyncio.create_task(pool.acquire("b", unheard))
    await settle()

    with pytest.raises(QueueFullError, match=r"model 'local' has 1 slots in use and 1 requests waiting; try again in"):
        await pool.acquire("c", unheard)

    assert pool.retry_after >= 1
    waiting.cancel()


async def test_who_stops_waiting_leaves_the_queue():
    pool = SlotPool("m", slots=1, queue=1)
    taken = await pool.acquire("a", unheard)
    waiting = asyncio.create_task(pool.acquire("b", unheard))
    await settle()

    waiting.cancel()
    await settle()

    assert pool.queued == 0
    pool.release(taken)
    assert pool.busy == 0


async def test_a_slot_given_to_somebody_who_was_just_cancelled_goes_to_the_next():
    pool = SlotPool("m", slots=1, queue=2)
    taken = await pool.acquire("a", unheard)
    gone = asyncio.create_task(pool.acquire("gone", unheard))
    next_one = asyncio.create_task(pool.acquire("next", unheard))
    await settle()

    pool.release(taken)  # gives the slot to `gone`, which has not run yet …
    gone.cancel()  # … and never will
    await settle()

    assert next_one.done()
    pool.release(next_one.result())
    assert (pool.busy, pool.queued) == (0, 0)
