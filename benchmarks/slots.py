"""Ten answers of 6 s through a model with two slots, over the UI API: who is served when, what the eleventh is told.

A model with two slots gives ten such answers in 30 s at best; the n-th that asks waits 6 s for each pair before it.
"""

import asyncio
import json
import time

import aiohttp
import attrs

from benchmarks.server.load import plan
from benchmarks.server.measure import free_port, process
from benchmarks.size import FULL, Size
from benchmarks.table import Row, show

ANSWERS, SLOTS, TOKENS, BRIEF_TOKENS, INTERVAL_MS = 10, 2, 60, 10, 100.0
APART = 0.05
"""Seconds between two that ask."""


@attrs.frozen
class Served:
    """How one client was served, in seconds since it asked; *first* is its first token."""

    number: int
    asked: float
    first: float
    ended: float
    places: tuple[int, ...]


class Asked:
    """Is *over* once so many clients run or wait, so that another one is one too many."""

    def __init__(self, clients: int) -> None:
        self._left = clients
        self.over = asyncio.Event()

    def one(self) -> None:
        self._left -= 1
        if not self._left:
            self.over.set()


async def ask(http: aiohttp.ClientSession, number: int, began: float, tokens: int, known: Asked) -> Served:
    async with http.post("/api/sessions", json={}) as response:
        session = (await response.json())["id"]
    await asyncio.sleep(number * APART)
    asked, first, places = time.monotonic(), 0.0, []
    body = {"session_id": session, "message": plan(0, tokens, INTERVAL_MS)}
    async with http.post("/api/chat/send", json=body) as response:
        response.raise_for_status()
        async for line in response.content:
            if not line.startswith(b"data: "):
                continue
            data = json.loads(line[6:])
            if data["type"] in ("queued", "chunk") and not first and not places:
                known.one()
            if data["type"] == "queued":
                places.append(data["position"])
            elif data["type"] == "chunk":
                first = first or time.monotonic()
            elif data["type"] == "error":
                raise RuntimeError(data["content"])
    return Served(number, asked - began, first - asked, time.monotonic() - asked, tuple(places))


async def one_too_many(http: aiohttp.ClientSession, known: Asked) -> float:
    """One more when all run or wait: the seconds after which it may come back."""
    async with http.post("/api/sessions", json={}) as response:
        session = (await response.json())["id"]
    await known.over.wait()
    async with http.post("/api/chat/send", json={"session_id": session, "message": "x"}) as response:
        assert response.status == 429, response.status
        return float(response.headers["retry-after"])


async def measure(port: int, answers: int, tokens: int) -> tuple[list[Served], float, float]:
    began = time.monotonic()
    known = Asked(answers)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        refused, *served = await asyncio.gather(
            one_too_many(http, known), *(ask(http, number, began, tokens, known) for number in range(answers))
        )
    return served, refused, time.monotonic() - began


def main(size: Size = FULL) -> None:
    answers, tokens = size(ANSWERS, brief=4), size(TOKENS, brief=BRIEF_TOKENS)
    seconds = tokens * INTERVAL_MS / 1000
    upstream, port = free_port(), free_port()
    server = ["benchmarks.server.ours", str(port), str(upstream), "memory", str(SLOTS), str(answers - SLOTS)]
    with process(0, upstream, "benchmarks.server.upstream", str(upstream)), process(1, port, *server):
        served, refused, taken = asyncio.run(measure(port, answers, tokens))
    order = [each.number + 1 for each in sorted(served, key=lambda each: each.asked + each.first)]
    rows = [Row("all answers", taken, "s", answers / SLOTS * seconds)]
    for each in served:
        floor = each.number // SLOTS * seconds
        places = " ".join(map(str, each.places)) or "none"
        rows.append(Row(f"wait of {each.number + 1}, places {places}", each.first, "s", floor or None))
    rows.append(Row("one more: 429, Retry-After", refused, "s"))
    show(f"{answers} answers of {seconds:g} s, {SLOTS} slots", rows)
    print(f"\nserved in the order {', '.join(map(str, order))}")
