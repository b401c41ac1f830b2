"""An agent in process: what declaring, composing and running cost, beside a bare loop over the same fake model.

Ten tools of three parameters; one run is model, tool, answer.
"""

import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

from benchmarks.size import FULL, Size
from benchmarks.table import Row, show
from gaia_core import Agent, Catalog, ModelSpec, Runtime, Tool, Toolset, doc, tool
from gaia_core.events import TextDelta
from gaia_core.messages import ToolMessage, Usage, UserMessage
from gaia_core.models import Finished, ModelRequest, ToolCallDelta
from gaia_core.tools._toolset import _fingerprint
from gaia_core.turn import TurnRequest

REPEATS = 7


def best(measure: Callable[[], float], size: Size) -> float:
    """The least of several measurements: noise only adds."""
    return min(measure() for _ in range(size(REPEATS)))


def timed(function: Callable[[], object], times: int, size: Size) -> float:
    """µs a call, CPU time."""
    times = size(times)

    def once() -> float:
        began = time.process_time()
        for _ in range(times):
            function()
        return (time.process_time() - began) / times * 1e6

    return best(once, size)


class FakeModel:
    """Calls a tool, then answers; waits *seconds* before each."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    async def stream(self, request: ModelRequest):
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if type(request.messages[-1]) is ToolMessage:
            yield (TextDelta("It is 3."), Finished("stop", Usage(10, 5)))
        else:
            yield (ToolCallDelta(0, "c1", "tool_3", '{"a": 1, "b": 2, "c": "x"}'), Finished("tool_calls", Usage(10, 5)))


def functions() -> list[Callable[..., object]]:
    """Ten functions of three parameters, new each time."""

    def make(number: int) -> Callable[..., object]:
        async def function(
            a: Annotated[int, doc("First", ge=0)], b: Annotated[int, doc("Second")] = 2, c: str = "x"
        ) -> int:
            """Add the numbers."""
            return a + b

        function.__name__ = f"tool_{number}"
        return function

    return [make(number) for number in range(10)]


def tools() -> tuple[Tool, ...]:
    return tuple(tool(effects="read")(function) for function in functions())


def import_ms(statement: str, size: Size) -> float:
    """What *statement* adds to the start of a process, in ms, once Python has kept the modules' bytecode."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        environ = {**kept, "PYTHONPYCACHEPREFIX": folder}

        def started(code: str) -> float:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, env=environ)
            return (time.perf_counter() - began) * 1e3

        return best(lambda: started(statement), size) - best(lambda: started("pass"), size)


def bytes_each(make: Callable[[], object]) -> float:
    """Bytes that one more of what *make* makes takes."""
    gc.collect()
    tracemalloc.start()
    kept = [make() for _ in range(1000)]
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (used - sys.getsizeof(kept)) / len(kept)


class Arguments(msgspec.Struct):
    a: int
    b: int = 2
    c: str = "x"


async def bare_run(model: FakeModel, by_name: dict[str, Callable[..., Awaitable[int]]], decoder) -> str:
    """The least that a run can be: no events, limits, time-outs, validation of names, threads, slots."""
    messages = (UserMessage("Add 1 and 2."),)
    while True:
        async for batch in model.stream(ModelRequest(messages)):
            for delta in batch:
                if type(delta) is TextDelta:
                    return delta.text
                if type(delta) is ToolCallDelta:
                    given = decoder.decode(delta.arguments)
                    result = await by_name[delta.name](given.a, given.b, given.c)
                    messages += (ToolMessage(str(result), delta.id),)


