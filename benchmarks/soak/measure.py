"""The run: clients for so many minutes, samples of the server, and the table. Fails when something is wrong."""

import argparse
import asyncio
import contextlib
import os
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import attrs

from benchmarks.postgres import NotInstalledError
from benchmarks.server.measure import free_port, process, rss_mb
from benchmarks.soak.clients import REFUSALS, Clients, RefusedError, WrongError, refusals
from benchmarks.soak.faults import Fault, FaultWindow, Timing, fault_of
from benchmarks.soak.server_log import problems
from benchmarks.soak.upstream import Upstream
from benchmarks.table import Row, show

_WORKERS = 16
_SAMPLE_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0
_GAUGES = ("gaia_turns_running", "gaia_model_slots_busy", "gaia_model_queued", "gaia_http_streams_open")
_JOURNAL_FILES = 2 * 5 + 2  # each has the database and its log; they share an index and a lock
_TASKS = "gaia_asyncio_tasks"
_FAULTS_AT = (0.34, 0.6)
"""When the journal fails, as shares of the time."""
FAULTS = len(_FAULTS_AT)
_FAULT_SECONDS = 20.0
_RECOVERY_SECONDS = 5.0
_PLATEAU = 1.02
"""How much memory may grow in the last third of the time. A server takes 9 % more for some 50,000 requests (allocator,
caches of bounded size), then no more: in 30 minutes a leak of 50 bytes a request shows, of which the first minute says
nothing."""
_PAUSE_SECONDS = 0.25
"""How long a client waits that was refused."""
_LAST_ROUNDS = 3


@attrs.frozen
class Sample:
    """The server's process at a time (seconds since the beginning)."""

    at: float
    rss: float
    tasks: float
    threads: int
    open: Counter

    @property
    def journal(self) -> int:
        """Open files of the journal, whose readers come as they are needed, and stay."""
        return sum(count for name, count in self.open.items() if name.startswith("journal"))

    @property
    def descriptors(self) -> int:
        """All others."""
        return sum(self.open.values()) - self.journal


@attrs.define
class Outcomes:
    """What came of the requests."""

    counts: Counter = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)


async def gauges(http: aiohttp.ClientSession) -> dict[str, float]:
    """The server's gauges, labels left out."""
    async with http.get("/metrics") as response:
        text = await response.text()
    return {name: float(value) for name, value in re.findall(r"^(\w+)(?:\{[^}]*\})? ([\d.e+]+)$", text, re.MULTILINE)}


async def sample(pid: int, http: aiohttp.ClientSession, began: float) -> Sample:
    found = await gauges(http)
    return Sample(
        time.monotonic() - began,
        rss_mb(pid),
        found[_TASKS],
        len(os.listdir(f"/proc/{pid}/task")),
        Counter(descriptors(pid)),
    )


def descriptors(pid: int) -> Iterator[str]:
    """What the descriptors of a process are open for: a file's name, or a kind such as `socket`."""
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            yield os.readlink(one).rpartition("/")[2].partition(":")[0]


async def soak(minutes: float, journal: str) -> bool:
    """Run it and print the table; whether everything held. Raises NotInstalledError."""
    upstream = Upstream()
    server = await upstream.serve()
    port, behind = free_port(), server.sockets[0].getsockname()[1]
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as own,
        fault_of(journal, folder) as fault,
    ):
        log = Path(own, "log")
        words = ("benchmarks.soak.serving", str(port), str(behind), fault.journal, folder)
        with process(min(os.sched_getaffinity(0)), port, *words, wrapper=fault.wrapper, log=log) as pid:
            run = Run(minutes * 60, pid, f"http://127.0.0.1:{port}", fault)
            await run.work()
        found = problems(log.read_text(), FAULTS)
    return _table(run, found, upstream)


