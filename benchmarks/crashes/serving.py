"""The servers under test: `gaia serve`'s own, with a scripted model. Run: python -m benchmarks.crashes.serving

It imports everything once, and forks a server for each line that it reads:

    {"port": PORT, "journal": URL, "folder": FOLDER, "word_seconds": 0.002}

It answers with the server's pid, and ends with its input; so do its servers.
"""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from gaia_core import Agent, Catalog, Context, ModelSpec, Runtime, ScriptedModel, Toolset, scripted, tool
from gaia_core.events import TextDelta
from gaia_core.journal.from_url import journal_from_url
from gaia_core.messages import ToolMessage, UserMessage
from gaia_core.models import Delta, Finished, ModelRequest, ToolCallDelta
from gaia_http import Settings, create_app
from gaia_http.server.process import listen, loop_factory, run_server


class Order(msgspec.Struct, frozen=True):
    """A line that asks for a server."""

    port: int
    journal: str
    folder: str
    word_seconds: float = 0.002


def agent(folder: Path) -> Agent:
    """An agent with a tool that may run once and one that may run again; each run is a line in a file."""

    def note(name: str, line: str) -> None:
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    @tool(effects="write")
    async def once(ctx: Context[None]) -> str:
        """Have an effect that must not be repeated."""
        note("once", ctx.idempotency_key)
        await asyncio.sleep(0.01)
        return "once done"

    @tool(effects="write", idempotent=True)
    async def again(ctx: Context[None]) -> str:
        """Have an effect that may be repeated under its key."""
        note("again", ctx.idempotency_key)
        await asyncio.sleep(0.01)
        return "again done"

    return Agent("worker", tools=Toolset("t", (once, again)))


def model(word_seconds: float) -> ScriptedModel:
    """Calls both tools, then answers. Its words are this process's own, so that two halves never fit."""
    name = f"process {os.getpid()}"

    async def answer(request: ModelRequest) -> AsyncGenerator[Delta]:
        said = next(str(each.content) for each in reversed(request.messages) if isinstance(each, UserMessage))
        results = [each for each in request.messages if isinstance(each, ToolMessage)]
        calls = () if results else ("once", "again")
        text = f"This is {name}, which looks at {said} and at all that there is to do about it."
        if results:
            text = f"{name} says of {said}: {' and '.join(str(each.content) for each in results)}, in several words."
        for number, word in enumerate(text.split(" ")):
            yield TextDelta(f" {word}" if number else word)
            await asyncio.sleep(word_seconds)
        for index, called in enumerate(calls):
            yield ToolCallDelta(index, f"call_{called}", called, "{}")
        yield Finished("tool_calls" if calls else "stop")

    return ScriptedModel(answer)


def serve(order: Order, parent: int) -> None:
    """Serve until the process that forked this one has ended: then its end of the pipe *parent* is closed."""
    folder = Path(order.folder)
    spec = ModelSpec("local", open=lambda: model(order.word_seconds), slots=64)
    catalog = Catalog.of(agent(folder), models={"local": spec}, default_agent="worker")
    settings = Settings(port=order.port, data=folder)

    async def main() -> None:
        asyncio.get_running_loop().add_reader(parent, os._exit, 1)
        await run_server(
            catalog, settings, listen(settings), journal=journal_from_url(order.journal, {}), say=lambda _line: None
        )

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def main() -> None:
    import gaia_http.server._http_protocol  # noqa: F401  # what a server imports when it starts

    create_app(Settings(), Runtime(Catalog.of(Agent("a"), models={"local": scripted()})))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the servers; no exit status is needed
    parent, alive = os.pipe()
    while line := sys.stdin.readline():
        order = msgspec.json.decode(line, type=Order)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            log = os.open(Path(order.folder) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, sys.stderr.fileno())
            os.dup2(os.open(os.devnull, os.O_RDWR), sys.stdin.fileno())
            os.dup2(sys.stdin.fileno(), sys.stdout.fileno())
            os.close(alive)
            try:
                serve(order, parent)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
