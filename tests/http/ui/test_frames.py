"""The frames of a turn: whole sequences as snapshots, and what holds of each of them."""

import json

import pytest

from gaia_core import Agent, ApprovalPolicy, Context, Limits, ScriptedModel, ToolError, Toolset, call, tool
from gaia_core.events import ModelRetried, ReasoningDelta, TextDelta
from gaia_core.messages import AssistantMessage, Usage
from gaia_core.models import Finished, ModelError


@tool(effects="read")
async def add(ctx: Context[None], a: int, b: int) -> int:
    """Add two numbers."""
    ctx.progress("adding")
    if a < 0:
        raise ToolError("no negative numbers")
    return a + b


@tool(effects="write")
async def save(name: str) -> str:
    """Save."""
    return f"saved {name}"


@tool(effects="read")
async def pick(ctx: Context[None]) -> str:
    """Let the user pick."""
    return f"picked {await ctx.ask('Which one?', ('a', 'b'))}"


TOOLS = Toolset("tools", (add, save, pick))
ADDER = Agent("a", tools=TOOLS)
CAREFUL = Agent("a", tools=TOOLS, approvals=ApprovalPolicy(effects={"write"}))


async def sent(client, **fields):
    return await client.send(await client.session(), **fields)


async def test_words(ui, normal_frames, snapshot):
    client = await ui("Hello there")

    assert normal_frames(await sent(client)) == snapshot


async def test_reasoning(ui, normal_frames, snapshot):
    client = await ui(
        (ReasoningDelta("Hm. "), ReasoningDelta("Yes."), TextDelta("Hello"), Finished("stop", Usage(5, 7)))
    )

    assert normal_frames(await sent(client)) == snapshot


async def test_tools(ui, normal_frames, snapshot):
    client = await ui(
        AssistantMessage("Let me see.", (call("add", a=1, b=2),)), call("add", a=-1, b=2), "It is 3", agents=(ADDER,)
    )

    assert normal_frames(await sent(client)) == snapshot


async def test_a_limit(ui, normal_frames, snapshot):
    client = await ui(call("add", a=1, b=2), agents=(Agent("a", tools=TOOLS, limits=Limits(steps=1)),))

    assert normal_frames(await sent(client)) == snapshot


async def test_a_sub_agent(ui, normal_frames, snapshot):
    boss = Agent("a", tools=Toolset("team", (Agent("adder", tools=TOOLS).as_tool(),)))
    client = await ui(
        call("adder", task="1 + 2?"),
        AssistantMessage("I add.", (call("add", a=1, b=2),)),
        "three",
        "It is 3",
        agents=(boss,),
    )

    assert normal_frames(await sent(client)) == snapshot


async def test_a_failure(ui, normal_frames, snapshot):
    def answer(request):
        raise ModelError("server", "the endpoint is broken")

    client = await ui(ScriptedModel(answer))

    assert normal_frames(await sent(client)) == snapshot


async def test_an_approval(ui, normal_frames, snapshot):
    client = await ui(call("save", name="x"), "Done", agents=(CAREFUL,))
    session = await client.session()
    told = []
    async with client.sending(session) as frames:
        async for frame in frames:
            told.append(frame)
            if frame[1]["type"] == "permission_request":
                body = {"session_id": session, "approved": True, "confirm_id": frame[1]["confirm_id"]}
                assert await client.post("/api/chat/confirm-tool", body) == {"status": "ok", "approved": True}

    assert normal_frames(told) == snapshot


async def test_a_denial(ui, normal_frames, snapshot):
    client = await ui(call("save", name="x"), "I may not", agents=(CAREFUL,))
    session = await client.session()
    told = []
    async with client.sending(session) as frames:
        async for frame in frames:
            told.append(frame)
            if frame[1]["type"] == "permission_request":
                await client.post(
                    "/api/chat/confirm-tool", {"session_id": session, "approved": False, "reason": "not today"}
                )

    assert normal_frames(told) == snapshot


