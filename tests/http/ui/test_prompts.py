"""Prompts: an approval or a question is answered once, by its own id, in its own session, in its time."""

import asyncio

import pytest

from gaia_core import Agent, ApprovalPolicy, Context, ScriptedModel, Toolset, call, tool
from gaia_core.messages import ToolMessage, UserMessage


@tool(effects="write")
async def save(name: str) -> str:
    """Save."""
    return f"saved {name}"


@tool(effects="read")
async def pick(ctx: Context[None]) -> str:
    """Let the user pick."""
    return f"picked {await ctx.ask('Which one?', ('a', 'b'))}"


TOOLS = Toolset("t", (save, pick))
CAREFUL = Agent("a", tools=TOOLS, approvals=ApprovalPolicy(effects={"write"}))
SOON = Agent("a", tools=TOOLS, approvals=ApprovalPolicy(effects={"write"}, timeout=0.2))
HASTY = Agent("a", tools=TOOLS, approvals=ApprovalPolicy(effects={"write"}, timeout=0.05))


def saves(request):
    """Saves under the user's word, then says what came of it."""
    last = request.messages[-1]
    return last.content if isinstance(last, ToolMessage) else call("save", name=last.content)


def saves_twice(request):
    results = [message for message in request.messages if isinstance(message, ToolMessage)]
    return "done" if results else (call("save", name="one"), call("save", name="two"))


async def asked(frames, kind: str = "permission_request") -> dict:
    async for _, data in frames:
        if data["type"] == kind:
            return data
    raise AssertionError(f"no {kind} came")


async def confirm(client, session: str, approved: bool = True, **fields: object) -> tuple[int, dict]:
    body = {"session_id": session, "approved": approved, **fields}
    status, answer, _ = await client.ask("POST", "/api/chat/confirm-tool", body)
    return status, answer


async def content(frames) -> str:
    return [data async for _, data in frames][-1]["content"]


async def test_a_prompt_is_answered_once_by_its_id(ui):
    client = await ui(ScriptedModel(saves), agents=(CAREFUL,))
    session = await client.session()
    async with client.sending(session, "x") as frames:
        prompt = (await asked(frames))["confirm_id"]

        first = await confirm(client, session, confirm_id=prompt)
        second = await confirm(client, session, False, confirm_id=prompt)

        assert await content(frames) == "saved x"
    third = await confirm(client, session, confirm_id=prompt)
    assert first == (200, {"status": "ok", "approved": True})
    assert (second[0], third[0]) == (409, 409)


def saves_one_after_the_other(request):
    results = [message for message in request.messages if isinstance(message, ToolMessage)]
    return call("save", name=("first", "second")[len(results)]) if len(results) < 2 else results[-1].content


async def test_without_an_id_the_only_prompt_of_the_turn_is_meant(ui):
    client = await ui(ScriptedModel(saves), agents=(CAREFUL,))
    session = await client.session()
    none = await confirm(client, session)
    async with client.sending(session, "x") as frames:
        await asked(frames)
        assert (await confirm(client, session))[0] == 200
        assert await content(frames) == "saved x"

    assert none[0] == 404


async def test_without_an_id_two_open_prompts_are_ambiguous(ui):
    client = await ui(ScriptedModel(saves_twice), agents=(CAREFUL,))
    session = await client.session()
    async with client.sending(session) as frames:
        one, two = (await asked(frames))["confirm_id"], (await asked(frames))["confirm_id"]

        both = await confirm(client, session)
        assert (await confirm(client, session, confirm_id=two))[0] == 200
        left = await confirm(client, session)
        await confirm(client, session, False, confirm_id=one)
        await content(frames)

    assert both[0] == 409
    assert one in both[1]["detail"]
    assert two in both[1]["detail"]
    assert left[0] == 409


async def test_an_answer_without_an_id_that_comes_after_its_prompt_was_answered_elsewhere_hits_no_other(ui):
    client = await ui(ScriptedModel(saves_one_after_the_other), agents=(CAREFUL,))
    session = await client.session()
    async with client.sending(session) as frames:
        first = (await asked(frames))["confirm_id"]
        await confirm(client, session, confirm_id=first)
        second = (await asked(frames))["confirm_id"]

        status, body = await confirm(client, session)
        assert (await confirm(client, session, False, confirm_id=second))[0] == 200
        told = [data async for _, data in frames]

    assert status == 409
    assert second in body["detail"]
    assert [data["confirm_id"] for data in told if data["type"] == "tool_confirm_denied"] == [second]


async def test_an_answer_without_an_id_that_comes_after_its_prompt_expired_hits_no_other(ui):
    client = await ui(ScriptedModel(saves_one_after_the_other), agents=(SOON,))
    session = await client.session()
    async with client.sending(session) as frames:
        await asked(frames)
        await asked(frames, "tool_confirm_denied")
        second = (await asked(frames))["confirm_id"]

        status, body = await confirm(client, session)
        given = await confirm(client, session, False, confirm_id=second)
        await content(frames)

    assert status == 409, body
    assert given[0] in (200, 409), "the second may have expired by now"


