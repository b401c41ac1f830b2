"""Real servers for the tests of durability: `gaia serve`'s own, on a SQLite journal, with a scripted model.

Run: python … . It imports everything once, and forks a server for each line that it reads:

    {"folder": FOLDER, "port": PORT, "environ": {…}}

A server says its pid, what `gaia serve` says, and, when it has ended, its exit code. Its environment:

    CRASH=before:claim:N, after:claim:N      it kills itself (SIGKILL) before or after its N-th claim,
    CRASH=before:append:N, after:append:N    its N-th append,
    CRASH=in:once, in:again                  in the middle of a tool, after its effect,
    CRASH=say:STEP:WORD                      in the middle of a step's text, when the test has opened the gate `seen`
    HOLD=1                                   its first append waits until the test opens the gate `go`
    RUN=first                                a word that its model says

A gate is a file in FOLDER that the test makes.
"""

import asyncio
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

import attrs
import msgspec

from gaia_core import (
    Agent,
    ApprovalPolicy,
    Catalog,
    Context,
    ModelSpec,
    Runtime,
    ScriptedModel,
    Toolset,
    scripted,
    tool,
)
from gaia_core.events import TextDelta
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import ToolMessage, UserMessage
from gaia_core.models import Finished, ToolCallDelta
from gaia_http import Settings, create_app
from gaia_http.server.process import listen, loop_factory, run_server

LOOK_SECONDS = 0.005


class Order(msgspec.Struct, frozen=True):
    """A line that asks for a server."""

    folder: str
    port: int
    environ: dict[str, str] = {}
    drain_seconds: float = 10.0
    slots: int = 64
    word_seconds: float = 0.001


@attrs.frozen
class Stage:
    """Where a server of the tests runs: its folder, and what its environment says."""

    folder: Path
    crash: str
    hold: bool
    run: str

    def point(self, name: str) -> None:
        """Die here, if that was asked."""
        if name == self.crash:
            os.kill(os.getpid(), signal.SIGKILL)

    def note(self, name: str, line: str) -> None:
        """Have an effect: one more line in a file."""
        with (self.folder / name).open("a") as file:
            file.write(f"{line}\n")

    async def gate(self, name: str) -> None:
        """Wait until the test opens it."""
        while not (self.folder / name).exists():
            await asyncio.sleep(LOOK_SECONDS)


class Faulty(SQLiteJournal):
    """Dies around a claim or an append."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.folder / "journal.db")
        self.stage = stage
        self.claims = self.appends = 0

    async def claim(self, owner, id, replica, turn, records=()):
        self.claims += 1
        number = self.claims
        self.stage.point(f"before:claim:{number}")
        lease = await super().claim(owner, id, replica, turn, records)
        self.stage.note("claims", id)
        self.stage.point(f"after:claim:{number}")
        return lease

    async def append(self, lease, records, *, done=False):
        self.appends += 1
        number = self.appends
        if self.stage.hold and number == 1:
            await self.stage.gate("go")
        self.stage.point(f"before:append:{number}")
        appended = await super().append(lease, records, done=done)
        self.stage.note("appends", str(number))
        self.stage.point(f"after:append:{number}")
        return appended


def agents(stage: Stage) -> tuple[Agent, ...]:
    """The agents: one that works, one that asks before it writes, and one that waits a moment only for the answer."""

    @tool(effects="write")
    async def once(ctx: Context[None]) -> str:
        """Have an effect that must not be repeated."""
        stage.note("once", ctx.idempotency_key)
        stage.point("in:once")
        return "once done"

    @tool(effects="write", idempotent=True)
    async def again(ctx: Context[None]) -> str:
        """Have an effect that may be repeated under its key."""
        stage.note("again", ctx.idempotency_key)
        stage.point("in:again")
        return "again done"

    @tool(effects="read")
    async def look(ctx: Context[None], tag: str) -> str:
        """Say the tag and the session."""
        stage.note("looks", f"{ctx.session_id} {tag}")
        return f"{tag}/{ctx.session_id}"

    @tool(effects="write")
    async def save(ctx: Context[None], name: str) -> str:
        """Save under a name."""
        stage.note("saves", name)
        return f"saved {name}"

    tools = Toolset("t", (once, again, look, save))
    return (
        Agent("worker", tools=tools),
        Agent("careful", tools=tools, approvals=ApprovalPolicy(effects={"write"})),
        Agent("hasty", tools=tools, approvals=ApprovalPolicy(effects={"write"}, timeout=0.05)),
    )


def model(stage: Stage, word_seconds: float) -> ScriptedModel:
    """Does what the user's last message says: `both`, `look TAG`, `hold TAG`, `save NAME`, `threads`.

    It says a word every *word_seconds*.
    """

    async def answer(request):
        said = next(each.content for each in reversed(request.messages) if isinstance(each, UserMessage))
        what, _, word = said.partition(" ")
        last = request.messages[-1]
        result = last.content if isinstance(last, ToolMessage) else None
        calls, text = (), ""
        if what == "both" and result is None:
            text, calls = f"The {stage.run} process looks at all that there is to do.", (("once", {}), ("again", {}))
        elif what == "both":
            text = f"All is done now, says the {stage.run} process, in several words."
        elif what in ("look", "hold") and result is None:
            text, calls = f"Let me look after {word} for a while, it may be somewhere.", (("look", {"tag": word}),)
        elif what in ("look", "hold"):
            text = f"After all I saw {result} and nothing else, neither here nor there, and {word} is all that I need."
        elif what == "save" and result is None:
            calls = (("save", {"name": word}),)
        elif what == "save":
            text = result
        elif what == "threads":
            text = str(sum(thread.name == "gaia-tool" for thread in threading.enumerate()))
        step = 1 if result is None else 2
        for number, each in enumerate(text.split(" ")):
            if stage.crash == f"say:{step}:{number}":
                await stage.gate("seen")
                stage.point(stage.crash)
            if what == "hold" and step == 2 and number == 4:
                await stage.gate("go")
            yield TextDelta(f" {each}" if number else each)
            await asyncio.sleep(word_seconds)
        for index, (name, arguments) in enumerate(calls):
            yield ToolCallDelta(index, f"call_{name}", name, msgspec.json.encode(arguments).decode())
        yield Finished("tool_calls" if calls else "stop")

    return ScriptedModel(answer)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(order: Order) -> None:
    os.environ.update(order.environ)
    folder = Path(order.folder)
    stage = Stage(folder, os.environ.get("CRASH", ""), os.environ.get("HOLD") == "1", os.environ.get("RUN", "only"))
    spec = ModelSpec("local", open=lambda: model(stage, order.word_seconds), slots=order.slots)
    catalog = Catalog.of(*agents(stage), models={"local": spec}, default_agent="worker")
    settings = Settings(port=order.port, drain_seconds=order.drain_seconds)

    async def main() -> None:
        # Whoever started us is gone when there is no more to read.
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 1)
        await run_server(catalog, settings, listen(settings), journal=Faulty(stage), say=say)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def main() -> None:
    import gaia_http.server._http_protocol  # noqa: F401  # what a server imports when it starts

    create_app(Settings(), Runtime(Catalog.of(Agent("a"), models={"local": scripted()})))
    while line := sys.stdin.readline():
        order = msgspec.json.decode(line, type=Order)
        pid = os.fork()
        if pid == 0:
            log = os.open(Path(order.folder) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, sys.stderr.fileno())
            try:
                serve(order)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        say(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        os.set_blocking(sys.stdin.fileno(), True)  # the child's event loop has changed that for both
        say(f"ended {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main()
