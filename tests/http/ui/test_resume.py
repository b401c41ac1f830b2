"""Coming back: every id of a turn gives exactly the rest, live, after its end, and after a restart."""

import asyncio

import pytest

from gaia_core import Agent, ApprovalPolicy, ScriptedModel, Toolset, call, tool
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import AssistantMessage, ToolMessage
from gaia_http import Settings


@tool(effects="read")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADDER = Agent("a", tools=Toolset("t", (add,)))
SCRIPT = (
    AssistantMessage("Let me see.", (call("add", a=1, b=2),), reasoning_content="Hm."),
    AssistantMessage("And more.", (call("add", a=3, b=4), call("add", a=5, b=6))),
    "It is 3 in the end",
)
TEXT = "Let me see.\n\nAnd more.\n\nIt is 3 in the end"


async def test_every_id_of_a_running_turn_gives_exactly_the_rest(ui, gate):
    model = gate(*SCRIPT)
    client = await ui(model=model, agents=(ADDER,))
    session = await client.session()
    async with client.sending(session) as frames:
        seen = [await anext(frames)]
        while seen[-1][1].get("content") != "\n\nIt ":
            seen.append(await anext(frames))
        again = [asyncio.create_task(client.attach(session, frame_id)) for frame_id, _ in seen]
        whole = asyncio.create_task(client.attach(session))
        while client.server.runtime.stats().running_turns and len(
            client.server.runtime.running("", session)._readers
        ) < (len(seen) + 2):
            await asyncio.sleep(0.01)
        model.go.set()
        told = seen + [frame async for frame in frames]

    assert merged(await whole) == merged(told)
    for n, task in enumerate(again):
        assert merged(await task) == merged(told[n + 1 :])


def merged(frames) -> list:
    """*frames* with adjacent text as one: how it was cut is of no account."""
    whole: list = []
    for frame_id, data in frames:
        if data["type"] == "chunk" and whole and whole[-1][1]["type"] == "chunk":
            whole[-1] = (frame_id, {"type": "chunk", "content": whole[-1][1]["content"] + data["content"]})
        else:
            whole.append((frame_id, data))
    return whole


async def test_every_id_of_an_ended_turn_gives_the_same_text_and_end(ui, text_of):
    client = await ui(*SCRIPT, agents=(ADDER,))
    session = await client.session()
    told = await client.send(session)

    for n, (frame_id, _) in enumerate(told[:-1]):
        rest = await client.attach(session, frame_id)
        assert text_of([*told[: n + 1], *rest]) == TEXT
        assert [data["type"] for _, data in rest].count("done") == 1
        assert rest[-1][1] == told[-1][1]


async def test_a_stream_from_the_record_can_be_resumed_by_its_ids(ui, text_of):
    client = await ui(*SCRIPT, agents=(ADDER,))
    session = await client.session()
    first = (await client.send(session))[0][0]
    replayed = await client.attach(session, first)

    for n, (frame_id, _) in enumerate(replayed[:-1]):
        rest = await client.attach(session, frame_id)
        assert text_of([*replayed[: n + 1], *rest]) == TEXT
        assert rest[-1][1]["type"] == "done"


async def test_tools_are_told_once_over_all_reconnections(ui):
    client = await ui(*SCRIPT, agents=(ADDER,))
    session = await client.session()
    told = await client.send(session)

    for n, (frame_id, _) in enumerate(told[:-1]):
        frames = [*told[: n + 1], *(await client.attach(session, frame_id))]
        for kind in ("tool_start", "tool_args", "tool_result", "tool_end"):
            calls = [data["call_id"] for _, data in frames if data["type"] == kind]
            assert calls == ["call_1", "call_2", "call_3"]


async def test_who_leaves_at_a_reset_is_told_nothing_twice(ui):
    client = await ui(*SCRIPT, agents=(ADDER,))
    session = await client.session()
    told = await client.send(session)

    for n, (frame_id, _) in enumerate(told[:-2]):  # the last two are one event's
        rest = await client.attach(session, frame_id)
        at = [data["type"] for _, data in rest].index("reset") + 1
        frames = [*told[: n + 1], *rest[:at], *(await client.attach(session, rest[at - 1][0]))]
        calls = [(data["type"], data["call_id"]) for _, data in frames if data["type"].startswith("tool_")]
        assert len(calls) == len(set(calls)) == 12


async def test_nothing_runs(ui):
    client = await ui("Hello")
    session = await client.session()

    before = await client.ask("GET", f"/api/chat/attach?session_id={session}")
    last = (await client.send(session))[-1][0]
    after = await client.ask("GET", f"/api/chat/attach?session_id={session}")
    seen = await client.ask("GET", f"/api/chat/attach?session_id={session}&last_event_id={last}")

    assert [answer[0] for answer in (before, after, seen)] == [404, 404, 404]