class HeldModel(FakeModel):
    """Answers a tool's result only once it is *released*; *waiting* is set when *count* requests have come so far."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count
        self.waiting = asyncio.Event()
        self.released = asyncio.Event()

    async def stream(self, request: ModelRequest):
        if type(request.messages[-1]) is ToolMessage:
            self.left -= 1
            if not self.left:
                self.waiting.set()
            await self.released.wait()
        async for batch in super().stream(request):
            yield batch


def catalog(agent: Agent, model: FakeModel) -> Catalog:
    return Catalog.of(agent, models={"local": ModelSpec("local", open=lambda: model, slots=5000)})


async def run_us(agent: Agent, size: Size) -> float:
    async with Runtime(catalog(agent, FakeModel())) as runtime:

        async def runs(count: int) -> float:
            began = time.process_time()
            for _ in range(count):
                await (await runtime.once(agent, TurnRequest(transcript=(UserMessage("Add 1 and 2."),)))).result()
            return (time.process_time() - began) / count * 1e6

        await runs(size(200))
        return min([await runs(size(300)) for _ in range(size(REPEATS))])


async def bare_us(bare: Callable[[FakeModel], Awaitable[str]], size: Size) -> float:
    async def runs(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            await bare(FakeModel())
        return (time.process_time() - began) / count * 1e6

    return min([await runs(size(300)) for _ in range(size(REPEATS))])


async def at_once(agent: Agent, count: int, size: Size) -> float:
    """Seconds for *count* runs at once with model requests of 25 ms, two each."""
    async with Runtime(catalog(agent, FakeModel(0.025))) as runtime:

        async def one() -> None:
            await (await runtime.once(agent, TurnRequest(transcript=(UserMessage("Add 1 and 2."),)))).result()

        async def burst() -> float:
            began = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(count)))
            return time.perf_counter() - began

        return min([await burst() for _ in range(size(REPEATS))])


async def in_flight_kb(agent: Agent, count: int) -> float:
    """KB that each of *count* runs takes while all of them wait for their second model request."""
    model = HeldModel(count)
    async with Runtime(catalog(agent, model)) as runtime:
        gc.collect()
        tracemalloc.start()
        turns = [
            await runtime.once(agent, TurnRequest(transcript=(UserMessage("Add 1 and 2."),))) for _ in range(count)
        ]
        waiting = [asyncio.create_task(turn.result()) for turn in turns]
        await model.waiting.wait()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        model.released.set()
        await asyncio.gather(*waiting)
    return used / count / 1024


async def bare_at_once(bare: Callable[[FakeModel], Awaitable[str]], count: int, size: Size) -> float:
    async def burst() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(bare(FakeModel(0.025)) for _ in range(count)))
        return time.perf_counter() - began

    return min([await burst() for _ in range(size(REPEATS))])


def main(size: Size = FULL) -> None:
    made = tools()
    toolset = Toolset("t", made, instructions="Use {tool_1}.")
    agent = Agent("bench", instructions="Add.", tools=toolset)
    decoder = msgspec.json.Decoder(Arguments)
    arguments = '{"a": 1, "b": 2, "c": "x"}'
    check = made[0].parameters.decode
    by_name = {each.name: each.handler for each in made}

    def bare(model: FakeModel) -> Awaitable[str]:
        return bare_run(model, by_name, decoder)

    gc.collect()
    gc.freeze()
    count = size(1000, brief=5)
    seconds = asyncio.run(at_once(agent, count, size))
    kilobytes = asyncio.run(in_flight_kb(agent, count))
    bare_import = import_ms("import attrs, msgspec, asyncio", size)

    def an_agent() -> Agent:
        return Agent("a", "Add.", "m", toolset)

    def fingerprint() -> str:
        return _fingerprint(toolset.definitions, toolset.instructions)

    rows = [
        Row("import gaia_core", import_ms("import gaia_core", size), "ms", bare_import, 60),
        Row("agent from existing toolsets", timed(an_agent, 20_000, size), "µs", None, 1),
        Row("memory of an agent", bytes_each(an_agent), "B", None, 200),
        Row("10 tools from functions", timed(tools, 20, size) / 1e3, "ms", None, 1.5),
        Row("toolset of 10 tools, fingerprint and all", timed(lambda: Toolset("t", made), 1000, size), "µs"),
        Row("fingerprint of 10 tools", timed(fingerprint, 1000, size), "µs", None, 10),
        Row("check arguments", timed(lambda: check("t", arguments), 50_000, size), "µs",
            timed(lambda: decoder.decode(arguments), 50_000, size), 0.5),
        Row("run: model, tool, answer", asyncio.run(run_us(agent, size)), "µs", asyncio.run(bare_us(bare, size)), 60),
        Row(f"{count:,} runs at once, 50 ms turns", seconds, "s", asyncio.run(bare_at_once(bare, count, size)), 0.2),
        Row("memory of a run in flight", kilobytes, "KB", None, 12),
    ]  # fmt: skip
    show("An agent in process", rows)
