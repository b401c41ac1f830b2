"""Open resources: opened at first use, shared by equal recipes, closed once, in reverse order, whatever happens."""

import asyncio
import logging
import threading

import pytest

from gaia_core import resource
from gaia_core.turn import OpenResources, ToolThreads


@pytest.fixture
def threads():
    made = ToolThreads(4)
    yield made
    made.close()


@pytest.fixture
def opened(threads):
    return OpenResources(threads)


@pytest.fixture
def recipes():
    """Factories that write into a log what happens to them, and the log."""
    log: list[str] = []

    @resource()
    async def connection(name: str):
        log.append(f"open {name}")
        yield f"<{name}>"
        log.append(f"close {name}")

    @resource()
    def folder(name: str):
        log.append(f"open {name}")
        try:
            yield f"<{name}>"
        finally:
            log.append(f"close {name}")

    return connection, folder, log


async def test_a_recipe_opens_nothing_until_it_is_used(opened, recipes):
    connection, folder, log = recipes
    connection("a"), folder("b")

    assert log == []
    assert await opened.get(connection("a")) == "<a>"
    assert await opened.get(folder("b")) == "<b>"
    await opened.close()
    assert log == ["open a", "open b", "close b", "close a"]


async def test_equal_recipes_share_one_instance_and_others_do_not(opened, recipes):
    connection, _, log = recipes

    await asyncio.gather(*(opened.get(connection(name)) for name in ("a", "a", "b", "a")))
    await opened.close()

    assert sorted(log) == ["close a", "close b", "open a", "open b"]


async def test_what_opening_raised_reaches_all_who_wait_and_the_next_use_tries_again(opened):
    attempts: list[int] = []

    @resource()
    async def flaky():
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("no such server")
        yield "there"

    recipe = flaky()
    first = await asyncio.gather(opened.get(recipe), opened.get(recipe), return_exceptions=True)

    assert [str(error) for error in first] == ["no such server"] * 2
    assert await opened.get(recipe) == "there"
    await opened.close()


async def test_cancelling_who_asked_leaves_the_resource_to_the_others(opened):
    go = asyncio.Event()
    log: list[str] = []

    @resource()
    async def slow():
        await go.wait()
        yield "there"
        log.append("closed")

    asked = asyncio.create_task(opened.get(slow()))
    other = asyncio.create_task(opened.get(slow()))
    await asyncio.sleep(0)
    asked.cancel()
    go.set()

    assert await other == "there"
    await opened.close()
    assert log == ["closed"]


async def test_an_opening_that_fails_after_everybody_left_is_tried_again(opened):
    go = asyncio.Event()
    openings: list[int] = []

    @resource()
    async def slow():
        openings.append(1)
        await go.wait()
        if len(openings) == 1:
            raise OSError("not yet")
        yield "there"

    asked = asyncio.create_task(opened.get(slow()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait((asked,))
    go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert await opened.get(slow()) == "there"
    await opened.close()


async def test_it_is_closed_by_the_task_that_opened_it(opened):
    tasks: list[object] = []

    @resource()
    async def owned():
        tasks.append(asyncio.current_task())
        yield 1
        tasks.append(asyncio.current_task())

    await opened.get(owned())
    await opened.close()

    assert tasks[0] is tasks[1]
    assert tasks[0] is not asyncio.current_task()


async def test_closing_goes_on_when_who_closes_is_cancelled(opened, recipes):
    connection, _, log = recipes
    hold = asyncio.Event()

    @resource()
    async def slow_to_close():
        yield 1
        await hold.wait()
        log.append("close slow")

    await opened.get(connection("a"))
    await opened.get(slow_to_close())
    closing = asyncio.create_task(opened.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.sleep(0)
    hold.set()

    with pytest.raises(asyncio.CancelledError):
        await closing
    assert log == ["open a", "close slow", "close a"]


async def test_a_failure_to_close_is_logged_and_the_others_close(opened, recipes, caplog):
    connection, _, log = recipes

    @resource()
    async def fails():
        yield 1
        raise OSError("disk gone")

    await opened.get(connection("a"))
    await opened.get(fails())
    with caplog.at_level(logging.ERROR):
        await opened.close()

    assert log == ["open a", "close a"]
    assert "closing the resource fails failed" in caplog.text


async def test_a_factory_must_yield_once(opened):
    @resource()
    def nothing():
        if False:
            yield

    with pytest.raises(RuntimeError, match="resource nothing yielded nothing"):
        await opened.get(nothing())


async def test_it_closes_after_the_abandoned_thread_that_uses_it(opened, threads, recipes):
    _, folder, log = recipes
    gate = threading.Event()
    recipe = folder("a")
    await opened.get(recipe)
    call = threads.submit("slow", gate.wait)
    threads.abandon(call)
    opened.close_after(recipe, call)

    late = await opened.close()

    assert log == ["open a"]
    gate.set()
    await asyncio.wait(late)
    assert log == ["open a", "close a"]