async def test_an_earlier_turns_id_gives_that_turns_rest_and_then_what_runs(ui, gate, text_of):
    model = gate("first answer", "second answer")
    client = await ui(model=model)
    session = await client.session()
    first = await client.send(session)
    await client.start(session, "2")

    rest = await client.attach(session, first[1][0])
    async with client.attaching(session, first[-1][0]) as frames:
        model.go.set()
        running = [frame async for frame in frames]

    assert rest[-1][1]["message_id"] == first[-1][1]["message_id"]
    assert text_of(rest) == "first answer"
    assert text_of(running) == "second answer"


@pytest.mark.parametrize("last", ["x", "1:2", "1:2:3:4", "-1:0:0", "1:1:" + "9" * 30])
async def test_an_id_that_is_none(ui, last):
    client = await ui()
    session = await client.session()

    status, answer, _ = await client.ask("GET", f"/api/chat/attach?session_id={session}&last_event_id={last}")

    assert status == 400
    assert "Last-Event-ID" in answer["detail"]


async def test_an_unknown_session(ui):
    client = await ui()

    assert (await client.ask("GET", "/api/chat/attach?session_id=nope"))[0] == 404
    assert (await client.ask("GET", "/api/chat/attach"))[0] == 404


# Over a restart.


async def test_after_a_restart_the_record_answers_for_a_turn_that_ended(ui, tmp_path, text_of):
    client = await ui(*SCRIPT, agents=(ADDER,), journal=SQLiteJournal(tmp_path / "j.db"))
    session = await client.session()
    told = await client.send(session)
    await client.server.stop()
    client = await ui(agents=(ADDER,), journal=SQLiteJournal(tmp_path / "j.db"))

    for n in range(len(told) - 1):
        rest = await client.attach(session, told[n][0])
        assert text_of([*told[: n + 1], *rest]) == TEXT
        assert rest[-1][1]["content"] == TEXT


async def test_a_turn_that_a_restart_cut_off_goes_on_for_the_reader_that_comes_back(ui, gate, tmp_path, text_of):
    model = gate(SCRIPT[0], "It is cut off here")
    client = await ui(model=model, agents=(ADDER,), journal=SQLiteJournal(tmp_path / "j.db"))
    session = await client.session(system_prompt="Be brief.")
    told = []
    async with client.sending(session) as frames:
        async for frame in frames:
            told.append(frame)
            if frame[1].get("content") == "\n\nIt ":
                break
        await client.server.stop()

    again = ScriptedModel(lambda request: "It is 3")
    client = await ui(again, agents=(ADDER,), journal=SQLiteJournal(tmp_path / "j.db"))
    rest = await client.attach(session, told[-1][0])

    kinds = [data["type"] for _, data in rest]
    assert kinds[0] == "reset"
    assert kinds.count("resumed") == kinds.count("done") == 1
    assert text_of([*told, *rest]) == rest[-1][1]["content"] == "Let me see.\n\nIt is 3"
    assert again.requests[0].messages[0].content == "Be brief."


async def test_an_approval_waits_over_a_restart_and_its_call_runs_once(ui, tmp_path):
    runs = []

    @tool(effects="write")
    async def save() -> str:
        """Save."""
        runs.append(1)
        return "saved"

    agent = Agent("a", tools=Toolset("t", (save,)), approvals=ApprovalPolicy(effects={"write"}))

    def answer(request):
        return "Done" if isinstance(request.messages[-1], ToolMessage) else call("save")

    client = await ui(ScriptedModel(answer), agents=(agent,), journal=SQLiteJournal(tmp_path / "j.db"))
    session = await client.session()
    told = []
    async with client.sending(session) as frames:
        async for frame in frames:
            told.append(frame)
            if frame[1]["type"] == "permission_request":
                break
        await client.server.stop()

    client = await ui(ScriptedModel(answer), agents=(agent,), journal=SQLiteJournal(tmp_path / "j.db"))
    body = {"session_id": session, "approved": True, "confirm_id": told[-1][1]["confirm_id"]}
    async with client.attaching(session, told[-1][0]) as frames:
        rest = []
        async for frame in frames:
            rest.append(frame)
            if frame[1]["type"] == "resumed":
                await client.post("/api/chat/confirm-tool", body)

    assert runs == [1]
    assert rest[-1][1]["content"] == "Done"
    assert (await client.ask("POST", "/api/chat/confirm-tool", body))[0] == 409


async def test_a_stream_of_a_turn_that_is_left_for_the_next_process_just_ends(ui, gate, tmp_path):
    model = gate("Hello there")
    client = await ui(model=model, journal=SQLiteJournal(tmp_path / "j.db"), settings=Settings())
    session = await client.session()
    async with client.sending(session) as frames:
        first = await anext(frames)
        await client.server.runtime.aclose()
        rest = [frame async for frame in frames]

    assert first[1]["type"] == "status"
    assert "done" not in [data["type"] for _, data in rest]
