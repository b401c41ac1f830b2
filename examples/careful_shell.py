"""Careful shell: an agent that runs programs, each of which a person approves first.

python examples/careful_shell.py "How full is this disk?"
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gaia_core import Agent, ApprovalPolicy, Audience, Catalog, Runtime, Toolset, TurnRequest, load_catalog, tool
from gaia_core.catalog import with_model
from gaia_core.events import ApprovalRequested, TextDelta

MAX_CHARS = 20_000


@tool(effects="execute", timeout=60)
async def run_program(program: list[str]) -> str:
    """Run a program without a shell; returns its output, stderr included, and its exit status.

    Args:
        program: the program and its arguments, such as ["df", "-h"]
    """
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:  # cancelled, or timed out
            process.kill()
            await process.wait()
    return f"{output.decode(errors='replace')[:MAX_CHARS]}\nexit status {process.returncode}"


OPERATOR = Agent(
    "operator",
    instructions="You operate this computer by programs. Prefer those that only look.",
    tools=Toolset("shell", (run_program,)),
    approvals=ApprovalPolicy(effects=frozenset({"execute"})),
)


async def operate(runtime: Runtime, task: str, approve: Callable[[ApprovalRequested], bool]) -> str:
    """Run a turn on *task*, asking *approve* about each call; the answer."""
    session = await runtime.open(OPERATOR)
    turn = await runtime.start(session, TurnRequest(task, audience=Audience.INTERACTIVE))
    async for event in turn.events():
        if isinstance(event, ApprovalRequested):
            yes = await asyncio.to_thread(approve, event)
            await turn.decide(event.approval_id, yes, "" if yes else "the user said no")
        elif isinstance(event, TextDelta):
            print(event.text, end="", flush=True)
    return (await turn.result()).text


def ask(wanted: ApprovalRequested) -> bool:
    """Ask in the terminal."""
    return input(f"\n{wanted.tool} {wanted.arguments}\n{wanted.reason}. Run it? [y/N] ").strip().lower() == "y"


async def main(task: str) -> None:
    """Operate on *task*, with the model that `gaia chat` would use."""
    found = await with_model(load_catalog(environ=os.environ, cwd=Path.cwd()), environ=os.environ)
    async with Runtime(Catalog.of(OPERATOR, models={spec.name: spec for spec in found.models})) as runtime:
        await operate(runtime, task, ask)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
