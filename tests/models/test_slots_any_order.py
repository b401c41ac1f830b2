"""Slots under whatever order of requests, releases and cancellations: the laws hold at each step."""

import asyncio
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gaia_core import QueueFullError
from gaia_core.models import SlotPool, SlotRequest
from gaia_core.models.slots._fair_queue import BACKGROUND_EVERY, FairQueue

SLOTS, QUEUE, TOKENS = 3, 5, 100

KEYS = st.sampled_from("ab")
SESSIONS = st.sampled_from("xyz")


class _Job:
    def __init__(self, request: SlotRequest) -> None:
        self.request = request
        self.places: list[int] = []
        self.task: asyncio.Task | None = None


class SlotsUnderAnyOrder(RuleBasedStateMachine):
    """Steps may be taken with and without giving tasks time to run in between, so that all races occur."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.pool = SlotPool("m", SLOTS, QUEUE, TOKENS, clock=lambda: 0.0)
        self.jobs: list[_Job] = []

    def teardown(self) -> None:
        """When all have gone, every slot and token is free again."""
        try:
            self.run(20)
            for job in self.jobs:
                if job.task.done():
                    self.give_back(job)
                else:
                    job.task.cancel()
            self.run(20)
            for job in self.jobs:
                self.give_back(job)
            assert (self.pool.busy, self.pool.queued, self.pool.tokens) == (0, 0, 0)
        finally:
            self.loop.close()

    def give_back(self, job: _Job) -> None:
        if job.task.done() and not job.task.cancelled() and job.task.exception() is None:
            job.task.result().release()

    def run(self, rounds: int) -> None:
        async def rest() -> None:
            for _ in range(rounds):
                await asyncio.sleep(0)

        self.loop.run_until_complete(rest())

    @rule(key=KEYS, session=SESSIONS, background=st.booleans(), tokens=st.integers(0, TOKENS))
    def ask(self, key: str, session: str, background: bool, tokens: int) -> None:
        job = _Job(SlotRequest(key, session, background, tokens))
        job.task = self.loop.create_task(self.pool.acquire(job.request, job.places.append))
        self.jobs.append(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.jobs)).task.cancel()

    @precondition(lambda self: any(job.task.done() for job in self.jobs))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([job for job in self.jobs if job.task.done()]))
        self.give_back(job)
        self.jobs.remove(job)

    @rule(rounds=st.integers(1, 5))
    def go_on(self, rounds: int) -> None:
        self.run(rounds)

    @invariant()
    def no_more_is_in_use_than_there_is(self) -> None:
        assert self.pool.busy <= SLOTS
        assert 0 <= self.pool.tokens <= TOKENS
        assert self.pool.queued <= 2 * QUEUE

    @precondition(lambda self: self.jobs)
    @rule()
    def when_all_have_run_each_has_a_slot_or_a_place_or_was_refused(self) -> None:
        self.run(20)
        waiting = [job for job in self.jobs if not job.task.done()]
        held = [
            job for job in self.jobs if job.task.done() and not job.task.cancelled() and job.task.exception() is None
        ]
        refused = [job for job in self.jobs if job.task.done() and not job.task.cancelled() and job.task.exception()]
        assert self.pool.busy == len(held)
        assert self.pool.tokens == sum(job.request.tokens for job in held)
        assert self.pool.queued == len(waiting)
        assert sorted(job.places[-1] for job in waiting) == list(range(1, len(waiting) + 1))
        assert all(isinstance(job.task.exception(), QueueFullError) for job in refused)
        for job in waiting:
            if job.places[-1] == 1:
                full = self.pool.busy == SLOTS or self.pool.tokens + job.request.tokens > TOKENS
                assert full, "a slot is free, and who is next has not got it"


TestSlotsUnderAnyOrder = SlotsUnderAnyOrder.TestCase
TestSlotsUnderAnyOrder.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


# The order.

ITEMS = st.lists(st.tuples(KEYS, SESSIONS, st.booleans()), max_size=40)


class Item:
    def __init__(self, key: str, session: str, background: bool) -> None:
        self.row = (key, session)
        self.background = background


def filled(items: list[tuple[str, str, bool]]) -> tuple[FairQueue[Item], list[Item]]:
    queue: FairQueue[Item] = FairQueue()
    made = [Item(*item) for item in items]
    for item in made:
        queue.push(item, *item.row, background=item.background)
    return queue, made


def popped(queue: FairQueue[Item]) -> list[Item]:
    served = []
    while (item := queue.first()) is not None:
        queue.pop()
        served.append(item)
    return served


@given(ITEMS, st.integers(0, 20))
def test_the_order_that_is_told_is_the_order_that_comes(items, already: int):
    queue, _ = filled(items)
    for _ in range(min(already, len(queue))):
        queue.pop()

    foreseen = list(queue.order())

    assert foreseen == popped(queue)
    assert len(queue) == 0


@given(ITEMS)
def test_inside_a_session_and_a_class_it_is_first_come_first_served(items):
    queue, made = filled(items)
    served = popped(queue)

    for background in (False, True):
        for row in {item.row for item in made}:
            came = [item for item in made if item.row == row and item.background == background]
            assert [item for item in served if item.row == row and item.background == background] == came


@given(ITEMS)
def test_while_two_keys_wait_neither_is_served_twice_before_the_other(items):
    queue, made = filled([(key, session, False) for key, session, _ in items])
    left = {key: sum(item.row[0] == key for item in made) for key in "ab"}
    before = None
    for item in popped(queue):
        if all(left.values()):
            assert item.row[0] != before
        before = item.row[0]
        left[before] -= 1


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_background_work_waits_for_seven_others_at_most(coming: list[bool]):
    """Others come all the time, as *coming* says, and one background request is first of its class."""
    queue: FairQueue[object] = FairQueue()
    background = deque([object()])
    queue.push(background[0], "k", "background", background=True)
    passed = 0
    for comes in coming:
        if comes or len(queue) == 1:
            queue.push(object(), "k", "interactive", background=False)
        item = queue.first()
        queue.pop()
        if item is background[0]:
            assert passed < BACKGROUND_EVERY
            passed = 0
            queue.push(item, "k", "background", background=True)
        else:
            passed += 1
        assert passed < BACKGROUND_EVERY


def test_background_work_that_left_has_counted_for_nobody_who_comes_later():
    queue, (gone, *_) = filled([("k", "s", True), *[("k", "s", False)] * 20])
    for _ in range(5):
        queue.pop()
    queue.remove(gone, *gone.row, background=True)
    later = Item("k", "s", True)
    queue.push(later, *later.row, background=True)

    assert popped(queue).index(later) == BACKGROUND_EVERY - 1


@given(ITEMS, st.data())
def test_when_some_leave_all_others_are_served_those_of_a_session_in_order(items, data: st.DataObject):
    queue, made = filled(items)
    gone = data.draw(st.sets(st.sampled_from(made))) if made else set()
    for item in gone:
        assert queue.remove(item, *item.row, background=item.background)
        assert not queue.remove(item, *item.row, background=item.background)

    served = popped(queue)

    left = [item for item in made if item not in gone]
    assert set(served) == set(left)
    for lane in {(item.row, item.background) for item in left}:
        assert [i for i in served if (i.row, i.background) == lane] == [
            i for i in left if (i.row, i.background) == lane
        ]
