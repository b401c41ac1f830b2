"""Members that the OpenAI API does not have: forwarded, refused, or named as left out; never dropped silently."""

import json
import logging

import pytest

from gaia_core import Agent, ConfigError, ModelSpec, scripted
from gaia_core.models import Sampling
from gaia_http.request._server_options import REFUSED

KNOWN = {"top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "chat_template_kwargs": {"enable_thinking": False}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def further(server) -> dict:
    return {name: json.loads(value) for name, value in server.model.requests[-1].sampling.further}


async def responded(server, **fields: object):
    async with server.http.post("/v1/responses", json={"model": "a", "input": "Hi", **fields}) as reply:
        return reply.status, reply.headers, await reply.json()


async def test_sampling_options_of_local_servers_reach_the_model(serve, body):
    server = await serve("ok", "ok")

    status, _, _ = await server.post(body(**KNOWN, reasoning={"effort": "low"}, mirostat=2))
    assert (status, further(server)) == (200, {**KNOWN, "reasoning": {"effort": "low"}})

    status, _, _ = await responded(server, **KNOWN, reasoning={"effort": "low"})
    assert (status, further(server)) == (200, KNOWN)
    assert server.model.requests[-1].sampling.reasoning_effort == "low"


async def test_null_is_an_absent_option(serve, body):
    server = await serve("ok")

    status, _, _ = await server.post(body(**dict.fromkeys((*KNOWN, "reasoning", *REFUSED))))

    assert (status, server.model.requests[0].sampling) == (200, Sampling())


@pytest.mark.parametrize(
    ("name", "value"),
    [("top_k", "many"), ("min_p", []), ("repeat_penalty", {}), ("chat_template_kwargs", "x"), ("reasoning", 1)],
)
async def test_a_value_of_another_type_is_named(serve, body, name, value):
    server = await serve()

    status, _, answer = await server.post(body(**{name: value}))

    assert (status, answer["error"]["param"], server.model.requests) == (400, name, [])


@pytest.mark.parametrize("name", REFUSED)
async def test_a_member_that_reaches_into_the_server_is_refused(serve, body, name):
    server = await serve()

    for status, _, answer in (await server.post(body(**{name: 1})), await responded(server, **{name: 1})):
        assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, name, "unsupported_value")
    assert server.model.requests == []


async def test_a_models_own_list_is_forwarded_too(serve, body):
    model = scripted("ok", "ok")
    spec = ModelSpec("own", open=lambda: model, forward=frozenset(("mirostat", "grammar")))
    server = await serve(model=model, agents=(Agent("a", model="own"), Agent("b")), models={"own": spec})

    await server.post(body(mirostat=2, grammar="root ::= [a-z]", xtc=1))
    assert further(server) == {"mirostat": 2, "grammar": "root ::= [a-z]"}

    await server.post(body(mirostat=2) | {"model": "b"})
    assert further(server) == {}


def test_a_models_list_names_nothing_that_the_server_sets():
    with pytest.raises(ConfigError, match="forward can't name 'messages'"):
        ModelSpec("m", open=scripted, forward=frozenset(("messages", "mirostat")))


# Tools that can't be served.


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_that_cannot_be_served_are_left_out_and_named(serve, body, caplog, stream):
    caplog.set_level(logging.INFO, "gaia_http.request")
    server = await serve("ok", "ok")
    hosted = [{"type": "web_search"}, {"type": "custom", "custom": {"name": "x"}}, {"type": "bad type\r\nx: y"}]

    async with server.http.post("/v1/chat/completions", json=body(tools=[*hosted, WEATHER], stream=stream)) as reply:
        assert (reply.status, reply.headers["x-gaia-ignored"]) == (200, "web_search, custom, bad_type_x:_y")
        await reply.read()
    assert [tool.name for tool in server.model.requests[0].tools] == ["weather"]

    tools = [{"type": "web_search"}, {"type": "mcp", "server_label": "x"}, {"type": "custom", "name": "patch"}]
    async with server.http.post(
        "/v1/responses", json={"model": "a", "input": "Hi", "tools": tools, "stream": stream}
    ) as reply:
        assert (reply.status, reply.headers["x-gaia-ignored"]) == (200, "web_search, mcp")
        await reply.read()
    assert [tool.name for tool in server.model.requests[1].tools] == ["patch"]
    assert [record.getMessage() for record in caplog.records if "left out" in record.getMessage()] == [
        "agent a: tools of the client that can't be served are left out: web_search, custom, bad_type_x:_y",
        "agent a: tools of the client that can't be served are left out: web_search, mcp",
    ]


async def test_nothing_is_named_where_nothing_is_left_out(serve, body):
    server = await serve("ok", "ok", agents=(Agent("a"), Agent("b", client_tools="ignore")))

    _, headers, _ = await server.post(body(tools=[WEATHER]))
    assert "x-gaia-ignored" not in headers

    _, headers, _ = await server.post(body(tools=[{"type": "web_search"}]) | {"model": "b"})
    assert "x-gaia-ignored" not in headers


@pytest.mark.parametrize("kind", ["web_search", "file_search", "mcp", "image_generation"])
async def test_a_choice_that_forces_a_tool_that_cannot_be_served_is_refused(serve, kind):
    server = await serve()

    status, _, answer = await responded(server, tools=[{"type": kind}], tool_choice={"type": kind})

    assert (status, answer["error"]["param"], server.model.requests) == (400, "tool_choice", [])


async def test_the_limits_own_name_is_kept(serve, body):
    server = await serve("ok", "ok")

    await server.post(body(max_completion_tokens=7))
    await server.post(body(max_tokens=7))

    assert [request.sampling for request in server.model.requests] == [
        Sampling(max_tokens=7, limit_name="max_completion_tokens"),
        Sampling(max_tokens=7),
    ]
