"""A process that runs one turn of two tools on a SQLite journal, and dies where CRASH says. Run: python … FOLDER

    CRASH=before:N, after:N     before or after its N-th append; N may be `claim`, which begins it
    CRASH=in:once, in:again     in the middle of a tool, after its effect

Without CRASH it takes over what is left, waits for it, and prints the events of the session's last turn, one a line.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from gaia_core import Agent, Catalog, Context, Runtime, ScriptedModel, Toolset, call, tool
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import ToolMessage

FOLDER = Path(sys.argv[1])
CRASH = os.environ.get("CRASH", "")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note(name: str, line: str) -> None:
    with (FOLDER / name).open("a") as file:
        file.write(f"{line}\n")


@tool(effects="write")
async def once(ctx: Context[None]) -> str:
    """Have an effect that must not be repeated."""
    note("once", ctx.idempotency_key)
    if CRASH == "in:once":
        die()
    return "once done"


@tool(effects="write", idempotent=True)
async def again(ctx: Context[None]) -> str:
    """Have an effect that may be repeated under its key."""
    note("again", ctx.idempotency_key)
    if CRASH == "in:again":
        die()
    return "again done"


class Faulty(SQLiteJournal):
    """Dies around an append."""

    appends = 0

    async def claim(self, owner, id, replica, turn, records=()):
        if turn is not None and CRASH == "before:claim":
            die()
        lease = await super().claim(owner, id, replica, turn, records)
        if turn is not None and CRASH == "after:claim":
            die()
        return lease

    async def append(self, lease, records, *, done=False):
        self.appends += 1
        if f"before:{self.appends}" == CRASH:
            die()
        appended = await super().append(lease, records, done=done)
        if f"after:{self.appends}" == CRASH:
            die()
        return appended


def model(request):
    results = [message for message in request.messages if isinstance(message, ToolMessage)]
    if not results:
        return (call("once"), call("again"))
    if len(results) == 2:
        return call("again")
    return "All is done, in several words."


async def main() -> None:
    agent = Agent("worker", tools=Toolset("t", (once, again)))
    catalog = Catalog.of(agent, models={"local": ScriptedModel(model)})
    async with Runtime(catalog, Faulty(FOLDER / "journal.db")) as runtime:
        session = await runtime.open("worker", id="s")
        if CRASH:
            turn = await runtime.start(session, "Do both.")
        else:
            info = await runtime.sessions.get("", "s")
            while info.turn is not None and runtime.running("", "s") is None:  # until it is taken over
                await asyncio.sleep(0.01)
                info = await runtime.sessions.get("", "s")
            turn = await runtime.sessions.attach("", "s")
        await turn.result()
        async for batch in turn.frames():
            for event_id, event in batch:
                sys.stdout.write(f"{event_id} {msgspec.json.encode(event).decode()}\n")
        assert [record.seq for record, _ in await runtime.sessions.facts("", "s")] == list(
            range(1, (await runtime.sessions.get("", "s")).seq + 1)
        )


asyncio.run(main())
