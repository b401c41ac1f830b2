"""Threads for synchronous tools: bounded, and honest about what can't be stopped."""

import asyncio
import contextvars
import threading

import pytest

from gaia_core import ToolError
from gaia_core.turn import ToolThreads


@pytest.fixture
def threads():
    made = ToolThreads(2)
    yield made
    made.close()


@pytest.fixture
def gate():
    """A function that blocks its thread until the test opens the gate."""
    opened = threading.Event()
    yield opened
    opened.set()


async def test_a_function_runs_on_a_daemon_thread_and_its_result_comes_back(threads):
    thread = await threads.submit("t", threading.current_thread).result

    assert thread is not threading.main_thread()
    assert thread.daemon


async def test_the_context_is_carried_over(threads):
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("mine")

    assert await threads.submit("t", variable.get).result == "mine"


async def test_an_exception_comes_back(threads):
    def fails() -> None:
        raise ValueError("words")

    with pytest.raises(ValueError, match="words"):
        await threads.submit("t", fails).result


async def test_no_more_than_the_limit_run_at_once(threads, gate):
    calls = [threads.submit("t", gate.wait) for _ in range(4)]

    assert [call.started for call in calls] == [True, True, False, False]
    gate.set()
    assert await asyncio.gather(*(call.result for call in calls)) == [True] * 4


async def test_an_abandoned_function_is_reported_until_it_returns(threads, gate):
    call = threads.submit("slow", gate.wait)

    assert threads.abandon(call) is True
    assert threads.stuck == ("slow",)
    gate.set()
    await call.finished
    assert threads.stuck == ()


async def test_a_function_that_had_not_begun_is_not_still_running(threads, gate):
    began = [threads.submit("t", gate.wait) for _ in range(2)]
    waiting = threads.submit("never", gate.wait)

    assert threads.abandon(waiting) is False
    gate.set()
    await asyncio.gather(*(call.result for call in began))
    assert not waiting.started


async def test_when_all_are_stuck_calls_fail_by_name_instead_of_waiting(threads, gate):
    stuck = [threads.submit(name, gate.wait) for name in ("one", "two")]
    waiting = threads.submit("third", gate.wait)
    for call in stuck:
        threads.abandon(call)

    with pytest.raises(ToolError, match="all 2 tool threads are stuck in calls that outlived their time: one, two"):
        await waiting.result
    with pytest.raises(ToolError, match="all 2 tool threads are stuck"):
        threads.submit("fourth", gate.wait)

    gate.set()
    await asyncio.gather(*(call.finished for call in stuck))
    assert await threads.submit("fifth", lambda: 5).result == 5
