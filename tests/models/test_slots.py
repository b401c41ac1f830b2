"""A model's slots: bounded in number and tokens, fair over owners and sessions, and never lost."""

import asyncio

import pytest

from gaia_core import QueueFullError
from gaia_core.models import ModelError, Slot, SlotPool, SlotRequest


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def unheard(_position: int) -> None:
    return None


def asks(session: str = "s", key: str = "k", *, background: bool = False, tokens: int = 0) -> SlotRequest:
    return SlotRequest(key, session, background, tokens)


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


class Line:
    """Requests that wait in a pool, in the order in which they came; *served* names them in that of their slots."""

    def __init__(self, pool: SlotPool) -> None:
        self.pool = pool
        self.served: list[str] = []
        self.places: dict[str, list[int]] = {}
        self.tasks: dict[str, asyncio.Task[Slot]] = {}

    async def add(self, name: str, request: SlotRequest) -> None:
        self.places[name] = []
        self.tasks[name] = asyncio.create_task(self._acquire(name, request))
        await settle()

    async def _acquire(self, name: str, request: SlotRequest) -> Slot:
        slot = await self.pool.acquire(request, self.places[name].append)
        self.served.append(name)
        return slot

    async def serve(self, slot: Slot) -> list[str]:
        """Give *slot* back, and each one that is had for it, until nobody waits."""
        slot.release()
        done = 0
        await settle()
        while done < len(self.served):
            self.tasks[self.served[done]].result().release()
            done += 1
            await settle()
        return self.served


# Slots.


async def test_a_free_slot_is_taken_at_once():
    pool = SlotPool("m", slots=2, queue=2)

    await pool.acquire(asks(), unheard)

    assert (pool.busy, pool.queued, pool.slots) == (1, 0, 2)


async def test_without_a_queue_a_free_slot_is_still_given():
    pool = SlotPool("m", slots=1, queue=0)
    await pool.acquire(asks(), unheard)

    with pytest.raises(QueueFullError):
        await pool.acquire(asks(), unheard)

    assert (pool.busy, pool.queued) == (1, 0)


async def test_a_slot_is_given_back_once_however_often_it_is_released():
    pool = SlotPool("m", slots=2, queue=0)
    with await pool.acquire(asks(), unheard):
        other = await pool.acquire(asks(), unheard)
        other.release()
        other.release()

        assert pool.busy == 1
    assert pool.busy == 0


# Who is next.


async def test_the_sessions_of_a_key_take_turns_however_many_requests_one_has():
    pool = SlotPool("m", slots=1, queue=10)
    line = Line(pool)
    slot = await pool.acquire(asks("busy"), unheard)
    for name in ("greedy1", "greedy2", "greedy3", "modest1", "other1"):
        await line.add(name, asks(name[:-1]))

    assert await line.serve(slot) == ["greedy1", "modest1", "other1", "greedy2", "greedy3"]
    assert (pool.busy, pool.queued) == (0, 0)


async def test_keys_take_turns_however_many_sessions_one_has():
    pool = SlotPool("m", slots=1, queue=10)
    line = Line(pool)
    slot = await pool.acquire(asks(), unheard)
    for name in ("ann1", "ann2", "ann3", "bob1"):
        await line.add(name, asks(name, key=name[:3]))

    assert await line.serve(slot) == ["ann1", "bob1", "ann2", "ann3"]


async def test_an_interactive_request_passes_background_work():
    pool = SlotPool("m", slots=1, queue=10)
    line = Line(pool)
    slot = await pool.acquire(asks(), unheard)
    await line.add("title", asks("a", background=True))
    await line.add("answer", asks("b"))

    assert line.places == {"title": [1, 2], "answer": [1]}
    assert await line.serve(slot) == ["answer", "title"]


