"""`Idempotency-Key`: the same request again gets the same answer and runs nothing again; another body is a 409."""

import asyncio
import json

import pytest

from gaia_core import Agent, ModelSpec, Runtime, ScriptedModel, Toolset, call, scripted, tool
from gaia_core.catalog import Catalog
from gaia_core.events import TextDelta
from gaia_core.journal import MemoryJournal
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.models import Finished, ModelError
from gaia_http._settings import Settings
from gaia_http.door._idempotency import Idempotency
from gaia_http.operations._retention import RetentionSweeper

SECONDS = 86_400.0

KEY = {"Idempotency-Key": "one"}


def counting(*answers: object) -> ScriptedModel:
    return scripted(*answers)


async def stream(server, headers: dict, **fields: object) -> tuple[int, str, object]:
    body = {"model": "a", "messages": [{"role": "user", "content": "Hi"}], "stream": True, **fields}
    async with server.http.post("/v1/chat/completions", json=body, headers=headers) as response:
        return response.status, await response.text(), response.headers


async def test_the_same_request_gets_the_same_answer_and_asks_no_model_again(serve, body):
    server = await serve("first", "second")

    first = await server.post(body(), headers=KEY)
    again = await server.post(body(), headers=KEY)

    assert first[0] == again[0] == 200
    assert first[2] == again[2]
    assert first[2]["choices"][0]["message"]["content"] == "first"
    assert "idempotent-replayed" not in first[1]
    assert again[1]["idempotent-replayed"] == "true"
    assert len(server.model.requests) == 1


async def test_a_stream_is_given_again_byte_for_byte(serve):
    server = await serve("Hello there", "second")

    status, text, _ = await stream(server, KEY)
    again = await stream(server, KEY)

    assert status == again[0] == 200
    assert again[1] == text
    assert text.endswith("data: [DONE]\n\n")
    assert again[2]["content-type"] == "text/event-stream; charset=utf-8"
    assert len(server.model.requests) == 1


async def test_the_official_sdk_sends_it(serve):
    server = await serve("first", "second")

    async with server.sdk() as client:
        options = {"model": "a", "messages": [{"role": "user", "content": "Hi"}], "extra_headers": KEY}
        first = await client.chat.completions.create(**options)
        again = await client.chat.completions.create(**options)

    assert first == again


async def test_another_body_is_a_conflict_that_no_retry_mends(serve, body):
    server = await serve("first", "second")
    await server.post(body(), headers=KEY)

    status, headers, answer = await server.post(body("Something else"), headers=KEY)

    assert (status, answer["error"]["code"]) == (409, "idempotency_key_reused")
    assert headers["x-should-retry"] == "false"
    assert len(server.model.requests) == 1


async def test_other_keys_are_other_requests(serve, body):
    server = await serve("first", "second", "third")

    answers = [await server.post(body(), headers=headers) for headers in (KEY, {"Idempotency-Key": "two"}, None)]

    assert [answer[2]["choices"][0]["message"]["content"] for answer in answers] == ["first", "second", "third"]


