"""Limits of a key: requests, tokens and running turns, in both APIs; other keys are not touched by them."""

import asyncio

import pytest

from gaia_core import LimitError
from gaia_core.events import TextDelta
from gaia_core.messages import Usage
from gaia_http.keys import Allowances, Key, KeyLimits, Keyring
from gaia_http.keys._key_limits import duration


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def allowances(room, clock, **limits: int) -> tuple[Allowances, Key]:
    secret = room.make("ci", limits=KeyLimits(**limits))
    ring = room.ring()
    return Allowances(ring, clock), ring.find(secret.encode())


# Counting.


def test_requests_come_back_evenly(room):
    clock = Clock()
    counted, key = allowances(room, clock, requests_per_minute=60)
    for _ in range(60):
        counted.request(key)

    with pytest.raises(LimitError) as caught:
        counted.request(key)
    assert caught.value.retry_after == pytest.approx(1.0)
    assert "rate limit of the key 'ci' reached: 60 requests a minute" in str(caught.value)

    clock.now += 2.5
    counted.request(key)
    counted.request(key)
    with pytest.raises(LimitError):
        counted.request(key)
    clock.now += 3_600
    for _ in range(60):
        counted.request(key)
    with pytest.raises(LimitError):
        counted.request(key)


def test_tokens_may_be_overdrawn_and_are_paid_back(room):
    clock = Clock()
    counted, key = allowances(room, clock, tokens_per_minute=600)
    counted.begin(key.id)
    counted.ended(key.id, Usage(input_tokens=900, output_tokens=300))

    for refused in (lambda: counted.begin(key.id), lambda: counted.request(key)):
        with pytest.raises(LimitError, match="reached: 600 tokens a minute") as caught:
            refused()
        assert caught.value.retry_after == pytest.approx(60.1)
    clock.now += 60.1
    counted.begin(key.id)


def test_a_refused_request_costs_nothing(room):
    clock = Clock()
    counted, key = allowances(room, clock, requests_per_minute=1)
    counted.request(key)
    for _ in range(10):
        with pytest.raises(LimitError):
            counted.request(key)

    clock.now += 60
    counted.request(key)


def test_turns_that_run(room):
    counted, key = allowances(room, Clock(), running_turns=2)
    counted.begin(key.id)
    counted.begin(key.id)

    with pytest.raises(LimitError, match="reached: 2 concurrent turns"):
        counted.begin(key.id)
    counted.begin(key.id, resumed=True)  # it has begun already, in a process that is gone
    for _ in range(2):
        counted.ended(key.id, Usage())
    counted.begin(key.id)


def test_limits_follow_the_file(room):
    from gaia_http.keys._key_file import change

    clock = Clock()
    counted, key = allowances(room, clock, running_turns=1)
    counted.begin(key.id)
    change(room.path, lambda file: type(file)(file.salt, (Key(key.id, "ci", key.digest, 0, limits=KeyLimits()),)))
    assert Keyring.find(counted._keyring, b"") is None  # a request comes, and the file is looked at

    counted.begin(key.id)


def test_those_without_limits_leave_nothing_behind(room):
    counted, key = allowances(room, Clock())
    for owner in (key.id, "", "a key that is gone"):
        counted.begin(owner)
        counted.ended(owner, Usage(5, 5))
    counted.request(key)

    assert counted.headers(key) == ()
    assert not counted._kept


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.017, "17ms"), (1, "1s"), (1.5, "1.5s"), (59.9996, "1m0s"), (60, "1m0s"), (360.25, "6m0.25s")],
)
def test_durations_as_openai_writes_them(seconds, text):
    assert duration(seconds) == text


# On the wire.


async def ask(server, headers: dict, path: str = "/v1/chat/completions", body: object = None, method: str = "POST"):
    async with server.http.request(method, path, json=body, headers=headers) as response:
        return response.status, response.headers, await response.json()


async def test_too_many_requests(serve, room, bearer, body):
    limited = bearer(room.make("ci", limits=KeyLimits(requests_per_minute=2)))
    free = bearer(room.make("free"))
    server = await serve(*["Hello"] * 5, keyring=room.ring())
    statuses = [(await ask(server, limited, body=body()))[0] for _ in range(2)]

    status, headers, answer = await ask(server, limited, body=body())

    assert statuses == [200, 200]
    assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
    assert answer["error"]["type"] == "rate_limit_error"
    assert 1 <= int(headers["retry-after"]) <= 30
    assert 0 < int(headers["retry-after-ms"]) <= 30_000
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("2", "0")
    assert headers["x-ratelimit-reset-requests"].endswith("s")
    assert "x-ratelimit-limit-tokens" not in headers
    assert (await ask(server, free, body=body()))[0] == 200
    assert (await ask(server, limited, "/v1/models", method="GET"))[0] == 200  # it asks for no work


async def test_both_apis_count_together(serve, room, bearer, body):
    headers = bearer(room.make("ci", limits=KeyLimits(requests_per_minute=2)))
    server = await serve("Hello", keyring=room.ring())
    _, _, session = await ask(server, headers, "/api/sessions", {})
    assert (await ask(server, headers, body=body()))[0] == 200

    send = {"session_id": session["id"], "message": "Hi", "stream": False}
    status, seen, answer = await ask(server, headers, "/api/chat/send", send)

    assert (status, set(answer)) == (429, {"detail"})
    assert seen["retry-after"]


