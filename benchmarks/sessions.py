"""Recorded turns beside unrecorded ones: what the journal costs, how that grows, and what an idle session weighs.

The model answers at once, so that what is left is ours. SQLite with synchronous=FULL unless said.
"""

import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.core import timed
from benchmarks.size import FULL, Size
from benchmarks.table import Row, show
from gaia_core import Agent, Catalog, ModelSpec, Runtime, Toolset, TurnRequest, tool
from gaia_core.events import TextDelta
from gaia_core.journal import Journal, MemoryJournal, NewSession
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall, ToolMessage, Usage, UserMessage
from gaia_core.models import Finished, ModelRequest, ToolCallDelta
from gaia_core.models.endpoint._request_body import request_body
from gaia_core.turn.context._context_window import messages_for
from gaia_core.turn.context._transcript import Transcript, entry_of

AT_ONCE = 64
TURNS = 20
FIRST_TOKENS = 300
STORED = 100_000
IDLE = 10_000


class FakeModel:
    """Answers at once; calls a tool first when it is asked to."""

    any_task = True  # as endpoints: it is asked while the turn is claimed

    async def stream(self, request: ModelRequest):
        last = request.messages[-1]
        if type(last) is UserMessage and last.content == "use the tool":
            yield (ToolCallDelta(0, "c1", "look", "{}"), Finished("tool_calls", Usage(10, 5)))
        else:
            text = "seen" if type(last) is ToolMessage else "It is 3."
            yield (TextDelta(text), Finished("stop", Usage(10, 5)))


@tool(effects="read")
async def look() -> str:
    """Look."""
    return "seen"


AGENT = Agent("bench", "Add.", tools=Toolset("t", (look,)))


@asynccontextmanager
async def runtime(journal: Journal) -> AsyncIterator[Runtime]:
    spec = ModelSpec("local", open=FakeModel, slots=5000)
    async with Runtime(Catalog.of(AGENT, models={"local": spec}), journal) as opened:
        yield opened


async def turns_per_second(opened: Runtime, words: str, size: Size, *, recorded: bool) -> tuple[float, float]:
    """Turns a second, and CPU µs a turn, of AT_ONCE sessions that talk at the same time."""
    sessions = [await opened.open(AGENT) for _ in range(size(AT_ONCE))]
    turns = size(TURNS)

    async def talk(session) -> None:
        for _ in range(turns):
            if recorded:
                turn = await opened.start(session, words)
            else:
                turn = await opened.once(AGENT, TurnRequest(transcript=(UserMessage(words),)))
            await turn.result()

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(talk(session) for session in sessions))
    count = len(sessions) * turns
    return count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6


async def first_tokens(opened: Runtime, size: Size, *, recorded: bool) -> float:
    """ms to the first token, at the median, one turn after the other, each in a new session."""
    found = []
    for _ in range(size(FIRST_TOKENS)):
        session = await opened.open(AGENT) if recorded else None
        began = time.perf_counter()
        if session is not None:
            turn = await opened.start(session, "Hi")
        else:
            turn = await opened.once(AGENT, TurnRequest(transcript=(UserMessage("Hi"),)))
        async for event in turn.events():
            if type(event) is TextDelta:
                found.append((time.perf_counter() - began) * 1e3)
        await turn.result()
    return statistics.median(found)


async def growth(folder: Path, size: Size) -> tuple[float, float]:
    """CPU µs of a recorded turn with 10 and with STORED sessions in the file."""
    stored = size(STORED, brief=10)
    together = size(1000, brief=10)
    async with runtime(SQLiteJournal(folder / "grown.db")) as opened:
        await turns_per_second(opened, "Hi", size, recorded=True)
        few = min([(await turns_per_second(opened, "Hi", size, recorded=True))[1] for _ in range(size(3))])
    async with SQLiteJournal(folder / "grown.db", "NORMAL") as journal:
        for start in range(0, stored, together):
            numbers = range(start, start + together)
            new = (NewSession(f"stored{n}", "", "bench", "a1:0", f"Stored {n}") for n in numbers)
            await asyncio.gather(*(journal.create(each) for each in new))
    async with runtime(SQLiteJournal(folder / "grown.db")) as opened:
        await turns_per_second(opened, "Hi", size, recorded=True)
        many = min([(await turns_per_second(opened, "Hi", size, recorded=True))[1] for _ in range(size(3))])
    return few, many