async def test_background_work_gets_one_slot_of_eight_while_others_wait():
    pool = SlotPool("m", slots=1, queue=30)
    line = Line(pool)
    slot = await pool.acquire(asks(), unheard)
    for number in range(2):
        await line.add(f"background{number}", asks("b", background=True))
    for number in range(16):
        await line.add(f"i{number}", asks(f"s{number}"))

    foreseen = sorted(line.places, key=lambda name: line.places[name][-1])
    served = await line.serve(slot)

    assert [place for place, name in enumerate(served) if name.startswith("background")] == [7, 15]
    assert served == foreseen


async def test_those_who_wait_are_told_their_place_and_when_it_changes():
    pool = SlotPool("m", slots=1, queue=10)
    line = Line(pool)
    slot = await pool.acquire(asks("first"), unheard)
    await line.add("a", asks("a"))
    await line.add("b", asks("b"))

    await line.serve(slot)

    assert line.places == {"a": [1], "b": [2, 1]}


# Tokens.


async def test_a_callback_that_raises_costs_nobody_a_slot(caplog):
    def fails(_position: int) -> None:
        raise ValueError("x")

    pool = SlotPool("m", 1, 8)
    held = await pool.acquire(asks(), unheard)
    waiting = [asyncio.create_task(pool.acquire(asks(str(n)), fails)) for n in range(3)]
    await settle()
    held.release()
    for task in waiting:
        (await task).release()

    assert pool.busy == 0
    assert "position in the queue of model 'm' failed" in caplog.text


async def test_two_requests_that_would_outgrow_the_context_do_not_run_together():
    pool = SlotPool("m", slots=4, queue=4, context_tokens=100)
    line = Line(pool)
    slot = await pool.acquire(asks(tokens=60), unheard)
    await line.add("large", asks(tokens=60))

    assert (line.served, pool.busy, pool.tokens) == ([], 1, 60)
    slot.release()
    await settle()
    assert (line.served, pool.busy, pool.tokens) == (["large"], 1, 60)


async def test_a_small_request_does_not_pass_the_large_one_that_is_next():
    pool = SlotPool("m", slots=4, queue=4, context_tokens=100)
    line = Line(pool)
    slot = await pool.acquire(asks(tokens=60), unheard)
    await line.add("large", asks("a", tokens=100))
    await line.add("small", asks("b", tokens=1))

    assert line.served == []
    assert await line.serve(slot) == ["large", "small"]
    assert pool.tokens == 0


async def test_when_a_request_that_is_too_large_for_now_leaves_those_behind_it_go_on():
    pool = SlotPool("m", slots=4, queue=4, context_tokens=100)
    line = Line(pool)
    await pool.acquire(asks(tokens=60), unheard)
    await line.add("large", asks("a", tokens=100))
    await line.add("small", asks("b", tokens=40))

    line.tasks["large"].cancel()
    await settle()

    assert (line.served, pool.tokens) == (["small"], 100)


async def test_a_request_larger_than_the_whole_context_is_refused():
    pool = SlotPool("local", slots=4, queue=4, context_tokens=100)

    with pytest.raises(ModelError, match=r"needs about 101 tokens.*'local' has context_tokens = 100") as refused:
        await pool.acquire(asks(tokens=101), unheard)

    assert refused.value.kind == "context_length"
    assert (pool.busy, pool.queued) == (0, 0)


async def test_tokens_are_not_counted_without_a_budget():
    pool = SlotPool("m", slots=2, queue=0)
    await pool.acquire(asks(tokens=10**9), unheard)
    await pool.acquire(asks(tokens=10**9), unheard)

    assert (pool.busy, pool.tokens) == (2, 0)


# A full queue.


async def test_a_full_queue_says_when_to_come_back():
    clock = Clock()
    pool = SlotPool("local", slots=2, queue=2, clock=clock)
    held = [await pool.acquire(asks(), unheard) for _ in range(2)]
    line = Line(pool)
    await line.add("a", asks("a"))
    await line.add("b", asks("b"))

    with pytest.raises(QueueFullError, match=r"'local' has 2 slots in use and 2 requests waiting; try again in 7.5 s"):
        await pool.acquire(asks("c"), unheard)

    clock.now += 20
    assert pool.retry_after == 30, "three have to be served, by two slots that have been held for 20 s and are not free"
    for slot in held:
        slot.release()
    await settle()
    for task in line.tasks.values():
        task.result().release()