async def test_a_question(ui, normal_frames, snapshot):
    client = await ui(call("pick"), "You picked b", agents=(ADDER,))
    session = await client.session()
    told = []
    async with client.sending(session) as frames:
        async for frame in frames:
            told.append(frame)
            if frame[1]["type"] == "user_input_request":
                body = {"session_id": session, "request_id": frame[1]["request_id"], "value": "b"}
                assert await client.post("/api/chat/user-input", body) == {"status": "ok"}

    assert normal_frames(told) == snapshot


# What holds of every stream.


async def test_the_chunks_are_the_answer_and_the_message(ui, text_of):
    script = (AssistantMessage("Let me see.", (call("add", a=1, b=2),)), call("add", a=3, b=4), "It is 3")
    client = await ui(*script, agents=(ADDER,))
    session = await client.session()

    frames = await client.send(session)

    (done,) = (data for _, data in frames if data["type"] == "done")
    (answer,) = (data for _, data in frames if data["type"] == "answer")
    assert text_of(frames) == done["content"] == answer["content"] == "Let me see.\n\nIt is 3"
    assert (await client.messages(session))[1] == ("assistant", done["content"])
    assert answer["tools_used"] == 2


@pytest.mark.parametrize(
    ("retried", "status", "words"),
    [
        (
            ModelRetried(1, 0.0, "Loading model", "not_ready"),
            "working",
            "not ready yet; the server waits for it (Loading",
        ),
        (ModelRetried(1, 0.0, "the request is shortened", "context_length"), "warning", "The request is shortened."),
        (
            ModelRetried(1, 0.0, "a reset", "server"),
            "warning",
            "The model did not answer (a reset); it is asked again.",
        ),
    ],
)
async def test_a_recovery_is_told_in_words(ui, retried, status, words):
    client = await ui(ScriptedModel(lambda _request: [retried, TextDelta("Hello"), Finished("stop")]))

    told = [data for _, data in await sent(client) if data["type"] == "status" and data["status"] == status]

    assert any(words in data["message"] for data in told)


@pytest.mark.parametrize("fails", [False, True])
async def test_there_is_one_terminal_frame_and_it_is_the_last(ui, fails):
    def answer(request):
        if fails:
            raise ModelError("server", "broken")
        return "Hello"

    client = await ui(ScriptedModel(answer))

    types = [data["type"] for _, data in await sent(client)]

    assert types.count("done") == 1
    assert types[-2:] == ["error", "done"] if fails else types[-1] == "done"
    assert types.count("error") == fails


async def test_every_frame_has_an_id_of_its_own(ui):
    client = await ui(call("add", a=1, b=2), "It is 3", agents=(ADDER,))

    ids = [frame_id for frame_id, _ in await sent(client)]

    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids, key=lambda each: tuple(map(int, each.split(":"))))


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ((TextDelta("It is"), Finished("length")), "length", "It is"),
        ((Finished("length"),), "length", "cut off"),
        ((ReasoningDelta("Hm, a long"), Finished("length")), "length", "cut off"),
        ((ReasoningDelta("Hm."), Finished("stop")), "stop", "thought about it"),
        ((ReasoningDelta("Hm."), TextDelta("\n\n"), Finished("stop")), "stop", "thought about it"),
        ((TextDelta(""), Finished("stop")), "stop", "answered nothing"),
        ((Finished("content_filter"),), "content_filter", "filtered"),
    ],
)
async def test_an_answer_without_text_says_why_and_done_has_the_reason(ui, text_of, script, reason, words):
    client = await ui(script)
    session = await client.session()

    frames = await client.send(session)

    (done,) = (data for _, data in frames if data["type"] == "done")
    assert done["finish_reason"] == reason
    assert words in done["content"]
    assert done["content"] == text_of(frames) == (await client.messages(session))[1][1]


