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
from benchmarks.table import Row, show

ANSWERS, SLOTS, TOKENS, INTERVAL_MS = 10, 2, 60, 100.0
SECONDS = TOKENS * INTERVAL_MS / 1000
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


async def ask(http: aiohttp.ClientSession, number: int, began: float) -> Served:
    async with http.post("/api/sessions", json={}) as response:
        session = (await response.json())["id"]
    await asyncio.sleep(number * APART)
    asked, first, places = time.monotonic(), 0.0, []
    body = {"session_id": session, "message": plan(0, TOKENS, INTERVAL_MS)}
    async with http.post("/api/chat/send", json=body) as response:
        response.raise_for_status()
        async for line in response.content:
            if not line.startswith(b"data: "):
                continue
            data = json.loads(line[6:])
            if data["type"] == "queued":
                places.append(data["position"])
            elif data["type"] == "chunk":
                first = first or time.monotonic()
            elif data["type"] == "error":
                raise RuntimeError(data["content"])
    return Served(number, asked - began, first - asked, time.monotonic() - asked, tuple(places))


async def one_too_many(http: aiohttp.ClientSession) -> float:
    """The eleventh, when eight wait: the seconds after which it may come back."""
    async with http.post("/api/sessions", json={}) as response:
        session = (await response.json())["id"]
    await asyncio.sleep(ANSWERS * APART + 1)
    async with http.post("/api/chat/send", json={"session_id": session, "message": "x"}) as response:
        assert response.status == 429, response.status
        return float(response.headers["retry-after"])


async def measure(port: int) -> tuple[list[Served], float, float]:
    began = time.monotonic()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        refused, *served = await asyncio.gather(one_too_many(http), *(ask(http, n, began) for n in range(ANSWERS)))
    return served, refused, time.monotonic() - began


def main() -> None:
    upstream, port = free_port(), free_port()
    server = ["benchmarks.server.ours", str(port), str(upstream), "memory", str(SLOTS), str(ANSWERS - SLOTS)]
    with process(0, upstream, "benchmarks.server.upstream", str(upstream)), process(1, port, *server):
        served, refused, seconds = asyncio.run(measure(port))
    order = [each.number + 1 for each in sorted(served, key=lambda each: each.asked + each.first)]
    rows = [Row("all answers", seconds, "s", ANSWERS / SLOTS * SECONDS)]
    for each in served:
        floor = each.number // SLOTS * SECONDS
        places = " ".join(map(str, each.places)) or "none"
        rows.append(Row(f"wait of {each.number + 1}, places {places}", each.first, "s", floor or None))
    rows.append(Row("the eleventh: 429, Retry-After", refused, "s"))
    show(f"{ANSWERS} answers of {SECONDS:g} s, {SLOTS} slots", rows)
    print(f"\nserved in the order {', '.join(map(str, order))}")
