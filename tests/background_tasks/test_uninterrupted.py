"""What must be done to its end is done, however often the caller is cancelled."""

import asyncio

import pytest

from gaia_core.uninterrupted import uninterrupted


async def cancelled_often(waiting: "asyncio.Task[object]", work: asyncio.Event) -> None:
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    work.set()
    await asyncio.wait((waiting,))


async def test_its_result_is_returned_and_its_failure_raised():
    async def fails() -> None:
        raise ValueError("x")

    assert await uninterrupted(asyncio.sleep(0, 5)) == 5
    with pytest.raises(ValueError, match="x"):
        await uninterrupted(fails())


async def test_it_runs_to_its_end_however_often_its_caller_is_cancelled():
    go, done = asyncio.Event(), []

    async def work() -> None:
        await go.wait()
        done.append(1)

    waiting = asyncio.create_task(uninterrupted(work()))
    await asyncio.sleep(0)
    await cancelled_often(waiting, go)

    assert waiting.cancelled()
    assert done == [1]


async def test_its_failure_is_the_cause_of_the_cancellation():
    go = asyncio.Event()

    async def fails() -> None:
        await go.wait()
        raise ValueError("x")

    seen: list[BaseException] = []

    async def caller() -> None:
        try:
            await uninterrupted(fails())
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    waiting = asyncio.create_task(caller())
    await asyncio.sleep(0)
    await cancelled_often(waiting, go)

    assert isinstance(seen[0].__cause__, ValueError)