async def test_the_time_to_come_back_follows_how_long_slots_are_held():
    clock = Clock()
    pool = SlotPool("m", slots=1, queue=0, clock=clock)

    def after(seconds: float) -> float:
        clock.now += seconds
        return clock.now

    for _ in range(40):
        with await pool.acquire(asks(), unheard):
            after(12)
    assert pool.retry_after == 12
    for _ in range(40):
        with await pool.acquire(asks(), unheard):
            after(0.1)
    assert pool.retry_after == 1


async def test_when_tokens_are_short_fewer_at_once_make_the_wait_longer():
    pool = SlotPool("m", slots=10, queue=1, context_tokens=100, clock=Clock())
    line = Line(pool)
    slot = await pool.acquire(asks(tokens=100), unheard)
    await line.add("next", asks(tokens=100))

    with pytest.raises(QueueFullError, match=r"1 slots in use \(100 of 100 tokens\)") as full:
        await pool.acquire(asks(tokens=1), unheard)

    assert full.value.retry_after == 10
    await line.serve(slot)


async def test_background_work_that_waits_keeps_no_interactive_request_out_of_the_queue():
    pool = SlotPool("m", slots=1, queue=1)
    line = Line(pool)
    slot = await pool.acquire(asks(), unheard)
    await line.add("title", asks(background=True))
    with pytest.raises(QueueFullError):
        await pool.acquire(asks(background=True), unheard)

    await line.add("answer", asks())
    with pytest.raises(QueueFullError):
        await pool.acquire(asks(), unheard)

    assert await line.serve(slot) == ["answer", "title"]


async def test_who_is_refused_changes_nobodys_place():
    pool = SlotPool("m", slots=1, queue=1)
    line = Line(pool)
    slot = await pool.acquire(asks(), unheard)
    await line.add("waits", asks("a"))

    with pytest.raises(QueueFullError):
        await pool.acquire(asks("b"), unheard)

    assert line.places == {"waits": [1]}
    await line.serve(slot)


# Cancellation.


async def test_who_stops_waiting_leaves_the_queue():
    pool = SlotPool("m", slots=1, queue=1)
    line = Line(pool)
    slot = await pool.acquire(asks(), unheard)
    await line.add("gone", asks())

    line.tasks["gone"].cancel()
    await settle()

    assert pool.queued == 0
    slot.release()
    assert pool.busy == 0


async def test_a_slot_given_to_somebody_who_was_just_cancelled_goes_to_the_next():
    pool = SlotPool("m", slots=1, queue=2)
    line = Line(pool)
    slot = await pool.acquire(asks("a"), unheard)
    await line.add("gone", asks("gone"))
    await line.add("next", asks("next"))

    slot.release()  # gives the slot to `gone`, which has not run yet …
    line.tasks["gone"].cancel()  # … and never will
    await settle()

    assert line.served == ["next"]
    line.tasks["next"].result().release()
    assert (pool.busy, pool.queued) == (0, 0)


async def test_a_slot_is_not_given_to_somebody_whose_cancellation_is_on_its_way():
    pool = SlotPool("m", slots=1, queue=2)
    line = Line(pool)
    slot = await pool.acquire(asks("a"), unheard)
    await line.add("gone", asks("gone"))
    await line.add("next", asks("next"))

    line.tasks["gone"].cancel()  # has not run since …
    slot.release()
    await settle()

    assert line.served == ["next"]
    line.tasks["next"].result().release()
    assert (pool.busy, pool.queued) == (0, 0)


async def test_who_is_cancelled_before_he_is_served_has_not_used_up_the_turn_of_his_key():
    pool = SlotPool("m", slots=1, queue=3)
    line = Line(pool)
    slot = await pool.acquire(asks(), unheard)
    for name in ("ann1", "ann2", "bob1"):
        await line.add(name, asks(name, key=name[:3]))

    line.tasks["ann1"].cancel()  # has not run since …

    assert await line.serve(slot) == ["ann2", "bob1"]
