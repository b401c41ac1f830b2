"""The model server with quirks sends and refuses what its table says."""

import aiohttp
import pytest

from gaia_core import call
from gaia_core.testing import QUIRKS, quirky_endpoint

USER = {"role": "user", "content": "Hi"}
LONG = {"role": "user", "content": "word " * 10_000}
RAW = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "a.txt"}}
CALLED = {"role": "assistant", "content": "", "tool_calls": [RAW]}
FIT = {"role": "assistant", "tool_calls": [{**RAW, "function": {"name": "f", "arguments": "{}"}}]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "x"}


async def answered(url: str, *messages: dict, **fields: object) -> tuple[int, str]:
    """The status and body of an answer."""
    async with (
        aiohttp.ClientSession() as client,
        client.post(
            f"{url}/chat/completions", json={"messages": list(messages), **fields}, allow_redirects=False
        ) as answer,
    ):
        return answer.status, await answer.text()


REFUSED = [
    ("strict_arguments", 500, (USER, CALLED, RESULT), {}),
    ("strict_roles", 500, (USER, USER), {}),
    ("strict_roles", 500, (USER, {"role": "system", "content": "x"}), {}),
    ("reasoning_required", 400, (USER, FIT, RESULT), {}),
    ("overflow_code", 400, (LONG,), {}),
    ("overflow_words", 400, (LONG,), {}),
    ("overflow_n_ctx", 400, (LONG,), {}),
    ("loading", 503, (USER,), {}),
    ("unknown_option", 400, (USER,), {"stream_options": {}}),
    ("max_completion_tokens", 400, (USER,), {"max_tokens": 5}),
    ("redirect", 307, (USER,), {}),
]


@pytest.mark.parametrize(("quirk", "status", "messages", "fields"), REFUSED)
async def test_it_refuses_what_such_a_server_refuses(quirk, status, messages, fields):
    async with quirky_endpoint(quirk) as server:
        assert (await answered(server.url, *messages, **fields))[0] == status


TAKEN = [
    ("strict_arguments", (USER, FIT, RESULT), {}),
    ("strict_roles", ({"role": "system", "content": "x"}, USER, FIT, RESULT, {"role": "assistant"}, USER), {}),
    ("reasoning_required", (USER, {**FIT, "reasoning_content": "Hm"}, RESULT), {}),
    ("reasoning_required", (USER, FIT, RESULT, {"role": "assistant"}, USER), {}),
    ("overflow_code", (USER,), {}),
    ("unknown_option", (USER,), {}),
    ("max_completion_tokens", (USER,), {"max_completion_tokens": 5}),
]


@pytest.mark.parametrize(("quirk", "messages", "fields"), TAKEN)
async def test_it_takes_what_such_a_server_takes(quirk, messages, fields):
    async with quirky_endpoint(quirk) as server:
        status, body = await answered(server.url, *messages, **fields)

    assert status == 200
    assert "[DONE]" in body


async def test_it_is_ready_after_some_requests_while_it_loads():
    async with quirky_endpoint("loading") as server:
        statuses = [(await answered(server.url, USER))[0] for _ in range(3)]

    assert statuses == [503, 503, 200]


async def test_an_overflow_may_be_an_event_of_a_good_answer():
    async with quirky_endpoint("overflow_event") as server:
        status, body = await answered(server.url, LONG)

    assert status == 200
    assert "context_length_exceeded" in body


async def test_replies_are_given_in_turn_and_the_last_one_is_repeated():
    async with quirky_endpoint("plain", call("f", a=1), "One", "Two") as server:
        bodies = [(await answered(server.url, USER))[1] for _ in range(4)]

    assert ['"tool_calls":[{' in body for body in bodies] == [True, False, False, False]
    assert bodies[2].count('"T') == bodies[3].count('"T') == 1
    assert [request["messages"] for request in server.requests] == [[USER]] * 4


async def test_an_endless_answer_ends_with_its_client_or_the_block():
    async with (
        quirky_endpoint("endless") as server,
        aiohttp.ClientSession() as client,
        client.post(f"{server.url}/chat/completions", json={"messages": [USER]}) as answer,
    ):
        assert await answer.content.readexactly(1_000_000)


@pytest.mark.parametrize("quirk", [quirk.name for quirk in QUIRKS if quirk.name not in ("endless", "loading")])
async def test_each_quirk_answers_calls_and_texts(quirk):
    async with quirky_endpoint(quirk, (call("f"), call("g", a="x")), "Hello") as server:
        for _ in range(2):
            status, body = await answered(server.url, USER)
            assert status in (200, 307)
            assert body or status == 307
