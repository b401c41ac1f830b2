"""Background tasks: restarted, counted, logged; none fails unseen."""

import asyncio

import pytest

from gaia_core.background_tasks import BackgroundTasks


@pytest.fixture
async def background():
    made = BackgroundTasks(first_pause=0.0)
    yield made
    await made.aclose()


async def test_a_kept_task_that_fails_is_logged_counted_and_restarted(background, caplog):
    runs = iter(range(3))
    third = asyncio.Event()

    async def work():
        if next(runs) < 2:
            raise ValueError("no")
        third.set()
        await asyncio.Event().wait()

    background.keep("beat", work, essential=True)
    await third.wait()

    (report,) = background.tasks
    assert (report.name, report.running, report.failures, report.error) == ("beat", True, 2, "ValueError: no")
    assert background.down == ()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "'beat' failed; it restarts in" in caplog.text


async def test_an_essential_task_is_down_until_its_restart():
    background = BackgroundTasks(first_pause=3_600.0)
    failed = asyncio.Event()

    async def work():
        failed.set()
        raise ValueError("no")

    background.keep("beat", work, essential=True)
    background.keep("sweep", work)
    await failed.wait()
    await asyncio.sleep(0)

    assert [report.name for report in background.down] == ["beat"]
    await background.aclose()
    assert background.tasks == ()


async def test_a_kept_task_that_returns_is_done(background):
    returned = asyncio.Event()

    async def work():
        returned.set()

    background.keep("progress", work)
    await returned.wait()
    while background.tasks:
        await asyncio.sleep(0)


async def test_a_task_that_runs_once_leaves_a_log_line_when_it_fails(background, caplog):
    async def work():
        raise ValueError("no")

    background.run("title", work())
    assert await background.settle(5)

    assert "'title' failed; it is not run again" in caplog.text
    assert background.tasks == ()


async def test_what_does_not_settle_in_time_is_cancelled(background):
    cancelled = asyncio.Event()

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    background.run("stuck", work())
    await asyncio.sleep(0)

    assert not await background.settle(0.0)
    await cancelled.wait()


async def test_closing_ends_everything_and_stopping_one_task():
    background = BackgroundTasks()
    ended = []

    def work(name):
        async def run():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        return run

    background.keep("a", work("a"))
    background.keep("b", work("b"))
    background.run("c", work("c")())
    await asyncio.sleep(0)

    await background.stop("a")
    assert ended == ["a"]
    assert [report.name for report in background.tasks] == ["b"]
    await background.aclose()
    assert sorted(ended) == ["a", "b", "c"]
    await background.aclose()
