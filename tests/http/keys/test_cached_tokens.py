"""Counts of cached tokens don't tell a key what another key asked.

The model has one prefix cache for all who ask it, as vLLM and llama.cpp have, and counts a token for each byte.
"""

import re

import pytest

from gaia_core.events import TextDelta
from gaia_core.messages import Usage, wire_bytes
from gaia_core.models import Finished

SECRET = "the merger with Initech is on 4 May"
RIGHT, WRONG = f"Remember: {SECRET}", "Remember: the merger with Globex is on 9 May"


def common(one: bytes, other: bytes) -> int:
    """How many bytes two prompts have in common at their beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


class SharedCache:
    """A model whose usage says how much of the prompt some earlier one began with, whoever asked it."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.cached: list[int] = []
        self.requests = []

    async def stream(self, request):
        self.requests.append(request)
        prompt = b"".join(request.encoded or map(wire_bytes, request.messages))
        cached = max((common(prompt, each) for each in self.seen), default=0)
        self.seen.append(prompt)
        self.cached.append(cached)
        yield (TextDelta("Noted."), Finished("stop", Usage(len(prompt), 2, cached)))


async def chat(server, headers: dict, *said: str) -> int:
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
    async with server.http.post(
        "/v1/chat/completions", json={"model": "a", "messages": messages}, headers=headers
    ) as response:
        usage = (await response.json())["usage"]
    return usage["prompt_tokens_details"]["cached_tokens"]


async def streamed_chat(server, headers: dict, said: str) -> int:
    body = {"model": "a", "messages": [{"role": "user", "content": said}], "stream": True}
    body["stream_options"] = {"include_usage": True}
    async with server.http.post("/v1/chat/completions", json=body, headers=headers) as response:
        text = await response.text()
    found = re.search(r'"cached_tokens":(\d+)', text)
    assert found, text
    return int(found[1])


async def responses(server, headers: dict, said: str) -> int:
    async with server.http.post("/v1/responses", json={"model": "a", "input": said}, headers=headers) as response:
        return (await response.json())["usage"]["input_tokens_details"]["cached_tokens"]


async def unstored_response(server, headers: dict, said: str) -> int:
    body = {"model": "a", "input": said, "store": False}
    async with server.http.post("/v1/responses", json=body, headers=headers) as response:
        return (await response.json())["usage"]["input_tokens_details"]["cached_tokens"]


async def messages(server, headers: dict, said: str) -> int:
    body = {"model": "a", "max_tokens": 50, "messages": [{"role": "user", "content": said}]}
    async with server.http.post(
        "/v1/messages", json=body, headers=headers | {"anthropic-version": "2023-06-01"}
    ) as response:
        return (await response.json())["usage"]["cache_read_input_tokens"]


ASKS = [chat, streamed_chat, responses, unstored_response, messages]


@pytest.fixture
async def two(serve, room, bearer):
    victim, guesser = bearer(room.make("victim")), bearer(room.make("guesser"))
    server = await serve(model=SharedCache(), keyring=room.ring())
    return server, victim, guesser


@pytest.mark.parametrize("ask", ASKS)
async def test_a_right_guess_looks_like_a_wrong_one(two, ask):
    server, victim, guesser = two
    await chat(server, victim, RIGHT, "Noted.", "Thanks")

    right, wrong = await ask(server, guesser, RIGHT), await ask(server, guesser, WRONG)
    again = await ask(server, guesser, RIGHT + "!"), await ask(server, guesser, WRONG + "!")

    assert server.model.cached[1] > server.model.cached[2], "the model says more of the right one"
    assert (right, wrong) == (0, 0)
    assert again == (0, 0)


async def test_a_session_of_the_ui_tells_nothing_either(two):
    server, victim, guesser = two
    await chat(server, victim, RIGHT)

    async def told(said: str) -> str:
        async with server.http.post("/api/sessions", json={}, headers=guesser) as response:
            session = (await response.json())["id"]
        body = {"session_id": session, "message": said}
        async with server.http.post("/api/chat/send", json=body, headers=guesser) as response:
            text = await response.text()
        facts = await server.runtime.sessions.facts(guesser_id(server), session)
        assert all(fact.usage.cached_tokens == 0 for _, fact in facts if hasattr(fact, "usage"))
        return text

    assert "cached" not in await told(RIGHT)
    assert "cached" not in await told(WRONG)


def guesser_id(server) -> str:
    return next(key.id for key in server.runtime.quota.keyring.keys if key.name == "guesser")


async def test_a_conversation_of_ones_own_shows_what_it_has_sent_before(two):
    server, victim, _ = two
    first = await chat(server, victim, "Hello, it is me.")
    second = await chat(server, victim, "Hello, it is me.", "Noted.", "And again.")

    assert first == 0
    assert second == server.model.cached[1] == len(server.model.seen[0])


async def test_no_more_is_shown_than_ones_own_last_prompt_had(two):
    server, victim, guesser = two
    await chat(server, victim, "Hello", "Noted.", RIGHT, "Noted.", "More")
    await chat(server, guesser, "Hello")
    shown = await chat(server, guesser, "Hello", "Noted.", RIGHT)

    assert server.model.cached[2] > shown
    assert shown == len(server.model.seen[1])


async def test_another_beginning_in_the_same_session_shows_nothing(two):
    server, victim, guesser = two
    await chat(server, victim, RIGHT)
    headers = guesser | {"x-session-id": "mine"}
    await chat(server, headers, "Something that is long enough to cover a whole guess, word for word.")

    assert await chat(server, headers, RIGHT) == 0


async def test_without_keys_the_model_is_taken_at_its_word(serve):
    server = await serve(model=SharedCache())
    await chat(server, {}, "Hello")

    assert await chat(server, {}, "Hello") == server.model.cached[1] > 0


async def test_the_metrics_are_the_operators(two):
    server, _, guesser = two
    async with server.http.get("/metrics", headers=guesser) as response:
        assert response.status == 403