@pytest.mark.parametrize("key", ["x" * 256, "a b", "\u00e9", "\x01".encode("latin-1").decode()])
async def test_a_key_that_is_none(serve, body, key):
    server = await serve()
    if "\x01" in key:
        key = "a\tb"

    status, _, answer = await server.post(body(), headers={"Idempotency-Key": key})

    assert (status, answer["error"]["param"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_second_request_follows_the_first_while_it_runs(serve, body, upstream, streamed):
    model = upstream(TextDelta("partial"))
    server = await serve(model=model)

    async def ask():
        if streamed:
            return (await stream(server, KEY))[1]
        return (await server.post(body(), headers=KEY))[2]

    first = asyncio.create_task(ask())
    await model.began.wait()
    others = [asyncio.create_task(ask()) for _ in range(3)]
    other = await server.post(body("Something else", stream=streamed), headers=KEY)
    model.go.set()
    answers = await asyncio.gather(first, *others)

    assert other[0] == 409
    assert len({json.dumps(answer) for answer in answers}) == 1
    assert "partial" in json.dumps(answers[0])


async def test_many_at_once_run_once(serve, body):
    server = await serve("only")

    answers = await asyncio.gather(*(server.post(body(), headers=KEY) for _ in range(20)))

    assert {answer[0] for answer in answers} == {200}
    assert len({answer[2]["id"] for answer in answers}) == 1
    assert len(server.model.requests) == 1


async def test_a_client_that_goes_finds_the_answer_when_it_comes_back(serve, body, upstream):
    model = upstream(TextDelta("partial"))
    server = await serve(model=model)

    lost = asyncio.create_task(server.post(body(), headers=KEY))
    await model.began.wait()
    lost.cancel()
    await asyncio.wait((lost,))
    again = asyncio.create_task(server.post(body(), headers=KEY))
    model.go.set()

    assert (await again)[2]["choices"][0]["message"]["content"] == "partial"


async def test_a_reader_that_stalls_loses_its_line_and_the_run_goes_on():
    from gaia_http.streaming._sse_writer import ABORT

    async with runtime_on(MemoryJournal()) as runtime:
        idempotency = Idempotency(runtime, Settings(write_seconds=0.05))
        aborted = asyncio.Event()
        scope = {"headers": [(b"idempotency-key", b"one")], "path": "/v1/x", "state": {ABORT: aborted.set}}
        ended = asyncio.Event()

        async def respond(_keyed):
            async def answer(_scope, _receive, send):
                await send({"type": "http.response.start", "status": 200, "headers": []})
                for _ in range(100):  # nobody reads, and nothing waits for that
                    await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
                ended.set()

            return answer

        async def receive():
            await aborted.wait()
            return {"type": "http.disconnect"}

        async def stalled(message):
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        response = await idempotency.response(scope, b"{}", respond)
        await response(scope, receive, stalled)

        assert aborted.is_set()
        assert ended.is_set()
        await idempotency.aclose()


# What is not kept.


async def test_a_failure_that_may_be_sent_again_is_run_again(serve, body):
    answers = [ModelError("overloaded", "busy"), "now"]

    def model(_request):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    server = await serve(ScriptedModel(model))

    first = await server.post(body(), headers=KEY)
    second = await server.post(body(), headers=KEY)

    assert (first[0], second[0]) == (503, 200)


async def test_a_response_stream_that_failed_is_run_again(serve):
    calls = []

    async def model(_request):
        calls.append(1)
        yield TextDelta("half")
        if len(calls) == 1:
            raise ModelError("broken_stream", "it broke")
        yield Finished("stop")

    server = await serve(ScriptedModel(model))
    asked = {"model": "a", "input": "Hi", "stream": True}
    texts = []
    for _ in range(2):
        async with server.http.post("/v1/responses", json=asked, headers=KEY) as response:
            texts.append(await response.text())

    assert "response.failed" in texts[0]
    assert "response.completed" in texts[1]


async def test_a_stream_that_failed_is_run_again(serve):
    calls = []

    async def model(_request):
        calls.append(1)
        yield TextDelta("half")
        if len(calls) == 1:
            raise ModelError("broken_stream", "it broke")
        yield Finished("stop")

    server = await serve(ScriptedModel(model))

    _, first, _ = await stream(server, KEY)
    _, second, _ = await stream(server, KEY)

    assert '"error"' in first
    assert '"error"' not in second


async def test_a_failure_after_tools_have_run_is_kept(serve, body):
    ran = []

    @tool
    async def act() -> str:
        """Act."""
        ran.append(1)
        return "done"

    def model(request):
        if len(request.messages) > 1:
            raise ModelError("overloaded", "busy")
        return call("act")

    server = await serve(ScriptedModel(model), agents=(Agent("a", tools=Toolset("t", (act,))),))

    first = await server.post(body(), headers=KEY)
    second = await server.post(body(), headers=KEY)

    assert first[0] == second[0] == 424
    assert first[2] == second[2]
    assert second[1]["x-should-retry"] == "false"
    assert ran == [1]


async def test_a_bad_request_is_its_own_answer_each_time(serve, body):
    server = await serve("ok")

    first = await server.post(body(n=2), headers=KEY)
    second = await server.post(body(n=2), headers=KEY)

    assert (first[0], second[0]) == (400, 400)
    assert first[2] == second[2]


# The record.


@pytest.fixture
def apart():
    """A request to `Idempotency` itself; *respond* counts."""

    class Apart:
        def __init__(self, runtime: Runtime) -> None:
            self.runs = 0
            self.idempotency = Idempotency(runtime, Settings())

        async def ask(self, body: bytes = b"{}", *, owner: str = "", path: str = "/v1/x", size: int = 2):
            from gaia_http.door._caller import Caller, set_caller

            scope = {"headers": [(b"idempotency-key", b"one")], "path": path, "state": {}}
            set_caller(scope, Caller(owner=owner))

            async def respond(_keyed):
                self.runs += 1

                async def answer(_scope, _receive, send):
                    await send({"type": "http.response.start", "status": 200, "headers": []})
                    await send({"type": "http.response.body", "body": b"x" * size, "more_body": False})

                return answer

            told = []

            async def send(message):
                told.append(message)

            response = await self.idempotency.response(scope, body, respond)
            await response(scope, asyncio.get_running_loop().create_future, send)
            return b"".join(message.get("body", b"") for message in told)

    return Apart


def runtime_on(journal: object) -> Runtime:
    spec = ModelSpec("local", open=scripted)
    return Runtime(Catalog.of(Agent("a"), models={"local": spec}), journal)


async def test_callers_and_paths_have_keys_of_their_own(apart):
    async with runtime_on(MemoryJournal()) as runtime:
        asked = apart(runtime)
        for owner, path in (("", "/v1/x"), ("ann", "/v1/x"), ("bob", "/v1/x"), ("", "/v1/y"), ("ann", "/v1/x")):
            await asked.ask(owner=owner, path=path)

        assert asked.runs == 4
        assert (await runtime.sessions.totals()).sessions == 0
        await asked.idempotency.aclose()


async def test_an_answer_survives_a_restart(apart, tmp_path):
    path = tmp_path / "journal.sqlite"
    async with runtime_on(SQLiteJournal(path)) as runtime:
        first = await apart(runtime).ask()
    async with runtime_on(SQLiteJournal(path)) as runtime:
        asked = apart(runtime)

        assert await asked.ask() == first
        assert asked.runs == 0


async def test_after_a_day_the_key_is_free_again(apart):
    now = [1_000_000.0]
    async with runtime_on(MemoryJournal(clock=lambda: now[0])) as runtime:
        asked = apart(runtime)
        await asked.ask(b"{}")
        now[0] += SECONDS - 10
        await asked.ask(b"{}")
        assert asked.runs == 1
        now[0] += 20
        await asked.ask(b'{"other": 1}')
        assert asked.runs == 2
        await asked.idempotency.aclose()


async def test_old_answers_are_forgotten(apart):
    now = [1_000_000.0]
    async with runtime_on(MemoryJournal(clock=lambda: now[0])) as runtime:
        asked = apart(runtime)
        for path in ("/v1/x", "/v1/y"):
            await asked.ask(path=path)
        now[0] += SECONDS + 1
        await RetentionSweeper(runtime).sweep()

        assert await runtime.journal.answer_sweep(max_age=0.0, keep=0, max_bytes=0) == 0
        await asked.idempotency.aclose()


async def test_an_answer_that_is_too_long_is_not_kept_and_not_made_twice(apart):
    from gaia_http._errors import ApiError

    async with runtime_on(MemoryJournal()) as runtime:
        asked = apart(runtime)
        assert len(await asked.ask(size=8_000_001)) == 8_000_001

        with pytest.raises(ApiError, match="too long"):
            await asked.ask(size=8_000_001)
        assert asked.runs == 1
        await asked.idempotency.aclose()
