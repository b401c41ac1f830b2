"""A real server for clients of other make: `gaia serve`'s own, in a process, with a model that is a script.

python serving.py [PORT]     says the address in its first line; runs until its input ends

The agent `a` has a tool of its own, `secret`. What its model does follows from the last message of the user:

| it holds | the model |
|---|---|
| secret | calls `secret`, then says what it was told |
| weather | calls the client's `get_weather` for Paris, then says what the client answered |
| shell | calls the client's own shell (of Codex, qwen-code, Claude Code) for `echo 21 degrees`, then the same |
| forever | says a few words, and streams until it is cancelled |
| break | fails |
| JSON | answers `{"city": "Paris", "degrees": 21}` |
| anything else | says "Hello from the model." |

`gpt-6-astra`, the name that OpenAI's own tests use, is an agent without tools.
"""

import asyncio
import os
import sys

import msgspec

from gaia_core import Agent, Catalog, Context, ModelSpec, ScriptedModel, Toolset, tool
from gaia_core.events import TextDelta
from gaia_core.messages import ToolMessage, Usage, UserMessage, text_of
from gaia_core.models import Embeddings, Finished, ModelError, ToolCallDelta
from gaia_http import Settings
from gaia_http.server.process import listen, loop_factory, run_server

SHELLS = (
    ("exec_command", {"cmd": "echo 21 degrees"}),
    ("run_shell_command", {"command": "echo 21 degrees"}),
    ("Bash", {"command": "echo 21 degrees", "description": "Say the degrees"}),
)
TRUE_JSON = '{"city": "Paris", "degrees": 21}'


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret number."""
    return "the secret number is 42"


async def answer(request):
    """See the table above."""
    last = request.messages[-1]
    users = [message for message in request.messages if isinstance(message, UserMessage)]
    said = text_of(users[-1].content).casefold() if users else ""
    text, calls = "Hello from the model.", ()
    if "break" in said:
        raise ModelError("bad_request", "the model broke, as it was asked")
    if "forever" in said:
        yield TextDelta("For ever ")
        yield TextDelta("and ever ")
        await asyncio.Event().wait()
    if isinstance(last, ToolMessage):
        text = f"I was told: {text_of(last.content)}."
    elif "secret" in said:
        text, calls = "", (("secret", {}),)
    elif "weather" in said:
        text, calls = "", (("get_weather", {"city": "Paris"}),)
    elif "shell" in said:
        offered = {definition.name for definition in request.tools}
        text, calls = "", tuple(shell for shell in SHELLS if shell[0] in offered)
    elif "json" in said:
        text = TRUE_JSON
    for word in text.split(" ") if text else ():
        yield TextDelta(word if word == text.split(" ")[0] else f" {word}")
    for index, (name, arguments) in enumerate(calls):
        number = len(request.messages)
        yield ToolCallDelta(index, f"call_{number}_{name}", name, msgspec.json.encode(arguments).decode())
    yield Finished("tool_calls" if calls else "stop", Usage(20, 5))


class Vectors:
    """Makes the vector (0.5, -1, 0.25) of every text, or its beginning when that was asked."""

    async def embed(self, request):
        return Embeddings(((0.5, -1.0, 0.25)[: request.dimensions],) * request.count, 3 * request.count)


def catalog() -> Catalog:
    return Catalog.of(
        Agent("a", instructions="Be brief.", tools=Toolset("own", (secret,))),
        Agent("gpt-6-astra"),
        models={
            "local": ModelSpec("local", open=lambda: ScriptedModel(answer)),
            "text-embedding-3-small": ModelSpec("text-embedding-3-small", open=Vectors, embeddings=True),
        },
        default_agent="a",
    )


async def main(port: int) -> None:
    settings = Settings(port=port, drain_seconds=0)

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 0)  # whoever started us is gone
    await run_server(catalog(), settings, listen(settings), say=say)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
