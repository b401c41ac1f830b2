"""Processes, their CPU time, and the rows of the server's table."""

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.server import load
from benchmarks.size import FULL, Size
from benchmarks.table import Row, show

_TICKS = os.sysconf("SC_CLK_TCK")
REPEATS = 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from the scheduler's own count in ns."""
    schedstat = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in schedstat.iterdir()) / 1e9


def rss_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def process(
    core: int,
    port: int,
    *words: str,
    folder: Path | None = None,
    wrapper: tuple[str, ...] = (),
    log: Path | None = None,
) -> Iterator[int]:
    """A Python process on *core* that listens on *port*; its pid. *folder*: the checkout whose code it runs, if not
    this one. *wrapper*: a program that executes it, and stays the same process. *log*: the file for its stderr."""
    environ = os.environ
    if folder is not None:
        paths = (folder, folder / "http", *sorted((folder / "toolsets").iterdir()))
        environ = {**environ, "PYTHONPATH": os.pathsep.join([str(path.resolve()) for path in paths])}
    with contextlib.nullcontext() if log is None else log.open("wb") as stderr:
        began = subprocess.Popen(
            [*wrapper, sys.executable, "-m", *words], stdout=subprocess.DEVNULL, stderr=stderr, cwd=folder, env=environ
        )
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(began.pid, {core})
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            if began.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(words)} does not listen")
            time.sleep(0.02)
        yield began.pid
    finally:
        began.terminate()
        try:
            began.wait(10)
        except subprocess.TimeoutExpired:
            began.kill()
            began.wait()


