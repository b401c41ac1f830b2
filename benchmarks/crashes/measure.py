"""The run: kills of servers while clients work, then the record, and the table. Fails when something is wrong."""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import attrs

from benchmarks.crashes.clients import Clients
from benchmarks.postgres import NotInstalledError, reserved_port, running_postgres
from benchmarks.table import Row, show
from gaia_core.facts import Ended, decode_fact
from gaia_core.journal import Journal
from gaia_core.journal.from_url import journal_from_url

_WORKERS = 8
_LONGEST_SECONDS = 1.0
"""Between a server's start and the next kill; a turn takes about 0.2 s."""
_START_SECONDS = 60.0
_END_SECONDS = 120.0


@attrs.frozen
class Place:
    """A set of servers that share one journal: the kind of journal, and how many servers run at a time."""

    name: str
    replicas: int


PLACES = (Place("sqlite", 1), Place("postgres", 1), Place("postgres", 3))


class Servers:
    """The servers of one place. *nursery* forks them; they are killed by the id that it said."""

    def __init__(
        self,
        nursery: "subprocess.Popen[str]",
        http: aiohttp.ClientSession,
        ports: list[int],
        journal: str,
        folder: Path,
    ) -> None:
        self._nursery = nursery
        self._http = http
        self._ports = ports
        self._journal = journal
        self._folder = folder
        self._pids: dict[int, int] = {}

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    async def start(self, at: int) -> None:
        """Start the server number *at*; returns when it is ready."""
        order = {"port": self._ports[at], "journal": self._journal, "folder": str(self._folder)}
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(json.dumps(order) + "\n")
        self._nursery.stdin.flush()
        self._pids[at] = int(await asyncio.to_thread(self._nursery.stdout.readline))
        until = time.monotonic() + _START_SECONDS
        while not await self._is_ready(at):
            if time.monotonic() > until:
                raise RuntimeError(f"a server is not ready: {(self._folder / 'log').read_text()[-2000:]}")
            await asyncio.sleep(0.02)

    async def _is_ready(self, at: int) -> bool:
        try:
            async with self._http.get(f"{self.urls[at]}/ready") as reply:
                return reply.status == 200
        except (aiohttp.ClientError, ConnectionError):
            return False

    async def kill(self, at: int) -> None:
        """kill -9; returns when it has gone."""
        pid = self._pids.pop(at)
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.002)

    async def kill_all(self) -> None:
        for at in tuple(self._pids):
            await self.kill(at)


@contextmanager
def nursery() -> Iterator["subprocess.Popen[str]"]:
    """The process that forks servers; they end with it."""
    command = [sys.executable, "-m", "benchmarks.crashes.serving"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@attrs.define
class Outcome:
    """What came of the kills at one place."""

    kills: int = 0
    counts: Counter[str] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)
    sessions: dict[str, int] = attrs.field(factory=dict)
    """Those whose record is checked, and how many turns each has had."""
    doubled: int = 0


async def crash(servers: Servers, clients: Clients, replicas: int, kills: int, until: float) -> Outcome:
    """Kill servers *kills* times, or until then (monotonic), while clients work."""
    outcome = Outcome(counts=clients.counts, wrong=clients.wrong, sessions=clients.sessions)
    for at in range(replicas):
        await servers.start(at)
    stop = asyncio.Event()
    working = [asyncio.create_task(clients.work(stop)) for _ in range(_WORKERS)]
    try:
        while outcome.kills < kills and time.monotonic() < until:
            await asyncio.sleep(clients.chance.random() * _LONGEST_SECONDS)
            at = clients.chance.randrange(replicas)
            await servers.kill(at)
            outcome.kills += 1
            await servers.start(at)
        stop.set()
        _, late = await asyncio.wait(working, timeout=_END_SECONDS)
        if late:
            clients.wrong.append(f"{len(late)} clients have no answer after {_END_SECONDS:g} s")
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await servers.kill_all()
    return outcome


