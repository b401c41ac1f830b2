"""Known errors of model servers have a recovery: a model that loads is waited for, a refused option is left out."""

import asyncio
import json
from contextlib import aclosing

import pytest

from gaia_core import Agent, Catalog, ModelSpec, Runtime, TurnRequest
from gaia_core.events import ModelRetried, TextDelta, TurnEnded
from gaia_core.messages import UserMessage
from gaia_core.models import EndpointConfig, Failover, ModelRequest, ResponseFormat, Sampling, ToolChoice
from gaia_core.tools import Toolset, tool
from gaia_core.turn import TurnOptions

LOADING = {
    "llama.cpp": (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    "Lemonade": (503, {"error": {"message": "The model is being loaded, try again later", "type": "server_error"}}),
    "llama-swap": (503, "upstream is not ready yet: model loading"),
}


@tool(effects="read")
async def look(number: int) -> str:
    """Look something up."""
    return str(number)


TOOLS = Toolset("t", (look,)).definitions


def loading(wire, name: str):
    status, body = LOADING[name]
    told = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    media = "text/plain" if isinstance(body, str) else "application/json"
    return wire.says(told, status=status, media=media, headers=(("retry-after-ms", "5"),))  # so that no test waits


@pytest.mark.parametrize("name", LOADING)
async def test_a_model_that_loads_is_waited_for_longer_than_a_failing_one(endpoint, ask, wire, name):
    model, there = await endpoint(*[loading(wire, name)] * 12, wire.answer("Hi"))
    told = await ask(model)

    assert told.text == "Hi"
    assert len(there.asked) == 13
    assert [(retried.kind, retried.attempt) for retried in told.of(ModelRetried)] == [
        ("not_ready", n) for n in range(1, 13)
    ]


async def test_it_is_waited_for_until_the_first_token_timeout(endpoint, fails, wire):
    model, _there = await endpoint(loading(wire, "llama.cpp"), first_token_timeout=0.2)
    error, told = await fails(model)

    assert (error.kind, error.status, error.retryable) == ("not_ready", 503, True)
    assert "Loading model" in str(error)
    assert len(told) > 2  # more than a failing server's retries


async def test_between_two_attempts_it_waits_longer_each_time_and_two_seconds_at_most(endpoint, wire):
    body = json.dumps(LOADING["llama.cpp"][1]).encode()
    model, _ = await endpoint(wire.says(body, status=503, media="application/json"), backoff=7.0)
    async with aclosing(model.stream(ModelRequest((UserMessage("Hi"),)))) as stream:
        (retried,) = await anext(stream)

    assert (retried.kind, retried.delay) == ("not_ready", 2.0)


async def test_a_stop_while_it_loads_works_at_once(upstream, wire):
    there = await upstream(wire.fails(503, LOADING["llama.cpp"][1]["error"]))
    model = Failover((EndpointConfig(url=there.url, model="m", backoff=3600.0),))
    agent = Agent("a")
    catalog = Catalog.of(agent, models={"local": ModelSpec("local", open=lambda: model)})
    async with Runtime(catalog) as runtime:
        session = await runtime.open(agent)
        turn = await runtime.start(session, TurnRequest("Hi"))
        async with asyncio.timeout(5):
            async for event in turn.events():
                if isinstance(event, ModelRetried):
                    assert "Loading model" in event.reason
                    await turn.cancel()
        assert turn.ended.status == "cancelled"
        assert [load.busy for load in runtime.stats().models] == [0]


async def test_while_one_of_several_endpoints_loads_another_is_asked(upstream, ask, wire):
    first, second = await upstream(loading(wire, "llama.cpp")), await upstream(wire.answer("Hi"))
    model = Failover([EndpointConfig(url=there.url, model="m", backoff=0.001) for there in (first, second)])
    try:
        told = [await ask(model, ModelRequest((UserMessage("Hi"),), session_key=str(n))) for n in range(8)]
    finally:
        await model.aclose()

    assert {each.text for each in told} == {"Hi"}
    assert len(second.asked) == 8


async def test_when_all_endpoints_load_they_are_waited_for(upstream, ask, wire):
    script = [*[loading(wire, "Lemonade")] * 6, wire.answer("Hi")]
    there = [await upstream(*script), await upstream(*script)]
    model = Failover([EndpointConfig(url=each.url, model="m", retries=1) for each in there])
    try:
        told = await ask(model)
    finally:
        await model.aclose()

    assert told.text == "Hi"
    assert {retried.kind for retried in told.of(ModelRetried)} == {"not_ready"}


# Options.

REFUSED = {
    "stream_options": (400, {"error": {"message": "Unrecognized request argument supplied: stream_options"}}),
    "stream_options, pydantic": (
        422,
        {
            "detail": [
                {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs not permitted"}
            ]
        },
    ),
    "parallel_tool_calls": (400, {"error": {"message": "parallel_tool_calls is not supported by this model"}}),
    "temperature": (
        400,
        {"error": {"message": "Unsupported value: 'temperature' does not support 0.2 with this model."}},
    ),
    "reasoning_effort": (400, {"error": {"message": "unknown field 'reasoning_effort'"}}),
}
EVERYTHING = ModelRequest(
    (UserMessage("Hi"),),
    tools=TOOLS,
    tool_choice=ToolChoice("required"),
    parallel_tool_calls=False,
    response_format=ResponseFormat("json_object"),
    sampling=Sampling(temperature=0.2, reasoning_effort="low", max_tokens=100, stop="X"),
)


def refusing(wire, option: str, refusal: tuple[int, object]):
    status, body = refusal

    def answer(asked):
        if option in asked.body:
            return wire.says(json.dumps(body).encode(), status=status, media="application/json")
        return wire.says(wire.answer("Hi"))

    return answer


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refused_option_is_left_out_and_stays_so(endpoint, ask, wire, name, caplog):
    option = name.partition(",")[0]
    model, there = await endpoint(refusing(wire, option, REFUSED[name]))
    told = await ask(model, EVERYTHING)
    await ask(model, EVERYTHING)

    assert told.text == "Hi"
    (retried,) = told.of(ModelRetried)
    assert f"{option} is left out" in retried.reason
    assert len(there.asked) == 3
    assert there.asked[1].body == {key: value for key, value in there.asked[0].body.items() if key != option}
    assert sum(f"{option} is left out" in record.message for record in caplog.records) == 1


async def test_requests_that_are_refused_together_are_each_repeated(endpoint, ask, wire):
    model, _there = await endpoint(refusing(wire, "stream_options", REFUSED["stream_options"]))
    told = await asyncio.gather(*[ask(model, EVERYTHING) for _ in range(5)])

    assert [each.text for each in told] == ["Hi"] * 5


async def test_a_limit_of_tokens_is_sent_under_the_name_that_the_model_takes(endpoint, ask, wire):
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    model, there = await endpoint(refusing(wire, "max_tokens", (400, {"error": {"message": words}})))
    await ask(model, EVERYTHING)

    assert there.asked[1].body["max_completion_tokens"] == 100
    assert "max_tokens" not in there.asked[1].body


async def test_a_limit_of_tokens_that_is_refused_under_both_names_is_the_callers_to_mend(endpoint, fails, wire):
    def answer(asked):
        old, new = (
            ("max_tokens", "max_completion_tokens") if "max_tokens" in asked.body else ("max_completion_tokens", "")
        )
        words = f"Unsupported parameter: '{old}' is not supported with this model. Use '{new}' instead."
        refusal = json.dumps({"error": {"message": words}}).encode()
        return wire.says(refusal, status=400, media="application/json")

    model, there = await endpoint(answer)
    error, _ = await fails(model, EVERYTHING)

    assert error.kind == "bad_request"
    assert ["max_tokens" in asked.body for asked in there.asked] == [True, False]


@pytest.mark.parametrize("option", ["tools", "tool_choice", "response_format", "stop", "max_tokens"])
async def test_what_the_answer_is_made_of_is_never_left_out(endpoint, fails, wire, option):
    words = {"error": {"message": f"{option} is not supported"}}
    model, there = await endpoint(refusing(wire, option, (400, words)))
    error, told = await fails(model, EVERYTHING)

    assert error.kind == "bad_request"
    assert told == []
    assert len(there.asked) == 1


async def test_a_value_that_is_out_of_range_is_the_callers_to_mend(endpoint, fails, wire):
    words = {"error": {"message": "temperature must be at most 2"}}
    model, there = await endpoint(refusing(wire, "temperature", (400, words)))
    error, _ = await fails(model, EVERYTHING)

    assert "at most 2" in str(error)
    assert len(there.asked) == 1


# An endless answer.


async def test_an_answer_without_an_end_is_cut_off_and_the_turn_ends_with_a_limit(upstream, wire):
    there = await upstream(wire.says(*[wire.chunk("na " * 2000) * 20] * 20, wire.HANG))
    model = Failover((EndpointConfig(url=there.url, model="m"),))
    agent = Agent("a")
    catalog = Catalog.of(agent, models={"local": ModelSpec("local", open=lambda: model)})
    async with Runtime(catalog) as runtime:
        session = await runtime.open(agent)
        options = TurnOptions(sampling=Sampling(max_tokens=10))
        turn = await runtime.start(session, TurnRequest("Hi", options=options))
        events = [event async for event in turn.events()]
        async with asyncio.timeout(5):
            await there.asked[0].gone.wait()
        ended = turn.ended
    assert isinstance(ended, TurnEnded)
    assert (ended.status, ended.finish_reason) == ("limit", "length")
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert 64 * 1024 <= len(text) < 64 * 1024 + 2 * 20 * 6000
    assert ended.text == text
    (limit,) = [event for event in events if type(event).__name__ == "LimitReached"]
    assert limit.limit == "answer_chars"


async def test_the_calls_of_an_answer_without_an_end_do_not_run(upstream, wire):
    """The last one is not whole, and nobody knows what the others were meant to be with it."""
    ran = []

    @tool
    async def act(path: str) -> str:
        """Act."""
        ran.append(path)
        return "done"

    call = {"index": 0, "id": "c1", "function": {"name": "act", "arguments": '{"path": "a"}'}}
    begun = {"index": 1, "id": "c2", "function": {"name": "act", "arguments": '{"path": "' + "a" * 200_000}}
    calls = [wire.chunk(tool_calls=[call]), wire.chunk(tool_calls=[begun])]
    there = await upstream(wire.says(*calls, wire.HANG))
    model = Failover((EndpointConfig(url=there.url, model="m"),))
    agent = Agent("a", tools=Toolset("t", (act,)))
    async with Runtime(Catalog.of(agent, models={"local": ModelSpec("local", open=lambda: model)})) as runtime:
        request = TurnRequest("Hi", options=TurnOptions(sampling=Sampling(max_tokens=10)))
        ended = await (await runtime.start(await runtime.open(agent), request)).result()

    assert (ended.status, ended.finish_reason) == ("limit", "length"), ended
    assert ran == []
