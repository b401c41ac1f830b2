"""What fails: each in its envelope, and nothing that a client would repeat after a tool has run."""

import asyncio

import attrs
import msgspec
import openai
import pytest

from gaia_core import Agent, ConfigError, Limits, ScriptedModel, Toolset, call, tool
from gaia_core.events import TextDelta
from gaia_core.models import Finished, ModelError, ToolCallDelta


@tool(effects="write")
async def send() -> str:
    """Send something."""
    return "sent"


SENDER = Agent("a", tools=Toolset("tools", (send,)))

KINDS = [
    (ModelError("connect", "x"), 502, "model_connect"),
    (ModelError("timeout", "x"), 504, "model_timeout"),
    (ModelError("rate_limited", "x", retry_after=1.5), 429, "rate_limit_exceeded"),
    (ModelError("overloaded", "x"), 503, "overloaded"),
    (ModelError("auth", "x"), 502, "model_auth"),
    (ModelError("not_found", "x"), 502, "model_not_found"),
    (ModelError("context_length", "x"), 400, "context_length_exceeded"),
    (ModelError("bad_request", "x"), 400, "model_bad_request"),
    (ModelError("broken_stream", "x"), 502, "model_broken_stream"),
    (ModelError("not_ready", "x"), 503, "model_not_ready"),
    (ModelError("server", "x"), 502, "model_server"),
    (ConfigError("x"), 500, "internal_error"),
    (ZeroDivisionError("x"), 500, "internal_error"),
]


def failing(error: Exception, *before: object) -> ScriptedModel:
    """A model that gives *before*, and then fails."""
    left = list(before)

    def answer(request):
        if left:
            return left.pop(0)
        raise error

    return ScriptedModel(answer)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("error", "status", "code"), KINDS)
async def test_a_model_that_fails(serve, body, error, status, code, streamed):
    server = await serve(failing(error))

    got, _, answer = await server.post(body(stream=streamed))

    assert (got, answer["error"]["code"]) == (status, code)
    assert set(answer["error"]) == {"message", "type", "param", "code"}


async def test_a_model_that_needs_somebody_to_act_is_not_asked_again(serve, body):
    server = await serve(failing(ModelError("not_ready", "libgomp.so.1 is missing. Install it")))

    status, headers, answer = await server.post(body())

    assert (status, answer["error"]["message"]) == (503, "libgomp.so.1 is missing. Install it")
    assert headers["x-should-retry"] == "false"
    assert "retry-after" not in headers


async def test_when_to_come_back(serve, body):
    server = await serve(failing(ModelError("rate_limited", "slow down", retry_after=1.5)))

    _, headers, answer = await server.post(body())

    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1500")
    assert answer["error"] == {
        "message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded",
    }  # fmt: skip


@pytest.mark.parametrize(("error", "status", "code"), KINDS)
async def test_after_a_tool_has_run_nothing_is_retried(serve, body, error, status, code):
    server = await serve(failing(error, call("send")), agents=(SENDER,))

    got, headers, answer = await server.post(body())

    if status == 400:
        assert (got, answer["error"]["code"]) == (400, code)  # which SDKs don't send again
    else:
        assert (got, answer["error"]["code"], headers["x-should-retry"]) == (424, "agent_run_failed", "false")
        assert "retry-after" not in headers


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("before", [(), (call("send"),)])
async def test_a_turn_whose_time_is_up_before_it_says_anything(serve, body, before, streamed, loop_clock):
    """Else an empty answer would look like a good one."""
    left = list(before)

    async def answer(request):
        if left:
            made = left.pop()
            yield ToolCallDelta(0, made.id, made.name, made.arguments)
            yield Finished("tool_calls")
            return
        loop_clock.advance(10.0)
        await asyncio.Event().wait()

    server = await serve(ScriptedModel(answer), agents=(attrs.evolve(SENDER, limits=Limits(seconds=10.0)),))

    async with server.http.post("/v1/chat/completions", json=body(stream=streamed)) as response:
        text = await response.text()

    wanted = (424, "agent_run_failed") if before else (504, "deadline_exceeded")
    told = text if not text.startswith("data: ") else text.split("data: ")[-2]
    assert msgspec.json.decode(told)["error"]["code"] == wanted[1]
    assert response.status == (200 if text.startswith("data: ") else wanted[0])
    assert text.startswith("data: ") is bool(streamed and before), "a stream has begun when a tool was told of"
    assert '"finish_reason":"' not in text


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_turn_whose_time_is_up_gives_what_it_has_said(serve, body, streamed, loop_clock):
    async def slow(_request):
        yield TextDelta("partial")
        loop_clock.advance(10.0)
        await asyncio.Event().wait()

    server = await serve(ScriptedModel(slow), agents=(Agent("a", limits=Limits(seconds=10.0)),))

    async with server.http.post("/v1/chat/completions", json=body(stream=streamed)) as response:
        text = await response.text()

    assert response.status == 200
    assert '"content":"partial"' in text
    assert '"finish_reason":"length"' in text


