"""Toolsets that break one promise each, and one that keeps all."""

import asyncio
import os
import time
from pathlib import Path

from gaia_core import Context, ToolError, Toolset, resource, tool

_READ = {"effects": "read", "timeout": 30}
CALLS = []


class Box:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = asyncio.Lock()


@resource()
async def box(path: Path):
    yield Box(path)


@tool(**_READ)
async def greet(ctx: Context[Box], name: str) -> str:
    """Greet."""
    if len(name) > 1_000 or not name.isprintable():
        raise ToolError("give a name of at most 1000 letters")
    return f"Hello {name} in {ctx.resource.path.name}"


@tool(**_READ)
async def wait(ctx: Context[Box]) -> str:
    """Wait."""
    await asyncio.sleep(30)
    return "Waited."


def fine(path: Path = Path()) -> Toolset:
    return Toolset("fine", (greet, wait), resource=box(path))


def not_frozen() -> Toolset:
    seen = []

    @tool(name="seen", **_READ)
    async def look() -> str:
        """Look."""
        seen.append(1)
        return str(len(seen))

    return Toolset("t", (look,))


def not_repeatable() -> Toolset:
    @tool(name="look", description=f"Made at {time.perf_counter_ns()}.", **_READ)
    async def look() -> str:
        return "."

    return Toolset("t", (look,))


@tool(**_READ)
async def remember(word: str = "a") -> str:
    """Remember."""
    CALLS.append(word)
    return "Remembered."


def with_module_state() -> Toolset:
    return Toolset("t", (remember,))


def not_deterministic() -> Toolset:
    words = ", ".join({"alpha", "beta", "gamma", "delta"})

    @tool(name="look", description=f"One of {words}.", **_READ)
    async def look() -> str:
        return "."

    return Toolset("t", (look,))


@resource()
def pipe():
    yield os.pipe()


@tool(**_READ)
async def peek(ctx: Context[tuple]) -> str:
    """Peek."""
    return "."


def not_closing() -> Toolset:
    return Toolset("t", (peek,), resource=pipe())


@tool(**_READ)
async def locked(ctx: Context[Box]) -> str:
    """Take a lock and don't give it back when cancelled."""
    await ctx.resource.lock.acquire()
    await asyncio.sleep(0.2)
    ctx.resource.lock.release()
    return "Done."


def not_surviving(path: Path = Path()) -> Toolset:
    return Toolset("t", (locked,), resource=box(path))


@tool(**_READ)
def busy() -> str:
    """Sleep on a thread, whatever ctx.cancelled says."""
    time.sleep(1.5)
    return "Slept."


def not_timely() -> Toolset:
    return Toolset("t", (busy,))


@tool(**_READ)
async def flood() -> str:
    """Give too much."""
    return "x" * 1_000_001


def not_bounded() -> Toolset:
    return Toolset("t", (flood,))


@tool(**_READ)
async def read(path: str) -> str:
    """Read."""
    return "text" if path == "example" else Path("no such folder", path.replace("\0", "")).read_text()


def not_in_words() -> Toolset:
    return Toolset("t", (read,))


@tool(effects="write")
async def write(path: str) -> str:
    """Write."""
    return path


def writing() -> Toolset:
    return Toolset("t", (write,))