async def check_record(journal: Journal, outcome: Outcome) -> None:
    """Each session's record is gapless, its turns have ended, each once and after nothing else."""
    async with journal:
        for session, turns in outcome.sessions.items():
            info = await journal.get("", session)
            records = await journal.read("", session)
            if [record.seq for record in records] != list(range(1, info.seq + 1)):
                outcome.wrong.append(f"the record of {session} has a gap")
            ends = [record for record in records if isinstance(decode_fact(record.body), Ended)]
            if info.turn is not None or ends != list({record.turn: record for record in records}.values()):
                outcome.wrong.append(f"a turn of {session} has not ended once")
            if len(ends) != turns:
                outcome.wrong.append(f"{session} has had {len(ends)} turns and not {turns}")


def effects(folder: Path) -> int:
    """How often the tool that is not idempotent ran for the second time."""
    path = folder / "once"
    keys = Counter(path.read_text().split()) if path.exists() else Counter()
    return sum(keys.values()) - len(keys)


async def run(place: Place, kills: int, seconds: float, seed: int) -> Outcome:
    """Crash servers at *place*, and compare."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        journal = str(folder / "journal.sqlite")
        if place.name == "postgres":
            journal = stack.enter_context(running_postgres(stack.enter_context(reserved_port()))).dsn
        ports = [stack.enter_context(reserved_port()) for _ in range(place.replicas)]
        forks = stack.enter_context(nursery())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as http:
            servers = Servers(forks, http, ports, journal, folder)
            clients = Clients(http, servers.urls, random.Random(seed))
            outcome = await crash(servers, clients, place.replicas, kills, time.monotonic() + seconds)
        await check_record(journal_from_url(journal, {}), outcome)
        outcome.doubled = effects(folder)
        return outcome


def rows_of(place: Place, outcome: Outcome) -> list[Row]:
    right = sum(count for what, count in outcome.counts.items() if what.endswith(": right"))
    given_up = sum(count for what, count in outcome.counts.items() if what.endswith(": given up"))
    name = f"{place.name}, {place.replicas}"
    return [
        Row(f"{name}: kills", outcome.kills, ""),
        Row("  answers that equal the record", right, "", None, 1, at_least=True),
        Row("  turns given up after too many takeovers", given_up, ""),
        Row("  connections that broke off", outcome.counts["drops"], ""),
        Row("  wrong, or without an end", len(outcome.wrong), "", None, 0),
        Row("  effects that were doubled", outcome.doubled, "", None, 0),
    ]


async def crashes(kills: int, minutes: float, places: tuple[Place, ...], seed: int) -> bool:
    """Run them all and print the table; whether everything held."""
    rows: list[Row] = []
    wrong: list[str] = []
    for number, place in enumerate(places):
        share = kills // len(places) + (number < kills % len(places))
        outcome = await run(place, share, minutes * 60 / len(places), seed + number)
        rows += rows_of(place, outcome)
        wrong += [f"{place.name}, {place.replicas}: {words}" for words in outcome.wrong]
        if outcome.kills < share:
            wrong.append(f"{place.name}, {place.replicas}: {outcome.kills} of {share} kills in the time that there was")
    show(f"{kills} kills, {_WORKERS} clients at once", rows)
    for text in wrong[:20]:
        print(f"  WRONG {text[:500]}")
    return not wrong and all(row.holds != "NO" for row in rows)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks crashes")
    parser.add_argument("--kills", type=int, default=200, help="how many, over all places (default: 200)")
    parser.add_argument("--minutes", type=float, default=30.0, help="the longest that it may take (default: 30)")
    names = [f"{place.name}-{place.replicas}" for place in PLACES]
    parser.add_argument("--place", choices=names, action="append", help="journal and replicas; by default all")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    places = tuple(place for place in PLACES if not given.place or f"{place.name}-{place.replicas}" in given.place)
    try:
        held = asyncio.run(crashes(given.kills, given.minutes, places, given.seed))
    except NotInstalledError as error:
        raise SystemExit(f"{error}; or choose --place sqlite-1") from None
    if not held:
        raise SystemExit("the crash loop failed: see NO and WRONG above")
