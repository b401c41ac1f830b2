"""Options that make this machine slow and busy in the ways that find tests which depend on its speed.

    --loop-delays            delay every event loop of the test processes at random, by 1 to 50 ms at a time
    --loop-delays-seed=N     the same, with the delays of an earlier run
    --busy=N                 keep N processor cores busy while the tests run

The delays are those that any machine may have: the loop stops for a while, a timer is late, a thread's result is late.
Nothing is reordered that asyncio keeps in order. Delays get rarer in the course of a test, so that a test with a
hundred thousand iterations of its loop takes seconds longer and not half an hour.

The seed is in the report's header. With it and one process (`-n 0`) a test gets the same delays again, as far as it
runs the same callbacks again; threads and sockets have their own order.
"""

import asyncio
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

SHORTEST_SECONDS, LONGEST_SECONDS = 0.001, 0.05
FIRST_GAP, GAP_GROWTH = 4.0, 1.1
BURN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(1_000_000))\n"


class Delays:
    """Seconds to wait, mostly 0: how late one kind of event is, in one test."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._gap = FIRST_GAP
        self._left = self._next_gap()

    def next(self) -> float:
        self._left -= 1
        if self._left > 0:
            return 0.0
        self._gap *= GAP_GROWTH
        self._left = self._next_gap()
        return math.exp(self._random.uniform(math.log(SHORTEST_SECONDS), math.log(LONGEST_SECONDS)))

    def _next_gap(self) -> int:
        return self._random.randint(1, int(2 * self._gap))


class LoopDelays:
    """Patches asyncio's event loop while it is active; `begin` starts the delays of one test."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.begin("")

    def begin(self, test: str) -> None:
        self._iterations, self._timers, self._threads = (Delays(f"{self.seed} {test} {kind}") for kind in range(3))

    def patch(self, patches: pytest.MonkeyPatch) -> None:
        loops = asyncio.BaseEventLoop
        run_once, call_at, call_soon_threadsafe = loops._run_once, loops.call_at, loops.call_soon_threadsafe

        def late_run_once(loop: Any) -> None:
            if seconds := self._iterations.next():
                time.sleep(seconds)
            run_once(loop)

        def late_call_at(loop: Any, when: float, *arguments: Any, **options: Any) -> Any:
            return call_at(loop, when + self._timers.next(), *arguments, **options)

        def late_call_soon_threadsafe(loop: Any, *arguments: Any, **options: Any) -> Any:
            if threading.get_ident() != loop._thread_id and (seconds := self._threads.next()):
                time.sleep(seconds)
            return call_soon_threadsafe(loop, *arguments, **options)

        patches.setattr(loops, "_run_once", late_run_once)
        patches.setattr(loops, "call_at", late_call_at)
        patches.setattr(loops, "call_soon_threadsafe", late_call_soon_threadsafe)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.begin(item.nodeid)
        with pytest.MonkeyPatch.context() as patches:
            self.patch(patches)
            return (yield)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("slow machine")
    group.addoption(
        "--loop-delays",
        action="store_true",
        help="Delay the tests' event loops, their timers and the results of threads at random, by 1 to 50 ms.",
    )
    group.addoption("--loop-delays-seed", type=int, metavar="N", help="The same, with the delays of an earlier run.")
    group.addoption("--busy", type=int, default=0, metavar="N", help="Keep N processor cores busy meanwhile.")


def pytest_configure(config: pytest.Config) -> None:
    options = config.option
    if options.loop_delays and options.loop_delays_seed is None:  # before pytest-xdist's workers inherit the options
        options.loop_delays_seed = random.randrange(1_000_000)
    if options.loop_delays_seed is not None:
        config.pluginmanager.register(LoopDelays(options.loop_delays_seed), "loop-delays")


def pytest_report_header(config: pytest.Config) -> list[str]:
    header = []
    if config.option.loop_delays_seed is not None:
        header.append(f"event loops are delayed: --loop-delays-seed={config.option.loop_delays_seed}")
    if config.option.busy:
        header.append(f"busy processor cores: --busy={config.option.busy}")
    return header


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    if hasattr(session.config, "workerinput"):  # the process that started this worker keeps the cores busy
        return (yield)
    burning = [subprocess.Popen([sys.executable, "-S", "-c", BURN]) for _ in range(session.config.option.busy)]
    try:
        return (yield)
    finally:
        for process in burning:
            process.kill()
            process.wait()