def request_ms(size: Size) -> tuple[float, float]:
    """ms to build the body of a request of 500 messages with tools; and the same by encoding each message anew."""
    transcript = Transcript()
    for n in range(125):
        wanted = ToolCall(f"c{n}", FunctionCall("look", '{"number":1}'))
        asked, called = UserMessage(f"Question {n}, of some length."), AssistantMessage(None, (wanted,))
        for message in (asked, called, ToolMessage("seen " * 40, f"c{n}"), AssistantMessage("An answer. " * 10)):
            transcript.entries.append(entry_of(message, n + 1))

    def build() -> bytes:
        messages, encoded = messages_for(AGENT, transcript)
        return request_body(ModelRequest(messages, AGENT.tools.definitions, encoded=encoded), "m", "{}")

    def anew() -> bytes:
        messages, _ = messages_for(AGENT, transcript)
        return request_body(ModelRequest(messages, AGENT.tools.definitions), "m", "{}")

    assert build() == anew()
    return timed(build, 200, size) / 1e3, timed(anew, 200, size) / 1e3


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def idle_bytes(folder: Path, size: Size) -> float:
    """Bytes of the process for each of IDLE sessions that have had a turn and are known to it."""
    async with runtime(SQLiteJournal(folder / "idle.db", "NORMAL")) as opened:
        await (await opened.start(await opened.open(AGENT), "Hi")).result()
        gc.collect()
        before = rss_bytes()
        sessions = []
        together = size(100, brief=10)
        for _ in range(0, size(IDLE, brief=10), together):
            some = await asyncio.gather(*(opened.open(AGENT) for _ in range(together)))
            for turn in [await opened.start(session, "Hi") for session in some]:
                await turn.result()
            sessions += some
        gc.collect()
        return (rss_bytes() - before) / len(sessions)


async def measure(folder: Path, size: Size) -> list[Row]:
    async with runtime(MemoryJournal()) as opened:
        await turns_per_second(opened, "Hi", size, recorded=False)
        plain, plain_cpu = await turns_per_second(opened, "Hi", size, recorded=False)
        tools, tools_cpu = await turns_per_second(opened, "use the tool", size, recorded=False)
        plain_first = await first_tokens(opened, size, recorded=False)
    async with runtime(SQLiteJournal(folder / "turns.db")) as opened:
        await turns_per_second(opened, "Hi", size, recorded=True)
        kept, kept_cpu = await turns_per_second(opened, "Hi", size, recorded=True)
        kept_tools, kept_tools_cpu = await turns_per_second(opened, "use the tool", size, recorded=True)
        kept_first = await first_tokens(opened, size, recorded=True)
    few, many = await growth(folder, size)
    idle = await idle_bytes(folder, size)
    return [
        Row("recorded turns (floor: unrecorded)", kept, "/s", plain, 1000, at_least=True),
        Row("  CPU", kept_cpu, "µs", plain_cpu),
        Row("recorded turns with a tool (floor: unrecorded)", kept_tools, "/s", tools),
        Row("  CPU", kept_tools_cpu, "µs", tools_cpu),
        Row("first token, median (floor: unrecorded)", kept_first, "ms", plain_first, plain_first + 0.2),
        Row("request of 500 messages built (floor: encoded anew)", *_built(size), 0.2),
        Row(f"CPU a turn at {STORED:,} stored sessions (floor: 10)", many, "µs", few, 1.2 * few),
        Row(f"memory of each of {IDLE:,} idle sessions", idle, "B", None, 1024),
    ]


def _built(size: Size) -> tuple[float, str, float]:
    kept, anew = request_ms(size)
    return kept, "ms", anew


def main(size: Size = FULL) -> None:
    with tempfile.TemporaryDirectory() as folder:
        show("Recorded turns, SQLite FULL", asyncio.run(measure(Path(folder), size)))