async def test_the_official_sdk_does_not_repeat_a_run_whose_tools_ran(serve):
    server = await serve(failing(ModelError("server", "x"), call("send")), agents=(SENDER,))

    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=2) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model="a", messages=[{"role": "user", "content": "x"}])

    assert caught.value.status_code == 424
    assert len(server.model.requests) == 2


async def test_the_official_sdk_repeats_what_a_retry_can_mend(serve):
    left = [ModelError("overloaded", "x", retry_after=0.001)]

    def answer(request):
        if left:
            raise left.pop()
        return "Hello"

    server = await serve(ScriptedModel(answer))

    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=1) as client:
        got = await client.chat.completions.create(model="a", messages=[{"role": "user", "content": "x"}])

    assert got.choices[0].message.content == "Hello"


async def test_a_failure_of_the_server_is_in_the_log_and_not_in_the_answer(serve, body, caplog):
    server = await serve(failing(ZeroDivisionError("the password is hunter2")))

    _, _, answer = await server.post(body())

    assert "hunter2" not in str(answer)
    assert "hunter2" in caplog.text


async def test_a_full_queue_is_a_rate_limit(serve, body, upstream):
    model = upstream()
    server = await serve(model=model, slots=1, queue=0)
    first = asyncio.create_task(server.post(body()))
    await model.began.wait()

    for streamed in (False, True):
        status, headers, answer = await server.post(body(stream=streamed))
        assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(headers["retry-after"]) >= 1

    model.go.set()
    assert (await first)[0] == 200


async def test_a_session_runs_one_turn_at_a_time(serve, body, upstream):
    model = upstream()
    server = await serve(model=model)
    session = {"X-Session-Id": "s"}
    first = asyncio.create_task(server.post(body(), headers=session))
    await model.began.wait()

    status, headers, answer = await server.post(body(), headers=session)

    assert (status, answer["error"]["code"], headers["x-should-retry"]) == (409, "session_busy", "false")
    model.go.set()
    assert (await first)[0] == 200


async def test_a_server_that_drains_takes_nothing_new_and_ends_what_it_has(serve, body, upstream):
    model = upstream()
    server = await serve(model=model)
    first = asyncio.create_task(server.post(body()))
    await model.began.wait()
    draining = asyncio.create_task(server.runtime.drain(10))
    await asyncio.sleep(0)

    status, headers, answer = await server.post(body())
    async with server.http.get("/ready") as ready:
        assert ready.status == 503

    assert (status, answer["error"]["code"], headers["retry-after"]) == (503, "draining", "5")
    model.go.set()
    assert (await first)[0] == 200
    assert await draining is True


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_turn_that_the_server_cancels_says_so(serve, body, upstream, streamed):
    model = upstream(None)
    server = await serve(model=model)
    asking = asyncio.create_task(server.post(body(stream=streamed)))
    await model.began.wait()

    await server.runtime.aclose()

    status, _, answer = await asking
    assert (status, answer["error"]["code"]) == (503, "draining")


async def test_a_stream_that_the_server_cancels_ends_with_an_error(serve, body, upstream):
    model = upstream()
    server = await serve(model=model)
    async with server.http.post("/v1/chat/completions", json=body(stream=True)) as response:
        await model.began.wait()
        await server.runtime.aclose()
        text = await response.text()

    assert '"code":"draining"' in text
    assert text.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"stop"' not in text