def percentile(values: tuple[float, ...], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Figures:
    """What one server costs."""

    def __init__(self, kind: str, core: int, upstream: int, size: Size) -> None:
        self.kind, self.core, self.upstream, self.size = kind, core, upstream, size

    async def measure(self) -> dict[str, float]:
        size = self.size
        many, tokens, streams = size(1000, brief=4), size(40, brief=2), size(16, brief=2)
        port = free_port()
        module = "benchmarks.server.ours" if self.kind == "ours" else "benchmarks.server.peers"
        words = [module, *([] if self.kind == "ours" else [self.kind]), str(port), str(self.upstream)]
        with process(self.core, port, *words) as pid:
            await load.run(port, load.plan(), streams, size(20))  # warm
            figures = {"rss": rss_mb(pid)}
            before = rss_mb(pid)
            slow = load.plan(tokens=tokens, interval_ms=100)
            streaming = asyncio.ensure_future(load.run(port, slow, many, 1, interval=0.1))
            await asyncio.sleep(0.1 * tokens * 3 / 4)
            figures["stream_kb"] = (rss_mb(pid) - before) * 1024 / many
            outcome = await streaming
            figures["request"] = await self.cost(pid, port, load.plan(), streams, size(100), per="requests")
            burst = load.plan(tokens=640, per_write=64)
            figures["burst"] = await self.cost(pid, port, burst, streams, size(20), per="tokens")
            paced = load.plan(tokens=size(100), interval_ms=10)
            figures["paced"] = await self.cost(pid, port, paced, size(100), 1, per="tokens")
            alone = await load.run(port, load.plan(), 1, size(300))
            figures["first_p50"] = statistics.median(alone.firsts) * 1e3
            figures["first_p99"] = percentile(alone.firsts, 0.99) * 1e3
            figures["late_p99"] = percentile(outcome.lateness, 0.99) * 1e3
            figures["lost"] = many * tokens - outcome.tokens
        return figures

    async def cost(self, pid: int, port: int, plan: str, streams: int, rounds: int, *, per: str) -> float:
        """CPU µs for each request or token; the least of several measurements."""
        found = []
        for _ in range(self.size(REPEATS)):
            before = cpu_seconds(pid)
            outcome = await load.run(port, plan, streams, rounds)
            found.append((cpu_seconds(pid) - before) / getattr(outcome, per) * 1e6)
        return min(found)


async def walls(core: int, upstream: int, size: Size) -> list[Row]:
    """N answers at once, 50 ms to the first token, 64 tokens at 5 ms: against the endpoint alone; /health meanwhile."""
    slow = load.plan(first_ms=50, tokens=size(64), interval_ms=5)
    rows = []
    port = free_port()
    with process(core, port, "benchmarks.server.ours", str(port), str(upstream)):
        await load.run(port, load.plan(), 8, 5)
        stop = asyncio.Event()
        health = asyncio.create_task(load.worst_health(port, stop))
        for count in (1,) if size.brief else (1, 5, 20, 50, 200):
            alone = min([(await load.run(upstream, slow, count, 1)).seconds for _ in range(size(REPEATS))])
            for plain in (False, True):
                runs = [await load.run(port, slow, count, 1, plain=plain) for _ in range(size(REPEATS))]
                ours = min(run.seconds for run in runs)
                target = 1.15 * alone if count == 50 else None
                rows.append(
                    Row(f"{count} {'plain' if plain else 'streamed'} answers at once, wall", ours, "s", alone, target)
                )
        stop.set()
        rows.append(Row("/health meanwhile, the worst", await health * 1e3, "ms", None, 50))
    return rows


async def recorded(core: int, upstream: int, size: Size) -> list[Row]:
    """Turns of the UI API with SQLite (FULL) beside the same with sessions in memory."""
    figures: dict[str, tuple[float, float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, journal in (("memory", "memory"), ("sqlite", f"{folder}/journal.sqlite")):
            port = free_port()
            with process(core, port, "benchmarks.server.ours", str(port), str(upstream), journal) as pid:
                ids = await load.sessions(port, size(64))
                await load.talk(port, load.plan(), ids, size(3))
                before = cpu_seconds(pid)
                outcome = await load.talk(port, load.plan(), ids, size(20))
                cost = (cpu_seconds(pid) - before) / outcome.requests * 1e6
                alone = await load.talk(port, load.plan(), ids[:1], size(200))
                figures[name] = (outcome.requests / outcome.seconds, cost, statistics.median(alone.firsts) * 1e3)
    (turns, cost, first), (floor_turns, floor_cost, floor_first) = figures["sqlite"], figures["memory"]
    return [
        Row("UI turns, 64 sessions, SQLite FULL (floor: memory)", turns, "/s", floor_turns, 1000, at_least=True),
        Row("CPU a UI turn, SQLite FULL (floor: memory)", cost, "µs", floor_cost, 2000),
        Row("first token of a UI turn (floor: memory)", first, "ms", floor_first, floor_first + 0.2),
    ]


async def measure(size: Size) -> list[Row]:
    cores = sorted(os.sched_getaffinity(0))
    server_core, load_core = cores[0], cores[-1]
    os.sched_setaffinity(0, {load_core})
    upstream = free_port()
    with process(load_core, upstream, "benchmarks.server.upstream", str(upstream)):
        raw = await Figures("raw", server_core, upstream, size).measure()
        asgi = await Figures("asgi", server_core, upstream, size).measure()
        ours = await Figures("ours", server_core, upstream, size).measure()
        wall = await walls(server_core, upstream, size)
        kept = await recorded(server_core, upstream, size)
    return [
        Row(
            "CPU a request, short answer (floor: bare ASGI)",
            ours["request"],
            "µs",
            asgi["request"],
            4 * asgi["request"],
        ),
        Row("  bare ASGI (floor: raw asyncio)", asgi["request"], "µs", raw["request"]),
        Row("CPU a token in bursts (floor: raw asyncio)", ours["burst"], "µs", raw["burst"], raw["burst"] / 0.45),
        Row("  bare ASGI (floor: raw asyncio)", asgi["burst"], "µs", raw["burst"]),
        Row("CPU a token, 100 streams at 100/s (floor: raw)", ours["paced"], "µs", raw["paced"], 1.5 * raw["paced"]),
        Row("  bare ASGI (floor: raw asyncio)", asgi["paced"], "µs", raw["paced"]),
        Row("first token added, p50 (floor: raw asyncio)", ours["first_p50"] - raw["first_p50"], "ms", None, 0.6),
        Row("first token added, p99", ours["first_p99"] - raw["first_p99"], "ms", None, 3),
        Row("1,000 streams at 10/s: late, p99 (floor: raw)", ours["late_p99"], "ms", raw["late_p99"], 5),
        Row("1,000 streams at 10/s: tokens lost", ours["lost"], "", None, 0),
        Row("memory at start", ours["rss"], "MB", raw["rss"], 80),
        Row("memory of an open stream", ours["stream_kb"], "KB", raw["stream_kb"] or None, 25),
        *wall,
        *kept,
    ]


def main(size: Size = FULL) -> None:
    show("The server", uvloop.run(measure(size)))
