"""What a key approves beforehand: its calls run where nobody can be asked, in both APIs, until it says so no more."""

import attrs
import msgspec
import pytest

from gaia_core import Agent, ApprovalPolicy, Toolset, call, tool
from gaia_http.keys._key_file import change

SAID = {"model": "a", "messages": [{"role": "user", "content": "Go"}]}


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def agent(ran) -> Agent:
    @tool(effects="write")
    async def save(path: str) -> str:
        """Save."""
        ran.append(path)
        return "saved"

    @tool(effects="read", approval=True)
    async def sh_run() -> str:
        """Run."""
        ran.append("sh_run")
        return "done"

    return Agent("a", tools=Toolset("t", (save, sh_run)), approvals=ApprovalPolicy(effects={"write"}))


async def outcome(server, headers: dict) -> str:
    """Of the call that a chat completion makes."""
    status, _, answer = await server.post(SAID, headers=headers)
    assert status == 200, answer
    return answer["x_gaia"]["tool_calls"][0]["outcome"]


@pytest.mark.parametrize(
    ("approves", "wanted"),
    [
        ((), "denied"),
        (("save",), "ok"),
        (("other", "sa*"), "ok"),
        (("Save", "save_", "ave"), "denied"),
    ],
)
async def test_what_it_names_runs_unasked(serve, room, bearer, agent, ran, approves, wanted):
    secret = room.make("k", approves=approves)
    server = await serve(call("save", path="x"), "Done.", agents=(agent,), keyring=room.ring())

    assert await outcome(server, bearer(secret)) == wanted
    assert ran == (["x"] if wanted == "ok" else [])


async def test_it_is_told_why_the_call_ran(serve, room, bearer, agent):
    secret = room.make("k", approves=("sh_*",))
    server = await serve(call("sh_run"), "Done.", agents=(agent,), keyring=room.ring())

    said = await server.stream(headers=bearer(secret))

    assert '"type":"ApprovalDecided"' in said
    assert '"approved":true,"reason":"the key that asks has approved this tool beforehand"' in said


async def test_on_responses_nobody_is_asked(serve, room, bearer, agent, ran):
    keys = {name: bearer(room.make(name, approves=approves)) for name, approves in (("yes", ("save",)), ("no", ()))}
    kinds = {}
    for name, headers in keys.items():
        server = await serve(call("save", path=name), "Done.", agents=(agent,), keyring=room.ring())
        async with server.http.post("/v1/responses", json={"model": "a", "input": "Go"}, headers=headers) as response:
            kinds[name] = [item["type"] for item in (await response.json())["output"]]

    assert kinds["yes"] == ["mcp_call", "message"]
    assert kinds["no"][-1] == "mcp_approval_request"
    assert ran == ["yes"]


async def test_a_sub_agents_calls_are_covered_too(serve, room, bearer, agent, ran):
    secret = room.make("k", approves=("save",))
    boss = Agent("a", tools=Toolset("team", (attrs.evolve(agent, name="saver").as_tool(),)))
    server = await serve(
        call("saver", task="save it"), call("save", path="sub"), "Saved.", "Done.", agents=(boss,), keyring=room.ring()
    )

    await outcome(server, bearer(secret))

    assert ran == ["sub"]


async def test_a_key_that_is_revoked_or_changed_approves_no_more(serve, room, bearer, agent, ran):
    secret = room.make("k", approves=("save",))
    server = await serve(*[call("save", path="x"), "Done."] * 2, agents=(agent,), keyring=room.ring())
    assert await outcome(server, bearer(secret)) == "ok"

    def lowered(file):
        return msgspec.structs.replace(file, keys=tuple(msgspec.structs.replace(key, approves=()) for key in file.keys))

    change(room.path, lowered)

    assert await outcome(server, bearer(secret)) == "denied"
    assert ran == ["x"]
