"""kill -9 while a request with an `Idempotency-Key` is answered: a retry gets that answer, and nothing runs twice."""

import json

import pytest

KEY = {"Idempotency-Key": "one"}
TEXT = "looks at all that there is to do"

POINTS = ("before:claim:1", "after:claim:1", "after:append:1", "in:once", "say:2:6", "after:append:5")
"""The appends of a turn that calls two tools: began; answered; done; done; answered and ended."""


async def ask(house, surface: str, session: str, *, streamed: bool) -> tuple[int, str]:
    said = [{"role": "user", "content": "both"}]
    path, body = {
        "chat": ("/v1/chat/completions", {"model": "worker", "messages": said}),
        "responses": ("/v1/responses", {"model": "worker", "input": "both"}),
        "messages": ("/v1/messages", {"model": "worker", "messages": said, "max_tokens": 1000}),
        "ui": ("/api/chat/send", {"session_id": session, "message": "both"}),
    }[surface]
    async with house.http.post(path, json={**body, "stream": streamed}, headers=KEY) as reply:
        return reply.status, await reply.text()


async def after_a_kill(house, surface: str, point: str, *, streamed: bool) -> str:
    """The answer that a retry gets from the next server."""
    house.open_gate("seen")
    await house.start(point)
    session = await house.session() if surface == "ui" else ""
    try:
        _, cut_off = await ask(house, surface, session, streamed=streamed)
    except Exception:  # the server died under it
        cut_off = ""
    await house.killed()
    assert "several words" not in cut_off
    await house.start()

    status, answer = await ask(house, surface, session, streamed=streamed)
    again = await ask(house, surface, session, streamed=streamed)

    assert status == 200, answer
    assert again == (200, answer)
    assert len(house.lines("once")) <= 1
    await house.stop()
    return answer


@pytest.mark.parametrize("point", POINTS)
async def test_a_streamed_chat_at_every_point_of_its_turn(house, point):
    answer = await after_a_kill(house, "chat", point, streamed=True)

    chunks = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {")]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text.count(TEXT) == text.count("several words") == 1
    assert answer.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("surface", ["chat", "responses", "messages", "ui"])
async def test_every_api_in_one_piece(house, surface):
    answer = await after_a_kill(house, surface, "say:2:6" if surface == "ui" else "in:once", streamed=False)

    assert answer.count(TEXT) == answer.count("several words") == 1


@pytest.mark.parametrize("surface", ["responses", "messages", "ui"])
async def test_every_api_streamed(house, surface):
    answer = await after_a_kill(house, surface, "in:once", streamed=True)

    end = {"responses": "response.completed", "messages": "message_stop", "ui": '"type":"done"'}[surface]
    assert answer.count(end) >= 1