@attrs.define
class Run:
    """One soak: its server, and what was seen of it."""

    seconds: float
    pid: int
    base: str
    fault: Fault
    began: float = attrs.field(factory=time.monotonic)
    window: FaultWindow = attrs.field(factory=FaultWindow)
    timing: Timing = attrs.field(factory=Timing)
    outcomes: Outcomes = attrs.field(factory=Outcomes)
    failed_afterwards: list[str] = attrs.field(factory=list)
    samples: list[Sample] = attrs.field(factory=list)
    grown: list[str] = attrs.field(factory=list)
    """Paths of the sessions that let the journal grow."""
    first_fault: float = 0.0
    """When it began, as `Sample.at`."""
    before: Sample = attrs.field(init=False)
    after: Sample = attrs.field(init=False)
    left: dict[str, float] = attrs.field(init=False)

    async def work(self) -> None:
        """All of it."""
        async with aiohttp.ClientSession(self.base) as watching:
            async with self._http() as http:
                await self._clients(http, min(10.0, self.seconds / 5))
            self.before = await _idle(self.pid, watching, self.began, None)
            async with self._http() as http, asyncio.TaskGroup() as group:
                sampling = group.create_task(self._sample(watching))
                failing = group.create_task(self._fail(watching, http))
                clients = await self._clients(http, self.seconds)
                await failing
                sampling.cancel()
            async with self._http() as http:
                await self._last_round(http, clients.left + self.grown)
            self.after = await _idle(self.pid, watching, self.began, self.before)
            self.left = await gauges(watching)

    def _http(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(self.base, connector=connector, raise_for_status=refusals)

    async def _clients(self, http: aiohttp.ClientSession, seconds: float) -> Clients:
        """Clients that work for so long."""
        clients = Clients(http, random.Random(5), self.window, responses=await _has_responses(http))
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._work(clients, until) for _ in range(_WORKERS)))
        return clients

    async def _work(self, clients: Clients, until: float) -> None:
        while time.monotonic() < until:
            kind = clients.random.choice(clients.kinds)
            mark = self.window.mark()
            result, wrong = await outcome_of(kind(), during=lambda mark=mark: self.window.overlaps(mark))
            if wrong:
                self.outcomes.wrong.append(f"{kind.__name__}: {wrong}")
            else:
                self.outcomes.counts[kind.__name__, result] += 1
            if result in REFUSALS:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _sample(self, watching: aiohttp.ClientSession) -> None:
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            self.samples.append(await sample(self.pid, watching, self.began))

    async def _fail(self, watching: aiohttp.ClientSession, http: aiohttp.ClientSession) -> None:
        """The faults, in the middle third."""
        start = time.monotonic()
        growing = Clients(http, random.Random(6), self.window, responses=False, plans=("ok",))
        for share in _FAULTS_AT:
            await asyncio.sleep(start + share * self.seconds - time.monotonic())
            self.first_fault = self.first_fault or time.monotonic() - self.began
            self.window.count += 1
            self.window.active = True
            with self.timing.of(self.timing.noticed):
                await self.fault.begin(self.pid)
                writing = [asyncio.create_task(self._grow(growing))] if self.fault.needs_writes else []
                await _ready(watching, 503)
            await asyncio.sleep(min(_FAULT_SECONDS, self.seconds / 12))
            await self.fault.end(self.pid)
            with self.timing.of(self.timing.recovered):
                await _ready(watching, 200)
            self.window.active = False
            await asyncio.gather(*writing)
        self.grown = growing.left

    async def _grow(self, clients: Clients) -> None:
        """Let the journal grow until it fails."""
        with contextlib.suppress(RefusedError):
            while self.window.active:
                await clients.grow()

    async def _last_round(self, http: aiohttp.ClientSession, left: list[str]) -> None:
        """What was left is used again, and each kind of client asks an endpoint without faults: nothing may fail."""
        clients = Clients(http, random.Random(7), self.window, responses=await _has_responses(http), plans=("ok",))
        until = time.monotonic() + _PATIENCE_SECONDS
        while await clients.plain() != "right" and time.monotonic() < until:  # the endpoint may be left alone
            await asyncio.sleep(0.25)
        for path in left:
            result, wrong = await outcome_of(clients.use_and_delete(path), during=lambda: False)
            self._check_last(path, result, wrong)
        for kind in clients.kinds * _LAST_ROUNDS:
            result, wrong = await outcome_of(kind(), during=lambda: False)
            self._check_last(kind.__name__, "right" if kind == clients.nonsense else result, wrong)

    def _check_last(self, what: str, result: str, wrong: str) -> None:
        self.outcomes.counts["last round", result] += 1
        if wrong or result not in ("right", "gone", "gone too late", "cancelled"):
            self.failed_afterwards.append(f"{what}: {wrong or result}")


async def outcome_of(asking: Awaitable[str], during: Callable[[], bool]) -> tuple[str, str]:
    """What came of it, and what is wrong with that. *during*: whether the journal failed while it was made."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await asking, ""
    except WrongError as error:
        return "wrong", str(error)
    except RefusedError as error:
        return str(error), "" if during() else f"{error}, while the journal does not fail"
    except (TimeoutError, aiohttp.ClientError) as error:
        return "wrong", f"{type(error).__name__} {error}"


async def _ready(http: aiohttp.ClientSession, status: int) -> None:
    """Until /ready has *status*."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            async with http.get("/ready") as response:
                if response.status == status:
                    return
            await asyncio.sleep(0.05)


