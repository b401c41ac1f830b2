"""A time limit stops at the first of several pauses and continues after the last."""

import asyncio

from gaia_core import Limits
from gaia_core.turn._budget import Budget
from gaia_core.turn._pausable_clock import PausableClock


async def test_it_continues_with_the_time_that_was_left():
    async with asyncio.timeout(100) as timeout:
        clock = PausableClock(timeout)
        before = timeout.when()
        with clock.paused():
            assert timeout.when() is None
            with clock.paused():
                assert timeout.when() is None
            assert timeout.when() is None
        assert before <= timeout.when() <= before + 5


async def test_one_that_has_expired_or_ended_or_has_no_limit_is_left_alone():
    async with asyncio.timeout(None) as unlimited, asyncio.timeout(100) as left:
        with PausableClock(unlimited).paused():
            pass
        assert unlimited.when() is None
    clock = PausableClock(left)
    clock.ended = True
    with clock.paused():
        pass
    try:
        async with asyncio.timeout(0) as expired:
            try:
                await asyncio.sleep(1)
            finally:
                with PausableClock(expired).paused():
                    pass
    except TimeoutError:
        assert expired.expired()


async def test_a_sub_agents_question_stops_both_clocks_and_an_expired_one_harms_neither():
    parent = Budget(Limits())
    child = Budget(Limits(), parent)
    async with asyncio.timeout(100) as timeout:
        parent.clock = PausableClock(timeout)
        try:
            async with asyncio.timeout(0) as expired:
                child.clock = PausableClock(expired)
                try:
                    await asyncio.sleep(1)
                finally:
                    with child.asking():
                        assert timeout.when() is None
        except TimeoutError:
            pass
        assert timeout.when() is not None