async def test_a_limit_of_steps_is_the_reason_length(ui):
    client = await ui(call("add", a=1, b=2), agents=(Agent("a", tools=TOOLS, limits=Limits(steps=1)),))

    _, done = (await sent(client))[-1]

    assert (done["finish_reason"], "cut off at a limit" in done["content"]) == ("length", True)


async def test_a_turn_that_failed_has_no_reason(ui):
    def broken(_request):
        raise ModelError("server", "broken")

    _, done = (await sent(await ui(ScriptedModel(broken))))[-1]

    assert (done["finish_reason"], done["content"]) == (None, "")


async def test_done_names_the_message_and_its_figures(ui):
    client = await ui((TextDelta("Hello"), Finished("stop", Usage(5, 7))))
    session = await client.session()

    _, done = (await client.send(session))[-1]

    message = (await client.get(f"/api/sessions/{session}/messages"))["messages"][-1]
    assert (message["id"], message["content"]) == (done["message_id"], "Hello")
    assert message["stats"] == done["stats"]
    assert (done["stats"]["input_tokens"], done["stats"]["output_tokens"]) == (5, 7)
    assert done["stats"]["time_to_first_token"] >= 0


async def test_surrogates_of_a_model_do_not_break_a_stream(ui, text_of):
    client = await ui((TextDelta("a\ud83d\ude00b\ud800c"), Finished("stop", Usage())))

    assert text_of(await sent(client)) == "a\N{GRINNING FACE}b\ufffdc"


async def test_the_answer_in_one_piece(ui):
    client = await ui(call("add", a=1, b=2), "It is 3", agents=(ADDER,))
    session = await client.session()

    answer = await client.post("/api/chat/send", {"session_id": session, "message": "1+2?", "stream": False})

    assert answer["content"] == "It is 3"
    assert answer["sources"] == []
    assert answer["tokens"]["total_tokens"] == answer["tokens"]["input_tokens"] + answer["tokens"]["output_tokens"]
    assert (await client.get(f"/api/sessions/{session}/messages"))["messages"][-1]["id"] == answer["message_id"]


async def test_a_failure_in_one_piece_is_its_status(ui):
    def answer(request):
        raise ModelError("not_ready", "the model is loading", retry_after=3)

    client = await ui(ScriptedModel(answer))
    body = {"session_id": await client.session(), "message": "x", "stream": False}

    status, said, headers = await client.ask("POST", "/api/chat/send", body)

    assert (status, said, headers["retry-after"]) == (503, {"detail": "the model is loading"}, "3")


async def test_a_sub_agents_frames_name_the_call_that_runs_it(ui, text_of):
    boss = Agent("a", tools=Toolset("team", (Agent("adder", tools=TOOLS).as_tool(),)))
    client = await ui(call("adder", task="?"), "three", "It is 3", agents=(boss,))

    frames = await sent(client)

    nested = [data for _, data in frames if "parent_call_id" in data]
    assert {data["parent_call_id"] for data in nested} == {"call_1"}
    assert "".join(data["content"] for data in nested if data["type"] == "thinking") == "three"
    assert text_of(frames) == "It is 3"


async def test_what_arrives_together_is_one_write(ui, upstream):
    import asyncio

    client = await ui(model=upstream(TextDelta("a"), TextDelta("b"), ReasoningDelta("c")))
    session = await client.session()
    body = json.dumps({"session_id": session, "message": "x"}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    writer.write(b"POST /api/chat/send HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    writes: list[str] = []
    await reader.readuntil(b"\r\n\r\n")
    while "chunk" not in "".join(writes):
        writes.append((await reader.readexactly(int(await reader.readline(), 16))).decode())
        await reader.readexactly(2)
    writer.close()
    await writer.wait_closed()

    assert writes[-1].endswith(
        'data: {"type":"chunk","content":"ab"}\n\nid: 1:1:32\ndata: {"type":"thinking","content":"c"}\n\n'
    )