async def _has_responses(http: aiohttp.ClientSession) -> bool:
    async with http.post("/v1/responses", json={}) as response:
        return response.status != 404


async def _idle(pid: int, http: aiohttp.ClientSession, began: float, before: Sample | None) -> Sample:
    """The server once nothing runs: as soon as it is as it was *before*, or after some time as it is then."""
    until = time.monotonic() + (_PATIENCE_SECONDS if before is None else 2 * _PATIENCE_SECONDS)
    while True:
        found, now = await gauges(http), await sample(pid, http, began)
        quiet = not any(found.get(name, 0) for name in _GAUGES)
        same = before is None or (now.tasks <= before.tasks and now.descriptors <= before.descriptors)
        if (quiet and same) or time.monotonic() > until:
            return now
        await asyncio.sleep(0.25)


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _table(run: Run, logged: list[str], upstream: Upstream) -> bool:
    outcomes, samples, before, after = run.outcomes, run.samples, run.before, run.after
    warm = samples[0].at + min(60.0, run.seconds / 6)
    earlier = [each for each in samples if warm <= each.at < run.first_fault]
    steady = [each.rss for each in samples if each.at >= warm]
    window = max(1, len(steady) // 5)
    first, last = _middle(steady[:window]), _middle(steady[-window:])
    tenths = [_middle(steady[len(steady) * n // 10 : len(steady) * (n + 1) // 10] or steady) for n in range(10)]
    failing_from = _middle([each.rss for each in earlier])
    threads = max(each.threads for each in earlier)
    total = sum(outcomes.counts.values()) + len(outcomes.wrong)
    refused = sum(count for (_, result), count in outcomes.counts.items() if result in REFUSALS)
    rows = [
        Row("requests", total, ""),
        Row("wrong answers and errors without a name", len(outcomes.wrong), "", None, 0),
        Row("  refused, or outcome_unknown, while the journal failed", refused, "", None, 1, at_least=True),
        Row("faults of the journal", run.window.count, "", None, FAULTS, at_least=True),
        Row("  until /ready is 503, the longest", max(run.timing.noticed), "s"),
        Row("  until /ready is 200 again, the longest", max(run.timing.recovered), "s", None, _RECOVERY_SECONDS),
        Row("  lines of the log that are missing or too many", len(logged), "", None, 0),
        Row("  failures in the last round", len(run.failed_afterwards), "", None, 0),
        Row("memory at the end (floor: after the first minute)", last, "MB", first),
        Row("memory at the end (floor: before the faults)", last, "MB", failing_from, failing_from * 1.05 + 2),
        Row("memory in the last tenth (floor: in the seventh)", tenths[9], "MB", tenths[6], tenths[6] * _PLATEAU),
        Row("most memory", max(each.rss for each in samples), "MB"),
        Row("most tasks at once", max(each.tasks for each in samples), ""),
        Row("tasks afterwards (floor: before)", after.tasks, "", before.tasks, before.tasks),
        Row("threads afterwards (floor: most before the faults)", after.threads, "", threads, threads),
        Row("descriptors afterwards (floor: before)", after.descriptors, "", before.descriptors, before.descriptors),
        Row("files of the journal: a writer, at most 4 readers", after.journal, "", before.journal, _JOURNAL_FILES),
        *(Row(f"{name} afterwards", run.left.get(name, 0.0), "", None, 0) for name in _GAUGES),
        Row("answers that the endpoint still gives", upstream.answering, "", None, 0),
    ]
    show(f"A soak of {run.seconds / 60:g} minutes, {_WORKERS} clients at once; {run.fault.name}, {FAULTS} times", rows)
    print("\n  memory, by tenths of the time, MB: " + " ".join(f"{part:.1f}" for part in tenths))
    for (kind, result), count in sorted(outcomes.counts.items()):
        print(f"  {kind:22} {result:40} {count:8}")
    for name in sorted(before.open | after.open):
        if before.open[name] != after.open[name]:
            print(f"  {name}: {after.open[name]} are open, {before.open[name]} were")
    for text in (*outcomes.wrong[:20], *run.failed_afterwards[:20], *logged[:20]):
        print(f"  WRONG {text[:500]}")
    return all(row.holds != "NO" for row in rows)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long clients work (default: 10)")
    parser.add_argument(
        "--journal",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="sqlite (the default): its disk is full twice in the middle; postgres: its server is stopped twice",
    )
    given = parser.parse_args(arguments)
    try:
        held = asyncio.run(soak(given.minutes, given.journal))
    except NotInstalledError as error:
        raise SystemExit(f"{error}; or choose --journal sqlite") from None
    if not held:
        raise SystemExit("the soak failed: see NO and WRONG above")
