"""A deadline ends its block as `asyncio.timeout` does: on time, once, and without swallowing somebody else's cancel."""

import asyncio

import pytest

from gaia_core.deadline import Deadline


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.fixture(params=[asyncio.timeout, Deadline], ids=["asyncio", "ours"])
def block(request):
    """A coroutine function that runs another one within so many seconds, by either."""

    async def run(seconds, function):
        if request.param is Deadline:
            with Deadline(seconds) as clock:
                return await function(clock)
        async with asyncio.timeout(seconds) as clock:
            return await function(clock)

    return run


async def test_what_takes_too_long_ends_by_a_timeout(block):
    clocks = []

    async def wait(clock):
        clocks.append(clock)
        await forever()

    with pytest.raises(TimeoutError):
        await block(0.001, wait)

    assert clocks[0].expired()
    assert not asyncio.current_task().cancelling()


async def test_no_time_at_all_is_a_timeout_at_the_first_wait(block):
    with pytest.raises(TimeoutError):
        await block(-1.0, lambda _clock: forever())


async def test_what_ends_in_time_has_its_result(block):
    clocks = []

    async def answer(clock):
        clocks.append(clock)
        await asyncio.sleep(0)
        return 7

    assert await block(60.0, answer) == 7
    assert not clocks[0].expired()


async def test_an_error_of_the_block_is_its_own(block):
    async def fail(_clock):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await block(60.0, fail)


async def test_who_is_cancelled_meanwhile_stays_cancelled(block):
    task = asyncio.create_task(block(60.0, lambda _clock: forever()))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancel_that_meets_the_end_of_the_time_wins(block):
    async def both(clock):
        while not clock.expired():
            await asyncio.sleep(0)

    async def run():
        async def wait(clock):
            try:
                await both(clock)
            except asyncio.CancelledError:
                asyncio.current_task().cancel()
                raise

        await block(0.001, wait)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(run())


async def test_the_inner_one_of_two_leaves_the_outer_one_alone(block):
    async def outer(clock):
        with pytest.raises(TimeoutError):
            await block(0.001, lambda _clock: forever())
        assert not clock.expired()
        return "went on"

    assert await block(60.0, outer) == "went on"


async def test_it_can_be_stopped_and_set_anew(block):
    async def stopped(clock):
        due = clock.when()
        clock.reschedule(None)
        assert clock.when() is None
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        loop.call_at(due, over.set_result, None)
        await over  # its first time is over, and nothing has happened
        clock.reschedule(loop.time())
        await forever()

    with pytest.raises(TimeoutError):
        await block(0.002, stopped)


async def test_an_expired_one_cannot_be_set_anew():
    clock = Deadline(0.0)
    with pytest.raises(TimeoutError), clock:
        await forever()

    with pytest.raises(RuntimeError, match="expired"):
        clock.reschedule(1.0)
