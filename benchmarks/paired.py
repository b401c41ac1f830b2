"""Two versions of the server beside each other: what a change costs or saves, end to end.

python -m benchmarks paired OTHER [--this FOLDER] [--figures NAME ...] [--starts 5] [--pairs 5]: OTHER is a checkout of
the repository with the other version, such as `git worktree add /tmp/other main` makes.

Both servers run at the same time on one core, and each pair measures one after the other, in alternating order: what
the machine does besides falls on both. Both are started anew a few times, because the layout of a process's memory
moves its figures by some percent. Shown are the medians, the median of the pairs' differences in percent, and the 95%
confidence interval of that median (by order statistics). A difference counts when the interval does not contain 0.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import attrs
import uvloop

from benchmarks.interval import interval
from benchmarks.server import load
from benchmarks.server.measure import cpu_seconds, free_port, process


@attrs.frozen
class Server:
    """A server that runs; its journal lies in *folder*."""

    pid: int
    port: int
    folder: Path


Figure: TypeAlias = Callable[[Server], Awaitable[float]]

SESSIONS = 16


async def cpu_of_request(server: Server) -> float:
    """CPU µs of a chat request with a short answer."""
    before = cpu_seconds(server.pid)
    outcome = await load.run(server.port, load.plan(), 16, 25)
    return (cpu_seconds(server.pid) - before) / outcome.requests * 1e6


def cpu_of_token(per_read: int, streams: int, tokens: int, interval_ms: float) -> Figure:
    """CPU µs of a token of a streamed chat, of which *per_read* arrive together each *interval_ms*."""

    async def measure(server: Server) -> float:
        before = cpu_seconds(server.pid)
        outcome = await load.run(server.port, load.plan(0, tokens, interval_ms, per_read), streams, 1)
        return (cpu_seconds(server.pid) - before) / outcome.tokens * 1e6

    return measure


async def cpu_of_turn(server: Server) -> float:
    """CPU µs of a recorded turn of the UI API."""
    ids = await load.sessions(server.port, SESSIONS)
    before = cpu_seconds(server.pid)
    outcome = await load.talk(server.port, load.plan(), ids, 10)
    return (cpu_seconds(server.pid) - before) / outcome.requests * 1e6


def first_token_of_turn(first_ms: int) -> Figure:
    """ms until the first token of a recorded turn in a new session of the UI API, of a model that takes *first_ms*."""

    async def measure(server: Server) -> float:
        ids = await load.sessions(server.port, 20)
        firsts = [(await load.talk(server.port, load.plan(first_ms), [each], 1)).firsts[0] for each in ids]
        return statistics.median(firsts) * 1e3

    return measure


def first_token_of_chat(first_ms: int) -> Figure:
    """ms until the first token of a chat request, which is not recorded."""

    async def measure(server: Server) -> float:
        return statistics.median((await load.run(server.port, load.plan(first_ms), 1, 20)).firsts) * 1e3

    return measure


async def commit(server: Server) -> float:
    """ms to overwrite 4 KB beside the journal and sync them, as a commit does. It is the same for both."""
    times = []
    with tempfile.TemporaryFile(dir=server.folder, buffering=0) as file:
        for _ in range(21):
            file.seek(0)
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:]) * 1e3  # the first one also records the file's size


def per_read(count: int) -> tuple[str, Figure]:
    rate = count * 50
    return f"CPU of a token, {count} a read, 20 streams at {rate:,}/s, µs", cpu_of_token(count, 20, rate, 20.0)


FIGURES: dict[str, tuple[str, Figure]] = {
    "request": ("CPU of a request with a short answer, µs", cpu_of_request),
    "token": per_read(1),
    "token4": per_read(4),
    "token16": per_read(16),
    "burst": ("CPU of a token, 64 a read, 16 streams, unpaced, µs", cpu_of_token(64, 16, 3200, 0.0)),
    "turn": (f"CPU of a UI turn, {SESSIONS} sessions, SQLite FULL, µs", cpu_of_turn),
    "commit": ("4 KB overwritten and synced, ms", commit),
    **{
        f"first{ms}": (f"first token of a UI turn, SQLite FULL, model {ms} ms, ms", first_token_of_turn(ms))
        for ms in (5, 10, 20, 50)
    },
    "chat5": ("first token of a chat request, model 5 ms, ms", first_token_of_chat(5)),
}


async def started(port: int, pid: int, folder: Path) -> Server:
    await load.run(port, load.plan(), 16, 20)  # warm
    await load.talk(port, load.plan(), await load.sessions(port, SESSIONS), 3)
    return Server(pid, port, folder)


async def measure(folders: tuple[Path, Path], names: list[str], pairs: int) -> dict[str, list[tuple[float, float]]]:
    """Pairs of figures of servers that are started now from *folders*."""
    cores = sorted(os.sched_getaffinity(0))
    upstream = free_port()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(process(cores[-1], upstream, "benchmarks.server.upstream", str(upstream)))
        servers = []
        for number, folder in enumerate(folders):
            port = free_port()
            words = ("benchmarks.server.ours", str(port), str(upstream), f"{data}/{number}.sqlite")
            pid = stack.enter_context(process(cores[0], port, *words, folder=folder))
            servers.append(await started(port, pid, Path(data)))
        for pair in range(pairs):
            for name in names:
                figure = FIGURES[name][1]
                order = (0, 1) if pair % 2 == 0 else (1, 0)
                figures = {number: await figure(servers[number]) for number in order}
                found[name].append((figures[0], figures[1]))
    return found


def show(found: dict[str, list[tuple[float, float]]]) -> None:
    """Print the table."""
    print(f"\n| {'figure':60} | {'this':>8} | {'other':>8} | {'other - this, %':>26} | pairs |")
    print(f"|{'-' * 62}|{'-' * 10}|{'-' * 10}|{'-' * 28}|-------|")
    for name, pairs in found.items():
        ours, others = (statistics.median(values) for values in zip(*pairs, strict=True))
        percent = sorted((other / this - 1) * 100 for this, other in pairs)
        low, high = interval(percent)
        difference = f"{statistics.median(percent):+.1f} ({low:+.1f} to {high:+.1f})"
        print(f"| {FIGURES[name][0]:60} | {ours:8.4g} | {others:8.4g} | {difference:>26} | {len(pairs):5} |")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks paired")
    parser.add_argument("other", type=Path, help="folder of the other version")
    parser.add_argument("--this", type=Path, default=Path.cwd(), help="folder of this version (default: the current)")
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--starts", type=int, default=5, help="how often both servers are started (default: 5)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs for each start (default: 5)")
    chosen = parser.parse_args(arguments)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen.figures}
    for _ in range(chosen.starts):
        for name, pairs in uvloop.run(measure((chosen.this, chosen.other), chosen.figures, chosen.pairs)).items():
            found[name] += pairs
    show(found)