@pytest.mark.parametrize("path", ["/api/chat/send/", "/api//chat/send", "/v1/chat/completions//"])
async def test_no_other_spelling_of_a_path_goes_uncounted(serve, room, bearer, body, path):
    headers = bearer(room.make("ci", limits=KeyLimits(requests_per_minute=1)))
    server = await serve("Hello", keyring=room.ring())
    assert (await ask(server, headers, body=body()))[0] == 200

    assert (await ask(server, headers, path, body()))[0] == 429


async def test_tokens_are_counted_from_what_turns_used(serve, room, bearer, body):
    headers = bearer(room.make("ci", limits=KeyLimits(tokens_per_minute=5)))
    server = await serve("one two three four five six", keyring=room.ring())

    status, seen, answer = await ask(server, headers, body=body("a long question of many words"))
    assert status == 200
    assert (seen["x-ratelimit-limit-tokens"], seen["x-ratelimit-remaining-tokens"]) == ("5", "0")
    assert answer["usage"]["total_tokens"] > 5
    status, seen, answer = await ask(server, headers, body=body())

    assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
    assert "tokens a minute" in answer["error"]["message"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_turns_at_once_over_both_apis(serve, room, bearer, body, upstream, streamed):
    model = upstream()
    headers = bearer(room.make("ci", limits=KeyLimits(running_turns=1)))
    other = bearer(room.make("other"))
    server = await serve(model=model, keyring=room.ring())
    _, _, session = await ask(server, headers, "/api/sessions", {})
    first = asyncio.create_task(ask(server, headers, body=body()))
    await model.began.wait()

    send = {"session_id": session["id"], "message": "Hi", "stream": streamed}
    for path, sent in (("/v1/chat/completions", body(stream=streamed)), ("/api/chat/send", send)):
        status, seen, answer = await ask(server, headers, path, sent)
        assert status == 429, path
        assert seen["retry-after"]
        assert "1 concurrent turns" in str(answer)
    model.go.set()
    assert (await ask(server, other, body=body()))[0] == 200
    assert (await first)[0] == 200
    assert (await ask(server, headers, body=body()))[0] == 200


async def test_a_client_that_goes_gives_its_turn_back(serve, room, bearer, body, upstream):
    model = upstream()
    headers = bearer(room.make("ci", limits=KeyLimits(running_turns=1)))
    server = await serve(model=model, keyring=room.ring())
    async with server.http.post("/v1/chat/completions", json=body(stream=True), headers=headers) as stream:
        await model.began.wait()
        stream.close()
    await model.closed.wait()
    while server.runtime.running_turns:
        await asyncio.sleep(0)
    model.go.set()

    assert (await ask(server, headers, body=body()))[0] == 200


async def test_a_client_that_goes_pays_for_what_was_said(serve, room, bearer, body, upstream):
    model = upstream(TextDelta("word " * 400))
    headers = bearer(room.make("ci", limits=KeyLimits(tokens_per_minute=200)))
    server = await serve(model=model, keyring=room.ring())
    async with server.http.post("/v1/chat/completions", json=body(stream=True), headers=headers) as stream:
        await stream.content.readline()
        stream.close()
    await model.closed.wait()
    while server.runtime.running_turns:
        await asyncio.sleep(0)

    assert (await ask(server, headers, body=body()))[0] == 429


async def test_a_cancel_is_never_refused(serve, room, bearer):
    headers = bearer(room.make("ci", limits=KeyLimits(requests_per_minute=2)))
    server = await serve("Hello", keyring=room.ring())
    _, _, session = await ask(server, headers, "/api/sessions", {})
    send = {"session_id": session["id"], "message": "Hi", "stream": False}
    assert (await ask(server, headers, "/api/chat/send", send))[0] == 200

    for _ in range(3):
        assert (await ask(server, headers, "/api/chat/cancel", {"session_id": session["id"]}))[0] == 200


async def test_keys_wait_for_slots_by_turns(serve, room, bearer, upstream, body):
    """One key's many requests do not keep another's single one waiting behind all of them."""
    many, one = bearer(room.make("many")), bearer(room.make("one"))
    gate, order = asyncio.Event(), []

    async def answer(request):
        order.append(request.messages[-1].content)
        await gate.wait()
        return "ok"

    from gaia_core import ScriptedModel

    server = await serve(ScriptedModel(answer), slots=1, keyring=room.ring())
    waiting = []
    for n in range(4):
        waiting.append(asyncio.create_task(ask(server, many, body=body(f"many {n}"))))
        while server.runtime.stats().models == () or _in_all(server) < n + 1:
            await asyncio.sleep(0.001)
    waiting.append(asyncio.create_task(ask(server, one, body=body("one"))))
    while _in_all(server) < 5:
        await asyncio.sleep(0.001)
    gate.set()
    await asyncio.gather(*waiting)

    assert sorted(order[:3]) == ["many 0", "many 1", "one"]


def _in_all(server) -> int:
    (load,) = server.runtime.stats().models
    return load.busy + load.queued