async def test_another_sessions_prompt_is_not_found(ui):
    client = await ui(ScriptedModel(saves), agents=(CAREFUL,))
    mine, other = await client.session(), await client.session()
    async with client.sending(mine, "mine") as frames, client.sending(other, "other") as others:
        prompt, foreign = (await asked(frames))["confirm_id"], (await asked(others))["confirm_id"]

        assert (await confirm(client, mine, confirm_id=foreign))[0] == 404
        assert (await confirm(client, mine, confirm_id="appr_0"))[0] == 404
        assert (await confirm(client, mine, confirm_id="x"))[0] == 404
        assert (await confirm(client, "nope", confirm_id=prompt))[0] == 404

        await confirm(client, mine, confirm_id=prompt)
        await confirm(client, other, False, confirm_id=foreign)
        assert await content(frames) == "saved mine"
        assert (await content(others)).startswith("Denied")


async def test_a_prompt_expires_to_a_denial(ui):
    client = await ui(ScriptedModel(saves), agents=(HASTY,))
    session = await client.session()
    async with client.sending(session) as frames:
        prompt = await asked(frames)
        denied = await asked(frames, "tool_confirm_denied")
        rest = await content(frames)

    assert prompt["timeout_seconds"] == 0.05
    assert denied["confirm_id"] == prompt["confirm_id"]
    assert "nobody answered" in denied["reason"]
    assert rest.startswith("Denied")
    assert (await confirm(client, session, confirm_id=prompt["confirm_id"]))[0] == 409


async def test_a_yes_for_the_session_covers_what_was_shown_and_nothing_else(ui):
    client = await ui(ScriptedModel(saves), agents=(CAREFUL,))
    session = await client.session()
    async with client.sending(session, "x") as frames:
        prompt = await asked(frames)
        await confirm(client, session, confirm_id=prompt["confirm_id"], scope="session")
        await content(frames)

    same = [data["type"] for _, data in await client.send(session, "x")]
    async with client.sending(session, "y") as frames:
        again = await asked(frames)
        await confirm(client, session, False, confirm_id=again["confirm_id"])
        await content(frames)

    assert prompt["always_scope"] == 'save(name="x")'
    assert "permission_request" not in same
    assert "policy_alert" in same


async def test_while_a_prompt_waits_other_sessions_go_on(ui):
    def answer(request):
        return "Hello" if request.messages[-1] == UserMessage("hi") else saves(request)

    client = await ui(ScriptedModel(answer), agents=(CAREFUL,), slots=1)
    waiting, other = await client.session(), await client.session()
    async with client.sending(waiting, "x") as frames:
        prompt = await asked(frames)

        assert (await client.send(other, "hi"))[-1][1]["content"] == "Hello"

        await confirm(client, waiting, confirm_id=prompt["confirm_id"])
        assert await content(frames) == "saved x"


async def test_a_prompt_of_a_turn_that_was_cancelled_can_not_be_answered(ui):
    client = await ui(ScriptedModel(saves), agents=(CAREFUL,))
    session = await client.session()
    async with client.sending(session) as frames:
        prompt = (await asked(frames))["confirm_id"]
        await client.post("/api/chat/cancel", {"session_id": session})
        await content(frames)

    assert (await confirm(client, session, confirm_id=prompt))[0] == 409


async def test_what_can_not_be_seen_is_written_out_and_runs_as_it_is(ui):
    hidden = "a\u200b\u202e\U000e0041\r\x1b[2Kb"
    client = await ui(ScriptedModel(saves), agents=(CAREFUL,))
    session = await client.session()
    async with client.sending(session, hidden) as frames:
        started = await asked(frames, "tool_start")
        prompt = await asked(frames)
        await confirm(client, session, confirm_id=prompt["confirm_id"])
        done = await content(frames)

    shown = r"a\u200b\u202e\udb40\udc41\u000d\u001b[2Kb"
    assert prompt["args"] == {"name": shown}
    assert prompt["always_scope"].isprintable()
    assert started["detail"].isprintable()
    assert done == f"saved {hidden}"


# Questions.


async def test_a_question_is_answered_once_and_by_words_only(ui):
    client = await ui(ScriptedModel(picks), agents=(CAREFUL,))
    session = await client.session()

    async def reply(request_id: str, value: str = "b") -> int:
        body = {"session_id": session, "request_id": request_id, "value": value}
        return (await client.ask("POST", "/api/chat/user-input", body))[0]

    async with client.sending(session) as frames:
        question = (await asked(frames, "user_input_request"))["request_id"]
        assert (await confirm(client, session, confirm_id=question))[0] == 404
        assert await reply("ask_0") == 404
        assert await reply(question) == 200
        assert await reply(question, "a") == 409
        assert await content(frames) == "picked b"


def picks(request):
    last = request.messages[-1]
    return last.content if isinstance(last, ToolMessage) else call("pick")


async def test_an_approval_is_not_given_by_words(ui):
    client = await ui(ScriptedModel(saves), agents=(CAREFUL,))
    session = await client.session()
    async with client.sending(session) as frames:
        prompt = (await asked(frames))["confirm_id"]
        body = {"session_id": session, "request_id": prompt, "value": "yes"}
        assert (await client.ask("POST", "/api/chat/user-input", body))[0] == 404
        await confirm(client, session, False, confirm_id=prompt)
        assert (await content(frames)).startswith("Denied")


@pytest.mark.parametrize("answers", [8])
async def test_of_many_answers_at_once_one_counts(ui, answers):
    client = await ui(ScriptedModel(saves), agents=(CAREFUL,))
    session = await client.session()
    async with client.sending(session, "x") as frames:
        prompt = (await asked(frames))["confirm_id"]

        given = await asyncio.gather(*(confirm(client, session, confirm_id=prompt) for _ in range(answers)))

        assert await content(frames) == "saved x"
    assert sorted(status for status, _ in given) == [200] + [409] * (answers - 1)
