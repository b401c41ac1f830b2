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
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import attrs

from benchmarks.server.measure import free_port, process, rss_mb
from benchmarks.soak.clients import Clients, WrongError
from benchmarks.soak.upstream import Upstream
from benchmarks.table import Row, show

_WORKERS = 16
_SAMPLE_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0
_GAUGES = ("gaia_turns_running", "gaia_model_slots_busy", "gaia_model_queued", "gaia_http_streams_open")
_JOURNAL_FILES = 2 * 5 + 1  # each has the database and its log; they share an index
_TASKS = "gaia_asyncio_tasks"


@attrs.frozen
class Sample:
    """The server's process at a time (seconds since the beginning)."""

    at: float
    rss: float
    tasks: float
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
    return Sample(time.monotonic() - began, rss_mb(pid), found[_TASKS], Counter(descriptors(pid)))


def descriptors(pid: int) -> Iterator[str]:
    """What the descriptors of a process are open for: a file's name, or a kind such as `socket`."""
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            yield os.readlink(one).rpartition("/")[2].partition(":")[0]


async def soak(minutes: float) -> bool:
    """Run it and print the table; whether everything held."""
    upstream = Upstream()
    server = await upstream.serve()
    port, behind = free_port(), server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        words = ("benchmarks.soak.serving", str(port), str(behind), f"{folder}/journal.sqlite")
        with process(min(os.sched_getaffinity(0)), port, *words) as pid:
            return await _measured(minutes * 60, pid, port, upstream)


async def _measured(seconds: float, pid: int, port: int, upstream: Upstream) -> bool:
    began = time.monotonic()
    base = f"http://127.0.0.1:{port}"
    outcomes, samples = Outcomes(), []
    async with aiohttp.ClientSession(base) as watching:
        async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(limit=0)) as http:
            clients = Clients(http, random.Random(4), responses=await _has_responses(http))
            until = time.monotonic() + min(10.0, seconds / 5)
            await asyncio.gather(*(_work(clients, outcomes, until) for _ in range(_WORKERS)))
        before = await _idle(pid, watching, began, None)
        async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(limit=0)) as http:
            clients = Clients(http, random.Random(5), responses=await _has_responses(http))
            until = time.monotonic() + seconds
            working = [asyncio.create_task(_work(clients, outcomes, until)) for _ in range(_WORKERS)]
            while time.monotonic() < until:
                await asyncio.sleep(_SAMPLE_SECONDS)
                samples.append(await sample(pid, watching, began))
            await asyncio.gather(*working)
        after = await _idle(pid, watching, began, before)
        left = await gauges(watching)
    return _table(seconds, outcomes, samples, before, after, left, upstream)


async def _has_responses(http: aiohttp.ClientSession) -> bool:
    async with http.post("/v1/responses", json={}) as response:
        return response.status != 404


async def _work(clients: Clients, outcomes: Outcomes, until: float) -> None:
    while time.monotonic() < until:
        kind = clients._random.choice(clients.kinds)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                result = await kind()
        except WrongError as error:
            outcomes.wrong.append(f"{kind.__name__}: {error}")
        except (TimeoutError, aiohttp.ClientError) as error:
            outcomes.wrong.append(f"{kind.__name__}: {type(error).__name__} {error}")
        else:
            outcomes.counts[kind.__name__, result] += 1


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


def _table(
    seconds: float,
    outcomes: Outcomes,
    samples: list[Sample],
    before: Sample,
    after: Sample,
    left: dict[str, float],
    upstream: Upstream,
) -> bool:
    warm = samples[0].at + min(60.0, seconds / 3)
    steady = [each.rss for each in samples if each.at >= warm]
    window = max(1, len(steady) // 5)
    first, last = sorted(steady[:window])[window // 2], sorted(steady[-window:])[window // 2]
    total = sum(outcomes.counts.values()) + len(outcomes.wrong)
    rows = [
        Row("requests", total, ""),
        Row("wrong answers and errors without a name", len(outcomes.wrong), "", None, 0),
        Row("memory at the end (floor: after the first minute)", last, "MB", first, first * 1.05 + 2),
        Row("most memory", max(each.rss for each in samples), "MB"),
        Row("most tasks at once", max(each.tasks for each in samples), ""),
        Row("tasks afterwards (floor: before)", after.tasks, "", before.tasks, before.tasks),
        Row("descriptors afterwards (floor: before)", after.descriptors, "", before.descriptors, before.descriptors),
        Row("files of the journal: a writer, at most 4 readers", after.journal, "", before.journal, _JOURNAL_FILES),
        *(Row(f"{name} afterwards", left.get(name, 0.0), "", None, 0) for name in _GAUGES),
        Row("answers that the endpoint still gives", upstream.answering, "", None, 0),
    ]
    show(f"A soak of {seconds / 60:g} minutes, {_WORKERS} clients at once", rows)
    print()
    for (kind, result), count in sorted(outcomes.counts.items()):
        print(f"  {kind:22} {result:40} {count:8}")
    for name in sorted(before.open | after.open):
        if before.open[name] != after.open[name]:
            print(f"  {name}: {after.open[name]} are open, {before.open[name]} were")
    for text in outcomes.wrong[:20]:
        print(f"  WRONG {text}")
    return all(row.holds != "NO" for row in rows)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    if not asyncio.run(soak(parser.parse_args(arguments).minutes)):
        raise SystemExit("the soak failed: see NO and WRONG above")
