"""200 sessions of random turns, stops, failures, tools and long results, against a model server that refuses what
strict templates refuse: no session dies. Seeded; a failure names its session."""

import asyncio
import json
import random

import pytest

from gaia_core import Agent, ApprovalPolicy, Catalog, ModelSpec, Runtime, ToolError, Toolset, tool
from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    Message,
    SystemMessage,
    ToolCall,
    UserMessage,
    text_of,
)
from gaia_core.models import Endpoint, EndpointConfig
from gaia_core.testing import StrictEndpoint
from gaia_core.turn import TurnRequest

SESSIONS = 200
ARGUMENTS = (
    '{"path": "a.txt"}',
    "{}",
    "path=a.txt",
    '["a.txt"]',
    "<path>a</path>",
    '{"path": "a.t',
    "null",
    '{"x": 1}',
)
WINDOWS: tuple[int | None, ...] = (None, 6_000)
"""Of the strict endpoint, in tokens; None: it takes requests of any size."""


class Opened:
    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self) -> Endpoint:
        return Endpoint(EndpointConfig(url=self.url, model="m", retries=0, backoff=0.01))


@tool(effects="read")
async def read_file(path: str) -> str:
    """Read a file."""
    return f"{path}: " + "lorem ipsum " * (5_000 if path.startswith("long") else 3)


@tool(effects="read")
async def fail() -> str:
    """Fail."""
    raise ToolError("no such disk")


AGENT = Agent(
    "a", instructions="Be exact.", tools=Toolset("t", (read_file, fail)), approvals=ApprovalPolicy(effects=())
)


def plan_of(body: dict) -> dict:
    """What the last user's message says that the model shall do."""
    said = [m["content"] for m in body["messages"] if m["role"] == "user"][-1]
    last = said if isinstance(said, str) else said[-1]["text"]
    return json.loads(last.rsplit("\n", 1)[-1])


def steps_done(body: dict) -> int:
    done = 0
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            break
        done += message["role"] == "assistant"
    return done


def answer(body: dict) -> AssistantMessage:
    plan, done = plan_of(body), steps_done(body)
    if done < len(plan["steps"]) and body.get("tools"):
        calls = [
            ToolCall(f"c{len(body['messages'])}_{n}", FunctionCall(name, arguments))
            for n, (name, arguments) in enumerate(plan["steps"][done])
        ]
        return AssistantMessage("Let me look." if done % 2 else None, tuple(calls))
    return AssistantMessage("This is the answer to all of that.")


class Silences:
    """How the endpoint's answers end; *begun*: by session, whether one went silent in its middle."""

    def __init__(self) -> None:
        self.begun: dict[int, asyncio.Event] = {}

    def ending(self, body: dict) -> str:
        plan = plan_of(body)
        if steps_done(body) < min(plan["end_at"], len(plan["steps"])):
            return "whole"
        if plan["end"] == "silent":
            self.begun[plan["session"]].set()
        return plan["end"]


def random_plan(session: int, chance: random.Random) -> str:
    steps = [
        [
            chance.choice(
                (
                    ("read_file", chance.choice(ARGUMENTS)),
                    ("read_file", '{"path": "long.txt"}'),
                    ("fail", "{}"),
                    ("no", ""),
                )
            )
            for _ in range(chance.choice((1, 1, 2, 3)))
        ]
        for _ in range(chance.choice((0, 0, 1, 2)))
    ]
    end = chance.choice(("whole", "whole", "silent", "broken"))
    return json.dumps({"session": session, "steps": steps, "end": end, "end_at": chance.randrange(3)})


def random_input(chance: random.Random) -> tuple[Message, ...]:
    kinds = (UserMessage, SystemMessage, DeveloperMessage)
    return tuple(chance.choice(kinds)("context") for _ in range(chance.choice((0, 0, 0, 1, 2))))


async def live(runtime: Runtime, silences: Silences, number: int) -> None:
    """One session: some turns of any kind, then one that must be answered."""
    chance = random.Random(number)
    session = await runtime.open("a", id=f"s{number}")
    for _ in range(chance.randrange(1, 5)):
        plan = random_plan(number, chance)
        silent = silences.begun[number] = asyncio.Event()
        turn = await runtime.start(session, TurnRequest(plan, input=random_input(chance)))
        if json.loads(plan)["end"] == "silent":
            await silent.wait()
            for _ in range(chance.randrange(40)):  # somewhere in what still arrives
                await asyncio.sleep(0)
            await turn.cancel()
        await turn.result()
    last = await runtime.start(session, json.dumps({"session": number, "steps": [], "end": "whole", "end_at": 0}))
    ended = await last.result()
    assert (ended.status, ended.text.strip()) == ("completed", "This is the answer to all of that."), (
        f"session {number}"
    )


@pytest.mark.parametrize("window", WINDOWS)
async def test_no_session_dies(window):
    silences = Silences()
    async with StrictEndpoint(answer, window=window, ending=silences.ending) as server:
        catalog = Catalog.of(AGENT, models={"local": ModelSpec("local", open=Opened(server.url))})
        async with Runtime(catalog) as runtime:
            for first in range(0, SESSIONS, 20):
                await asyncio.gather(*(live(runtime, silences, number) for number in range(first, first + 20)))
        assert server.refused == []
        roles = {message["role"] for body in server.requests for message in body["messages"]}
        marked = [
            message
            for body in server.requests
            for message in body["messages"]
            if message["role"] == "assistant"
            and text_of(message["content"]).endswith("[This answer was interrupted here.]")
        ]

    assert roles == {"system", "user", "assistant", "tool"}
    assert len(server.requests) > 2 * SESSIONS
    assert marked
